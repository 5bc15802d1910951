/**
 * The console: one page, its script and its style, embedded in the program by the build
 * (src/console/, docs/console.md). What a page is, its script finds in the path. Nothing comes from
 * elsewhere, nothing is inline: the policy below says so to the browser.
 */
import { createHash } from "node:crypto";
import style from "../../../build/console.css.txt" with { type: "text" };
import script from "../../../build/console.js.txt" with { type: "text" };
import { methodUnknown, pathUnknown } from "./routes.ts";

const PREFIX = "/console/";
const HASH_CHARACTERS = 16;
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

type Asset = {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly zipped: Uint8Array<ArrayBuffer>;
  readonly type: string;
  readonly tag: string;
  /** The name has the hash of what it holds: it never changes. */
  readonly isFixed: boolean;
};

const ICON =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E" +
  "%3Ccircle cx='6' cy='8' r='4.5' fill='none' stroke='%231f5fbf' stroke-width='3'/%3E" +
  "%3Ccircle cx='13' cy='8' r='2.5' fill='%231f5fbf'/%3E%3C/svg%3E";

let made: ReadonlyMap<string, Asset> | undefined;

/** @returns undefined: the path is not the console's. @throws ApiProblem */
export function consoleResponse(request: Request, pathname: string): Response | undefined {
  const isRoot = pathname === "/" || pathname === "/console";
  if (!isRoot && !pathname.startsWith(PREFIX)) return undefined;
  if (request.method !== "GET") throw methodUnknown(request.method, ["GET"]);
  if (isRoot) return new Response(null, { status: 302, headers: { Location: PREFIX } });
  made ??= assets();
  const isAsset = pathname.startsWith(`${PREFIX}assets/`);
  const asset = made.get(isAsset ? pathname : PREFIX);
  if (asset === undefined) throw pathUnknown();
  return responseOf(request, asset);
}

function responseOf(request: Request, { body, zipped, type, tag, isFixed }: Asset): Response {
  const headers = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": isFixed ? "public, max-age=31536000, immutable" : "no-cache",
    ...{ ETag: tag, Vary: "Accept-Encoding" },
  };
  if (request.headers.get("if-none-match") === tag) {
    return new Response(null, { status: 304, headers });
  }
  const isZipped = /\bgzip\b/.test(request.headers.get("accept-encoding") ?? "");
  return new Response(isZipped ? zipped : body, {
    headers: {
      ...{ ...headers, "Content-Type": type },
      ...(isZipped ? { "Content-Encoding": "gzip" } : {}),
    },
  });
}

function assets(): ReadonlyMap<string, Asset> {
  const scriptPath = `${PREFIX}assets/console-${hashOf(script)}.js`;
  const stylePath = `${PREFIX}assets/console-${hashOf(style)}.css`;
  return new Map([
    [scriptPath, assetOf(script, "text/javascript; charset=utf-8", true)],
    [stylePath, assetOf(style, "text/css; charset=utf-8", true)],
    [PREFIX, assetOf(pageOf(scriptPath, stylePath), "text/html; charset=utf-8", false)],
  ]);
}

/** The style's id keeps cytoscape from adding an inline one, which the policy would refuse. */
function pageOf(scriptPath: string, stylePath: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>abs</title>
<link rel="icon" href="${ICON}">
<link rel="stylesheet" href="${stylePath}" id="__________cytoscape_stylesheet">
<script type="module" src="${scriptPath}"></script>
</head>
<body>
<div id="console"></div>
<noscript>The console needs JavaScript. The same is done by: abs manager --help</noscript>
</body>
</html>
`;
}

function assetOf(text: string, type: string, isFixed: boolean): Asset {
  const body = new TextEncoder().encode(text);
  return { body, zipped: Bun.gzipSync(body), type, tag: `"${hashOf(text)}"`, isFixed };
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, HASH_CHARACTERS);
}
