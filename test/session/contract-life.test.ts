/**
 * Contracts that change, end or are chosen while sessions run. docs/wire.md "Lifetimes",
 * "HANDSHAKE" (SC-1 and SC-2), paper §3.2. Time and clocks are simulated.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Contract } from "../../src/session/contract.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { TENANT_TAG } from "../../src/units.ts";
import { seed } from "../prng.ts";
import {
  APP1,
  contractOf,
  type Pair,
  type PairOptions,
  PEER,
  pairOf,
  SECOND_SC_ID,
  secretOf,
} from "./setup.ts";
import { START_WALL } from "./simulated-network.ts";

setDefaultTimeout(60_000);

const START = START_WALL / 1000;

/** Traffic from a to b at every tick for a while; true when all of it arrived. */
function flows(pair: Pair, seconds: number): boolean {
  const from = pair.b.delivered.length;
  let sent = 0;
  pair.network.run(seconds, () => pair.a.send(PEER, APP1, 0, ++sent));
  pair.network.run(0.1);
  return pair.b.delivered.length - from === sent;
}

function change(pair: Pair, contracts: readonly Contract[]): void {
  for (const agent of [pair.a, pair.b]) agent.step({ type: "contracts", contracts });
}

/** The SC-IDs and generations of a's sessions: its own contract, then the peer's. */
function usesOf(pair: Pair): string[] {
  return pair.a.sessions
    .list()
    .map(({ myUse, peerUse }) =>
      [myUse, peerUse]
        .map(({ contract, generation }) => `${contract.scId.slice(0, 1)}${generation.generation}`)
        .join("/"),
    );
}

const first = contractOf();
const second = contractOf({ "sc-id": SECOND_SC_ID, encryption_algo: "chacha20-poly1305" });

describe.each([
  ["aes-128-gcm", "sha256", 16, 1],
  ["aes-256-gcm", "sha512", 32, 2],
  ["chacha20-poly1305", "blake2s", 32, 3],
  ["aes-128-gcm", "blake2b", 16, 1],
] as const)("%s with %s", (algorithm, hash, keyBytes, number) => {
  test.each(["integrity", "confidential"] as const)("%s", (protection) => {
    const contract = contractOf({ encryption_algo: algorithm, hash_algo: hash, protection });
    const pair = pairOf(seed, { contracts: [contract] });
    expect(flows(pair, 1)).toBe(true);
    const [install] = pair.a.outputsOf("install");
    const [answer] = pair.b.outputsOf("install");
    expect(install?.out).toEqual(answer?.in as NonNullable<typeof answer>["in"]);
    expect(install?.in).toEqual(answer?.out as NonNullable<typeof answer>["out"]);
    expect(install?.out.key).not.toEqual(install?.in.key as Uint8Array);
    expect(install?.out).toMatchObject({
      algorithm: number,
      confidential: protection === "confidential",
      quickProof: undefined,
    });
    expect(install?.out.key.length).toBe(keyBytes);
    expect([install?.receiverIndex, install?.remoteIndex]).toEqual([
      answer?.remoteIndex,
      answer?.receiverIndex,
    ]);
  });
});

test("each direction follows its sender's contract", () => {
  const contracts = [first, second];
  const pair = pairOf(seed, { contracts });
  const peers = pair.a.setup.config.peers.map((peer) => ({
    ...peer,
    announced: new Map([[first.scId, 1]]),
  }));
  pair.a.step({ type: "peers", peers, tags: pair.a.setup.config.tags });
  const others = pair.b.setup.config.peers.map((peer) => ({
    ...peer,
    announced: new Map([[second.scId, 1]]),
  }));
  pair.b.step({ type: "peers", peers: others, tags: pair.b.setup.config.tags });
  expect(flows(pair, 1)).toBe(true);
  expect(usesOf(pair)).toEqual(["a1/b1"]);
  const [install] = pair.a.outputsOf("install");
  expect([install?.out.algorithm, install?.in.algorithm]).toEqual([1, 3]);
});

test("an unauthenticated contract carries the tenant's traffic, and no application's", () => {
  const quick = contractOf({ quickmode: "true", protection: "confidential" });
  const pair = pairOf(seed, { contracts: [quick] });
  pair.a.send(PEER, TENANT_TAG, 0, 1);
  pair.network.run(1);
  expect(pair.b.delivered).toEqual([1]);
  const [install] = pair.a.outputsOf("install");
  expect(install?.out.quickProof?.length).toBe(16);
  expect(install?.out.quickProof).not.toEqual(install?.in.quickProof as Uint8Array);
  expect(install?.out.confidential).toBe(false);
  pair.a.send(PEER, APP1, 0, 2);
  expect(pair.a.outputsOf("failed").map(({ reason }) => reason)).toEqual(["no-contract"]);
});

