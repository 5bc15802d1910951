import { expect, test } from "bun:test";
import { parseExec } from "./lab.ts";

const cases = [
  { raw: ["web", "--", "ls", "-l"], name: "lab", vm: "web", command: ["ls", "-l"] },
  { raw: ["web", "ls", "--", "x"], name: "lab", vm: "web", command: ["ls", "--", "x"] },
  { raw: ["--name", "two", "db", "--", "id"], name: "two", vm: "db", command: ["id"] },
  {
    raw: ["--name=two", "db", "id", "--name", "x"],
    name: "two",
    vm: "db",
    command: ["id", "--name", "x"],
  },
];
test.each(cases)("parseExec: $raw", ({ raw, ...parsed }) => {
  expect(parseExec(raw)).toEqual(parsed);
});

const refused = [[], ["web"], ["web", "--"], ["--name", "two"], ["--verbose", "ls"]];
test.each(refused.map((raw) => ({ raw })))("parseExec refuses $raw", ({ raw }) => {
  expect(() => parseExec(raw)).toThrow("A VM and a command are needed.");
});
