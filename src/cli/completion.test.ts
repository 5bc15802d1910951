/** Completions as the shells give them: each script is loaded into its shell and asked. */
import { expect, test } from "bun:test";

const MAIN = new URL("./main.ts", import.meta.url).pathname;

/** @param input on standard input: a script is longer than an argument may be */
function printed(command: readonly string[], input = ""): string {
  const stdin = new TextEncoder().encode(input);
  const { stdout, stderr, exitCode } = Bun.spawnSync([...command], { stdin });
  expect([exitCode, stderr.toString()]).toEqual([0, ""]);
  return stdout.toString();
}

function script(shell: string): string {
  return printed([process.execPath, MAIN, "completion", shell]);
}

/** What bash offers for the words, the last of which is being typed. */
function bashOffers(...words: readonly string[]): string[] {
  const typed = words.map((word) => `'${word}'`).join(" ");
  const line = `COMP_WORDS=(${typed}); COMP_CWORD=${words.length - 1}`;
  const asked = `${script("bash")}\n${line}; _abs; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return printed(["bash"], asked).trim().split("\n");
}

test("bash: commands, then what stands below them, then options and files", () => {
  expect(bashOffers("abs", "va")).toEqual(["validator"]);
  expect(bashOffers("abs", "sig", "l")).toEqual(["lint", "learn", "list"]);
  expect(bashOffers("abs", "sig", "test", "--lab")).toEqual(["--labels"]);
  expect(bashOffers("abs", "sig", "test", "/etc/host")).toContain("/etc/hosts");
  expect(bashOffers("abs", "agent", "g")).toEqual([""]);
});

test("fish and zsh take their scripts without a complaint", () => {
  expect(printed(["zsh", "-f"], `compdef() { :; }\n${script("zsh")}\nprint ok`)).toBe("ok\n");
  const asked = `${script("fish")}\ncomplete -C 'abs sig le'`;
  expect(printed(["fish", "--no-config"], asked)).toMatch(/^learn\t/);
});

test("a shell nobody knows is refused with the ones there are", () => {
  const { stderr, exitCode } = Bun.spawnSync([process.execPath, MAIN, "completion", "csh"]);
  expect(exitCode).toBe(2);
  expect(stderr.toString()).toContain("bash, zsh or fish");
});
