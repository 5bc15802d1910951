/** Enrolment end to end: what an agent gets, and every way in which it gets nothing. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { agentFile, ensureKeys } from "../../src/channel/agent-folder.ts";
import { ChannelTalk } from "../../src/channel/channel-talk.ts";
import {
  provenRequestJson,
  readChallenge,
  requestJson,
} from "../../src/channel/enrolment-messages.ts";
import {
  decodeToken,
  type EnrolmentToken,
  encodeToken,
  fingerprintOfDigest,
} from "../../src/channel/enrolment-token.ts";
import { ENROLMENT, frameOf } from "../../src/channel/message-reading.ts";
import { proveKeys, publicKeysOf } from "../../src/channel/possession.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { drawSecrets, keysOfSecrets, type OwnKeys } from "../../src/node/node-keys.ts";
import { SshClient } from "../../src/ssh/ssh-client.ts";
import { SSH_SEED_BYTES, sshPublicKey } from "../../src/ssh/ssh-keys.ts";
import { MANAGER_FLAG, managementTag } from "../../src/wire/manager-frame.ts";
import { codeOf, ManagerSite, machineOf } from "./manager-site.ts";
import { drawSeed } from "./ssh-site.ts";

let site: ManagerSite;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
});

afterAll(() => site.close());

test("two agents enrol: what each gets is what an agent starts from", async () => {
  const web = site.freshDir();
  const first = await site.enrol(
    await site.invite("web", "--group", "front", "--tag", "app1"),
    web,
  );
  expect(first.own).toMatchObject({ name: "web", mode: "quick", stage: "observe" });
  expect(first.neighbours).toEqual([]);
  const db = site.freshDir();
  const second = await site.enrol(await site.invite("db"), db, { carrier: "udp" });
  expect(second.neighbours).toMatchObject([
    { name: "web", groups: ["front"], tags: ["app1"], trustLevel: 50 },
  ]);
  const [own, other] = [web, db].map((dir) => loadProvisioning(agentFile(dir, "provisioning")));
  expect(own?.node).toMatchObject({ id: "web", mode: "quick", stage: "observe" });
  expect(other?.node.carrier).toBe("udp");
  expect(other?.peers[0]?.staticPublic).toEqual(own?.node.staticKey.publicKey);
  expect(other?.tenant).toEqual(own?.tenant);
  expect(other?.tags).toEqual(own?.tags);
  expect(other?.ledger?.contracts).toEqual(own?.ledger?.contracts ?? []);
  expect(other?.ledger?.contracts).toHaveLength(2);
  // Paper §3.6: the first one hears of the second when it asks again.
  const again = await fetchState(web, loadProvisioning);
  expect(again.neighbours.map(({ name }) => name)).toEqual(["db"]);
  expect(loadProvisioning(agentFile(web, "provisioning")).peers).toHaveLength(1);
});

test("a state from which no agent could start leaves the folder as it was", async () => {
  const dir = site.freshDir();
  await site.enrol(await site.invite("careful"), dir);
  const names = readdirSync(dir).sort();
  // AppDB and PMdb may hold what was refused, until the next state: the provisioning file says what
  // counts of them.
  const files = names.filter((name) => !name.endsWith(".sqlite"));
  const contents = () => files.map((name) => readFileSync(join(dir, name), "utf8"));
  const policy = () => loadProvisioning(agentFile(dir, "provisioning")).policy;
  const before = { contents: contents(), policy: policy() };
  const { tenants } = site.manager?.state ?? {};
  const by = { author: "test", now: epochNow() };
  tenants?.addPolicy("t1", "version: 1\nrules: [{ id: x }]\n", by);
  expect(await codeOf(fetchState(dir, loadProvisioning))).toBe("POLICY_INVALID");
  expect({ contents: contents(), policy: policy() }).toEqual(before);
  tenants?.addPolicy("t1", "version: 1\nrules: []\n", by);
  await fetchState(dir, loadProvisioning);
  expect(readdirSync(dir).sort()).toEqual(names);
});

test("a contract of a scope goes to those in it, with its secrets", async () => {
  const { manager } = site;
  const state = manager?.state;
  const [contract] = state?.tenants.contracts("t1") ?? [];
  const web = state?.nodes.named("t1", "web");
  const db = state?.nodes.named("t1", "db");
  if (contract === undefined || web === undefined || db === undefined) throw new Error("absent");
  const { encodeContract } = await import("../../src/chain/contract-entry.ts");
  const scoped = { ...contract.entry, scope: { agents: [], applications: [], groups: ["front"] } };
  const query = manager?.state.manager.database.query(
    "UPDATE contract SET entry = ? WHERE sc_id = ?",
  );
  const change = (entry: typeof scoped): void => {
    query?.run(encodeContract(entry), entry.scId);
    // As whatever changes a contract does: states are made anew for a new version only.
    state?.tenants.countUp("t1");
  };
  change(scoped);
  expect(state?.stateFor(web).contracts).toHaveLength(2);
  expect(state?.stateFor(db).contracts).toHaveLength(1);
  change({ ...contract.entry, scope: { agents: [], applications: [], groups: [] } });
});

const badTokens = [
  { name: "empty", text: () => "", code: "TOKEN_INVALID" },
  { name: "another word", text: () => "hello", code: "TOKEN_INVALID" },
  { name: "cut short", text: (good: string) => good.slice(0, -3), code: "TOKEN_INVALID" },
  { name: "one letter changed", text: changedLetter, code: "TOKEN_INVALID" },
  { name: "far too long", text: (good: string) => good.repeat(20), code: "TOKEN_INVALID" },
];

let unused = 0;

function changedLetter(good: string): string {
  return good.slice(0, 60) + (good[60] === "A" ? "B" : "A") + good.slice(61);
}

test.each(badTokens)("a token that is $name", async ({ text, code }) => {
  const good = encodeToken(await site.invite(`unused-${++unused}`));
  expect(decodeToken(`  ${good}\n`)).toEqual(decodeToken(good));
  expect(await codeOf((async () => decodeToken(text(good)))())).toBe(code);
});

const wrongTokens: readonly {
  readonly name: string;
  readonly change: (token: EnrolmentToken) => Partial<EnrolmentToken>;
  readonly code: string;
}[] = [
  { name: "forged", change: () => ({ seed: drawSeed() }), code: "TOKEN_UNKNOWN" },
  {
    name: "for another host key",
    change: () => ({ hostDigest: drawSeed() }),
    code: "MANAGER_HOST_KEY",
  },
  {
    name: "for another manager's key",
    change: () => ({ managerKey: new Uint8Array(33).fill(2) }),
    code: "MANAGER_SILENT",
  },
  { name: "for a port where nobody is", change: () => ({ port: 1 }), code: "MANAGER_UNREACHABLE" },
];

test.each(wrongTokens)("a token $name", async ({ change, code }) => {
  const token = await site.invite(`wrong-${code.toLowerCase()}`);
  const dir = site.freshDir();
  expect(await codeOf(site.enrol({ ...token, ...change(token) }, dir))).toBe(code);
  // It was not used up by it.
  expect((await site.enrol(token, dir)).own.name).toBe(`wrong-${code.toLowerCase()}`);
});

test("a token is good once, for one set of keys; the same agent may ask again", async () => {
  const token = await site.invite("once");
  const dir = site.freshDir();
  const first = await site.enrol(token, dir);
  const again = await site.enrol(token, dir);
  expect(again.own.certificate).toEqual(first.own.certificate);
  expect(await codeOf(site.enrol(token, site.freshDir()))).toBe("TOKEN_USED");
  const refused = site.events().filter(({ event }) => event === "enrolment-refused");
  expect(refused.at(-1)).toMatchObject({ code: "TOKEN_USED" });
});

test("a token expires by the manager's clock, and a withdrawn one is unknown", async () => {
  const token = await site.invite("late", "--expires", "1h");
  site.skewSeconds = 3600;
  expect(await codeOf(site.enrol(token, site.freshDir()))).toBe("TOKEN_EXPIRED");
  site.skewSeconds = 0;
  expect(await site.command("invitation", "withdraw", "late", "--tenant", "t1")).toEqual({
    withdrawn: 1,
  });
  expect(await codeOf(site.enrol(token, site.freshDir()))).toBe("TOKEN_UNKNOWN");
});

test("a clock that is a day off on either side changes nothing", async () => {
  for (const [i, seconds] of [-86_400, 86_400].entries()) {
    site.skewSeconds = seconds;
    const token = await site.invite(`skewed-${i}`, "--expires", "10m");
    expect((await site.enrol(token, site.freshDir())).own.name).toBe(`skewed-${i}`);
  }
  site.skewSeconds = 0;
});

test("names, addresses and keys belong to one agent", async () => {
  const owner = site.freshDir();
  const mac = "02:ab:05:00:09:01";
  const machine = { addresses: ["10.77.9.1", "fd77:ab5::91"], macs: [mac] };
  await site.enrol(await site.invite("owner"), owner, machine);
  const spare = await site.invite("other");
  const tries: readonly (readonly [string[], string])[] = [
    [["10.77.9.1"], "ADDRESS_TAKEN"],
    [["10.77.9.2", "fd77:ab5::91"], "ADDRESS_TAKEN"],
    [["fd77:ab5:0::91"], "ADDRESS_WRONG"],
    [["FD77:AB5::91"], "ADDRESS_WRONG"],
    [["127.0.0.1"], "ADDRESS_WRONG"],
    [["224.0.0.1"], "ADDRESS_WRONG"],
    [["0.0.0.0"], "ADDRESS_WRONG"],
    [["web"], "ADDRESS_WRONG"],
    [[], "ADDRESS_WRONG"],
  ];
  for (const [addresses, code] of tries) {
    expect(await codeOf(site.enrol(spare, site.freshDir(), { addresses }))).toBe(code);
  }
  for (const [macs, code] of [
    [[mac], "ADDRESS_TAKEN"],
    [["03:ab:05:00:09:02"], "ADDRESS_WRONG"],
    [["02:AB:05:00:09:02"], "ADDRESS_WRONG"],
    [["web"], "ADDRESS_WRONG"],
  ] as const) {
    const with_ = { addresses: ["10.77.9.4"], macs: [...macs] };
    expect(await codeOf(site.enrol(spare, site.freshDir(), with_))).toBe(code);
  }
  const neighbour = site.freshDir();
  await site.enrol(await site.invite("neighbour"), neighbour, { addresses: ["10.77.9.5"] });
  const { peers } = loadProvisioning(agentFile(neighbour, "provisioning"));
  expect(peers.find(({ id }) => id === "owner")?.macs).toEqual([mac]);
  expect(await codeOf(site.enrol(spare, owner, { addresses: ["10.77.9.3"] }))).toBe("KEY_TAKEN");
  const twin = await site.invite("owner");
  expect(await codeOf(site.enrol(twin, site.freshDir()))).toBe("NAME_TAKEN");
});

/** A talk by token, as far as the challenge. */
async function challenged(token: EnrolmentToken) {
  const client = await SshClient.connect({
    ...{ host: token.host, port: token.port, user: "enroll", seed: token.seed },
    hostFingerprint: fingerprintOfDigest(token.hostDigest),
  });
  const talk = new ChannelTalk(await client.subsystem(), managementTag(token.managerKey));
  const flag = MANAGER_FLAG.enrolment;
  talk.send(frameOf(flag, ENROLMENT.begin, { v: 1 }));
  const challenge = await talk.next(flag, ENROLMENT.challenge, readChallenge);
  return { client, talk, challenge, flag };
}

