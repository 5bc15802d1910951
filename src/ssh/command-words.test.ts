import { expect, test } from "bun:test";
import { COMMAND_BYTES_MAX, COMMAND_WORDS_MAX, joinWords, parseWords } from "./command-words.ts";

const cases = [
  { command: "", words: [] },
  { command: "agents list", words: ["agents", "list"] },
  { command: " \tagents \n list ", words: ["agents", "list"] },
  { command: "invite --name 'web one'", words: ["invite", "--name", "web one"] },
  { command: `a "b 'c'" 'd "e"'`, words: ["a", "b 'c'", 'd "e"'] },
  { command: `a'b'"c"d ''`, words: ["abcd", ""] },
  { command: `a\\ b "c\\"d"`, words: ["a b", 'c"d'] },
  {
    command: "a; rm -rf / | cat $HOME `id` * > f",
    words: "a; rm -rf / | cat $HOME `id` * > f".split(" "),
  },
] as const;

test.each(cases)("parseWords: $command", ({ command, words }) => {
  expect(parseWords(command)).toEqual({ words: [...words] });
});

const refused = [
  { name: "open single quote", command: "a 'b" },
  { name: "open double quote", command: 'a "b' },
  { name: "backslash at the end", command: "a \\" },
  { name: "NUL", command: "a\0b" },
  { name: "escape", command: "a \x1b[2J" },
  { name: "too long", command: "a".repeat(COMMAND_BYTES_MAX + 1) },
  { name: "too many words", command: "a ".repeat(COMMAND_WORDS_MAX + 1) },
];

test.each(refused)("parseWords refuses: $name", ({ command }) => {
  expect(parseWords(command)).toHaveProperty("complaint");
});

test("parseWords(joinWords(x)) = x", () => {
  const words = ["", "a", "it's", 'say "hi"', "a b", "$HOME", "`id`", "\\", "--x=ü", "a\tb"];
  expect(parseWords(joinWords(words))).toEqual({ words });
});
