/** Answers of the manager's API that take longer than a connection may stand still. docs/api.md. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inFolder } from "../../src/manager/manager-folder.ts";
import { ManagerProcess } from "../../src/manager/manager-process.ts";
import { ApiSite } from "../manager/api-site.ts";
import { CAPTURE_TEST_PROGRAM } from "../manager/manager-site.ts";

/** A connection stands still for 15 s at most, at the socket for 10 s. */
const SLOW = ["sh", "-c", 'sleep 20; exec "$@"', "sh", ...CAPTURE_TEST_PROGRAM];
const SSH = readFileSync(join(import.meta.dir, "../captures/ssh.pcap"));

test("a capture whose test takes 20 s is answered, by TCP and by the socket", async () => {
  const api = await ApiSite.open();
  try {
    await api.site.manager?.stop();
    const options = { ...api.site.options(), captureTests: { program: SLOW } };
    api.site.manager = await ManagerProcess.start(options);
    const path = "/api/v1/tenants/t1/signature-tests";
    const headers = {
      Authorization: `Bearer ${api.tokens.get("operator")}`,
      "Content-Type": "application/vnd.tcpdump.pcap",
    };
    const init = { method: "POST", headers, body: SSH };
    const answers = await Promise.all([
      fetch(`${api.url}${path}`, init),
      fetch(`http://manager${path}`, { ...init, unix: inFolder(api.site.dir, "socket") }),
    ]);
    for (const answer of answers) expect(await answer.json()).toMatchObject({ flows: 7 });
  } finally {
    await api.close();
  }
}, 120_000);
