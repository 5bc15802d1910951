/**
 * Agents' SSH keys and certificates are renewed over their own channel: by an administrator's word
 * or by time, whoever dies in between, and by nobody else's proof.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { canonicalJson, type JsonObject } from "../../src/chain/canonical-json.ts";
import type { PublicKey } from "../../src/chain/ledger-units.ts";
import { agentFile, ensureKeys, loadManager } from "../../src/channel/agent-folder.ts";
import { AgentIdentity } from "../../src/channel/agent-identity.ts";
import type { ManagerLink } from "../../src/channel/manager-link.ts";
import { type Refused, UPDATE } from "../../src/channel/message-reading.ts";
import {
  agreedJson,
  KEY_KINDS,
  type KeyKind,
  offerJson,
} from "../../src/channel/renewal-messages.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { AbsError } from "../../src/errors.ts";
import { RenewalTalk } from "../../src/manager/renewal-talk.ts";
import { createLedgerCrypto } from "../../src/node/ledger-crypto.ts";
import type { NodeSecrets } from "../../src/node/node-keys.ts";
import { SshClient } from "../../src/ssh/ssh-client.ts";
import { sshPublicKey } from "../../src/ssh/ssh-keys.ts";
import { SshServer } from "../../src/ssh/ssh-server.ts";
import { MANAGER_FLAG } from "../../src/wire/manager-frame.ts";
import { freePort } from "../free-port.ts";
import { Prng, seedOfRun } from "../fuzz/prng.ts";
import { followManager } from "./followed-agent.ts";
import { codeOf, ManagerSite, until } from "./manager-site.ts";

const DAY_SECONDS = 86_400;
const links: ManagerLink[] = [];
let site: ManagerSite;
let port: number;
let web: string;

beforeAll(async () => {
  port = await freePort();
  site = await ManagerSite.open({}, port);
  await site.addTenant("t1");
  web = site.freshDir();
  await site.enrol(await site.invite("web"), web);
});

afterAll(async () => {
  for (const link of links) await link.stop();
  await site.close();
});

/** Until the end of the tests at most. */
function follow(dir: string): ManagerLink {
  const link = followManager(dir);
  links.push(link);
  return link;
}

type KeyRow = { readonly name: string; readonly renewals: number; readonly renewal: string };

async function rowOf(name: string): Promise<KeyRow> {
  const rows = (await site.command("keys", "list")) as unknown as KeyRow[];
  return rows.find((row) => row.name === name) as KeyRow;
}

async function untilRenewed(name: string, times: number): Promise<void> {
  for (;;) {
    const row = await rowOf(name);
    if (row.renewals === times && row.renewal === "-") return;
    await Bun.sleep(100);
  }
}

const seedOf = (dir: string): Uint8Array =>
  Uint8Array.fromHex(JSON.parse(readFileSync(agentFile(dir, "keys"), "utf8")).ssh_secret);

/** The code that a log-in with this key fails with, or "done". */
function loginWith(dir: string, seed: Uint8Array): Promise<string> {
  const { hostFingerprint } = loadManager(dir);
  const login = { host: "127.0.0.1", port, hostFingerprint, user: "agent", seed };
  return codeOf(SshClient.connect(login).then((client) => client.close()));
}

test("a key is rotated: ledger, certificate and folder have it, and the old one opens nothing", async () => {
  const link = follow(web);
  const [before, nodeId] = [seedOf(web), ensureKeys(web).keys.nodeId];
  for (const times of [1, 2]) {
    await site.command("keys", "rotate", "--agent", "web", "--tenant", "t1", "--kind", "all");
    await untilRenewed("web", times);
    await until(() => link.status.state === "connected" && loadManager(web).version > times);
    const node = site.manager?.state.nodes.find(nodeId);
    await until(() => node?.sshPub === sshPublicKey(seedOf(web)).toHex());
    expect(node?.seq).toBe(times);
  }
  const chain = site.manager?.ledgerStatus("t1") as Record<string, unknown>;
  expect(Number(chain["height"])).toBeGreaterThan(0);
  await until(() => link.status.state === "connected");
  expect(await loginWith(web, before)).toBe("MANAGER_LOGIN_REFUSED");
  await link.stop();
  expect(await loginWith(web, seedOf(web))).toBe("done");
  expect(JSON.stringify(await rowOf("web"))).not.toContain(seedOf(web).toHex());
}, 120_000);

