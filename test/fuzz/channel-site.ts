/**
 * What the fuzzer of the manager channel talks to: a manager with real tables in its own folder,
 * agents with real keys, and frames that are altered on their way.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonicalJson, type JsonValue } from "../../src/chain/canonical-json.ts";
import { certificateHash, decodeSignedCertificate } from "../../src/chain/identity-certificate.ts";
import { possessionHash } from "../../src/chain/registration.ts";
import {
  provenRequestJson,
  readChallenge,
  requestJson,
} from "../../src/channel/enrolment-messages.ts";
import { ENROLMENT, readMessage } from "../../src/channel/message-reading.ts";
import { proveKeys, publicKeysOf } from "../../src/channel/possession.ts";
import { Enrolment } from "../../src/manager/enrolment.ts";
import { initManager } from "../../src/manager/manager-folder.ts";
import { ManagerState } from "../../src/manager/manager-state.ts";
import { firstGenesis } from "../../src/manager/tenant-ledger.ts";
import { createLedgerCrypto } from "../../src/node/ledger-crypto.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { drawSecrets, keysOfSecrets, type OwnKeys } from "../../src/node/node-keys.ts";
import { sshPublicKey } from "../../src/ssh/ssh-keys.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { MANAGER_FLAG, type ManagerFrame, managementTag } from "../../src/wire/manager-frame.ts";
import { anyOf } from "./document-mutator.ts";
import type { Prng } from "./prng.ts";

const TENANT = "t1";
const NOTABLE: readonly JsonValue[] = [
  ...["", "x", -1, 0, 1, 2 ** 40, true, [], {}, "00".repeat(32), "ff".repeat(33), "z".repeat(3000)],
];
/** Of Prng.below(). */
const BELOW_MAX = 65_536;

export type FuzzAgent = { readonly keys: OwnKeys; readonly sshSeed: Uint8Array };

export class ChannelSite {
  readonly #folder = mkdtempSync(join(tmpdir(), "abs-channel-fuzz-"));
  readonly #manager = initManager({
    ...{ dir: this.#folder, dataKey: undefined, now: epochNow() },
    place: { host: "127.0.0.1", port: 7022 },
  });
  readonly crypto = createLedgerCrypto();
  readonly state = new ManagerState(this.#manager, epochNow);
  readonly managerKey = Uint8Array.fromHex(this.#manager.keys.ledger.signer.publicKey);
  readonly tag = managementTag(this.managerKey);

  constructor() {
    // Nothing here outlives a run.
    this.#manager.database.run("PRAGMA synchronous = OFF");
    const recovery = keysOfSecrets(drawSecrets()).ledger.signer.publicKey;
    const genesis = firstGenesis(this.state, TENANT, recovery);
    const now = this.state.now();
    this.state.tenants.add({ name: TENANT, genesis, peerPort: 6254, author: "local", now });
  }

  close(): void {
    this.#manager.database.close();
    rmSync(this.#folder, { recursive: true });
  }

  newAgent(): FuzzAgent {
    const secrets = drawSecrets();
    return { keys: keysOfSecrets(secrets), sshSeed: Uint8Array.fromHex(secrets.ssh_secret) };
  }

  /**
   * A talk with the manager's side as the agent's side has it; frames go by `alter`.
   * @returns what the manager said last, and who was let in
   */
  enrol(
    agent: FuzzAgent,
    name: string,
    alter: (frame: ManagerFrame) => ManagerFrame,
  ): { readonly answer: ManagerFrame | undefined; readonly nodeId: string | undefined } {
    const { state } = this;
    const tokenPub = this.#newToken(name);
    let answer: ManagerFrame | undefined;
    let nodeId: string | undefined;
    const session = new Enrolment({
      ...{ state, crypto: this.crypto, tokenPub, failed: () => {} },
      send: (frame) => {
        answer = frame;
      },
      writeDown: () => {},
      enrolled: (node) => {
        nodeId = node.nodeId;
      },
    });
    const say = (type: number, value: JsonValue): void =>
      session.take(alter({ flag: MANAGER_FLAG.enrolment, type, body: canonicalJson(value) }));
    say(ENROLMENT.begin, { v: 1 });
    this.#request(agent, tokenPub, answer, say);
    const signed = certificateIn(answer);
    if (signed !== undefined) {
      const words = { ...publicKeysOf(agent.keys), certificate: certificateHash(signed) };
      const possession = agent.keys.ledger.signer.sign(possessionHash(words)).toHex();
      say(ENROLMENT.possession, { possession });
    }
    return { answer, nodeId };
  }

  #request(
    agent: FuzzAgent,
    tokenPub: string,
    answer: ManagerFrame | undefined,
    say: (type: number, value: JsonValue) => void,
  ): void {
    const read = answer && readMessage(answer.body, 1 << 16, readChallenge);
    if (read === undefined || "complaint" in read) return;
    const count = this.state.nodes.list(TENANT).length;
    const machine = {
      ...{ addresses: [`10.77.0.${10 + count}`], carrier: "ip" as const, peerPort: 6254 },
      ...{ macs: [], vcpu: 2, ramMib: 2048, capabilities: [] },
    };
    const request = requestJson({ keys: publicKeysOf(agent.keys), machine });
    const managerKey = this.#manager.keys.ledger.signer.publicKey;
    const transcript = { managerKey, tokenPub, challenge: read.message, request };
    const proofs = proveKeys(agent.keys, agent.sshSeed, transcript);
    if (proofs !== undefined) say(ENROLMENT.request, provenRequestJson(request, proofs));
  }

  /** Its name and address are free again: tables do not fill up. */
  forget(nodeId: string): void {
    const { database } = this.#manager;
    database.run("DELETE FROM invitation");
    for (const table of ["node_address", "node"]) {
      database.query(`DELETE FROM ${table} WHERE node_id = ?`).run(nodeId);
    }
    this.state.forget(nodeId);
  }

  #newToken(name: string): string {
    const tokenPub = sshPublicKey(crypto.getRandomValues(new Uint8Array(32))).toHex();
    const now = this.state.now();
    const expiresAt = (now + 86_400) as EpochSeconds;
    const words = { tenant: TENANT, name, groups: [], tags: [], author: "local", now, expiresAt };
    this.state.invitations.add({ ...words, tokenPub });
    return tokenPub;
  }
}

