/**
 * Starts the real servers that the lab and the e2e tests talk to, each as an instance of its own:
 * in a VM's namespace, on the VM's addresses, with its data in a directory given by the caller, and
 * never the machine's own service. Each starter returns when the server accepts connections.
 */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  writeFileSync,
} from "node:fs";
import { AbsError } from "../errors.ts";
import { type Background, mustRun, runCommand, startBackground, waitFor } from "./command.ts";

/** Where a program runs. */
export interface ProgramHost {
  readonly vm: string;
  /** Turns a command into one that runs inside the VM. */
  readonly wrap: (command: readonly string[]) => string[];
  /** An existing directory, searchable by the unprivileged users that some servers run as. */
  readonly directory: string;
  /** The VM's own addresses to listen on. */
  readonly addresses: readonly string[];
}

export interface Service {
  /** The machine it runs on. */
  readonly vm: string;
  readonly name: string;
  readonly port: number;
  readonly process: Background;
  /** Where the server keeps its files. */
  readonly directory: string;
}

/** A program's name and the Debian package it comes from, for needPrograms(). */
export const PACKAGES = {
  ip: "iproute2",
  "redis-server": "redis-server",
  "redis-cli": "redis-tools",
  psql: "postgresql-client",
  mariadbd: "mariadb-server",
  mariadb: "mariadb-client",
  sshd: "openssh-server",
  ssh: "openssh-client",
  nginx: "nginx-light",
  curl: "curl",
  iperf3: "iperf3",
  ping: "iputils-ping",
} as const;

export interface RedisUser {
  readonly name: string;
  readonly password: string;
}

/** Redis with the given users beside its default one (which needs no password). */
export async function startRedis(
  host: ProgramHost,
  port: number,
  users: readonly RedisUser[] = [],
): Promise<Service> {
  const directory = makeDirectory(host, `redis-${host.vm}-${port}`);
  const lines = [
    `bind ${host.addresses.join(" ")}`,
    `port ${port}`,
    `dir ${directory}`,
    "protected-mode no",
    'save ""',
    "appendonly no",
    ...users.map((user) => `user ${user.name} on >${user.password} ~* &* +@all`),
  ];
  writeFileSync(`${directory}/redis.conf`, `${lines.join("\n")}\n`, { mode: 0o600 });
  const command = ["redis-server", `${directory}/redis.conf`];
  return await startService(host, "redis", port, directory, command);
}

/**
 * PostgreSQL 15 or whatever the machine has, as user postgres; everyone who connects is trusted.
 */
