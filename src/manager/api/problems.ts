/**
 * Errors as RFC 9457 problem details: `code` is AbsError's, `detail` what happened, `remedy` what
 * to do. docs/api.md "Errors" lists the codes of the API itself; the others are the commands'.
 */
import { AbsError } from "../../errors.ts";

export const PROBLEM_MEDIA_TYPE = "application/problem+json";

/** Where a code's ending does not tell its status. */
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  COMMAND_USAGE: 400,
  REQUEST_WRONG: 400,
  NOT_AUTHENTICATED: 401,
  LOGIN_FAILED: 401,
  NOT_ALLOWED: 403,
  CSRF_TOKEN_WRONG: 403,
  PATH_UNKNOWN: 404,
  METHOD_UNKNOWN: 405,
  TEMPLATE_VALUES: 422,
  CAPTURE_FORMAT: 422,
  VERSION_MOVED: 412,
  BODY_TOO_LONG: 413,
  MEDIA_TYPE_WRONG: 415,
  LOGIN_LOCKED: 429,
  TOO_MANY_REQUESTS: 429,
  INTERNAL: 500,
  OVERLOADED: 503,
};
const STATUS_OF_ENDING: readonly (readonly [string, number])[] = [
  ["_ABSENT", 404],
  ["_INVALID", 422],
];
/** What was asked cannot be done as things are. */
const CONFLICT = 409;

export const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  412: "Precondition Failed",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** With headers of its own: when to come again, how to log in. */
export class ApiProblem extends AbsError {
  constructor(
    code: string,
    message: string,
    remedy: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(code, message, remedy);
  }
}

export function statusOf(code: string): number {
  const ending = STATUS_OF_ENDING.find(([text]) => code.endsWith(text));
  return STATUS_OF_CODE[code] ?? ending?.[1] ?? CONFLICT;
}

/** What is no AbsError is ours to mend: whoever asked is told no more than that. */
export function problemResponse(thrown: unknown): Response {
  const { code, message, remedy } =
    thrown instanceof AbsError
      ? thrown
      : new AbsError("INTERNAL", "The manager failed at it.", "Its events say why.");
  const status = statusOf(code);
  const problem = {
    ...{ type: "about:blank", title: TITLES[status] ?? "Error", status },
    ...{ detail: message, code, remedy },
  };
  const own = thrown instanceof ApiProblem ? thrown.headers : {};
  const headers = { "Content-Type": PROBLEM_MEDIA_TYPE, "Cache-Control": "no-store", ...own };
  return new Response(JSON.stringify(problem), { status, headers });
}