function proven(token: EnrolmentToken, keys: OwnKeys, sshSeed: Uint8Array, challenge: never) {
  const request = requestJson({
    keys: publicKeysOf(keys),
    machine: machineOf({ addresses: ["10.77.8.8"] }),
  });
  const managerKey = token.managerKey.toHex() as never;
  const tokenPub = sshPublicKey(token.seed).toHex();
  const proofs = proveKeys(keys, sshSeed, { managerKey, tokenPub, challenge, request });
  if (proofs === undefined) throw new Error("the challenge is no key");
  return { request, proofs };
}

const stolen = ["ledger", "vrf", "session", "ssh"] as const;

test.each(stolen)("the public half of a stolen %s key is not enough", async (name) => {
  const token = await site.invite(`thief-${name}`);
  const [secrets, others] = [drawSecrets(), drawSecrets()];
  const mine = keysOfSecrets(secrets);
  const theirs = keysOfSecrets(others);
  const { client, talk, challenge, flag } = await challenged(token);
  // The request names one key of somebody else; everything is signed with what we have.
  const field = `${name}_pub`;
  const sshSeed = Uint8Array.fromHex(secrets.ssh_secret);
  const lie = requestJson({
    keys: publicKeysOf(theirs),
    machine: machineOf({ addresses: ["10.77.8.8"] }),
  });
  const honest = requestJson({
    keys: publicKeysOf(mine),
    machine: machineOf({ addresses: ["10.77.8.8"] }),
  });
  const request = { ...honest, [field]: lie[field] ?? "" };
  const proofs = proveKeys(mine, sshSeed, {
    ...{ managerKey: token.managerKey.toHex() as never, challenge, request },
    tokenPub: sshPublicKey(token.seed).toHex(),
  });
  if (proofs === undefined) throw new Error("the challenge is no key");
  talk.send(frameOf(flag, ENROLMENT.request, provenRequestJson(request, proofs)));
  expect(await codeOf(talk.next(flag, ENROLMENT.certificate, () => 0))).toBe("PROOF_WRONG");
  client.close();
});

