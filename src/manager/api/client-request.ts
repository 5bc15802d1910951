/** A command's input as a request: the other end of routes.ts. docs/api.md "Requests". */
import type { AdminCommand, CommandInput } from "../admin-command.ts";
import { API_PREFIX } from "./routes.ts";

export type ClientRequest = {
  /** With its query. */
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
};

/** @param input checked */
export function requestOf(command: AdminCommand, input: CommandInput): ClientRequest {
  const { http, standardInput } = command;
  const left = new Map(Object.entries(input));
  const path = http.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = encodeURIComponent(String(left.get(name)));
    left.delete(name);
    return value;
  });
  const { method } = http;
  if (standardInput?.mediaType !== undefined) {
    const given = left.get(standardInput.property);
    const body = given instanceof Uint8Array ? new Uint8Array(given) : String(given);
    left.delete(standardInput.property);
    const headers = { "Content-Type": standardInput.mediaType };
    return { path: `${API_PREFIX}${path}${queryOf(left)}`, method, headers, body };
  }
  if (method === "GET") {
    return { path: `${API_PREFIX}${path}${queryOf(left)}`, method, headers: {} };
  }
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify(Object.fromEntries(left));
  return { path: `${API_PREFIX}${path}`, method, headers, body };
}

function queryOf(properties: ReadonlyMap<string, unknown>): string {
  const query = new URLSearchParams();
  for (const [name, value] of properties) {
    for (const one of [value].flat()) query.append(name, String(one));
  }
  return query.size === 0 ? "" : `?${query}`;
}
