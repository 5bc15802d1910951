/**
 * A network for one fleet: this program again, alone in a network namespace that ends with it, in
 * which every address of the fleet is this machine (AnyIP). Nothing of it is seen outside, and
 * there is nothing to clean up. Needs root, or a kernel that lets users have namespaces.
 */
import { AbsError } from "../errors.ts";

const PROGRAMS = { unshare: "util-linux", ip: "iproute2" } as const;

/** Runs `command` in a network of its own, with our standard streams. @returns its exit code */
export async function runInPrivateNetwork(command: readonly string[]): Promise<number> {
  for (const [program, name] of Object.entries(PROGRAMS)) {
    if (Bun.which(program) !== null) continue;
    const what = `The program \`${program}\` is not here.`;
    throw new AbsError("FLEET_PROGRAM", what, `Install it: \`apt-get install ${name}\`.`);
  }
  const isRoot = process.getuid?.() === 0;
  const unshare = ["unshare", ...(isRoot ? [] : ["--map-root-user"]), "--net", "--"];
  const child = Bun.spawn([...unshare, ...command], { stdio: ["ignore", "inherit", "inherit"] });
  // Typed at a terminal an interrupt reaches the child by itself; by `kill` it is passed on.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => child.kill("SIGTERM"));
  }
  return child.exited;
}

/** Called inside: all of `network` is this machine. @throws AbsError FLEET_NETWORK */
export function openNetwork(network: string): void {
  ip("link", "set", "lo", "up");
  ip("route", "add", "local", network, "dev", "lo");
}

function ip(...words: readonly string[]): void {
  const done = Bun.spawnSync(["ip", ...words], { stderr: "pipe" });
  if (done.exitCode === 0) return;
  throw new AbsError(
    "FLEET_NETWORK",
    `\`ip ${words.join(" ")}\` failed: ${done.stderr.toString().trim()}.`,
    "Run it as root, or allow users namespaces: `sysctl kernel.unprivileged_userns_clone=1`.",
  );
}
