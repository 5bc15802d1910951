/** Contracts with given terms: Fig. 6 of the paper, as it is and with new times. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import type { ScId } from "../../src/chain/ledger-units.ts";
import { secretCommitment } from "../../src/chain/secret-commitment.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { askContract } from "../../src/node/control-server.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { fileIn } from "../../src/node/node-folder.ts";
import { RsaKeyPair } from "../../src/session/rsa-wrap.ts";
import { ManagerSite } from "./manager-site.ts";

const FIG_6 = `{
  "sc-id": "a156fe4c-27af-4692-b205-58ad201c5cf9",
  "encryption_algo": "rsa256",
  "hash_algo": "sha256",
  "quickmode": "false",
  "active": "false",
  "sc-lifetime": 1551225600,
  "lifetime": { "keyregen": 1546214400, "busytime": 600, "idletime": 180 }
}`;
const SC_ID = "a156fe4c-27af-4692-b205-58ad201c5cf9" as ScId;
/** Of a contract's secret: 32 bytes, then the private key. */
const SHARED_BYTES = 32;
let site: ManagerSite;
const dirs: string[] = [];

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  for (const name of ["a", "b"]) {
    const dir = site.freshDir();
    await site.enrol(await site.invite(name), dir);
    dirs.push(dir);
  }
});

afterAll(() => site.close());

function add(text: string) {
  const input = new Uint8Array(Buffer.from(text));
  return askManager({ dir: site.dir }, ["contract", "add", "--tenant", "t1"], input);
}

function fresh(change: Record<string, unknown> = {}): string {
  const now = epochNow();
  const words = JSON.parse(FIG_6) as Record<string, unknown>;
  const lifetime = { keyregen: now + 3600, busytime: 600, idletime: 180 };
  return JSON.stringify({
    ...{ ...words, active: "true", "sc-lifetime": now + 86_400, lifetime },
    ...change,
  });
}

const refused: readonly (readonly [string, string, string])[] = [
  ["Fig. 6 as it is printed: read, and over", FIG_6, "CONTRACT_EXPIRED"],
  ["expired by its word", fresh({ active: "expired" }), "CONTRACT_EXPIRED"],
  ["no JSON", "sc-id: x", "CONTRACT_INVALID"],
  ["a field too much", fresh({ secret: "00" }), "CONTRACT_INVALID"],
  ["another algorithm", fresh({ encryption_algo: "rsa512" }), "CONTRACT_INVALID"],
  ["with a generation", fresh({ generation: 1 }), "CONTRACT_INVALID"],
  [
    "a keyregen that is past",
    fresh({ lifetime: { keyregen: 1546214400, busytime: 600, idletime: 180 } }),
    "CONTRACT_INVALID",
  ],
];

test.each(refused)("refused: %s", async (_, text, code) => {
  const said = await add(text);
  expect([said.code === 0, said.output]).toEqual([false, ""]);
  expect(said.complaint).toContain(`[${code}]`);
});

test("with new times it is issued: on the ledger, and its private key with those in scope only", async () => {
  const scope = { agents: ["a"], applications: [], groups: [] };
  expect(await add(fresh({ scope }))).toMatchObject({ code: 0, output: `${SC_ID}\n` });
  expect((await add(fresh())).complaint).toContain("[CONTRACT_EXISTS]");
  const [mine, other] = await Promise.all(dirs.map((dir) => fetchState(dir, loadProvisioning)));
  expect(other?.contracts.some(({ entry }) => entry.scId === SC_ID)).toBe(false);
  const held = mine?.contracts.find(({ entry }) => entry.scId === SC_ID);
  const [first] = held?.secrets ?? [];
  const secret = first?.secret ?? new Uint8Array(0);
  const pair = RsaKeyPair.fromDer(secret.subarray(SHARED_BYTES));
  const wrapped = pair.wrap(new Uint8Array(SHARED_BYTES).fill(7));
  expect(pair.unwrap(wrapped)).toEqual(new Uint8Array(SHARED_BYTES).fill(7));
  const socket = fileIn(join(site.dir, "ledgers", "t1"), "control");
  let sealed = await askContract(socket, SC_ID);
  while (sealed === undefined) sealed = await askContract(socket, SC_ID);
  expect(sealed).toMatchObject({ encryptionAlgo: "rsa256", scope });
  expect(sealed.secretCommitment).toBe(secretCommitment(SC_ID, 1, secret));
  // Its next secret has another key.
  await site.command("contract", "regenerate", SC_ID, "--tenant", "t1");
  const again = await fetchState(dirs[0] as string, loadProvisioning);
  const next = again.contracts.find(({ entry }) => entry.scId === SC_ID)?.secrets.at(-1);
  expect(next?.generation).toBe(2);
  expect(next?.secret.subarray(SHARED_BYTES)).not.toEqual(secret.subarray(SHARED_BYTES));
}, 60_000);
