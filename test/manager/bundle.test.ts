/** ssh2 in the executable: nothing of it may be looked for on the disk of whoever starts `abs`. */
import { expect, test } from "bun:test";
import { builtinModules } from "node:module";
import { join } from "node:path";

test("the bundled ssh2 asks for no package and no native file at run time", async () => {
  const entry = join(import.meta.dir, "../../src/ssh/ssh-server.ts");
  const { outputs } = await Bun.build({ entrypoints: [entry], target: "bun" });
  const text = (await outputs[0]?.text()) ?? "";
  expect(text).toContain("curve25519-sha256");
  const asked = [...text.matchAll(/\b__?require\("([^"]+)"\)/g)].map(([, name = ""]) => name);
  const builtin = new Set(builtinModules);
  expect(asked.filter((name) => !builtin.has(name.replace("node:", "")))).toEqual([]);
});
