/**
 * An agent that is killed after any step of a rotation of its keys goes on from its key file alone:
 * docs/manager-channel.md "Renewal". Each step is played on a folder, and the agent's memory is
 * thrown away after it; what its ledger node would read holds the keys that the chain names.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalJson, type JsonObject } from "../../src/chain/canonical-json.ts";
import { memberKeysAt, nextHeight } from "../../src/chain/chain-state.ts";
import type { IdentityCertificate } from "../../src/chain/identity-certificate.ts";
import type { NodeId, PublicKey } from "../../src/chain/ledger-units.ts";
import { agentFile, ensureKeys } from "../../src/channel/agent-folder.ts";
import { AgentIdentity } from "../../src/channel/agent-identity.ts";
import { readMessage, UPDATE } from "../../src/channel/message-reading.ts";
import { agreedJson, KEY_KINDS, offerJson, readRenew } from "../../src/channel/renewal-messages.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { RenewalTalk } from "../../src/manager/renewal-talk.ts";
import { createLedgerCrypto } from "../../src/node/ledger-crypto.ts";
import { openLedger } from "../../src/node/ledger-reader.ts";
import { fileIn } from "../../src/node/node-folder.ts";
import { loadKeys } from "../../src/node/node-keys.ts";
import { MANAGER_FLAG } from "../../src/wire/manager-frame.ts";
import { ManagerSite, until } from "./manager-site.ts";

const STEPS = [
  ...(["drawn", "offered", "agreed", "sealed", "settled", "destroyed"] as const),
  // All others have heard of the new session key.
  ...(["heard", "alone"] as const),
] as const;
type Step = (typeof STEPS)[number];

let site: ManagerSite;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
});

afterAll(() => site.close());

const stateOf = () => {
  const state = site.manager?.state;
  if (state === undefined) throw new Error("no manager");
  return state;
};

/** What the master's chain names for the next block; undefined: it is no member yet. */
function namedFor(dir: string) {
  const ledger = openLedger(join(site.dir, "ledgers", "t1"));
  try {
    const nodeId = ensureKeys(dir).keys.nodeId as NodeId;
    return memberKeysAt(ledger.tip, nodeId, nextHeight(ledger.tip));
  } finally {
    ledger.close();
  }
}

/** As a process that starts reads it. */
const identityOf = (dir: string): AgentIdentity => AgentIdentity.in(dir, ensureKeys(dir).secrets);

const fileOf = (dir: string): Record<string, string> =>
  JSON.parse(readFileSync(agentFile(dir, "keys"), "utf8"));

class Rotation {
  readonly nodeId: string;
  readonly first: PublicKey;
  readonly #talk: RenewalTalk;
  #challenge: string | undefined;

  constructor(readonly dir: string) {
    const { keys } = identityOf(dir);
    this.nodeId = keys.nodeId;
    this.first = keys.ledger.signer.publicKey;
    stateOf().renewals.ask(this.nodeId, KEY_KINDS, stateOf().now());
    this.#talk = new RenewalTalk(this.nodeId, {
      ...{ state: stateOf(), crypto: createLedgerCrypto() },
      send: ({ type, body }) => {
        if (type !== UPDATE.renew) return;
        const read = readMessage(body, 8192, readRenew);
        if ("message" in read) this.#challenge = read.message.challenge;
      },
      ...{ agreed: () => {}, areKeysCounted: () => true },
    });
    this.#talk.begin();
  }

  #say(type: number, value: JsonObject): void {
    this.#talk.take({ flag: MANAGER_FLAG.update, type, body: canonicalJson(value) });
  }

  #certificate(): IdentityCertificate {
    const signed = stateOf().renewals.find(this.nodeId)?.certificate;
    if (signed === undefined) throw new Error("not certified");
    return signed.certificate;
  }

  /** One step of a process that was started for it. */
  async play(step: Step): Promise<void> {
    const identity = identityOf(this.dir);
    const { signer } = identity.keys.ledger;
    switch (step) {
      case "drawn":
        identity.next(KEY_KINDS);
        return;
      case "offered": {
        const managerKey = stateOf().manager.keys.ledger.signer.publicKey;
        const words = { managerKey, nodeId: this.nodeId, challenge: this.#challenge };
        return this.#say(UPDATE.offer, offerJson(identity.next(KEY_KINDS), words, signer));
      }
      case "agreed": {
        const certificate = this.#certificate();
        const after = identity.keys.ring.find(certificate)?.signer;
        expect(after).toBeDefined();
        return this.#say(UPDATE.agreed, agreedJson(certificate, signer, after ?? signer));
      }
      case "sealed":
        return until(() => {
          const named = namedFor(this.dir)?.ledgerPub;
          return named !== this.first && stateOf().renewals.find(this.nodeId) === undefined;
        });
      case "heard":
        return stateOf().transaction(() => {
          stateOf().nodes.useNewSessionKey(this.nodeId);
          stateOf().tenants.countUp("t1");
        });
      case "settled":
      case "alone":
        await fetchState(this.dir, () => {});
        return;
      case "destroyed":
        identity.counts(identity.keys.ledger.signer.publicKey);
    }
  }
}

async function rotateWithDeaths(again: Step, dir: string): Promise<void> {
  await until(() => namedFor(dir) !== undefined);
  const rotation = new Rotation(dir);
  for (const step of STEPS) {
    await rotation.play(step);
    // The answer was lost with the process: what it did is done once more.
    if (step === again) await rotation.play(step);
    const named = namedFor(dir);
    if (named === undefined) throw new Error("no member any more");
    const kept = loadKeys(fileIn(dir, "keys"));
    expect(kept.ring.find(named)).toBeDefined();
    // What peers begin sessions with, as the manager has told them.
    const { sessionPub = "" } = stateOf().nodes.find(rotation.nodeId) ?? {};
    expect(kept.sessions.map(({ publicKey }) => publicKey.toHex())).toContain(sessionPub);
  }
  const { nodeId, ledger, ring } = loadKeys(fileIn(dir, "keys"));
  expect(nodeId as string).toBe(rotation.nodeId);
  expect(ledger.signer.publicKey).not.toBe(rotation.first);
  expect(ring.sets.length).toBe(1);
  expect(Object.keys(fileOf(dir)).filter((name) => /_(old|next)$/.test(name))).toEqual([]);
  expect(namedFor(dir)?.ledgerPub).toBe(ledger.signer.publicKey);
}

test("killed after any step, it goes on, and always holds the keys that the chain names", async () => {
  const dirs: string[] = [];
  for (const step of STEPS) {
    const dir = site.freshDir();
    await site.enrol(await site.invite(`vm-${step}`), dir);
    dirs.push(dir);
  }
  await Promise.all(STEPS.map((step, i) => rotateWithDeaths(step, dirs[i] ?? "")));
}, 60_000);