test("proofs of another try are worth nothing", async () => {
  const token = await site.invite("replayed");
  const secrets = drawSecrets();
  const [keys, sshSeed] = [keysOfSecrets(secrets), Uint8Array.fromHex(secrets.ssh_secret)];
  const first = await challenged(token);
  const old = proven(token, keys, sshSeed, first.challenge as never);
  first.client.close();
  const second = await challenged(token);
  const frame = frameOf(second.flag, ENROLMENT.request, provenRequestJson(old.request, old.proofs));
  second.talk.send(frame);
  const answer = second.talk.next(second.flag, ENROLMENT.certificate, () => 0);
  expect(await codeOf(answer)).toBe("PROOF_WRONG");
  second.client.close();
});

test("an agent that does not sign for its certificate is not written down", async () => {
  const token = await site.invite("unsigned");
  const secrets = drawSecrets();
  const [keys, sshSeed] = [keysOfSecrets(secrets), Uint8Array.fromHex(secrets.ssh_secret)];
  const { client, talk, challenge, flag } = await challenged(token);
  const { request, proofs } = proven(token, keys, sshSeed, challenge as never);
  talk.send(frameOf(flag, ENROLMENT.request, provenRequestJson(request, proofs)));
  await talk.next(flag, ENROLMENT.certificate, (fields) => fields.bytes("signed", 4096));
  talk.send(frameOf(flag, ENROLMENT.possession, { possession: "11".repeat(64) }));
  expect(await codeOf(talk.next(flag, ENROLMENT.welcome, () => 0))).toBe("PROOF_WRONG");
  client.close();
  expect(site.manager?.state.nodes.named("t1", "unsigned")).toBeUndefined();
  expect((await site.enrol(token, site.freshDir())).own.name).toBe("unsigned");
});

