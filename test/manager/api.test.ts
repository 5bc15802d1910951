/** The HTTP API: who may what, versions, limits, audit. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createConnection } from "node:net";
import { ADMIN_COMMANDS } from "../../src/manager/admin-commands.ts";
import { ADMIN_ROLES, type AdminRole } from "../../src/manager/administrators.ts";
import { inFolder } from "../../src/manager/manager-folder.ts";
import { type Answer, ApiSite } from "./api-site.ts";

let api: ApiSite;

beforeAll(async () => {
  api = await ApiSite.open();
});

afterAll(() => api.close());

function codeOf({ status, body }: Answer): string {
  return `${status} ${(body as { code?: string }).code}`;
}

/** With something in each place: who may not is told so before that is looked at. */
function concrete(path: string): string {
  return `/api/v1${path.replaceAll(/\{\w+\}/g, "nobody")}`;
}

const matrix = ADMIN_COMMANDS.flatMap((command) =>
  ADMIN_ROLES.map((role) => [command.name, role, command] as const),
);
test.each(matrix)("%s for a %s", async (_, role, command) => {
  const { method, path } = command.http;
  const answer = await api.ask(method, concrete(path), {
    token: api.tokens.get(role),
    ...(method === "GET" ? {} : { json: { "no such property": true } }),
  });
  const may = ADMIN_ROLES.indexOf(role) >= ADMIN_ROLES.indexOf(command.role);
  if (may) expect(answer.status).toBeOneOf([200, 400, 404, 415, 422]);
  else expect(codeOf(answer)).toBe("403 NOT_ALLOWED");
});

test.each(ADMIN_COMMANDS.map((command) => [command.name, command] as const))(
  "%s for nobody",
  async (_, { http }) => {
    for (const token of ["", "abst_AAAA", "\u00e9"]) {
      const asking = { token, ...(http.method === "GET" ? {} : { json: {} }) };
      const answer = await api.ask(http.method, concrete(http.path), asking);
      expect(codeOf(answer)).toBe("401 NOT_AUTHENTICATED");
      expect(answer.headers.get("www-authenticate")).toContain("Bearer");
    }
  },
);

test("a token is good until it expires, is revoked, or its account is gone; a lesser account lessens it", async () => {
  await api.addAccount("otto", "operator");
  const make = async (json: object) => {
    const { body } = await api.ask("POST", "/api/v1/accounts/otto/tokens", { json });
    return body as { id: string; token: string; role: AdminRole };
  };
  const status = async (token: string) =>
    (await api.ask("GET", "/api/v1/status", { token })).status;
  const [brief, long, viewer] = [
    await make({ expires: "1h" }),
    await make({}),
    await make({ role: "viewer" }),
  ];
  expect([brief.role, long.role, viewer.role]).toEqual(["operator", "operator", "viewer"]);
  const more = await api.ask("POST", "/api/v1/accounts/otto/tokens", {
    json: { role: "administrator" },
  });
  expect(codeOf(more)).toBe("409 TOKEN_ROLE");
  expect(
    codeOf(await api.ask("POST", "/api/v1/accounts/otto/tokens", { json: { expires: "400d" } })),
  ).toBe("409 TOKEN_TOO_LONG");
  const set = { json: { all: true, trust: 1 } };
  expect((await api.ask("PATCH", "/api/v1/agents", { ...set, token: long.token })).status).toBe(
    200,
  );
  expect((await api.ask("PATCH", "/api/v1/agents", { ...set, token: viewer.token })).status).toBe(
    403,
  );
  api.site.skewSeconds = 3500;
  expect(await status(brief.token)).toBe(200);
  api.site.skewSeconds = 3600;
  expect([await status(brief.token), await status(long.token)]).toEqual([401, 200]);
  api.site.skewSeconds = 0;
  await api.ask("DELETE", `/api/v1/accounts/otto/tokens/${long.id}`);
  expect([await status(long.token), await status(viewer.token)]).toEqual([401, 200]);
  await api.ask("DELETE", "/api/v1/accounts/otto");
  expect(await status(viewer.token)).toBe(401);
});