test("an agent that dies anywhere in it comes back with a key that opens", async () => {
  const prng = new Prng(seedOfRun());
  const { renewals } = await rowOf("web");
  let link = follow(web);
  for (let turn = 0; turn < 12; turn++) {
    await site.command("keys", "rotate", "--agent", "web", "--tenant", "t1", "--kind", "all");
    await Bun.sleep(prng.below(120));
    await link.stop();
    link = follow(web);
    await until(() => link.status.state === "connected");
  }
  for (;;) {
    const row = await rowOf("web");
    if (row.renewals > renewals && row.renewal === "-") break;
    await Bun.sleep(100);
  }
  const node = () => site.manager?.state.nodes.find(ensureKeys(web).keys.nodeId);
  await until(() => node()?.sshPub === sshPublicKey(seedOf(web)).toHex());
  await link.stop();
}, 60_000);

test("who was away while it settled is let in by the old key once more", async () => {
  const dir = site.freshDir();
  await site.enrol(await site.invite("late"), dir);
  const { keys, secrets } = ensureKeys(dir);
  const identity = AgentIdentity.in(dir, secrets);
  const old = identity.seed;
  const state = site.manager?.state;
  if (state === undefined) throw new Error("no manager");
  // It has agreed, and dies before it hears more.
  state.renewals.ask(keys.nodeId, KEY_KINDS, state.now());
  const frames: { type: number; body: Uint8Array }[] = [];
  const talk = talkOf(keys.nodeId, (frame) => frames.push(frame));
  talk.begin();
  const challenge = challengeIn(frames);
  talk.take(frame(UPDATE.offer, offerOf(identity, KEY_KINDS, { challenge })));
  expect(frames.at(-1)?.type).toBe(UPDATE.issued);
  talk.take(frame(UPDATE.agreed, agreementOf(identity)));
  await untilRenewed("late", 1);
  expect(await loginWith(dir, old)).toBe("done");
  await fetchState(dir, () => {});
  expect(seedOf(dir)).not.toEqual(old);
  expect(await loginWith(dir, seedOf(dir))).toBe("done");
  expect(ensureKeys(dir).keys.ledger.signer.publicKey).not.toBe(keys.ledger.signer.publicKey);
  expect(ensureKeys(dir).keys.nodeId).toBe(keys.nodeId);
}, 120_000);

function talkOf(nodeId: string, send: (frame: { type: number; body: Uint8Array }) => unknown) {
  const state = site.manager?.state;
  if (state === undefined) throw new Error("no manager");
  return new RenewalTalk(nodeId, {
    ...{ state, crypto: createLedgerCrypto(), agreed: () => {} },
    areKeysCounted: () => true,
    send: (one) => void send(one),
  });
}

const managerKey = (): PublicKey =>
  site.manager?.state.manager.keys.ledger.signer.publicKey as PublicKey;

/** What a session key is to prove itself to, of the newest renew. */
function challengeIn(frames: readonly { type: number; body: Uint8Array }[]): string | undefined {
  const newest = frames.findLast(({ type }) => type === UPDATE.renew);
  return JSON.parse(Buffer.from(newest?.body ?? []).toString()).session_pub;
}

/** `nodeId`: whose it says that it is. */
function offerOf(
  identity: AgentIdentity,
  kinds: readonly KeyKind[],
  said: { readonly challenge: string | undefined; readonly nodeId?: string },
): JsonObject {
  const words = { managerKey: managerKey(), nodeId: identity.keys.nodeId, ...said };
  return offerJson(identity.next(kinds), words, identity.keys.ledger.signer);
}

function frame(type: number, value: JsonObject) {
  return { flag: MANAGER_FLAG.update, type, body: canonicalJson(value) };
}

/** The agent's for the certificate that was issued last. */
function agreementOf(identity: AgentIdentity): JsonObject {
  const { nodeId } = identity.keys;
  const certificate = site.manager?.state.renewals.find(nodeId)?.certificate?.certificate;
  if (certificate === undefined) throw new Error("no certificate");
  const after = identity.keys.ring.find(certificate)?.signer;
  if (after === undefined) throw new Error("not over its keys");
  return agreedJson(certificate, identity.keys.ledger.signer, after);
}

