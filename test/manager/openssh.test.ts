/** Interoperation with OpenSSH's own client and server, in both directions. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SshClient } from "../../src/ssh/ssh-client.ts";
import {
  fingerprintOf,
  parsePublicLine,
  privateKeyText,
  publicLineOf,
  sshPublicKey,
} from "../../src/ssh/ssh-keys.ts";
import { encodeManagerFrame, ManagerFrameReader } from "../../src/wire/manager-frame.ts";
import { freePort } from "../free-port.ts";
import { drawSeed, keyFile, openSite, openSsh, run, type Site, TAG } from "./ssh-site.ts";

let site: Site;
let adminKey: string;

beforeAll(async () => {
  site = await openSite({ strangersPerAddressMax: 64 });
  adminKey = keyFile(site, "admin", site.adminSeed);
});

afterAll(() => site.close());

test("ssh-keygen reads our keys, and prints our fingerprint", async () => {
  const shown = await run(["ssh-keygen", "-y", "-f", adminKey]);
  const publicKey = sshPublicKey(site.adminSeed);
  expect(shown.output.trim()).toBe(publicLineOf(publicKey, "admin"));
  expect(parsePublicLine(shown.output)).toEqual({ publicKey, comment: "admin" });
  const printed = await run(["ssh-keygen", "-l", "-f", adminKey]);
  expect(printed.output).toContain(`256 ${fingerprintOf(publicKey)} `);
});

test("ssh runs a command: output, standard error and exit code come back", async () => {
  const done = await openSsh(site, { key: adminKey }, ["127.0.0.1", "agents", "list"]);
  expect(done).toEqual({ code: 0, output: "agents|list\n", complaint: "to stderr\n" });
  const failed = await openSsh(site, { key: adminKey }, ["127.0.0.1", "fail 'a b' $(touch x)"]);
  expect([failed.code, failed.output]).toEqual([3, "fail|a b|$(touch|x)\n"]);
});

test("ssh takes a long answer whole", async () => {
  const sizeBytes = 8 * 1024 * 1024;
  const done = await openSsh(site, { key: adminKey }, ["127.0.0.1", `big ${sizeBytes}`]);
  expect([done.code, done.output.length]).toEqual([0, sizeBytes]);
});

test("ssh speaks frames over the subsystem", async () => {
  const key = keyFile(site, "agent", site.agentSeed);
  const frame = { flag: 3, type: 9, body: new Uint8Array(100_000).fill(5) };
  site.onFrame = (came, channel) => {
    channel.send(came);
    channel.close();
  };
  const input = encodeManagerFrame(frame, TAG);
  const child = Bun.spawn(sshWords(key, ["-s", "127.0.0.1", "abs"]), {
    ...{ stdin: "pipe", stdout: "pipe", stderr: "ignore" },
  });
  child.stdin.write(input);
  child.stdin.flush();
  const bytes = new Uint8Array(await new Response(child.stdout).arrayBuffer());
  expect(await child.exited).toBeNumber();
  expect(new ManagerFrameReader(TAG).take(bytes)).toEqual([frame]);
  site.onFrame = undefined;
});

/** `ssh` as an agent, with the host key known. */
function sshWords(key: string, args: readonly string[]): string[] {
  const known = join(site.dir, "known-agent");
  const line = publicLineOf(sshPublicKey(site.hostSeed), "");
  writeFileSync(known, `[127.0.0.1]:${site.server.port} ${line}\n`);
  return [
    ...["ssh", "-F", "none", "-p", `${site.server.port}`, "-i", key, "-l", "agent"],
    ...["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"],
    ...["-o", `UserKnownHostsFile=${known}`, "-o", "StrictHostKeyChecking=yes", ...args],
  ];
}

const refused = [
  { name: "a shell", args: ["127.0.0.1"], says: "shell request failed" },
  {
    name: "a terminal and a shell",
    args: ["-tt", "127.0.0.1"],
    says: "PTY allocation request failed",
  },
  { name: "the subsystem", args: ["-s", "127.0.0.1", "abs"], says: "subsystem request failed" },
  { name: "sftp", args: ["-s", "127.0.0.1", "sftp"], says: "subsystem request failed" },
  {
    name: "a forwarded port",
    args: ["-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:127.0.0.1:1", "127.0.0.1"],
    says: "remote port forwarding failed",
  },
  { name: "a tunnel", args: ["-W", "127.0.0.1:1", "127.0.0.1"], says: "prohibited" },
];

test.each(refused)("an administrator's key gets no: $name", async ({ args, says }) => {
  const before = site.commands.length;
  const done = await openSsh(site, { key: adminKey }, args);
  expect(done.code).not.toBe(0);
  expect(done.complaint).toContain(says);
  expect(site.commands.length).toBe(before);
});

test("an environment is ignored, the command runs without it", async () => {
  const args = ["-o", "SetEnv=SECRET=1", "127.0.0.1", "agents"];
  const done = await openSsh(site, { key: adminKey }, args);
  expect([done.code, done.output]).toEqual([0, "agents\n"]);
});

