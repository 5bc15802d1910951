/**
 * The other end of the HTTP API, as `abs manager …` uses it: words are read and checked here, by
 * the same table as at the manager's, which answers with what is to be printed. docs/api.md.
 */
import { AbsError, exitCodeOf, messageOf } from "../../errors.ts";
import type { ExecResult } from "../../ssh/ssh-login.ts";
import { complaintOf } from "../command-runner.ts";
import { inputOfWords, readWords } from "../command-words.ts";
import { standardInputOf } from "../standard-input.ts";
import { NOTE_HEADER } from "./answers.ts";
import { requestOf } from "./client-request.ts";

/** A tenant's ledger may take a while to start. */
const ANSWER_MS_MAX = 120_000;

/** Where the API is: the socket of this machine, or a URL with what opens it. */
export type ApiTarget =
  | { readonly socket: string }
  | { readonly url: string; readonly token: string; readonly ca: string | undefined };

/** What is wrong is a complaint with an exit code, as over SSH. */
export async function askApi(
  target: ApiTarget,
  words: readonly string[],
  input: () => Promise<Uint8Array>,
): Promise<ExecResult> {
  try {
    const read = readWords(words);
    const { command, isJson } = read;
    const { standardInput } = command;
    const given = standardInput && standardInputOf(standardInput, await input());
    const request = requestOf(command, inputOfWords(read, given));
    const headers = { ...request.headers, Accept: isJson ? "application/json" : "text/plain" };
    const { text, note } = await answerOf(target, request.path, { ...request, headers });
    return { code: 0, output: text, complaint: note === undefined ? "" : `${note}\n` };
  } catch (thrown) {
    return { code: exitCodeOf(thrown), output: "", complaint: complaintOf(thrown) };
  }
}

/** `note`: for people, beside the text. */
type Answer = { readonly text: string; readonly note: string | undefined };

/** @throws AbsError of the manager, MANAGER_UNREACHABLE, MANAGER_ANSWER_WRONG */
async function answerOf(target: ApiTarget, path: string, init: RequestInit): Promise<Answer> {
  const isLocal = "socket" in target;
  const url = `${isLocal ? "http://manager" : target.url}${path}`;
  const headers = {
    ...(init.headers as Record<string, string>),
    ...(isLocal ? {} : { Authorization: `Bearer ${target.token}` }),
  };
  const way = isLocal ? { unix: target.socket } : tlsOf(target.ca);
  const signal = AbortSignal.timeout(ANSWER_MS_MAX);
  let response: Response;
  let text: string;
  try {
    // A redirect would carry the token to somewhere else.
    response = await fetch(url, { ...init, ...way, headers, signal, redirect: "error" });
    text = await response.text();
  } catch (cause) {
    const place = isLocal ? target.socket : target.url;
    const what = `The manager at ${place} cannot be reached: ${messageOf(cause)}.`;
    const remedy = "Check the address, its certificate (--api-ca), and that the manager runs.";
    throw new AbsError("MANAGER_UNREACHABLE", what, remedy, cause);
  }
  if (response.ok) return { text, note: noteOf(response) };
  throw problemOf(text, response.status);
}

function noteOf({ headers }: Response): string | undefined {
  const note = headers.get(NOTE_HEADER);
  try {
    return note === null ? undefined : decodeURIComponent(note);
  } catch {
    return undefined; // not of a manager
  }
}

function tlsOf(ca: string | undefined): { readonly tls?: { readonly ca: string } } {
  return ca === undefined ? {} : { tls: { ca } };
}

function problemOf(text: string, status: number): AbsError {
  try {
    const { code, detail, remedy } = JSON.parse(text) as Record<string, unknown>;
    if (typeof code === "string" && typeof detail === "string") {
      return new AbsError(code, detail, String(remedy ?? ""));
    }
  } catch {
    // Somebody else's answer: a proxy, another program.
  }
  const what = `The answer is ${status}, and not from a manager.`;
  return new AbsError("MANAGER_ANSWER_WRONG", what, "Check the address.");
}
