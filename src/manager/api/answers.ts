/**
 * Answers of commands as responses: JSON, or text for people where that is asked for, with an ETag.
 * docs/api.md "Answers".
 */
import { createHash } from "node:crypto";
import type { CommandAnswer } from "../admin-command.ts";

const TAG_CHARACTERS = 22;
/** What an answer says to people beside its text, percent-encoded: headers are ASCII. */
export const NOTE_HEADER = "Abs-Note";

export function answerResponse(request: Request, answer: CommandAnswer): Response {
  const isText = wantsText(request.headers.get("accept") ?? "");
  const body = `${isText ? answer.text : JSON.stringify(answer.value)}\n`;
  // Two forms of one thing are two entities (RFC 9110 §8.8.3.3).
  const tag = `"${answer.version ?? hashOf(body)}${isText ? "-text" : ""}"`;
  const headers = {
    ...{ ETag: tag, "Cache-Control": "private, no-cache", Vary: "Accept" },
    ...(answer.note === undefined ? {} : { [NOTE_HEADER]: encodeURIComponent(answer.note) }),
  };
  if (request.method === "GET" && isAmong(tag, request.headers.get("if-none-match"))) {
    return new Response(null, { status: 304, headers });
  }
  const type = isText ? "text/plain; charset=utf-8" : "application/json";
  return new Response(body, { headers: { ...headers, "Content-Type": type } });
}

function wantsText(accept: string): boolean {
  return accept.includes("text/plain") && !accept.includes("application/json");
}

function isAmong(tag: string, list: string | null): boolean {
  if (list === null) return false;
  const tags = list.split(",").map((one) => one.trim().replace(/^W\//, ""));
  return tags.includes(tag) || tags.includes("*");
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, TAG_CHARACTERS);
}
