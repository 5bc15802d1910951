/**
 * Agents' SSH, ledger, VRF and session keys, certificates, and the secrets that sessions are made
 * from, are rotated under traffic: nothing is lost by it, the ledger's nodes know each other by the
 * new certificates, sign with the new keys, and agree on blocks as before: of two, both have to.
 * docs/manager.md "Keys".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { nodeIdOf } from "../../src/chain/message-signing.ts";
import { agentFile } from "../../src/channel/agent-folder.ts";
import { waitFor } from "../../src/lab/command.ts";
import { loadKeys } from "../../src/node/node-keys.ts";
import { CLIENT, SERVER, stopwatch } from "./harness.ts";
import { dropsOfPackets, rotateAllKeys } from "./key-rounds.ts";
import { runLoad } from "./load.ts";
import { type ManagerBed, TENANT } from "./manager-bed.ts";
import { openOutageBed } from "./manager-outage.ts";

const MINUTE_MS = 60_000;
const VMS = [CLIENT, SERVER];
const [SECONDS, RATE, ROUNDS] = [15, 2_000, 3];
const done = stopwatch("e2e key rotation");

let bed: ManagerBed;

beforeAll(async () => {
  bed = await openOutageBed("keys");
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

type Node = { readonly height: number; readonly peers: readonly { is_connected: boolean }[] };

async function nodeOf(vm: string): Promise<Node> {
  const words = ["ledger", "status", "--dir", bed.folder(vm), "--output", "json"];
  return JSON.parse(await bed.abs(vm, ...words)) as Node;
}

test(
  "SSH, host, ledger, VRF and session keys, secrets rotate thrice under load: nothing is lost",
  async () => {
    const to = { to: SERVER.ipv4, size: 22 };
    const plan = { ...to, port: 7_000, kind: "send", rate: RATE, seconds: SECONDS, flows: 16 };
    const loading = runLoad(bed.site, plan as never);
    const flows = { ...to, port: 7_001, kind: "first", rate: 100, flows: 1_000 } as const;
    const beginning = runLoad(bed.site, flows);
    for (let round = 1; round <= ROUNDS; round++) await rotateAllKeys(bed, round);
    const [turn, fresh] = [await loading, await beginning];
    console.log(`  ${ROUNDS} rotations; ${turn.offered} packets, ${fresh.delivered} flows`);
    expect(turn.offered).toBeGreaterThan((RATE * SECONDS) / 2);
    expect(turn.delivered + turn.ownDrops).toBe(turn.offered);
    expect(dropsOfPackets(turn.agentDrops)).toEqual([]);
    expect(fresh.delivered + fresh.ownDrops).toBe(flows.flows);
  },
  3 * MINUTE_MS,
);

/** What an agent holds beside the keys in use, and whether it is still known by its first id. */
function heldBy(vm: string): { readonly more: readonly string[]; readonly isFirst: boolean } {
  const file = agentFile(bed.folder(vm), "keys");
  const kept = JSON.parse(readFileSync(file, "utf8")) as Record<string, string>;
  const { nodeId, ledger } = loadKeys(file);
  const more = Object.keys(kept).filter((name) => /_(next|old)$/.test(name));
  return { more, isFirst: nodeIdOf(ledger.signer.publicKey) === nodeId };
}

test(
  "no old key is left, and no height was without its key: the chain holds from its beginning",
  async () => {
    for (const { name } of VMS) {
      const isClean = () => (heldBy(name).more.length === 0 ? true : undefined);
      await waitFor(`${name} to destroy its old keys`, isClean, MINUTE_MS, 100);
      expect(heldBy(name).isFirst).toBe(false);
      const dir = bed.folder(name);
      const told = await bed.abs(name, "ledger", "verify", "--dir", dir, "--output", "json");
      expect(JSON.parse(told)).toMatchObject({ valid: true });
      const events = bed.site.agent(name).events.all();
      expect(events.filter(({ event }) => event === "ledger-keys-absent")).toEqual([]);
    }
  },
  3 * MINUTE_MS,
);

test(
  "the nodes agree on blocks by the new certificates, and so does an agent that starts anew",
  async () => {
    const [before] = await Promise.all(VMS.map(({ name }) => nodeOf(name)));
    await bed.site.agent(SERVER.name).stop();
    await bed.startAgent(SERVER.name);
    await bed.ask("contract", "issue", "--tenant", TENANT);
    const areOn = async () => {
      const nodes = await Promise.all(VMS.map(({ name }) => nodeOf(name)));
      const isOn = ({ height, peers }: Node) =>
        height > (before?.height ?? 0) && peers.every((peer) => peer.is_connected);
      return nodes.every(isOn) ? true : undefined;
    };
    await waitFor("both nodes to agree on another block", areOn, MINUTE_MS, 200);
    await bed.untilAnswered(CLIENT.name, SERVER);
  },
  3 * MINUTE_MS,
);
