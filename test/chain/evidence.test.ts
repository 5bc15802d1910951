/**
 * Evidence: docs/ledger.md "Evidence". Every kind that counts, and beside each what is nearly the
 * same and must not: nobody loses his place for a crash, a repeat or an answer about his disk.
 */
import { describe, expect, test } from "bun:test";
import { draftBlock } from "../../src/chain/apply-block.ts";
import type { BlockCore } from "../../src/chain/block.ts";
import type { BlockFault } from "../../src/chain/block-fault.ts";
import { masterOf } from "../../src/chain/chain-state.ts";
import type { NodeKeys } from "../../src/chain/crypto-interface.ts";
import { evidenceOf, readEvidence } from "../../src/chain/evidence.ts";
import {
  type Attempt,
  type CandidateSequence,
  type ChainId,
  type Hash,
  type Height,
  NO_HASH,
  type NodeId,
  type Term,
  type View,
  type VrfProof,
} from "../../src/chain/ledger-units.ts";
import { nodeIdOf, signMessage } from "../../src/chain/message-signing.ts";
import type { Draft, EvidenceMessage, SignedMessage } from "../../src/chain/message-types.ts";
import type { LedgerRecord } from "../../src/chain/record-types.ts";
import { rotationHash } from "../../src/chain/registration.ts";
import { hashOf } from "../../src/chain/sha256.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { ChainBuilder, contractOf, sortedRecords, standInKeys, TERM_1 } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const builder = new ChainBuilder(standInKeys(41), 4);
const [offender, other] = [...builder.nodes.keys()] as [NodeId, NodeId];
const { crypto, master, recovery } = builder;
const { chainId } = builder.state;
const core = builder.add({ contracts: [contractOf(1)] }).core;
const A = hashOf(Buffer.from("a")) as Hash as never;
const B = hashOf(Buffer.from("b")) as Hash as never;

const keysOf = (nodeId: NodeId): NodeKeys => builder.keysOf(nodeId);
const place = {
  ...{ chainId, term: TERM_1, height: 1 as Height, attempt: 0 as Attempt, view: 0 as View },
  signer: offender,
};

/** A message of these words, signed by `by`. */
function text(kind: string, change: object = {}, by = keysOf(offender)): SignedMessage {
  const words = { kind, ...place, ...WORDS[kind], blockHash: A, ...change };
  return signMessage(by.signer, words as unknown as Draft) as SignedMessage;
}

/** What each kind has beside a block hash. */
const WORDS: Readonly<Record<string, object>> = {
  PRE_PREPARE: {
    ...{ committeeHash: NO_HASH, vrfProof: new Uint8Array(80) as VrfProof },
    ...{ justificationHash: NO_HASH, committee: [], justification: [] },
  },
  REJECT: { reason: 11 },
  ROUND_CHANGE: { prepared: undefined },
  ABANDON: { highest: undefined },
  DIGEST_RESP: { nonce: NO_HASH, scdRoot: NO_HASH },
  RESULT: {
    quorum: { attempt: 0, view: 0, bitmap: 0, signatures: [] },
    vrfProof: new Uint8Array(80) as VrfProof,
  },
  QC_FETCH: { nonce: NO_HASH, purpose: "question", redrawn: 0 },
  QC_STATE: {
    ...{ nonce: NO_HASH, sealedHeight: 0, sealedHash: NO_HASH, abandoned: false },
    ...{ frozen: 0, isPromised: false, remembers: true },
    ...{ prepared: undefined, committed: undefined },
  },
};

const masterId = nodeIdOf(master.signer.publicKey);
const otherCore: BlockCore = { ...core, timestamp: (core.timestamp + 1) as EpochSeconds };

function candidate(change: object = {}, by = master): SignedMessage {
  const words = { kind: "CANDIDATE", ...place, signer: masterId, core };
  const more = { sequence: 0 as CandidateSequence, body: { contracts: [], records: [] } };
  const rest = { parent: undefined, abandons: [], redraw: undefined };
  return signMessage(by.signer, { ...words, ...more, ...rest, ...change } as unknown as Draft);
}

function seal(change: object = {}): SignedMessage {
  const words = { kind: "SEAL", ...place, signer: masterId, blockHash: A, quorumHash: NO_HASH };
  return signMessage(master.signer, { ...words, core, ...change } as unknown as Draft);
}