function certificateIn(answer: ManagerFrame | undefined) {
  if (answer?.type !== ENROLMENT.certificate) return undefined;
  const { signed } = JSON.parse(Buffer.from(answer.body).toString()) as { signed: string };
  const read = decodeSignedCertificate(Uint8Array.fromHex(signed));
  return "signed" in read ? read.signed.certificate : undefined;
}

/** A frame as it was, most of the time: what is wrong comes late in a talk too. */
export function altered(prng: Prng, frame: ManagerFrame): ManagerFrame {
  const way = prng.below(24);
  if (way === 0) return { ...frame, flag: prng.below(256) };
  if (way === 1) return { ...frame, type: prng.below(10) };
  if (way === 2) return { ...frame, body: spoilt(prng, frame.body) };
  if (way > 6) return frame;
  return { ...frame, body: canonicalJson(changed(prng, jsonOf(frame.body))) };
}

function jsonOf(body: Uint8Array): JsonValue {
  return JSON.parse(Buffer.from(body).toString()) as JsonValue;
}

/** A byte of it is another, or it ends before. */
export function spoilt(prng: Prng, bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const at = prng.below(Math.min(copy.length + 1, BELOW_MAX));
  if (prng.below(3) === 0) return copy.subarray(0, at);
  if (at < copy.length) copy[at] = prng.below(256);
  return copy;
}

/** The value with one thing in it replaced, removed or added. */
export function changed(prng: Prng, value: JsonValue): JsonValue {
  if (typeof value !== "object" || prng.below(8) === 0) return anyOf(prng, NOTABLE);
  if (Array.isArray(value)) {
    if (value.length === 0) return ["x"];
    const at = prng.below(value.length);
    return value.map((item, i) => (i === at ? changed(prng, item) : item));
  }
  const entries = Object.entries(value);
  const at = prng.below(entries.length + 1);
  const [name, member] = entries[at] ?? [];
  if (name === undefined || member === undefined) return { ...value, more: 1 };
  if (prng.below(8) === 0) return Object.fromEntries(entries.filter(([key]) => key !== name));
  return { ...value, [name]: changed(prng, member) };
}
