/**
 * The paper's sample contract through the manager: `rsa256`, Fig. 6 with new times, negotiates and
 * carries traffic between two agents that have no other. docs/wire.md "rsa256".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mustRun, waitFor } from "../../src/lab/command.ts";
import { startNginx } from "../../src/lab/programs.ts";
import { CLIENT, PORTS, SERVER, stopwatch } from "./harness.ts";
import { ManagerBed, TENANT } from "./manager-bed.ts";

const MINUTE_MS = 60_000;
const SC_ID = "a156fe4c-27af-4692-b205-58ad201c5cf9";
const FILE_BYTES = 4 << 20;
const done = stopwatch("e2e rsa contract");
let bed: ManagerBed;

type Session = { readonly under: readonly { readonly scId: string }[] };

beforeAll(async () => {
  bed = await ManagerBed.open("rsa", [CLIENT, SERVER]);
  const now = Math.floor(Date.now() / 1000);
  const lifetime = { keyregen: now + 86_400, busytime: 600, idletime: 180 };
  const words = { "sc-id": SC_ID, encryption_algo: "rsa256", hash_algo: "sha256", lifetime };
  const scope = { agents: [], applications: [], groups: ["paper"] };
  const sample = { ...words, quickmode: "false", active: "true", "sc-lifetime": now + 90 * 86_400 };
  await bed.give(JSON.stringify({ ...sample, scope }), "contract", "add", "--tenant", TENANT);
  for (const { name } of [CLIENT, SERVER]) {
    await bed.enrol(name, "--tag", "ping", "--group", "paper");
  }
  for (const { name } of [CLIENT, SERVER]) await bed.startAgent(name);
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

/** Contracts of the client's sessions; undefined while there are others, or none. */
async function onlyOurs(): Promise<true | undefined> {
  const { sessions } = (await bed.site.agent(CLIENT.name).status()) as unknown as {
    readonly sessions: readonly Session[];
  };
  const used = sessions.flatMap(({ under }) => under.map(({ scId }) => scId));
  return used.length > 0 && used.every((scId) => scId === SC_ID) ? true : undefined;
}

test(
  "sessions are made under it and carry ping and TCP",
  async () => {
    const { events } = bed.site.agent(CLIENT.name);
    const isHere = () =>
      events.all().some((one) => one.event === "contract-active" && one["scId"] === SC_ID) ||
      undefined;
    await waitFor("the contract at the agent", isHere, MINUTE_MS);
    // The manager's own come back after a minute at most: it wants two that last long.
    for (const scId of await bed.contracts()) {
      if (scId !== SC_ID) await bed.ask("contract", "expire", scId, "--tenant", TENANT);
    }
    await bed.untilAnswered(CLIENT.name, SERVER);
    await waitFor("sessions under the sample only", onlyOurs, MINUTE_MS / 2);
    expect((await bed.ping(CLIENT.name, SERVER, 5)).stdout).toContain("5 received");
    const nginx = await bed.site.keep(startNginx(bed.site.host(SERVER.name), PORTS.http));
    await Bun.write(`${nginx.directory}/files/file`, new Uint8Array(FILE_BYTES));
    const url = `http://${SERVER.ipv4}:${PORTS.http}/file`;
    const curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", url];
    const { stdout } = await mustRun(bed.site.inside(CLIENT.name, curl), { timeoutMs: 20_000 });
    expect(stdout).toBe(`${FILE_BYTES}`);
    expect(await onlyOurs()).toBe(true);
  },
  3 * MINUTE_MS,
);
