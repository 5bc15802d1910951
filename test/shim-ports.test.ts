/**
 * DPDK ports on kernel interfaces, in network namespaces: AF_PACKET over a veth pair, TAP, memif.
 * And the shim under sanitizers: test/c/shim_test.c, built by `make build/shim-test`.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { POOL_PACKETS } from "./shim/shim-bench.ts";

const ROOT = join(import.meta.dir, "..");
const NAMESPACE = `abst-shim-${process.pid}`;

/** Runs a command; what it printed. */
function run(...command: string[]): string {
  const result = Bun.spawnSync(command, { cwd: ROOT });
  expect(result.stderr.toString()).toBe("");
  return result.stdout.toString();
}

function ip(...words: string[]): void {
  run("ip", ...words);
}

function inside(...command: string[]): string {
  return run("ip", "netns", "exec", NAMESPACE, ...command);
}

/** Runs kernel-ports.ts in the namespace; what it printed. */
function inNamespace(...words: string[]) {
  const script = join(import.meta.dir, "shim/kernel-ports.ts");
  return JSON.parse(inside(process.execPath, script, ...words));
}

describe("ports of the kernel", () => {
  ip("netns", "add", NAMESPACE);
  afterAll(() => ip("netns", "del", NAMESPACE));

  test("af_packet: frames cross a veth pair, are announced, and lost ones are counted", () => {
    ip("-n", NAMESPACE, "link", "add", "one", "type", "veth", "peer", "name", "two");
    // Or the kernel's own neighbour messages come between the frames of the test.
    for (const end of ["one", "two"]) {
      inside("sysctl", "-qw", `net.ipv6.conf.${end}.disable_ipv6=1`);
    }
    ip("-n", NAMESPACE, "link", "set", "one", "address", "02:00:00:00:00:01", "up");
    ip("-n", NAMESPACE, "link", "set", "two", "up");
    const seen = inNamespace("af_packet");
    expect(seen).toMatchObject({ sent: 3, ready: 1, received: 3, whole: true, idle: 0 });
    expect(seen).toMatchObject({ mac: "020000000001", distinct: true, free: POOL_PACKETS });
    expect(seen.waitedUs).toBeLessThan(500_000);
    expect(seen.stats.receivedPackets).toBeGreaterThanOrEqual(3);
    expect(seen.stats.missed).toBe(0);
    expect(seen.missed).toBeGreaterThan(0);
  });

  test("tap: the interface has the MAC and MTU asked for, and its packets are announced", () => {
    const seen = inNamespace("tap");
    expect(seen).toMatchObject({ ready: 1, received: 1, etherType: 0x86dd, mtu: "1460" });
    expect(seen.mac).toBe("020000000007");
    expect(seen.descriptor).toBeGreaterThan(2);
  });

  test("memif: two ports of one process exchange frames", () => {
    const folder = mkdtempSync(join(tmpdir(), "abst-shim-"));
    const seen = inNamespace("memif", join(folder, "memif.sock"));
    rmSync(folder, { recursive: true });
    expect(seen).toEqual({ sent: 3, received: 3, whole: true });
  });
});

test("the shim under address and undefined-behaviour sanitizers", () => {
  const program = join(ROOT, "build/shim-test");
  expect(existsSync(program), "build it with `make build/shim-test`").toBe(true);
  const result = Bun.spawnSync([program], { cwd: ROOT });
  expect(result.stderr.toString()).toBe("");
  expect(result.stdout.toString()).toMatch(/^\d{4,} checks passed\n$/);
  expect(result.exitCode).toBe(0);
});
