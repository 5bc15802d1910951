/**
 * A Debian system of its own, booted with systemd as its first process, in the network namespace
 * of a site's VM: what the package is installed on. debootstrap fetches it once; each test gets a
 * copy. Commands run in its namespaces, beside the boot, as an administrator's shell would.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  type Background,
  type CommandResult,
  mustRun,
  runCommand,
  startBackground,
  waitFor,
} from "../../src/lab/command.ts";
import { childrenOf, readProcess } from "../processes.ts";

const BASE = join(import.meta.dir, "../../build/debian-root.tar");
const SUITE = "bookworm";
const PACKAGES = "systemd,systemd-sysv,iproute2,iputils-ping,man-db";
const FETCH_MS = 300_000;
const MINUTE_MS = 60_000;
const BOOT_MS = 3 * MINUTE_MS;
/** A question that systemd does not answer while it boots is asked again. */
const ASK_MS = 5_000;

/** The mirror that this machine itself is installed from, however its sources are written. */
async function mirror(): Promise<string> {
  const format = ["--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"];
  const { stdout } = await mustRun(["apt-get", "indextargets", ...format]);
  const line = stdout.split("\n").find((one) => one.endsWith(` ${SUITE}`));
  if (line === undefined) throw new Error(`apt knows no mirror of ${SUITE}`);
  return line.replace(` ${SUITE}`, "");
}

/** One file, so that nothing that looks through the tree follows the links of a whole system. */
async function fetchBase(root: string): Promise<void> {
  const include = `--include=${PACKAGES}`;
  const words = ["debootstrap", "--variant=minbase", include, SUITE, root, await mirror()];
  await mustRun(words, { timeoutMs: FETCH_MS });
  await mustRun(["tar", "-C", root, "--one-file-system", "-cf", `${BASE}.part`, "."]);
  renameSync(`${BASE}.part`, BASE);
}

/**
 * The child that is the first process of a PID namespace. systemd-nspawn's very first child is
 * not: it only makes the one that boots, and goes.
 */
function firstProcessUnder(parent: number): number | undefined {
  return childrenOf(parent).find((pid) => /^NSpid:.*\s1$/m.test(readProcess(pid, "status")));
}

export class BootedSystem {
  private constructor(
    readonly root: string,
    private readonly nspawn: Background,
    private readonly pid: number,
  ) {}

  /** @param namespace a named network namespace: the system has its interfaces and no others */
  static async boot(root: string, namespace: string, logFile: string): Promise<BootedSystem> {
    rmSync(root, { recursive: true, force: true });
    mkdirSync(root);
    if (existsSync(BASE)) await mustRun(["tar", "-C", root, "-xf", BASE]);
    else await fetchBase(root);
    const nspawn = startBackground(
      [
        ...["env", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", "systemd-nspawn", "--quiet"],
        ...["--boot", "--register=no", "--keep-unit", "--directory", root],
        `--network-namespace-path=/run/netns/${namespace}`,
        "--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_ADMIN,CAP_IPC_LOCK",
      ],
      { logFile },
    );
    const findPid = () => firstProcessUnder(nspawn.pid);
    const pid = await waitFor("systemd-nspawn to start a system", findPid, MINUTE_MS);
    const system = new BootedSystem(root, nspawn, pid);
    const isUp = async () => {
      const { stdout } = await system.run(["systemctl", "is-system-running"], ASK_MS);
      return ["running", "degraded"].includes(stdout.trim()) || undefined;
    };
    try {
      await waitFor("the system to boot", isUp, BOOT_MS, 200);
    } catch (thrown) {
      console.log(nspawn.output().slice(-2_000));
      await system.shutDown();
      throw thrown;
    }
    return system;
  }

  #inside(command: readonly string[]): string[] {
    const namespaces = ["-m", "-u", "-i", "-n", "-p", "-r", "-w"];
    return ["nsenter", "-t", `${this.pid}`, ...namespaces, "--", ...command];
  }

  async run(command: readonly string[], timeoutMs = MINUTE_MS): Promise<CommandResult> {
    return await runCommand(this.#inside(command), { timeoutMs });
  }

  /** What it prints; an error when it fails. */
  async must(...command: string[]): Promise<string> {
    return (await mustRun(this.#inside(command), { timeoutMs: MINUTE_MS })).stdout.trim();
  }

  /** Of systemd's: `property("abs-agent", "ActiveState")`. */
  async property(unit: string, name: string): Promise<string> {
    return await this.must("systemctl", "show", "--value", "-p", name, unit);
  }

  async shutDown(): Promise<void> {
    await this.nspawn.stop("SIGTERM", MINUTE_MS);
    rmSync(this.root, { recursive: true, force: true });
  }
}
