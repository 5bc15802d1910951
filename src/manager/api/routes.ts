/**
 * From a request to a command of the table and its input: path, query, headers and body become the
 * properties of its schema. docs/api.md "Requests".
 */
import type { AdminCommand, CommandInput } from "../admin-command.ts";
import { ADMIN_COMMANDS } from "../admin-commands.ts";
import { propertyOf, valueOfTexts } from "../command-input.ts";
import { inputKind } from "../standard-input.ts";
import { ApiProblem } from "./problems.ts";
import { readBytes, readJson, readText, requireMediaType } from "./request-body.ts";

export const API_PREFIX = "/api/v1";
/** Of If-Match, what a policy is changed under. */
export const EXPECT_VERSION = "expect_version";

export type Route = {
  readonly command: AdminCommand;
  /** Properties that the path has. */
  readonly placeholders: readonly (readonly [name: string, text: string])[];
};

/** @throws ApiProblem PATH_UNKNOWN, METHOD_UNKNOWN, REQUEST_WRONG */
export function findRoute(method: string, pathname: string): Route {
  const found = ADMIN_COMMANDS.flatMap((command) => {
    const placeholders = matchPath(command.http.path, pathname.slice(API_PREFIX.length));
    return placeholders === undefined ? [] : [{ command, placeholders }];
  });
  const route = found.find(({ command }) => command.http.method === method);
  if (route !== undefined) return route;
  if (found.length === 0 || !pathname.startsWith(`${API_PREFIX}/`)) throw pathUnknown();
  throw methodUnknown(
    method,
    found.map(({ command }) => command.http.method),
  );
}

export function pathUnknown(): ApiProblem {
  const remedy = "/api/openapi.json says what there is.";
  return new ApiProblem("PATH_UNKNOWN", "There is nothing at this path.", remedy);
}

export function methodUnknown(method: string, known: readonly string[]): ApiProblem {
  const what = `There is no ${method.slice(0, 16)} of this path.`;
  const allowed = known.join(", ");
  return new ApiProblem("METHOD_UNKNOWN", what, `Use ${allowed}.`, { Allow: allowed });
}

/** Not checked yet. @throws ApiProblem of body, query and headers */
export async function readInput(
  { command, placeholders }: Route,
  request: Request,
): Promise<CommandInput> {
  const { standardInput, http } = command;
  const hasJson = http.method !== "GET" && standardInput?.mediaType === undefined;
  const body = hasJson ? await readJson(request) : {};
  const query = new URL(request.url).searchParams;
  if (hasJson && query.size > 0) {
    throw new ApiProblem("REQUEST_WRONG", "The request has a query.", "Put it into the body.");
  }
  const input: Record<string, unknown> = { ...body };
  for (const name of new Set(query.keys()))
    input[name] = queried(command, name, query.getAll(name));
  for (const [name, text] of placeholders) {
    if (Object.hasOwn(input, name)) throw twice(name);
    input[name] = valueOfTexts(propertyOf(command.input, name), [text]);
  }
  if (standardInput?.mediaType !== undefined) {
    const { mediaTypes, bytesMax, isText } = inputKind(standardInput);
    requireMediaType(request, mediaTypes);
    const read = isText ? readText : readBytes;
    input[standardInput.property] = await read(request, bytesMax);
  }
  const expected = expectedVersion(command, request);
  return expected === undefined ? input : { ...input, [EXPECT_VERSION]: expected };
}

function queried({ input }: AdminCommand, name: string, texts: readonly string[]): unknown {
  const schema = Object.hasOwn(input.properties, name) ? propertyOf(input, name) : undefined;
  if (texts.length > 1 && schema?.type !== "array") throw twice(name);
  return schema === undefined ? texts[0] : valueOfTexts(schema, texts);
}

/** RFC 9110 §13.1.1: `*` is any, a version is that one; no other tag was ever ours. */
function expectedVersion({ input }: AdminCommand, request: Request): number | undefined {
  const given = request.headers.get("if-match");
  if (given === null || given === "*" || !Object.hasOwn(input.properties, EXPECT_VERSION)) {
    return undefined;
  }
  const version = /^"([1-9]\d{0,9})(?:-text)?"$/.exec(given.trim())?.[1];
  if (version !== undefined) return Number(version);
  const what = "The If-Match is no ETag of this document.";
  throw new ApiProblem("VERSION_MOVED", what, "Send the ETag that GET of it has.");
}

function twice(name: string): ApiProblem {
  const what = `${name.slice(0, 64)} is given more than once.`;
  return new ApiProblem("REQUEST_WRONG", what, "Give it once.");
}

function matchPath(pattern: string, path: string): [string, string][] | undefined {
  const [wanted, given] = [pattern.split("/"), path.split("/")];
  if (wanted.length !== given.length) return undefined;
  const placeholders: [string, string][] = [];
  for (const [i, part] of wanted.entries()) {
    const text = given[i] ?? "";
    if (part.startsWith("{")) placeholders.push([part.slice(1, -1), decoded(text)]);
    else if (part !== text) return undefined;
  }
  return placeholders;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ApiProblem("REQUEST_WRONG", "The path is not encoded right.", "Use UTF-8 and %XX.");
  }
}
