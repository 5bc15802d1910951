/** One request to a controller's REST API: time-out, size limit, what went wrong as an AbsError. */
import { AbsError, messageOf } from "../errors.ts";

const ANSWER_MS = 5_000;
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;

export type RestAccess = {
  readonly url: string;
  /** HTTP Basic; undefined: none. */
  readonly login: { readonly user: string; readonly password: string } | undefined;
  /** PEM of who signs the controller's certificate; undefined: the machine's own list. */
  readonly ca: string | undefined;
};

/**
 * @returns the body's JSON; undefined when it is empty
 * @throws AbsError SWITCH_LOST (no answer), SWITCH_REFUSED (any status but 2xx, no JSON)
 */
export async function restRequest(
  { url, login, ca }: RestAccess,
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: unknown,
): Promise<unknown> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (login !== undefined) {
    const words = Buffer.from(`${login.user}:${login.password}`).toString("base64");
    headers["authorization"] = `Basic ${words}`;
  }
  let response: Response;
  let text: string;
  try {
    response = await fetch(url + path, {
      ...{ method, headers, redirect: "error", signal: AbortSignal.timeout(ANSWER_MS) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(ca === undefined ? {} : { tls: { ca } }),
    });
    text = await limitedText(response);
  } catch (thrown) {
    if (thrown instanceof AbsError) throw thrown;
    const what = `The controller at ${url} does not answer: ${messageOf(thrown)}.`;
    throw new AbsError("SWITCH_LOST", what, "It is asked again.", thrown);
  }
  if (!response.ok) throw refused(url, `${method} ${path} is answered ${response.status}`);
  // Ryu answers a change with an empty body.
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    if (method !== "GET") return undefined;
    throw refused(url, `${method} ${path} is answered with no JSON`);
  }
}

async function limitedText(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    parts.push(part);
    length += part.length;
    if (length > ANSWER_BYTES_MAX) throw refused(response.url, "it answers without end");
  }
  return new TextDecoder().decode(Buffer.concat(parts));
}

export function refused(url: string, why: string): AbsError {
  const remedy = "Look into the controller's log; `abs manager switch list` shows the state.";
  return new AbsError("SWITCH_REFUSED", `The controller at ${url} refuses: ${why}.`, remedy);
}