test("an agent's key gets no command", async () => {
  const key = keyFile(site, "agent", site.agentSeed);
  const done = await openSsh(site, { user: "agent", key }, ["127.0.0.1", "agents"]);
  expect(done.complaint).toContain("exec request failed");
});

test("ssh with other algorithms finds no common ground", async () => {
  for (const option of ["KexAlgorithms=ecdh-sha2-nistp256", "Ciphers=aes128-ctr"]) {
    const done = await openSsh(site, { key: adminKey }, ["-o", option, "127.0.0.1", "agents"]);
    expect([done.code, done.output]).toEqual([255, ""]);
  }
});

test("100 wrong keys of ssh are refused 100 times, and ssh refuses 100 wrong host keys", async () => {
  const before = site.commands.length;
  for (let i = 0; i < 100; i += 10) {
    const rounds = Array.from({ length: 10 }, async (_, j) => {
      const key = keyFile(site, `wrong-${i + j}`, drawSeed());
      const stranger = await openSsh(site, { key }, ["127.0.0.1", "agents"]);
      expect(stranger.code).toBe(255);
      expect(stranger.complaint).toContain("Permission denied (publickey)");
      const words = { key: adminKey, hostSeed: drawSeed() };
      const fooled = await openSsh(site, words, ["127.0.0.1", "agents"]);
      expect(fooled.code).toBe(255);
      expect(fooled.complaint).toContain("Host key verification failed");
    });
    await Promise.all(rounds);
  }
  expect(site.commands.length).toBe(before);
}, 120_000);

/** A real sshd on loopback that runs `cat` as the subsystem `abs`. */
class RealSshd {
  readonly dir = mkdtempSync(join(tmpdir(), "abs-sshd-"));
  readonly hostSeed = drawSeed();
  readonly userSeed = drawSeed();
  readonly child: Bun.Subprocess;
  readonly user = process.env["USER"] ?? "root";

  constructor(readonly port: number) {
    const at = (name: string): string => join(this.dir, name);
    writeFileSync(at("host"), privateKeyText(this.hostSeed, "host"), { mode: 0o600 });
    writeFileSync(at("keys"), `${publicLineOf(sshPublicKey(this.userSeed), "us")}\n`);
    const lines = [
      ...[`Port ${port}`, "ListenAddress 127.0.0.1", `HostKey ${at("host")}`, "UsePAM no"],
      ...[`AuthorizedKeysFile ${at("keys")}`, "StrictModes no", "PidFile none"],
      ...["PermitRootLogin yes", "Subsystem abs /bin/cat", "MaxStartups 200"],
    ];
    writeFileSync(at("config"), `${lines.join("\n")}\n`);
    const command = ["/usr/sbin/sshd", "-D", "-e", "-f", at("config")];
    this.child = Bun.spawn(command, { stderr: Bun.file(at("log")) });
  }

  connect(words: { seed?: Uint8Array; hostSeed?: Uint8Array } = {}): Promise<SshClient> {
    return SshClient.connect({
      ...{ host: "127.0.0.1", port: this.port, user: this.user },
      seed: words.seed ?? this.userSeed,
      hostFingerprint: fingerprintOf(sshPublicKey(words.hostSeed ?? this.hostSeed)),
    });
  }

  async isUp(): Promise<void> {
    for (;;) {
      if (this.child.exitCode !== null)
        throw new Error(readFileSync(join(this.dir, "log"), "utf8"));
      const isThere = await Bun.connect({
        ...{ hostname: "127.0.0.1", port: this.port, socket: { data: () => {} } },
      }).catch(() => undefined);
      isThere?.end();
      if (isThere !== undefined) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async close(): Promise<void> {
    this.child.kill();
    await this.child.exited;
    rmSync(this.dir, { recursive: true });
  }
}

test("our client with a real sshd: frames, commands, 100 wrong keys and 100 wrong host keys", async () => {
  await run(["mkdir", "-p", "/run/sshd"]);
  const sshd = new RealSshd(await freePort());
  await sshd.isUp();
  try {
    const client = await sshd.connect();
    const said = await client.execute(["echo", "it's one word"]);
    expect([said.code, said.output]).toEqual([0, "it's one word\n"]);
    const stream = await client.subsystem();
    const frame = { flag: 1, type: 2, body: new Uint8Array(300_000).fill(9) };
    const reader = new ManagerFrameReader(TAG);
    const echoed = new Promise((resolve) => {
      stream.on("data", (chunk: Uint8Array) => {
        const [first] = reader.take(chunk);
        if (first !== undefined) resolve(first);
      });
    });
    stream.write(encodeManagerFrame(frame, TAG));
    expect(await echoed).toEqual(frame);
    client.close();
    for (let i = 0; i < 100; i++) {
      const stranger = await sshd.connect({ seed: drawSeed() }).catch((error) => error);
      expect(stranger).toMatchObject({ code: "MANAGER_LOGIN_REFUSED" });
      const fooled = await sshd.connect({ hostSeed: drawSeed() }).catch((error) => error);
      expect(fooled).toMatchObject({ code: "MANAGER_HOST_KEY" });
    }
  } finally {
    await sshd.close();
  }
}, 120_000);
