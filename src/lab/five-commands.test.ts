import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FIVE_COMMANDS, SIXTH_COMMAND } from "./five-commands.ts";

test("the lab types what README shows", () => {
  const readme = readFileSync(join(import.meta.dir, "../../README.md"), "utf8");
  const chapters = readme.split("\n## ");
  const chapter = chapters.find((text) => text.startsWith("From nothing to two VMs")) ?? "";
  const fences = [...chapter.matchAll(/^```\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);
  const lines = fences.join("").split("\n");
  const commands = lines.map((line) => line.replace(/\s+#.*$/, "")).filter((line) => line !== "");
  expect([...FIVE_COMMANDS, SIXTH_COMMAND].map(({ line }) => line)).toEqual(commands);
});
