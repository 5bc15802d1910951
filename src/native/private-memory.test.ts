/** A process that holds keys: no core, and nobody else reads its memory. */
import { expect, test } from "bun:test";
import { statSync } from "node:fs";

const NOBODY = 65_534;
const FILE = new URL("./private-memory.ts", import.meta.url).pathname;

/** A process of nobody's that waits, with or without the precaution. */
async function waiting(isPrivate: boolean) {
  const program = `
    const { keepMemoryPrivate } = await import(${JSON.stringify(FILE)});
    process.setgid(${NOBODY}); process.setuid(${NOBODY});
    // Changing the user makes a process undumpable: undone, to see the difference.
    const { dlopen } = await import("bun:ffi");
    dlopen("libc.so.6", { prctl: { args: ["i32", "u64"], returns: "i32" } }).symbols.prctl(4, 1);
    if (${isPrivate}) keepMemoryPrivate();
    console.log("ready");
    setInterval(() => {}, 1000);
  `;
  const child = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe", stderr: "inherit" });
  await child.stdout.getReader().read();
  return child;
}

/** Exit code of reading its memory map as the same user, by another program. */
function readBySameUser(pid: number): number {
  const reader = [
    "setpriv",
    `--reuid=${NOBODY}`,
    `--regid=${NOBODY}`,
    "--clear-groups",
    "cat",
    `/proc/${pid}/maps`,
  ];
  return Bun.spawnSync(reader, { stdout: "ignore", stderr: "ignore" }).exitCode;
}

test.each([true, false])("memory kept private: %p", async (isPrivate) => {
  const child = await waiting(isPrivate);
  try {
    expect(statSync(`/proc/${child.pid}/maps`).uid).toBe(isPrivate ? 0 : NOBODY);
    expect(readBySameUser(child.pid) === 0).toBe(!isPrivate);
    const limits = await Bun.file(`/proc/${child.pid}/limits`).text();
    expect(/Max core file size\s+0\s+0\s/.test(limits)).toBe(isPrivate);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
});
