/**
 * Bodies of requests: never more is read than may come, and only what the operation takes.
 * docs/api.md "Requests".
 */
import { DOCUMENT_BYTES_MAX } from "../command-schemas.ts";
import { ApiProblem } from "./problems.ts";

/** As by SSH: 1 MiB; a JSON string of it may be longer by what is escaped. */
const JSON_BYTES_MAX = DOCUMENT_BYTES_MAX;

/** @throws ApiProblem BODY_TOO_LONG */
export async function readBytes(request: Request, bytesMax: number): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > bytesMax) throw tooLong(bytesMax);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of request.body ?? []) {
    size += part.length;
    if (size > bytesMax) throw tooLong(bytesMax);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** @throws ApiProblem BODY_TOO_LONG, REQUEST_WRONG */
export async function readText(request: Request, bytesMax: number): Promise<string> {
  const bytes = await readBytes(request, bytesMax);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ApiProblem("REQUEST_WRONG", "The body is no UTF-8 text.", "Send UTF-8.");
  }
}

/**
 * A JSON object; nothing is one without properties.
 * @throws ApiProblem BODY_TOO_LONG, REQUEST_WRONG, MEDIA_TYPE_WRONG
 */
export async function readJson(request: Request): Promise<Readonly<Record<string, unknown>>> {
  const text = await readText(request, JSON_BYTES_MAX);
  if (text === "") return {};
  requireMediaType(request, ["application/json"]);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ApiProblem("REQUEST_WRONG", "The body is no JSON.", "Send a JSON object.");
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new ApiProblem("REQUEST_WRONG", "The body is no JSON object.", "Send a JSON object.");
}

/**
 * A page of another site can send forms and plain text without asking; these it cannot.
 * @throws ApiProblem MEDIA_TYPE_WRONG
 */
export function requireMediaType(request: Request, wanted: readonly string[]): void {
  const [given = ""] = (request.headers.get("content-type") ?? "").split(";", 1);
  if (wanted.includes(given.trim().toLowerCase())) return;
  const remedy = `Send Content-Type: ${wanted.join(" or ")}.`;
  throw new ApiProblem("MEDIA_TYPE_WRONG", `The body is ${given || "of no type"}.`, remedy);
}

function tooLong(bytesMax: number): ApiProblem {
  const what = `The body is longer than ${bytesMax} bytes.`;
  return new ApiProblem("BODY_TOO_LONG", what, "Send less.", { Connection: "close" });
}
