/** The table of commands: each can be called by words and by HTTP, and both say the same. */
import { expect, test } from "bun:test";
import { ADMIN_COMMANDS } from "../../src/manager/admin-commands.ts";
import { isNeeded } from "../../src/manager/command-input.ts";
import { findCommand, inputOfWords, readWords, wordsOf } from "../../src/manager/command-words.ts";

const DOCUMENT = "text";

test.each(ADMIN_COMMANDS.map((command) => [command.name, command] as const))(
  "%s: its words, standard input and path are properties of its input",
  (_, { words, input, http, standardInput }) => {
    const placeholders = [...http.path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
    const document = standardInput === undefined ? [] : [standardInput.property];
    const properties = Object.keys(input.properties);
    expect(properties).toEqual(expect.arrayContaining([...words, ...placeholders, ...document]));
    // What is in a path, or given without a name, cannot be left out.
    expect([...words, ...placeholders].filter((name) => !isNeeded(input, name))).toEqual([]);
  },
);

test("no two commands have one name, one route, or a name that another one's begins with", () => {
  const names = ADMIN_COMMANDS.map(({ name }) => name);
  const routes = ADMIN_COMMANDS.map(
    ({ http }) => `${http.method} ${http.path.replaceAll(/\{\w+\}/g, "{}")}`,
  );
  expect(new Set(names).size).toBe(names.length);
  expect(new Set(routes).size).toBe(routes.length);
  const hidden = names.filter((name) => names.some((other) => other.startsWith(`${name} `)));
  expect(hidden).toEqual([]);
});

test("looking is GET, and nothing else is", () => {
  const wrong = ADMIN_COMMANDS.filter(({ http, role }) => {
    return (http.method === "GET") !== (role === "viewer");
  });
  expect(wrong.map(({ name }) => name)).toEqual([]);
});

const spoken = [
  "status",
  "tenant add t1 --peer-port 6255",
  "invite --tenant t1 --name web --group a --group b --tag http --expires 2h",
  "agents list --revoked",
  "agents set --agent a --agent b --mode full --trust 7",
  "contract expire 11111111-2222-4333-8444-555555555555 --tenant t1",
  "policy apply --tenant t1 --expect-version 3",
  "audit --count 7",
];
test.each(spoken)("what `%s` means is said by the same words again", (line) => {
  const read = readWords(line.split(" "));
  const document = read.command.standardInput === undefined ? undefined : DOCUMENT;
  const input = inputOfWords(read, document);
  expect(wordsOf(read.command, input).join(" ")).toBe(line);
});

test("values have their types, defaults are filled in, a comma separates", () => {
  const input = (line: string) => inputOfWords(readWords(line.split(" ")));
  expect(input("audit")).toEqual({ count: 50 });
  expect(input("invite --tenant t --name n --group b,a --group c")).toEqual({
    ...{ tenant: "t", name: "n", group: ["b", "a", "c"], expires: "24h" },
  });
  expect(input("agents set --all --trust 3")).toEqual({ all: true, trust: 3 });
});

test("the longest name is meant", () => {
  expect(findCommand(["policy", "show", "x"])?.name).toBe("policy show");
  expect(findCommand(["policy"])).toBeUndefined();
});