describe("a contract's end", () => {
  const ending = (seconds: number, scId?: string) =>
    contractOf({ "sc-lifetime": START + seconds, ...(scId ? { "sc-id": scId } : {}) });

  test("sessions move to another contract just before; nothing is lost", () => {
    const options: PairOptions = { contracts: [ending(100)] };
    const pair = pairOf(seed, options);
    expect(flows(pair, 50)).toBe(true);
    change(pair, [ending(100), second]);
    expect(flows(pair, 40)).toBe(true);
    expect(flows(pair, 30)).toBe(true);
    expect(usesOf(pair)).toEqual(["b1/b1"]);
    const closes = pair.a.outputsOf("close").map(({ reason }) => reason);
    expect(closes).toEqual(["replaced"]);
    expect(pair.a.outputsOf("contract-expired").map(({ scId }) => scId)).toEqual([first.scId]);
  });

  test("without another the session ends with it, and the contract stays expired for ever", () => {
    const pair = pairOf(seed, { contracts: [ending(60)] });
    expect(flows(pair, 59)).toBe(true);
    expect(flows(pair, 5)).toBe(false);
    expect(pair.a.outputsOf("close").map(({ reason }) => reason)).toEqual(["contract-ended"]);
    expect(pair.a.sessions.list().length + pair.b.sessions.list().length).toBe(0);
    // One renegotiation would be no better than the session it replaces.
    expect(pair.a.outputsOf("install").length).toBe(1);
    pair.a.clockOffset = -3_600_000;
    pair.b.clockOffset = -3_600_000;
    expect(flows(pair, 3)).toBe(false);
  });

  test("a responder's contract that ends is followed as well", () => {
    const contracts = [ending(60), second];
    const pair = pairOf(seed, { contracts });
    const announced = (scId: string) => new Map([[scId, 1]]);
    const toFirst = pair.b.setup.config.peers.map((peer) => ({
      ...peer,
      announced: announced(first.scId),
    }));
    const toSecond = pair.a.setup.config.peers.map((peer) => ({
      ...peer,
      announced: announced(second.scId),
    }));
    pair.a.step({ type: "peers", peers: toSecond, tags: pair.a.setup.config.tags });
    pair.b.step({ type: "peers", peers: toFirst, tags: pair.b.setup.config.tags });
    expect(flows(pair, 20)).toBe(true);
    expect(usesOf(pair)).toEqual(["b1/a1"]);
    pair.b.step({ type: "peers", ...pair.b.setup.config });
    expect(flows(pair, 50)).toBe(true);
    expect(usesOf(pair)).toEqual(["b1/b1"]);
  });
});

describe("a contract that is made inactive", () => {
  test("sessions move at once; nothing is lost", () => {
    const pair = pairOf(seed, { contracts: [first] });
    expect(flows(pair, 5)).toBe(true);
    change(pair, [contractOf({ active: false }), second]);
    expect(flows(pair, 2)).toBe(true);
    expect(usesOf(pair)).toContain("b1/b1");
    expect(flows(pair, 20)).toBe(true);
    expect(usesOf(pair)).toEqual(["b1/b1"]);
  });

  test("without another, sessions end and none begins", () => {
    const pair = pairOf(seed, { contracts: [first] });
    expect(flows(pair, 5)).toBe(true);
    change(pair, [contractOf({ active: "false" })]);
    flows(pair, 12);
    expect(pair.a.sessions.list().length + pair.b.sessions.list().length).toBe(0);
    expect(pair.a.outputsOf("failed").map(({ reason }) => reason)).toContain("no-contract");
    change(pair, [first]);
    expect(flows(pair, 5)).toBe(true);
  });
});

