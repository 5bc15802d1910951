/**
 * The manager's HTTP API as the pages use it (docs/api.md): JSON, the session's CSRF token with
 * whatever changes something, problems as errors. Whoever is logged in no more sees the sign-in.
 */
import type { SessionShown } from "../answers/session.ts";
import { Store } from "./store.ts";

const PREFIX = "/api/v1";
const ROLES = ["viewer", "operator", "administrator"] as const;
export type Role = (typeof ROLES)[number];

export type Session = { readonly who: string; readonly role: Role; readonly csrf: string };
/** `unknown`: nobody has asked yet. `reason`: why one must sign in (again). */
export type SessionState =
  | { readonly state: "unknown" }
  | { readonly state: "out"; readonly reason: string }
  | ({ readonly state: "in" } & Session);

export const session = new Store<SessionState>({ state: "unknown" });

/** RFC 9457, as the manager writes it. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly remedy: string,
  ) {
    super(message);
  }
}

export type Asking = {
  readonly json?: unknown;
  /** A document, as it is. */
  readonly yaml?: string;
  readonly capture?: ArrayBuffer;
  readonly headers?: Readonly<Record<string, string>>;
};

export function mayAct(role: Role): boolean {
  const now = session.get();
  return now.state === "in" && ROLES.indexOf(now.role) >= ROLES.indexOf(role);
}

/** @throws Problem */
export async function ask<T>(method: string, path: string, asking: Asking = {}): Promise<T> {
  const response = await send(method, path, asking);
  if (response.ok) return (await response.json()) as T;
  const problem = await problemOf(response);
  if (problem.code === "NOT_AUTHENTICATED" && session.get().state === "in") {
    session.set({ state: "out", reason: "Your session is over. Sign in again." });
  }
  throw problem;
}

async function send(method: string, path: string, asking: Asking): Promise<Response> {
  const { headers = {} } = asking;
  const now = session.get();
  const { type, body } = contentOf(asking);
  try {
    return await fetch(`${PREFIX}${path}`, {
      method,
      headers: {
        Accept: "application/json",
        ...(body === undefined ? {} : { "Content-Type": type }),
        ...(method !== "GET" && now.state === "in" ? { "X-CSRF-Token": now.csrf } : {}),
        ...headers,
      },
      ...(body === undefined ? {} : { body }),
    });
  } catch {
    const remedy = "Check that `abs manager serve` runs, then try again.";
    throw new Problem(0, "MANAGER_UNREACHABLE", "The manager does not answer.", remedy);
  }
}

function contentOf({ json, yaml, capture }: Asking) {
  if (capture !== undefined) return { type: "application/vnd.tcpdump.pcap", body: capture };
  if (yaml !== undefined) return { type: "application/yaml", body: yaml };
  return { type: "application/json", body: json === undefined ? undefined : JSON.stringify(json) };
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    const { code, detail, remedy } = (await response.json()) as Record<string, string>;
    return new Problem(response.status, code ?? "", detail ?? "It failed.", remedy ?? "");
  } catch {
    const what = `The answer is ${response.status}, and not the manager's.`;
    return new Problem(response.status, "ANSWER_WRONG", what, "Check the address.");
  }
}

/** Asks who is signed in, by the cookie that the browser keeps. */
export async function findSession(): Promise<void> {
  try {
    const { who, role, csrf_token: csrf = "" } = await ask<SessionShown>("GET", "/session");
    session.set({ state: "in", who: who.replace(/^account /, ""), role, csrf });
  } catch (thrown) {
    const isOut = thrown instanceof Problem && thrown.status === 401;
    session.set({ state: "out", reason: isOut ? "" : (thrown as Error).message });
  }
}

/** @throws Problem LOGIN_FAILED, LOGIN_LOCKED */
export async function signIn(name: string, password: string): Promise<void> {
  await ask("POST", "/session", { json: { name, password } });
  await findSession();
}

export async function signOut(): Promise<void> {
  await ask("DELETE", "/session").catch(() => {});
  session.set({ state: "out", reason: "You are signed out." });
}