const recordOf = (one: SignedMessage, second: SignedMessage): LedgerRecord => ({
  kind: "EVIDENCE",
  evidence: evidenceOf(one, second),
});

/** What refuses these records on top of a chain, or undefined. */
function faultOf(chain: ChainBuilder, ...records: LedgerRecord[]): BlockFault | undefined {
  const { state } = chain;
  const body = { contracts: [], records: sortedRecords(records) };
  const timestamp = (state.core.timestamp + 1) as EpochSeconds;
  const drafted = draftBlock(state, { term: state.core.term, timestamp, body }, crypto);
  return "fault" in drafted ? drafted.fault : undefined;
}

const VOTES = ["PRE_PREPARE", "PREPARE", "COMMIT"];

describe("votes", () => {
  const pairs = VOTES.flatMap((one) => VOTES.map((second) => [one, second] as const));
  test.each(pairs)("%s and %s for two hashes in one view prove a lie", (one, second) => {
    expect(faultOf(builder, recordOf(text(one), text(second, { blockHash: B })))).toBeUndefined();
  });

  test.each(pairs)("%s and %s for one hash prove none", (one, second) => {
    expect(faultOf(builder, recordOf(text(one), text(second)))).toBe("record-rule");
  });

  const near = [
    ["another view", { view: 1 }],
    ["another attempt", { attempt: 1 }],
    ["another height", { height: 2 }],
    ["another term", { term: 2 }],
    ["another chain", { chainId: NO_HASH as string as ChainId }],
  ] as const;
  const all = VOTES.flatMap((kind) => near.map(([name, change]) => [kind, name, change] as const));
  test.each(all)("%s for two hashes, one in %s, proves none", (kind, _, change) => {
    const record = recordOf(text(kind), text(kind, { blockHash: B, ...change }));
    expect(faultOf(builder, record)).toBe("record-rule");
  });

  test("of two signers they prove none", () => {
    const second = text("PREPARE", { blockHash: B, signer: other }, keysOf(other));
    expect(faultOf(builder, recordOf(text("PREPARE"), second))).toBe("record-rule");
  });

  test("one that another has signed in the offender's name proves none, nor an altered one", () => {
    const forged = text("PREPARE", { blockHash: B }, keysOf(other));
    expect(faultOf(builder, recordOf(text("PREPARE"), forged))).toBe("record-signature");
    const good = text("PREPARE", { blockHash: B });
    const spoilt = { ...good, signature: text("COMMIT", { blockHash: B }).signature };
    expect(faultOf(builder, recordOf(text("PREPARE"), spoilt))).toBe("record-signature");
  });

  test("of a stranger, and of a member before it was one, they prove none", () => {
    const stranger = builder.keys.makeKeys();
    const signer = nodeIdOf(stranger.signer.publicKey);
    const one = text("PREPARE", { signer }, stranger);
    const second = text("PREPARE", { signer, blockHash: B }, stranger);
    expect(faultOf(builder, recordOf(one, second))).toBe("record-rule");
  });
});

/** Everything else that a node signs, each with two different contents. */
const HARMLESS: readonly (readonly [string, object, object])[] = [
  ["REJECT", { blockHash: A }, { blockHash: B }],
  ["ROUND_CHANGE", { view: 1 }, { view: 2 }],
  ["ABANDON", { view: 1 }, { view: 2 }],
  ["RESULT", { blockHash: A }, { blockHash: B }],
  ["DIGEST_RESP", { blockHash: A }, { blockHash: B }],
  ["DIGEST_RESP", { scdRoot: A }, { scdRoot: B }],
  ["QC_STATE", { sealedHash: A }, { sealedHash: B }],
  ["QC_FETCH", { nonce: A }, { nonce: B }],
];