describe("generations of the secret", () => {
  const both = contractOf({}, [secretOf(1), secretOf(2, 2)]);

  test("the next one is used once the peer has announced it", () => {
    const pair = pairOf(seed, { contracts: [contractOf({ busytime: 20 })] });
    const tell = (generation: number) => {
      for (const agent of [pair.a, pair.b]) {
        const announced = new Map([[first.scId, generation]]);
        const peers = agent.setup.config.peers.map((peer) => ({ ...peer, announced }));
        agent.step({ type: "peers", peers, tags: agent.setup.config.tags });
      }
    };
    const renewing = contractOf({ busytime: 20 }, [...both.secrets]);
    tell(1);
    expect(flows(pair, 5)).toBe(true);
    change(pair, [renewing]);
    expect(flows(pair, 30)).toBe(true);
    expect(usesOf(pair)).toContain("a1/a1");
    tell(2);
    expect(flows(pair, 30)).toBe(true);
    expect(usesOf(pair)).toContain("a2/a2");
    expect(usesOf(pair)).not.toContain("a1/a1");
  });

  test("the old one ends: sessions under it have moved before, and a late one ends", () => {
    const overlap = contractOf({}, [
      { ...secretOf(1), endsAt: (START + 60) as EpochSeconds },
      secretOf(2, 2),
    ]);
    const pair = pairOf(seed, { contracts: [contractOf()] });
    expect(flows(pair, 10)).toBe(true);
    change(pair, [overlap]);
    expect(flows(pair, 60)).toBe(true);
    expect(usesOf(pair)).toEqual(["a2/a2"]);
    expect(pair.a.outputsOf("contract-expired").length).toBe(0);
  });
});

describe("policy chooses", () => {
  test("among contracts by protection, id and busy lifetime", () => {
    const secret = contractOf({ "sc-id": SECOND_SC_ID, protection: "confidential", busytime: 60 });
    for (const [rule, wanted] of [
      [{ protection: "confidential" as const }, "b1/b1"],
      [{ protection: "integrity" as const }, "a1/a1"],
      [{ scId: SECOND_SC_ID }, "b1/b1"],
      [{ maxBusySeconds: 60 }, "b1/b1"],
    ] as const) {
      const contractRule = () => rule;
      const changes = { contractRule };
      const pair = pairOf(seed, { contracts: [first, secret], a: changes, b: changes });
      expect(flows(pair, 1)).toBe(true);
      expect(usesOf(pair)).toEqual([wanted]);
    }
  });

  test("at random without a rule", () => {
    const seen = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const pair = pairOf(i, { contracts: [first, second] });
      expect(flows(pair, 0.5)).toBe(true);
      for (const use of usesOf(pair)) seen.add(use);
    }
    expect([...seen].sort()).toEqual(["a1/a1", "a1/b1", "b1/a1", "b1/b1"]);
  });
});

describe("peers that change", () => {
  test("a tag that may no longer be claimed ends the session, and none begins", () => {
    const pair = pairOf(seed);
    expect(flows(pair, 5)).toBe(true);
    const peers = pair.b.setup.config.peers.map((peer) => ({ ...peer, entitledTags: [] }));
    pair.b.step({ type: "peers", peers, tags: pair.b.setup.config.tags });
    expect(pair.b.outputsOf("close").map(({ reason }) => reason)).toEqual(["peer-changed"]);
    expect(flows(pair, 20)).toBe(false);
    expect(pair.b.sessions.refusals.get("tag")).toBeGreaterThan(0);
  });

  test("a peer that is left out is gone, with its sessions and handshakes", () => {
    const pair = pairOf(seed);
    expect(flows(pair, 5)).toBe(true);
    pair.a.send(PEER, TENANT_TAG, 0, 1);
    pair.a.step({ type: "peers", peers: [], tags: pair.a.setup.config.tags });
    expect(pair.a.sessions.list().length + pair.a.sessions.pendingCount).toBe(0);
    pair.a.send(PEER, APP1, 0, 1);
    expect(pair.a.outputsOf("failed").at(-1)?.reason).toBe("unknown-peer");
    pair.a.step({ type: "peers", ...pair.a.setup.config });
    pair.network.run(20);
    expect(flows(pair, 5)).toBe(true);
  });
});

test("a new handshake comes at the limit of packets, by whichever side sends them", () => {
  const limits = { packets: 100 };
  const pair = pairOf(seed, { a: { limits, hasAllowedFlow: () => true } });
  expect(flows(pair, 60)).toBe(true);
  expect(pair.a.outputsOf("install").length).toBeGreaterThanOrEqual(4);
  const back = pairOf(seed, { a: { hasAllowedFlow: () => true }, b: { limits } });
  back.a.send(PEER, APP1, 0, 1);
  back.network.run(1);
  let sent = 0;
  back.network.run(60, () => back.b.send(PEER, APP1, 1, ++sent));
  back.network.run(1);
  expect(back.a.delivered.length).toBe(sent);
  expect(back.b.outputsOf("install").filter(({ initiator }) => initiator).length).toBeGreaterThan(
    3,
  );
});
