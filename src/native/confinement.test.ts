import { expect, test } from "bun:test";
import { join } from "node:path";

const SCRIPT = `
  import { openSync, writeSync } from "node:fs";
  import { dlopen } from "bun:ffi";
  import { confine } from ${JSON.stringify(join(import.meta.dir, "confinement.ts"))};
  const { setuid, socket } = dlopen("libc.so.6", {
    setuid: { args: ["u32"], returns: "i32" },
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  }).symbols;
  const codeOf = (work) => {
    try { return String(work()); } catch (error) { return error.code; }
  };
  const open = () => codeOf(() => openSync("/etc/passwd", "r") > 0);
  const before = [open(), socket(2, 1, 0) > 0];
  confine();
  const after = [open(), socket(2, 1, 0) > 0, process.geteuid(), process.getegid(), setuid(0)];
  writeSync(1, JSON.stringify({ before, after }));
`;

test("who is confined opens nothing, is nobody, and comes back to neither", async () => {
  const child = Bun.spawn([process.execPath, "-e", SCRIPT], { stdout: "pipe" });
  const told = await new Response(child.stdout).json();
  expect(told).toEqual({ before: ["true", true], after: ["EMFILE", false, 65_534, 65_534, -1] });
});