describe("what an honest node does in a crash, a repeat or an answer", () => {
  test.each(HARMLESS)("two %s are no evidence", (kind, one, second) => {
    expect(faultOf(builder, recordOf(text(kind, one), text(kind, second)))).toBe("record-rule");
  });

  test("a digest answer beside a vote is none, nor a REJECT beside one", () => {
    for (const kind of ["DIGEST_RESP", "REJECT"]) {
      const record = recordOf(text("COMMIT"), text(kind, { blockHash: B }));
      expect(faultOf(builder, record)).toBe("record-rule");
    }
  });

  test("a vote that was sent again, as it was, is none", () => {
    const vote = text("COMMIT");
    const { evidence } = recordOf(vote, vote) as { evidence: EvidenceMessage["evidence"] };
    expect(readEvidence(chainId, evidence)).toBe("the texts are not in order");
  });
});

describe("the master", () => {
  test("two CANDIDATEs under one sequence prove a lie, and mark its term", () => {
    const chain = new ChainBuilder(standInKeys(41), 4);
    const record = recordOf(candidate(), candidate({ core: otherCore }));
    expect(faultOf(chain, record)).toBeUndefined();
    chain.add({ records: [record] });
    expect(masterOf(chain.state, TERM_1)?.isProvenLiar).toBe(true);
    expect([...chain.state.members.values()].some(({ revokedFrom }) => revokedFrom)).toBe(false);
    const more = recordOf(candidate({ sequence: 1 }), candidate({ sequence: 1, core: otherCore }));
    expect(faultOf(chain, more)).toBe("record-rule");
  });

  test.each([
    ["the next sequence", { sequence: 1 }],
    ["another attempt", { attempt: 1 }],
    ["another height", { height: 2 }],
    ["another term", { term: 2 }],
    ["the same block", { core }],
  ])("two CANDIDATEs, one of %s, prove none", (_, change) => {
    const record = recordOf(candidate(), candidate({ core: otherCore, ...change }));
    expect(faultOf(builder, record)).toBe("record-rule");
  });

  test.each([
    ["one view", {}],
    ["two views", { view: 1 }],
    ["two attempts", { attempt: 1 }],
  ])("two SEALs of one height for two hashes, of %s, prove a lie", (_, change) => {
    expect(faultOf(builder, recordOf(seal(), seal({ blockHash: B, ...change })))).toBeUndefined();
  });

  test("two SEALs of one hash, or of two heights, prove none", () => {
    expect(faultOf(builder, recordOf(seal(), seal({ quorumHash: A })))).toBe("record-rule");
    const above = seal({ height: 2, blockHash: B });
    expect(faultOf(builder, recordOf(seal(), above))).toBe("record-rule");
  });

  test("a member who signs CANDIDATEs is no master, and a master's vote is nobody's", () => {
    const words = { signer: offender };
    const one = candidate(words, keysOf(offender));
    const second = candidate({ ...words, core: otherCore }, keysOf(offender));
    expect(faultOf(builder, recordOf(one, second))).toBe("record-rule");
    const votes = [A, B].map((blockHash) =>
      text("PREPARE", { signer: masterId, blockHash }, master),
    );
    expect(faultOf(builder, recordOf(...(votes as [SignedMessage, SignedMessage])))).toBe(
      "record-rule",
    );
  });

  test("a CANDIDATE beside a SEAL proves none: they are two places", () => {
    expect(faultOf(builder, recordOf(candidate(), seal({ blockHash: B })))).toBe("record-rule");
  });
});

