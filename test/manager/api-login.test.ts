/** Logging in with a password: sessions, CSRF, lock-out. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Answer, ApiSite, PASSWORD } from "./api-site.ts";

const PATH = "/api/v1/session";
let api: ApiSite;

beforeAll(async () => {
  api = await ApiSite.open();
});

afterAll(() => api.close());

function logIn(name: string, password: string, headers: Record<string, string> = {}) {
  return api.ask("POST", PATH, { token: "", json: { name, password }, headers });
}

function codeOf({ status, body }: Answer): string {
  return `${status} ${(body as { code?: string }).code}`;
}

async function session(name: string) {
  const answer = await logIn(name, PASSWORD);
  expect(answer.status).toBe(200);
  const [cookie = ""] = String(answer.headers.get("set-cookie")).split(";", 1);
  return { cookie, csrf: String((answer.body as Record<string, unknown>)["csrf_token"]) };
}

/** As a page of this manager does it. */
function asPage({ cookie, csrf }: { cookie: string; csrf: string }, more = {}) {
  return { token: "", headers: { Cookie: cookie, "X-CSRF-Token": csrf, ...more } };
}

const change = { json: { all: true, trust: 3 } };

test("the cookie is for the browser alone, and not for other sites", async () => {
  const cookie = String((await logIn("viewer", PASSWORD)).headers.get("set-cookie"));
  expect(cookie).toMatch(
    /^abs_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43200$/,
  );
});

test("a session looks with its cookie, and changes with its CSRF token too", async () => {
  const own = await session("operator");
  const other = await session("operator");
  const looked = await api.ask("GET", PATH, asPage({ ...own, csrf: "" }));
  expect(looked.body).toMatchObject({ who: "account operator", role: "operator" });
  const changed = await api.ask("PATCH", "/api/v1/agents", { ...change, ...asPage(own) });
  expect(changed.status).toBe(200);
  for (const csrf of ["", "x", other.csrf, `${own.csrf}x`]) {
    const refused = await api.ask("PATCH", "/api/v1/agents", {
      ...change,
      ...asPage({ ...own, csrf }),
    });
    expect(codeOf(refused)).toBe("403 CSRF_TOKEN_WRONG");
  }
});

const elsewhere: readonly Record<string, string>[] = [
  { Origin: "https://evil.example" },
  { Origin: "null" },
  { "Sec-Fetch-Site": "cross-site" },
  { "Sec-Fetch-Site": "same-site" },
];
test.each(elsewhere)(
  "a page of another site cannot change anything, nor log in: %p",
  async (headers) => {
    const own = await session("operator");
    const refused = await api.ask("PATCH", "/api/v1/agents", {
      ...change,
      ...asPage(own, headers),
    });
    expect(codeOf(refused)).toBe("403 CSRF_TOKEN_WRONG");
    expect(codeOf(await logIn("operator", PASSWORD, headers))).toBe("403 CSRF_TOKEN_WRONG");
  },
);

test("our own page is known by its origin", async () => {
  const own = await session("operator");
  const page = asPage(own, { Origin: api.url, "Sec-Fetch-Site": "same-origin" });
  expect((await api.ask("PATCH", "/api/v1/agents", { ...change, ...page })).status).toBe(200);
});

test("a session ends by logging out, by an hour of rest, after twelve, with the password, with the account", async () => {
  await api.addAccount("vera", "viewer");
  const status = async (own: { cookie: string; csrf: string }) =>
    (await api.ask("GET", PATH, asPage(own))).status;
  const [left, rested] = [await session("vera"), await session("vera")];
  const out = await api.ask("DELETE", PATH, asPage(left));
  expect(out.headers.get("set-cookie")).toContain("Max-Age=0");
  expect([await status(left), await status(rested)]).toEqual([401, 200]);
  api.site.skewSeconds = 3600;
  expect(await status(rested)).toBe(401);
  const busy = await session("vera");
  for (let i = 1; i <= 12; i++) {
    api.site.skewSeconds += 3500;
    expect(await status(busy)).toBe(200);
  }
  api.site.skewSeconds += 1300;
  expect(await status(busy)).toBe(401);
  api.site.skewSeconds = 0;
  const changed = await session("vera");
  const password = { json: { password: "another long password" } };
  await api.ask("PUT", "/api/v1/accounts/vera/password", password);
  expect(await status(changed)).toBe(401);
  expect(codeOf(await logIn("vera", PASSWORD))).toBe("401 LOGIN_FAILED");
  const own = await logIn("vera", password.json.password);
  const [cookie = ""] = String(own.headers.get("set-cookie")).split(";", 1);
  await api.ask("DELETE", "/api/v1/accounts/vera");
  expect(await status({ cookie, csrf: "" })).toBe(401);
});

test("a wrong password and a name that is nobody's are answered alike", async () => {
  await api.addAccount("rosa", "viewer");
  const [known, unknown] = [await logIn("rosa", "wrong"), await logIn("nobody", "wrong")];
  expect(codeOf(known)).toBe("401 LOGIN_FAILED");
  expect(unknown.body).toEqual(known.body);
});

test("five wrong passwords lock an account out, with the right one too; others are not", async () => {
  await api.addAccount("lola", "viewer");
  for (let i = 0; i < 5; i++)
    expect(codeOf(await logIn("lola", `wrong ${i}`))).toBe("401 LOGIN_FAILED");
  const locked = await logIn("lola", PASSWORD);
  expect(codeOf(locked)).toBe("429 LOGIN_LOCKED");
  expect(Number(locked.headers.get("retry-after"))).toBeWithin(25, 31);
  expect((await logIn("operator", PASSWORD)).status).toBe(200);
  const rows = (await api.ask("GET", "/api/v1/audit")).body as Record<string, string>[];
  const own = rows.filter(({ who }) => who === "account lola").map(({ outcome }) => outcome);
  expect(own).toEqual(["LOGIN_LOCKED", ...Array(5).fill("LOGIN_FAILED")]);
});

test("a flood of log-ins is bounded: some are told to come again", async () => {
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => logIn(`n${i}`, "wrong")));
  const codes = new Set(answers.map(codeOf));
  expect([...codes].sort()).toEqual(["401 LOGIN_FAILED", "503 OVERLOADED"]);
});
