import { expect, test } from "bun:test";
import type { CommandNode } from "./command-tree.ts";
import { manualPage, manualPages } from "./manual-page.ts";

const inner: CommandNode = {
  ...{
    path: "abs dig up",
    name: "up",
    description: "digs.\n\n  abs dig up --deep 3",
    commands: [],
  },
  options: [{ flag: "--deep", description: ".5 m\\ or more", takesValue: true }],
  words: [{ name: "PLACE", description: "where", isRequired: true }],
};
const dig: CommandNode = {
  ...{ path: "abs dig", name: "dig", description: "earth work", commands: [inner] },
  ...{ options: [], words: [] },
};
const root: CommandNode = {
  ...{ path: "abs", name: "abs", description: "all of it", commands: [dig] },
  ...{ options: [], words: [] },
};

/** What a reader sees of it. */
async function rendered(text: string): Promise<string> {
  const argv = ["groff", "-man", "-Tascii", "-P-cbou", "-ww"];
  const child = Bun.spawn(argv, { stdin: Buffer.from(text), stdout: "pipe", stderr: "pipe" });
  const [out, complaints] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect(complaints).toBe("");
  return out.replaceAll(/\s+/g, " ");
}

test("there is a page for the program and for each command right below it", () => {
  expect(manualPages(root).map(({ file }) => file)).toEqual(["abs.1", "abs-dig.1"]);
});

test("a page tells what is below its command, and roff's own characters come through", async () => {
  const page = await rendered(manualPage(dig, root));
  expect(page).toContain("abs-dig - earth work");
  expect(page).toContain("abs dig up PLACE");
  expect(page).toContain("abs dig up --deep 3");
  expect(page).toContain("--deep VALUE .5 m\\ or more");
  expect(page).toContain("SEE ALSO abs(1)");
});

test("the program's page names its commands", async () => {
  expect(await rendered(manualPage(root, root))).toContain("COMMANDS abs dig earth work");
});
