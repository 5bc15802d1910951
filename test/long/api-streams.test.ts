/** Event streams of the manager's API for minutes: what is read stays, a deaf one is ended. */
import { expect, test } from "bun:test";
import { createConnection } from "node:net";
import { ApiSite } from "../manager/api-site.ts";

const PATH = "/api/v1/events";

test("a quiet stream lives on; one that is not read is ended, and what waits is bounded", async () => {
  const api = await ApiSite.open();
  try {
    const token = api.tokens.get("viewer");
    const headers = { Authorization: `Bearer ${token}` };
    const quiet = await fetch(`${api.url}${PATH}`, { headers });
    let heard = "";
    const reading = (async () => {
      for await (const part of quiet.body ?? []) heard += Buffer.from(part).toString();
    })();
    // Longer than a connection may stand still: heartbeats keep it.
    await Bun.sleep(40_000);
    expect(heard.match(/^: still here/gm)?.length).toBeGreaterThanOrEqual(3);
    const { hostname, port } = new URL(api.url);
    const deaf = createConnection(Number(port), hostname);
    deaf.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`);
    deaf.pause();
    let isEnded = false;
    deaf.on("error", () => {});
    const before = process.memoryUsage().rss;
    for (let second = 0; second < 60; second++) {
      for (let i = 0; i < 150; i++) api.site.write({ event: "test-event", text: "x".repeat(2000) });
      await Bun.sleep(1000);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
    expect(heard.match(/^data: /gm)?.length).toBeGreaterThan(5000);
    // What the kernel had taken is still there; then comes the end.
    deaf.on("close", () => {
      isEnded = true;
    });
    deaf.resume();
    for (let i = 0; !isEnded && i < 500; i++) await Bun.sleep(10);
    expect(isEnded).toBe(true);
    void reading.catch(() => {});
  } finally {
    await api.close();
  }
}, 180_000);
