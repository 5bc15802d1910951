/**
 * The executable in a root folder that holds glibc and nothing else: no /sys, /dev, /etc, /tmp.
 * /proc is mounted, because Bun itself does not start without it. It runs its data plane there:
 * DPDK's null ports, flows, sessions, sealing, opening. Issue 2, "Build" item 3.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunFigures } from "../src/bench/dataplane-serve.ts";

const ABS = join(import.meta.dir, "../dist/abs");
const LIBRARIES = ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"];
const LIBRARY_FOLDER = "lib/x86_64-linux-gnu";
const LOADER = "lib64/ld-linux-x86-64.so.2";

const root = mkdtempSync(join(tmpdir(), "abst-root-"));

beforeAll(() => {
  for (const folder of ["lib64", LIBRARY_FOLDER, "proc"]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  for (const library of LIBRARIES) {
    copyFileSync(`/${LIBRARY_FOLDER}/${library}`, join(root, LIBRARY_FOLDER, library));
  }
  copyFileSync(`/${LOADER}`, join(root, LOADER));
  copyFileSync(ABS, join(root, "abs"));
});

afterAll(() => rmSync(root, { recursive: true }));

/** Runs `abs` with the empty root as its whole world; mounts end with it. */
function inEmptyRoot(words: readonly string[], input = "") {
  const world = ["unshare", "--mount", "--pid", "--fork", `--mount-proc=${join(root, "proc")}`];
  return Bun.spawnSync([...world, "chroot", root, "/abs", ...words], {
    stdin: Buffer.from(input),
    env: { PATH: process.env["PATH"] }, // to find chroot; inside there is nothing on it
  });
}

test("names its commands", () => {
  const result = inEmptyRoot(["--help"]);
  expect(result.exitCode).toBe(0);
  expect(result.stdout.toString()).toContain("agent");
});

test("runs its data plane, and leaves no file", () => {
  const before = filesOf(root);
  const run = (direction: string) =>
    `--direction ${direction} --payload 64 --flows 1000 --sessions 10 --packets 200000\n`;
  const result = inEmptyRoot(["bench", "dataplane-serve"], run("egress") + run("ingress"));
  expect(result.exitCode, result.stderr.toString()).toBe(0);
  const figures = result.stdout
    .toString()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as RunFigures);
  expect(figures.length).toBe(2);
  for (const figure of figures) expect(figure.ns).toBeGreaterThan(1);
  expect(filesOf(root)).toEqual(before);
});

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true }).map(String).sort();
}
