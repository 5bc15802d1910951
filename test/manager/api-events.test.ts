/** Events of the manager as server-sent events, and where the API listens at all. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createConnection, type Socket } from "node:net";
import { ApiServer } from "../../src/manager/api/server.ts";
import { ManagerProcess } from "../../src/manager/manager-process.ts";
import { EventLog } from "../../src/observe/event-log.ts";
import { ApiSite } from "./api-site.ts";
import { codeOf } from "./manager-site.ts";
import { TEST_CERTIFICATE, TEST_KEY } from "./tls-fixture.ts";

const PATH = "/api/v1/events";
let api: ApiSite;

beforeAll(async () => {
  api = await ApiSite.open();
});

afterAll(() => api.close());

class Reader {
  text = "";
  isOver = false;
  private constructor(private readonly abort: AbortController) {}

  static async open(headers: Record<string, string> = {}, role = "viewer"): Promise<Reader> {
    const reader = new Reader(new AbortController());
    const authorization = `Bearer ${api.tokens.get(role as "viewer")}`;
    const response = await fetch(`${api.url}${PATH}`, {
      headers: { Authorization: authorization, ...headers },
      signal: reader.abort.signal,
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    void reader.#read(response).catch(() => {});
    await reader.until(() => reader.text.includes("retry:"));
    return reader;
  }

  async #read(response: Response): Promise<void> {
    for await (const part of response.body ?? []) this.text += Buffer.from(part).toString();
    this.isOver = true;
  }

  async until(isDone: () => boolean): Promise<void> {
    for (let i = 0; !isDone(); i++) {
      if (i > 500) throw new Error(`it does not come: ${this.text}`);
      await Bun.sleep(10);
    }
  }

  events(): Record<string, unknown>[] {
    const data = [...this.text.matchAll(/^data: (.*)$/gm)];
    return data.map(([, json = ""]) => JSON.parse(json) as Record<string, unknown>);
  }

  close(): void {
    this.abort.abort();
  }
}

function happen(reason: string): void {
  api.site.write({ event: "test-event", reason });
}

test("what happens is told, and after a loss of the connection what was missed", async () => {
  const first = await Reader.open();
  happen("one\nline");
  await first.until(() => first.events().length === 1);
  expect(first.events()[0]).toMatchObject({ event: "test-event", reason: "one\nline" });
  expect(first.text).toContain("event: test-event\n");
  const id = /^id: (.*)$/m.exec(first.text)?.[1] ?? "";
  first.close();
  happen("two");
  const second = await Reader.open({ "Last-Event-ID": id });
  await second.until(() => second.events().length === 1);
  expect(second.events()[0]).toMatchObject({ reason: "two" });
  const stranger = await Reader.open({ "Last-Event-ID": "0.0" });
  happen("three");
  await stranger.until(() => stranger.events().length === 1);
  expect(stranger.events()[0]).toMatchObject({ reason: "three" });
  for (const reader of [second, stranger]) reader.close();
});

test("a flood is cut to what a reader may have, and the rest is counted", async () => {
  const reader = await Reader.open();
  for (let i = 0; i < 1000; i++) happen(`${i}`);
  await Bun.sleep(1100); // the next second of the stream
  happen("last");
  await reader.until(() => reader.text.includes("last"));
  const skipped = reader.events().filter(({ event }) => event === "events-skipped");
  const told = reader.events().filter(({ event }) => event === "test-event");
  const count = skipped.reduce((sum, one) => sum + Number(one["count"]), 0);
  expect(told.length).toBeLessThan(250);
  expect(told.length + count).toBe(1001);
  reader.close();
});

test("whose token is revoked hears nothing more, at once", async () => {
  await api.addAccount("emma", "viewer");
  const made = await api.site.command("account", "token", "create", "emma");
  const reader = await Reader.open({ Authorization: `Bearer ${made["token"]}` });
  await api.ask("DELETE", `/api/v1/accounts/emma/tokens/${made["id"]}`);
  await reader.until(() => reader.isOver);
});

/** One that asks for events and never reads. */
function deafReader(): Promise<Socket> {
  const { hostname, port } = new URL(api.url);
  return new Promise((resolve) => {
    const socket = createConnection(Number(port), hostname, () => {
      socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer `);
      socket.write(`${api.tokens.get("viewer")}\r\n\r\n`);
      socket.pause();
      resolve(socket);
    });
  });
}

test("readers that never read: no more than 32 are served, and their room is free when they go", async () => {
  const sockets = await Promise.all(Array.from({ length: 32 }, deafReader));
  const isFull = async () => (await api.ask("GET", PATH, { aborts: true })).status === 503;
  for (let i = 0; !(await isFull()); i++) {
    if (i > 100) throw new Error("it is never full");
    await Bun.sleep(20);
  }
  for (const socket of sockets) socket.destroy();
  for (let i = 0; await isFull(); i++) {
    if (i > 200) throw new Error("it is full for ever");
    await Bun.sleep(20);
  }
});

const places = [
  { host: "0.0.0.0", port: 0 },
  { host: "::", port: 0 },
  { host: "10.0.0.1", port: 0 },
  { host: "127.0.0.1.example.com", port: 0 },
];
test.each(places)("without TLS it does not listen at %p", async (place) => {
  const state = api.site.manager?.state;
  expect(state).toBeDefined();
  const options = { ...api.site.options(), api: place };
  expect(await codeOf(ManagerProcess.start(options))).toBe("API_NEEDS_TLS");
});

test("with TLS it does, and its cookie is for TLS alone", async () => {
  await api.site.manager?.stop();
  const tls = { cert: TEST_CERTIFICATE, key: TEST_KEY };
  const options = { ...api.site.options(), api: { host: "0.0.0.0", port: 0, tls } };
  const manager = await ManagerProcess.start(options);
  api.site.manager = manager;
  const ask = (init: object = {}) =>
    fetch(`https://127.0.0.1:${manager.apiPort}/api/v1/session`, {
      ...init,
      tls: { ca: TEST_CERTIFICATE },
    } as RequestInit);
  const headers = { Authorization: `Bearer ${api.tokens.get("viewer")}` };
  const answer = await ask({ headers });
  expect([answer.status, answer.headers.get("strict-transport-security")]).toEqual([
    200,
    "max-age=31536000",
  ]);
  const json = { "Content-Type": "application/json" };
  const body = JSON.stringify({ name: "viewer", password: "correct horse battery" });
  const opened = await ask({ method: "POST", headers: json, body });
  expect(opened.headers.get("set-cookie")).toMatch(/^__Host-abs_session=.*; Secure$/);
});

test("a certificate that is none is refused in words", async () => {
  const events = new EventLog(api.site.eventFile, { role: "manager" });
  const place = { host: "127.0.0.1", port: 0, tls: { cert: "x", key: "y" } };
  const { state } = api.site.manager ?? {};
  const commands = { state } as unknown as ConstructorParameters<typeof ApiServer>[0]["commands"];
  const server = new ApiServer({ commands, events, socket: `${api.site.base}/s`, place });
  expect(() => server.listen()).toThrow("The API cannot listen");
  await server.stop();
  events.close();
});