test("what is not asked for, not proven or not new is refused, and changes nothing", async () => {
  const dir = site.freshDir();
  await site.enrol(await site.invite("wrong"), dir);
  const { keys, secrets } = ensureKeys(dir);
  const state = site.manager?.state;
  if (state === undefined) throw new Error("no manager");
  const said: string[] = [];
  const renewals: { type: number; body: Uint8Array }[] = [];
  const talk = talkOf(keys.nodeId, ({ type, body }) => {
    const text = Buffer.from(body).toString();
    if (type === UPDATE.renew) return renewals.push({ type, body });
    said.push(type === UPDATE.refused ? (JSON.parse(text) as Refused).code : `${type}`);
  });
  const saidTo = (type: number, value: JsonObject): string[] => {
    said.length = 0;
    talk.take(frame(type, value));
    return [...said];
  };
  const identity = AgentIdentity.in(dir, secrets);
  const other = AgentIdentity.in(web, ensureKeys(web).secrets);
  state.renewals.ask(keys.nodeId, KEY_KINDS, state.now());
  talk.begin();
  state.renewals.cancel(keys.nodeId);
  const to = { challenge: challengeIn(renewals) };
  const offer = offerOf(identity, KEY_KINDS, to);
  const parts = offer as { keys: JsonObject; proofs: JsonObject };
  const zeros = "00".repeat(64);
  const having = (secrets: Partial<NodeSecrets>): JsonObject =>
    offerOf(new AgentIdentity({ ...ensureKeys(dir).secrets, ...secrets }, () => {}), KEY_KINDS, to);
  expect(saidTo(UPDATE.offer, offer)).toEqual(["RENEWAL_NOT_ASKED"]);
  state.renewals.ask(keys.nodeId, KEY_KINDS, state.now());
  expect(saidTo(UPDATE.agreed, { old_signature: zeros, new_signature: zeros })).toEqual([]);
  const { ledger_secret, vrf_secret, session_secret, ssh_secret } = ensureKeys(web).secrets;
  const own = ensureKeys(dir).secrets;
  const cases: readonly (readonly [JsonObject, string])[] = [
    ...["ledger", "vrf", "session", "ssh"].map((name) => {
      const proof = { vrf: "00".repeat(80), session: "00".repeat(32) }[name] ?? zeros;
      return [{ ...offer, proofs: { ...parts.proofs, [name]: proof } }, "PROOF_WRONG"] as const;
    }),
    [{ ...offer, signature: zeros }, "PROOF_WRONG"],
    [offerOf(identity, KEY_KINDS, { ...to, nodeId: "00".repeat(16) }), "PROOF_WRONG"],
    [offerOf(other, KEY_KINDS, { ...to, nodeId: keys.nodeId }), "PROOF_WRONG"],
    // The manager's challenge of another connection.
    [offerOf(identity, KEY_KINDS, { challenge: keys.session.publicKey.toHex() }), "PROOF_WRONG"],
    [offerOf(identity, KEY_KINDS, { challenge: "00".repeat(32) }), "PROOF_WRONG"],
    [{ ...offer, more: 1 }, "OFFER_WRONG"],
    [{ ...offer, keys: { ...parts.keys, more: 1 } }, "OFFER_WRONG"],
    ...KEY_KINDS.map((kind) => [offerOf(identity, [kind], to), "OFFER_WRONG"] as const),
    [offerOf(identity, [], to), "OFFER_WRONG"],
    [having({ session_secret_next: session_secret }), "KEY_TAKEN"],
    [having({ session_secret_next: own.session_secret }), "KEY_TAKEN"],
    [having({ ssh_secret_next: ssh_secret }), "KEY_TAKEN"],
    [having({ ssh_secret_next: own.ssh_secret }), "KEY_TAKEN"],
    [having({ ledger_secret_next: ledger_secret }), "KEY_TAKEN"],
    [having({ ledger_secret_next: own.ledger_secret }), "KEY_TAKEN"],
    [having({ vrf_secret_next: vrf_secret }), "KEY_TAKEN"],
  ];
  for (const [value, code] of cases) expect(saidTo(UPDATE.offer, value)).toEqual([code]);
  expect(saidTo(UPDATE.offer, offer)).toEqual([`${UPDATE.issued}`]);
  const agreement = agreementOf(identity);
  for (const name of ["old_signature", "new_signature"] as const) {
    expect(saidTo(UPDATE.agreed, { ...agreement, [name]: zeros })).toEqual(["PROOF_WRONG"]);
  }
  const swapped = {
    old_signature: agreement["new_signature"] ?? "",
    new_signature: agreement["old_signature"] ?? "",
  };
  expect(saidTo(UPDATE.agreed, swapped)).toEqual(["PROOF_WRONG"]);
  expect(state.renewals.find(keys.nodeId)?.agreement).toBeUndefined();
  expect(state.nodes.find(keys.nodeId)?.seq).toBe(0);
});