test("whatever comes in whatever order is refused, and the manager goes on", async () => {
  const bodies = ["", "{}", "[]", "null", '{"v":2}', '{"v":1}x', "\xff", "{".repeat(10_000)];
  const token = await site.invite("hostile");
  for (const [i, body] of bodies.entries()) {
    for (const type of [0, 1, 3, 5, 255]) {
      const { client, talk, flag } = await challenged(token);
      talk.send({ flag, type, body: new Uint8Array(Buffer.from(body, "latin1")) });
      const isGood = type === 1 && body === '{"v":1}';
      const code = await codeOf(talk.next(flag, ENROLMENT.welcome, () => 0));
      expect([i, type, isGood || /^ENROLMENT_/.test(code)]).toEqual([i, type, true]);
      client.close();
    }
  }
  const big = await challenged(token);
  big.talk.send({ flag: big.flag, type: 3, body: new Uint8Array(64 * 1024 + 1) });
  expect(await codeOf(big.talk.next(big.flag, 4, () => 0))).toBe("MANAGER_SILENT");
  big.client.close();
  expect((await site.enrol(token, site.freshDir())).own.name).toBe("hostile");
});

test("a revoked agent is cut off at once, and its keys never come back", async () => {
  const dir = site.freshDir();
  const { own } = await site.enrol(await site.invite("gone"), dir);
  const { nodeId } = own.certificate.certificate;
  const { secrets } = ensureKeys(dir);
  const { hostDigest } = await site.invite("unused");
  const client = await SshClient.connect({
    ...{ host: "127.0.0.1", port: site.manager?.port ?? 0, user: "agent" },
    seed: Uint8Array.fromHex(secrets.ssh_secret),
    hostFingerprint: fingerprintOfDigest(hostDigest),
  });
  const cut = new Promise<void>((resolve) => client.onClose(resolve));
  await client.subsystem();
  await site.command("agents", "revoke", "gone", "--reason", "stolen");
  await cut;
  expect(await codeOf(fetchState(dir, loadProvisioning))).toBe("MANAGER_LOGIN_REFUSED");
  const shown = await site.command("agents", "show", nodeId);
  expect(shown).toMatchObject({ state: "revoked", reason: "stolen" });
  // The name and the address are free for another machine, the keys are not.
  const token = await site.invite("gone");
  const { addresses } = own.certificate.certificate;
  expect(await codeOf(site.enrol(token, dir, { addresses }))).toBe("KEY_TAKEN");
  expect((await site.enrol(token, site.freshDir(), { addresses })).own.name).toBe("gone");
});