describe("on the chain", () => {
  const lie = (blockHash: Hash): SignedMessage => text("PREPARE", { blockHash });

  test("a node that was proven is proven once, in one block and ever after", () => {
    const chain = new ChainBuilder(standInKeys(41), 4);
    const first = recordOf(lie(A), lie(B));
    const C = hashOf(Buffer.from("c"));
    const second = recordOf(lie(A), lie(C));
    expect(faultOf(chain, first, second)).toBe("record-rule");
    chain.add({ records: [first] });
    expect(chain.state.members.get(offender)).toMatchObject({
      revokedBy: "evidence",
      revokedFrom: 3,
    });
    for (const record of [first, second]) expect(faultOf(chain, record)).toBe("record-rule");
  });

  test("one the master revoked before can still be proven, and is a liar from then on", () => {
    const chain = new ChainBuilder(standInKeys(41), 4);
    chain.add({ records: [{ kind: "NODE_REVOKE", nodeId: offender, reason: "left" }] });
    chain.add();
    chain.add();
    expect(faultOf(chain, recordOf(lie(A), lie(B)))).toBeUndefined();
    chain.add({ records: [recordOf(lie(A), lie(B))] });
    // Not later than it was: evidence gives nobody a vote back.
    expect(chain.state.members.get(offender)).toMatchObject({
      revokedBy: "evidence",
      revokedFrom: 3,
    });
  });

  test("it is judged by the key of its height, not by the one after a rotation", () => {
    const chain = new ChainBuilder(standInKeys(41), 4);
    const fresh = chain.keys.makeKeys();
    const words = {
      ...{ ledgerPub: fresh.signer.publicKey, vrfPub: fresh.vrf.publicKey },
      certificate: hashOf(Buffer.from("renewed")),
    };
    const hash = rotationHash(chainId, offender, 1, words);
    const signatures = {
      oldSignature: chain.keysOf(offender).signer.sign(hash),
      newSignature: fresh.signer.sign(hash),
    };
    chain.add({
      records: [{ kind: "KEY_ROTATE", nodeId: offender, seq: 1, ...words, ...signatures }],
    });
    chain.add();
    expect(faultOf(chain, recordOf(lie(A), lie(B)))).toBeUndefined();
    const by = (blockHash: Hash, height: number, keys: NodeKeys) =>
      text("PREPARE", { height, blockHash }, keys);
    const late = recordOf(by(A, 3, fresh), by(B, 3, fresh));
    expect(faultOf(chain, late)).toBeUndefined();
    const early = recordOf(by(A, 1, fresh), by(B, 1, fresh));
    expect(faultOf(chain, early)).toBe("record-signature");
    const old = chain.keysOf(offender);
    expect(faultOf(chain, recordOf(by(A, 3, old), by(B, 3, old)))).toBe("record-signature");
  });

  test("texts that are cut, longer, swapped or equal are refused", () => {
    const { evidence } = recordOf(lie(A), lie(B)) as { evidence: EvidenceMessage["evidence"] };
    const { first, second } = evidence;
    const longer = (bytes: Uint8Array) => Buffer.concat([bytes, Uint8Array.of(0)]);
    for (const words of [
      { first: second, second: first },
      { first, second: first },
      { first: first.slice(1), second },
      { first: first.slice(0, -1), second },
      { first: longer(first), second },
      { first, second: longer(second) },
      { first: new Uint8Array(0), second },
    ]) {
      expect(faultOf(builder, { kind: "EVIDENCE", evidence: words })).toMatch(/^record-/);
    }
    for (let end = 0; end < first.length; end++) {
      const cut = readEvidence(chainId, { first: first.subarray(0, end), second });
      expect(typeof cut).toBe("string");
    }
  });

  test("the recovery key is no member: two MASTER_TERMs are no evidence", () => {
    const signer = nodeIdOf(recovery.signer.publicKey);
    const term = (masterPub: string) =>
      text("MASTER_TERM", { signer, term: 2 as Term, height: 0, masterPub }, recovery);
    const record = recordOf(term(master.signer.publicKey), term(recovery.signer.publicKey));
    expect(faultOf(builder, record)).toBe("record-rule");
  });
});

test("a member that votes twice on the wire is found, proven and gone from the next draws", () => {
  const net = new SmallNetwork(standInKeys(42), 4);
  const liar = net.members[0] as NodeId;
  const { signer } = net.seat(liar).keys;
  net.tamper = (from, to, message) => {
    if (from !== liar || message.kind !== "PREPARE" || to !== net.members[1]) return message;
    // To one of them also another hash, in the same view.
    const lying = signMessage(signer, { ...message, blockHash: B } as never) as typeof message;
    net.push(to, { kind: "message", from: liar, message: lying }, 2);
    return message;
  };
  const isGone = (): boolean =>
    net.chainOf(net.master).members.get(liar)?.revokedBy === "evidence" &&
    net.heights().every((height) => height >= net.chainOf(net.master).height);
  for (let i = 1; i <= 4 && !isGone(); i++) {
    net.propose(contractOf(i));
    net.run(10_000, isGone);
  }
  expect(isGone()).toBe(true);
  const found = [...net.seats.values()].flatMap(({ reports }) => reports);
  expect(found.some((line) => line.startsWith(`evidence ${liar}`))).toBe(true);
});