export async function startPostgres(host: ProgramHost, port: number): Promise<Service> {
  const directory = makeDirectory(host, `postgres-${port}`);
  const owner = await userIds("postgres");
  chownSync(directory, owner.user, owner.group);
  const as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"];
  const binaries = postgresBinaries();
  const data = `${directory}/data`;
  const options = ["-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions"];
  await mustRun([...as, `${binaries}/initdb`, "-D", data, ...options], { directory });
  appendFileSync(`${data}/pg_hba.conf`, "host all all all trust\n");
  const settings = {
    listen_addresses: host.addresses.join(","),
    port: String(port),
    unix_socket_directories: "",
    fsync: "off",
    shared_buffers: "16MB",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const command = [...as, `${binaries}/postgres`, "-D", data, ...flags];
  return await startService(host, "postgres", port, directory, command);
}

/** MariaDB as user mysql, without grant tables: any name may connect. */
export async function startMariadb(host: ProgramHost, port: number): Promise<Service> {
  const directory = makeDirectory(host, `mariadb-${port}`);
  const owner = await userIds("mysql");
  chownSync(directory, owner.user, owner.group);
  const data = `${directory}/data`;
  await mustRun(
    [
      "mariadb-install-db",
      "--no-defaults",
      `--datadir=${data}`,
      "--user=mysql",
      "--skip-test-db",
      "--auth-root-authentication-method=normal",
      "--innodb-log-file-size=8M",
    ],
    { directory, timeoutMs: 60_000 },
  );
  const command = [
    "mariadbd",
    "--no-defaults",
    `--datadir=${data}`,
    "--user=mysql",
    `--bind-address=${host.addresses.join(",")}`,
    `--port=${port}`,
    `--socket=${directory}/socket`,
    `--pid-file=${directory}/pid`,
    "--skip-grant-tables",
    "--skip-name-resolve",
    "--innodb-log-file-size=8M",
    "--innodb-buffer-pool-size=16M",
    "--innodb-flush-method=fsync",
  ];
  return await startService(host, "mariadb", port, directory, command);
}

/** OpenSSH with a fresh host key; `directory`/client is the private key that may log in as root. */
export async function startSshd(host: ProgramHost, port: number): Promise<Service> {
  const directory = makeDirectory(host, `sshd-${port}`);
  const keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"];
  await mustRun([...keygen, `${directory}/host`]);
  await mustRun([...keygen, `${directory}/client`]);
  const lines = [
    ...host.addresses.map((address) => `ListenAddress ${bracketed(address)}:${port}`),
    `HostKey ${directory}/host`,
    `AuthorizedKeysFile ${directory}/client.pub`,
    `PidFile ${directory}/pid`,
    "PermitRootLogin prohibit-password",
    "StrictModes no",
    "UsePAM no",
    "PrintMotd no",
  ];
  writeFileSync(`${directory}/sshd_config`, `${lines.join("\n")}\n`, { mode: 0o600 });
  // sshd separates privileges through this directory, which only its package's unit makes.
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const program = Bun.which("sshd") ?? "/usr/sbin/sshd";
  const command = [program, "-D", "-e", "-f", `${directory}/sshd_config`];
  return await startService(host, "sshd", port, directory, command);
}

/** nginx serving `directory`/files, which also takes uploads by PUT. */
export async function startNginx(host: ProgramHost, port: number): Promise<Service> {
  const directory = makeDirectory(host, `nginx-${port}`);
  const owner = await userIds("www-data");
  for (const name of ["files", "temporary"]) {
    mkdirSync(`${directory}/${name}`, { mode: 0o755 });
    chownSync(`${directory}/${name}`, owner.user, owner.group);
  }
  const listen = host.addresses.map((address) => `listen ${bracketed(address)}:${port};`);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${directory}/temporary/${kind};`,
  );
  const lines = [
    "daemon off; worker_processes 1; user www-data;",
    `pid ${directory}/pid; error_log ${directory}/error.log;`,
    "events { worker_connections 256; }",
    "http { access_log off; sendfile on; client_max_body_size 512m;",
    ...temporary,
    "server {",
    ...listen,
    `root ${directory}/files; location / { dav_methods PUT; } } }`,
  ];
  writeFileSync(`${directory}/nginx.conf`, `${lines.join("\n")}\n`);
  const error = `${directory}/error.log`;
  const command = ["nginx", "-c", `${directory}/nginx.conf`, "-e", error, "-p", directory];
  return await startService(host, "nginx", port, directory, command);
}

/** An iperf3 server; it serves one test after another. */
export async function startIperf3(host: ProgramHost, port: number): Promise<Service> {
  const directory = makeDirectory(host, `iperf3-${port}`);
  const command = ["iperf3", "-s", "-p", String(port)];
  return await startService(host, "iperf3", port, directory, command);
}

async function startService(
  host: ProgramHost,
  name: string,
  port: number,
  directory: string,
  command: readonly string[],
): Promise<Service> {
  const process = startBackground(host.wrap(command), { logFile: `${directory}/log`, directory });
  let ended: number | undefined;
  void process.exited.then((code) => {
    ended = code;
  });
  await waitFor(`${name} to listen on port ${port}`, async () => {
    if (ended !== undefined) {
      const words = process.output().trim().split("\n").slice(-3).join(" / ");
      throw new AbsError("LAB_PROGRAM", `${name} ended with code ${ended}: ${words}`);
    }
    return (await isListening(host, port)) ? true : undefined;
  });
  return { vm: host.vm, name, port, process, directory };
}

/** Whether some process of the VM listens on TCP `port`, by the kernel's own table. */
async function isListening(host: ProgramHost, port: number): Promise<boolean> {
  const table = await runCommand(host.wrap(["cat", "/proc/net/tcp", "/proc/net/tcp6"]));
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return table.stdout
    .split("\n")
    .some((line) => new RegExp(`^ *\\d+: [0-9A-F]+:${hex} [0-9A-F]+:0000 0A `).test(line));
}

function makeDirectory(host: ProgramHost, name: string): string {
  const directory = `${host.directory}/${name}`;
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  chmodSync(directory, 0o755);
  return directory;
}

async function userIds(user: string): Promise<{ user: number; group: number }> {
  const ids = await mustRun(["id", "-u", user]);
  const groups = await mustRun(["id", "-g", user]);
  return { user: Number(ids.stdout), group: Number(groups.stdout) };
}

function postgresBinaries(): string {
  const root = "/usr/lib/postgresql";
  const versions = readdirSync(root).map(Number).filter(Number.isFinite);
  if (versions.length === 0) {
    const remedy = "Run `make setup`, or `apt-get install postgresql`.";
    throw new AbsError("LAB_PROGRAM_MISSING", `No PostgreSQL server below ${root}.`, remedy);
  }
  return `${root}/${Math.max(...versions)}/bin`;
}

function bracketed(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}