test("a document is changed only by who has seen its newest version", async () => {
  const TEXT = "version: 1\nrules: []\n";
  const path = "/api/v1/tenants/t1/policy";
  const first = await api.ask("GET", path);
  const tag = String(first.headers.get("etag"));
  const put = (text: string, ifMatch: string) =>
    api.ask("PUT", path, { text, headers: { "If-Match": ifMatch } });
  expect((await put(TEXT, tag)).headers.get("etag")).not.toBe(tag);
  expect(codeOf(await put(TEXT, tag))).toBe("412 VERSION_MOVED");
  expect(codeOf(await put(TEXT, '"other"'))).toBe("412 VERSION_MOVED");
  expect((await put(TEXT, "*")).status).toBe(200);
  const newest = String((await api.ask("GET", path)).headers.get("etag"));
  const again = await api.ask("GET", path, { headers: { "If-None-Match": `"x", W/${newest}` } });
  expect([again.status, again.body]).toEqual([304, ""]);
  const rollback = { json: { version: 1, expect_version: 1 } };
  expect(codeOf(await api.ask("POST", `${path}/rollback`, rollback))).toBe("412 VERSION_MOVED");
  const asText = await api.ask("GET", path, { headers: { Accept: "text/plain" } });
  expect([asText.body, asText.headers.get("etag")]).toEqual([TEXT, newest.replace(/"$/, '-text"')]);
});

const wrong: readonly (readonly [string, string, string, Parameters<ApiSite["ask"]>[2], string])[] =
  [
    [
      "no JSON",
      "POST",
      "/tenants",
      { text: "{", headers: { "Content-Type": "application/json" } },
      "400 REQUEST_WRONG",
    ],
    ["no object", "POST", "/tenants", { json: ["t9"] }, "400 REQUEST_WRONG"],
    [
      "a form",
      "POST",
      "/tenants",
      { text: "name=t9", headers: { "Content-Type": "application/x-www-form-urlencoded" } },
      "415 MEDIA_TYPE_WRONG",
    ],
    [
      "plain text",
      "PUT",
      "/tenants/t1/policy",
      { text: "x", headers: { "Content-Type": "text/plain" } },
      "415 MEDIA_TYPE_WRONG",
    ],
    [
      "an unknown property",
      "POST",
      "/tenants",
      { json: { name: "t9", port: 1 } },
      "400 COMMAND_USAGE",
    ],
    [
      "__proto__",
      "POST",
      "/tenants",
      { text: '{"name":"t9","__proto__":{}}', headers: { "Content-Type": "application/json" } },
      "400 COMMAND_USAGE",
    ],
    ["a wrong type", "POST", "/tenants", { json: { name: 7 } }, "400 COMMAND_USAGE"],
    [
      "a number as text",
      "POST",
      "/tenants",
      { json: { name: "t9", peer_port: "7000" } },
      "400 COMMAND_USAGE",
    ],
    [
      "a name twice",
      "POST",
      "/accounts/viewer/tokens",
      { json: { name: "viewer" } },
      "400 REQUEST_WRONG",
    ],
    ["a query twice", "GET", "/audit?count=1&count=2", {}, "400 REQUEST_WRONG"],
    ["an unknown query", "GET", "/audit?number=1", {}, "400 COMMAND_USAGE"],
    ["a query beside a body", "POST", "/tenants?name=t9", { json: {} }, "400 REQUEST_WRONG"],
    ["half an escape", "GET", "/agents/%E0%A4%A", {}, "400 REQUEST_WRONG"],
    ["an absent tenant", "GET", "/tenants/t9/policy", {}, "404 TENANT_ABSENT"],
    ["a wrong policy", "PUT", "/tenants/t1/policy", { text: "hello" }, "422 POLICY_INVALID"],
    ["a tenant that is there", "POST", "/tenants", { json: { name: "t1" } }, "409 TENANT_EXISTS"],
    [
      "a short password",
      "POST",
      "/accounts",
      { json: { name: "n", role: "viewer", password: "short" } },
      "400 COMMAND_USAGE",
    ],
    ["no path", "GET", "/", {}, "404 PATH_UNKNOWN"],
    ["another method", "DELETE", "/status", {}, "405 METHOD_UNKNOWN"],
    [
      "too much",
      "PUT",
      "/tenants/t1/policy",
      { text: "#".repeat(1024 * 1024 + 1) },
      "413 BODY_TOO_LONG",
    ],
  ];
test.each(wrong)("%s", async (_, method, path, asking, code) => {
  const answer = await api.ask(method, `/api/v1${path}`, asking);
  expect(codeOf(answer)).toBe(code);
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
  expect(answer.body).toMatchObject({
    ...{ type: "about:blank", status: answer.status },
    ...{ title: expect.any(String), detail: expect.any(String), remedy: expect.any(String) },
  });
  expect(JSON.stringify(answer.body)).not.toContain("short");
});

test("a body that does not say how long it is ends where it may be no longer", async () => {
  const { hostname, port } = new URL(api.url);
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = createConnection(Number(port), hostname);
    let text = "";
    socket.on("data", (data) => {
      text += data.toString();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
    socket.write(
      "PUT /api/v1/tenants/t1/policy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" +
        "Content-Type: application/yaml\r\nConnection: close\r\n" +
        `Authorization: Bearer ${api.tokens.get("operator")}\r\n\r\n`,
    );
    const part = "#".repeat(65_536);
    for (let i = 0; i < 24 && !socket.destroyed; i++) {
      socket.write(`${part.length.toString(16)}\r\n${part}\r\n`);
    }
    socket.write("0\r\n\r\n");
  });
  expect(answer).toStartWith("HTTP/1.1 413");
  expect(answer).toContain("BODY_TOO_LONG");
});

test("what is changed by HTTP is in the audit log as words, with who and from where; no password is", async () => {
  await api.ask("POST", "/api/v1/accounts", {
    json: { name: "anna", role: "viewer", password: "a secret that is long" },
  });
  const { body } = await api.ask("GET", "/api/v1/audit?count=1000");
  const rows = body as Record<string, string>[];
  const added = rows.find(({ command }) => command === "account add anna --role viewer");
  expect(added).toMatchObject({ address: "127.0.0.1", outcome: "done" });
  expect(added?.["who"]).toMatch(/^account administrator, token [0-9a-f]{16}$/);
  const refused = rows.filter(({ outcome }) => outcome === "NOT_ALLOWED");
  expect(refused.map(({ command }) => command)).toContain("account password");
  expect(JSON.stringify(rows)).not.toContain("a secret");
  expect(rows.some(({ command }) => command?.startsWith("agents list"))).toBe(false);
});

test("headers keep browsers from making anything of an answer", async () => {
  for (const path of ["/api/v1/status", "/api/v1/nothing", "/api/openapi.json"]) {
    const { headers } = await api.ask("GET", path);
    expect(headers.get("content-security-policy")).toStartWith("default-src 'none'");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("cache-control")).toMatch(/no-cache|no-store/);
    expect(headers.get("access-control-allow-origin")).toBeNull();
  }
});

test("whoever may open the manager's folder is `local`, by its socket", async () => {
  const socket = inFolder(api.site.dir, "socket");
  const ask = (path: string) => fetch(`http://manager${path}`, { unix: socket } as RequestInit);
  expect(await (await ask("/api/v1/session")).json()).toEqual({
    ...{ who: "local", role: "administrator" },
  });
  const { mode } = await Bun.file(socket).stat();
  expect(mode & 0o777).toBe(0o600);
});

test("one address that asks too often is told when to come again, and served then", async () => {
  const answers = await Promise.all(
    Array.from({ length: 500 }, () => api.askOnce("GET", "/api/v1/session", { token: "" })),
  );
  const refused = answers.filter(({ status }) => status === 429);
  expect(refused.length).toBeGreaterThan(50);
  expect(Number(refused[0]?.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  await Bun.sleep(1000 * Number(refused[0]?.headers.get("retry-after")));
  expect((await api.askOnce("GET", "/api/v1/session")).status).toBe(200);
});