test("keys that the data plane cannot answer for yet are offered when it can", async () => {
  const dir = site.freshDir();
  await site.enrol(await site.invite("slow"), dir);
  let refusals = 0;
  const link = followManager(dir, {
    sessionKeyDrawn: async () => {
      if (refusals++ < 2) throw new AbsError("WORKER_AWAY", "The worker does not run.", "");
    },
  });
  links.push(link);
  await site.command("keys", "rotate", "--agent", "slow", "--tenant", "t1", "--kind", "session");
  await untilRenewed("slow", 1);
  expect(refusals).toBeGreaterThan(2);
  await link.stop();
}, 60_000);

test("keys that were in use for 90 days are renewed without anybody asking", async () => {
  const link = follow(web);
  const { renewals } = await rowOf("web");
  site.skewSeconds = 89 * DAY_SECONDS;
  await Bun.sleep(500);
  expect((await rowOf("web")).renewals).toBe(renewals);
  site.skewSeconds = 91 * DAY_SECONDS;
  await untilRenewed("web", renewals + 1);
  await link.stop();
  site.skewSeconds = 0;
}, 120_000);

test("the manager's host key is rotated: agents, late ones and old tokens know it by its word", async () => {
  const [early, late] = [follow(web), site.freshDir()];
  await site.enrol(await site.invite("away"), late);
  const token = await site.invite("new");
  await until(() => early.status.state === "connected");
  const before = loadManager(web);
  const old = site.manager?.state.manager.hostKey;
  const kept = { seed: old?.seed as Uint8Array, statement: old?.statement ?? "" };
  for (let turn = 0; turn < 2; turn++) {
    await site.command("keys", "rotate", "--host");
    // Connections that stand go on.
    expect(early.status.state).toBe("connected");
  }
  await early.stop();
  for (const dir of [web, late]) {
    const link = follow(dir);
    await until(() => link.status.state === "connected");
    await until(() => loadManager(dir).hostFingerprint !== before.hostFingerprint);
    await link.stop();
  }
  expect(loadManager(late)).toMatchObject({ hostSeq: site.manager?.state.manager.hostKey.seq });
  await site.enrol(token, site.freshDir());
  expect((await site.command("status"))["host_key"]).toBe(loadManager(web).hostFingerprint);
  // Whoever has the old key, and the word that was true of it, is the manager no more.
  await site.manager?.stop();
  const thief = await SshServer.start({
    ...{ hostKey: kept, host: "127.0.0.1", port, limits: {} },
    handlers: {
      find: () => undefined,
      subsystem: () => {},
      execute: async () => ({ code: 0, output: "", complaint: "" }),
      refused: () => {},
    },
  });
  const login = () => fetchState(web, () => {});
  expect(await codeOf(login())).toBe("MANAGER_HOST_KEY");
  for (const statement of [old?.statement ?? "", "abs-host-key 4294967295 00", "", "\n\n"]) {
    thief.show({ seed: new Uint8Array(32).fill(7), statement });
    expect(await codeOf(login())).toBe("MANAGER_HOST_KEY");
  }
  await thief.close();
  await site.start({}, port);
  expect(site.manager?.state.manager.hostKey.seq).toBe(loadManager(web).hostSeq);
  await login();
}, 120_000);

test("whose keys must be said", async () => {
  await expect(site.command("keys", "rotate", "--tenant", "t1")).rejects.toThrow("Whose keys?");
});
