/**
 * What an administrator's `ssh manager WORDS` says, as words: OpenSSH joins its arguments with
 * spaces, so quotes are needed for a word with spaces. Quotes and backslash mean what they mean in
 * POSIX; nothing else means anything, as nothing is ever given to a shell: no variable, no glob, no
 * pipe. Between double quotes a backslash guards whatever follows it. docs/manager-channel.md
 * "Commands".
 */

export const COMMAND_BYTES_MAX = 16 * 1024;
export const COMMAND_WORDS_MAX = 256;

export type CommandWords = { readonly words: readonly string[] } | { readonly complaint: string };

const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/;

export function parseWords(command: string): CommandWords {
  if (Buffer.byteLength(command) > COMMAND_BYTES_MAX) return { complaint: "it is too long" };
  if (/[^\P{Cc}\t\n]/u.test(command)) return { complaint: "it has control characters" };
  const reader = new WordReader(command);
  const words: string[] = [];
  for (;;) {
    const word = reader.next();
    if (reader.isUnclosed) return { complaint: "a quote is not closed" };
    if (word === undefined) return { words };
    words.push(word);
    if (words.length > COMMAND_WORDS_MAX) return { complaint: "it has too many words" };
  }
}

class WordReader {
  isUnclosed = false;
  private at = 0;

  constructor(private readonly text: string) {}

  next(): string | undefined {
    while (isSpace(this.text[this.at])) this.at++;
    if (this.at >= this.text.length) return undefined;
    let word = "";
    for (;;) {
      const letter = this.text[this.at];
      if (letter === undefined || isSpace(letter)) return word;
      this.at++;
      if (letter === "'" || letter === '"') word += this.quoted(letter);
      else word += letter === "\\" ? this.escaped() : letter;
    }
  }

  private quoted(quote: string): string {
    let word = "";
    for (;;) {
      const letter = this.text[this.at++];
      if (letter === undefined) {
        this.isUnclosed = true;
        return word;
      }
      if (letter === quote) return word;
      word += letter === "\\" && quote === '"' ? this.escaped() : letter;
    }
  }

  private escaped(): string {
    const letter = this.text[this.at++];
    if (letter === undefined) this.isUnclosed = true;
    return letter ?? "";
  }
}

function isSpace(letter: string | undefined): boolean {
  return letter === " " || letter === "\t" || letter === "\n";
}

/** Words as one command that parseWords() takes apart again. */
export function joinWords(words: readonly string[]): string {
  return words
    .map((word) => (PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ");
}