test("a machine with the address of another inherits nothing", async () => {
  const dir = site.freshDir();
  await site.enrol(await site.invite("victim"), dir, { addresses: ["10.77.5.5"] });
  // Its own keys, never enrolled, from wherever it likes.
  const thief = site.freshDir();
  ensureKeys(thief);
  const { copyFileSync } = await import("node:fs");
  copyFileSync(agentFile(dir, "manager"), agentFile(thief, "manager"));
  expect(await codeOf(fetchState(thief, loadProvisioning))).toBe("MANAGER_LOGIN_REFUSED");
});

test("no secret is in the database, the events or the audit log as it is", async () => {
  const dir = site.freshDir();
  const token = await site.invite("secretive", "--tag", "app9");
  const state = await site.enrol(token, dir);
  const secrets = [
    ...[token.seed, state.tenant.tag, ...state.tags.map(({ tag }) => tag)],
    ...state.contracts.flatMap((contract) => contract.secrets.map(({ secret }) => secret)),
    ...[site.manager?.state.manager.hostKey.seed ?? new Uint8Array(SSH_SEED_BYTES)],
  ];
  expect(secrets.length).toBeGreaterThan(5);
  const names = readdirSync(site.dir).filter((name) => name.startsWith("manager.sqlite"));
  expect(names).toContain("manager.sqlite-wal");
  const kept = [...names.map((name) => join(site.dir, name)), site.eventFile];
  const audit = Buffer.from(JSON.stringify(await site.command("audit")));
  for (const bytes of [audit, ...kept.map((file) => readFileSync(file))]) {
    for (const secret of secrets) {
      expect(bytes.includes(Buffer.from(secret))).toBe(false);
      expect(bytes.includes(secret.toHex())).toBe(false);
      expect(bytes.includes(Buffer.from(secret).toString("base64").slice(0, -4))).toBe(false);
    }
  }
});
