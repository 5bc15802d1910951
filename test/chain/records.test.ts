/**
 * PARAMS, SIGNATURE, KEY_ROTATE and NODE_REVOKE on a chain: docs/ledger.md "Records". A row is one
 * broken rule, beside the record in order; then what the records do, and from which height on.
 */
import { describe, expect, test } from "bun:test";
import { draftBlock } from "../../src/chain/apply-block.ts";
import type { BlockFault } from "../../src/chain/block-fault.ts";
import {
  type ChainState,
  committeeOf,
  eligibleAt,
  isChangePending,
  memberKeysAt,
  paramsAt,
} from "../../src/chain/chain-state.ts";
import { DEFAULT_PARAMS, type LedgerParams } from "../../src/chain/genesis.ts";
import {
  type Attempt,
  type ChainId,
  type Height,
  NO_HASH,
  type NodeId,
} from "../../src/chain/ledger-units.ts";
import type { Stake } from "../../src/chain/member.ts";
import { nodeIdOf } from "../../src/chain/message-signing.ts";
import { decodeRecord, encodeRecord } from "../../src/chain/record-schema.ts";
import type { LedgerRecord } from "../../src/chain/record-types.ts";
import { rotationHash } from "../../src/chain/registration.ts";
import { ScdTree, signatureEntryId } from "../../src/chain/scd-tree.ts";
import { hashOf } from "../../src/chain/sha256.ts";
import {
  BLINDING_BYTES,
  signatureAt,
  signatureCommitment,
} from "../../src/chain/signature-entry.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { ChainBuilder, sortedRecords, standInKeys } from "./chain-builder.ts";

const at = (height: number): Height => height as Height;

/** What refuses these records on top of the chain, or undefined. */
function faultOf(builder: ChainBuilder, ...records: LedgerRecord[]): BlockFault | undefined {
  const { state, crypto } = builder;
  const body = { contracts: [], records: sortedRecords(records) };
  const timestamp = (state.core.timestamp + 1) as EpochSeconds;
  const drafted = draftBlock(state, { term: state.core.term, timestamp, body }, crypto);
  return "fault" in drafted ? drafted.fault : undefined;
}

/** The same for a record as bytes: whether its schema takes it. */
function isRead(record: LedgerRecord): boolean {
  return "record" in decodeRecord(encodeRecord(record));
}

describe("PARAMS", () => {
  const builder = new ChainBuilder(standInKeys(21), 4);
  const params = (change: Partial<LedgerParams> = {}, seq = 1): LedgerRecord => ({
    kind: "PARAMS",
    seq,
    params: { ...DEFAULT_PARAMS, ...change },
  });
  test.each([
    ["other values", params({ committeeMax: 3 }), undefined],
    ["the same values", params(), undefined],
    ["seq 2 as the first", params({}, 2), "record-rule"],
    ["a cap below T0", params({ viewTimeoutMs: 2000, viewTimeoutMaxMs: 1999 }), "record-rule"],
    ["a cap of T0", params({ viewTimeoutMs: 2000, viewTimeoutMaxMs: 2000 }), undefined],
    ["a committee of none", params({ committeeMax: 0 }), "record-schema"],
    ["a committee of 21", params({ committeeMax: 21 }), "record-schema"],
    ["a cool-down of 1,001", params({ coolDownBlocks: 1001 }), "record-schema"],
    ["T0 of 9 ms", params({ viewTimeoutMs: 9 }), "record-schema"],
    ["a clock window of nothing", params({ clockWindowSeconds: 0 }), "record-schema"],
    ["seq 0", params({}, 0), "record-schema"],
  ] as const)("%s", (_, record, fault) => {
    expect(faultOf(builder, record)).toBe(fault);
    expect(isRead(record)).toBe(fault !== "record-schema");
  });

  test("they hold two heights later, the block before still by the old ones; seq goes on", () => {
    const chain = new ChainBuilder(standInKeys(22), 4);
    chain.add({ records: [params({ committeeMax: 3, viewTimeoutMs: 77 })] });
    expect(paramsAt(chain.state, at(2))).toEqual(DEFAULT_PARAMS);
    expect(paramsAt(chain.state, at(3))).toMatchObject({ committeeMax: 3, viewTimeoutMs: 77 });
    expect(isChangePending(chain.state)).toBe(true);
    expect(committeeOf(chain.state, 0 as Attempt).length).toBe(4);
    chain.add();
    expect(committeeOf(chain.state, 0 as Attempt).length).toBe(3);
    expect(isChangePending(chain.state)).toBe(false);
    expect(faultOf(chain, params({}, 1))).toBe("record-rule");
    expect(faultOf(chain, params({}, 3))).toBe("record-rule");
    expect(faultOf(chain, params({}, 2))).toBeUndefined();
  });

  test("they are under membership_root: other values give another block", () => {
    const chain = new ChainBuilder(standInKeys(23), 1);
    const before = chain.state.core.membershipRoot;
    const { core } = chain.add({ records: [params({ coolDownBlocks: 5 })] });
    expect(core.membershipRoot).not.toBe(before);
    expect(core.tnlRoot).toBe((chain.states[0] as ChainState).core.tnlRoot);
  });
});

describe("SIGNATURE", () => {
  const commitment = hashOf(Buffer.from("signature 1"));
  const signature = (change: object = {}): LedgerRecord => ({
    kind: "SIGNATURE",
    signatureId: "postgres-1",
    seq: 1,
    version: 3,
    status: "published",
    commitment,
    ...change,
  });
  const builder = new ChainBuilder(standInKeys(24), 1);
  builder.add({ records: [signature()] });
  const other = { commitment: hashOf(Buffer.from("signature 2")) };
  const next = { seq: 2, version: 4, ...other };
  const disabled = { seq: 2, status: "disabled" };
  const decommissioned = { seq: 2, status: "decommissioned" };
  test.each([
    ["a new one", signature({ signatureId: "redis-1" }), undefined],
    ["the next version", signature(next), undefined],
    ["disabling", signature(disabled), undefined],
    ["decommissioning", signature(decommissioned), undefined],
    ["seq again", signature(), "record-rule"],
    ["seq left out", signature({ ...next, seq: 3 }), "record-rule"],
    ["a first one with seq 2", signature({ ...next, signatureId: "redis-1" }), "record-rule"],
    ["published as it is", signature({ seq: 2 }), "record-rule"],
    ["other contents of the same version", signature({ seq: 2, ...other }), "record-rule"],
    ["an older version", signature({ ...next, version: 2 }), "record-rule"],
    ["disabling other contents", signature({ ...disabled, ...other }), "record-rule"],
    ["disabling another version", signature({ ...disabled, version: 4 }), "record-rule"],
    ["disabling nothing", signature({ ...disabled, seq: 1, signatureId: "a" }), "record-rule"],
    [
      "decommissioning nothing",
      signature({ ...decommissioned, seq: 1, signatureId: "a" }),
      "record-rule",
    ],
    ["an unknown status", signature({ ...next, status: "enabled" }), "record-schema"],
    ["a negative version", signature({ ...next, version: -1 }), "record-schema"],
    ["no commitment", signature({ ...next, commitment: "" }), "record-schema"],
    ["no name", signature({ ...next, signatureId: "" }), "record-schema"],
  ] as const)("%s", (_, record, fault) => {
    expect(faultOf(builder, record)).toBe(fault);
  });

  test("it is in the SCD while it may come back, and decommissioned is for good", () => {
    const chain = new ChainBuilder(standInKeys(25), 1);
    const add = (change: object): void => {
      chain.add({ records: [signature(change)] });
    };
    const isHeld = (change: object): void => {
      const { bytes } = chain.state.scd.find(signatureEntryId("postgres-1")) ?? {};
      expect(bytes).toEqual(encodeRecord(signature(change)));
    };
    add({});
    isHeld({});
    add(disabled);
    isHeld(disabled);
    expect(faultOf(chain, signature({ seq: 3, status: "disabled" }))).toBe("record-rule");
    add({ seq: 3 });
    isHeld({ seq: 3 });
    add({ ...disabled, seq: 4 });
    add({ ...next, seq: 5 });
    isHeld({ ...next, seq: 5 });
    add({ ...next, seq: 6, status: "decommissioned" });
    expect(signatureAt(chain.state.scd, "postgres-1")).toBeUndefined();
    expect(chain.state.core.scdRoot).toBe(ScdTree.EMPTY.root);
    for (const seq of [1, 6, 7]) {
      expect(faultOf(chain, signature({ seq, version: 9 }))).toBe("record-rule");
    }
  });
});

describe("the commitment of a signature", () => {
  const contents = Buffer.from('{"app_name":"app1"}');
  const blinding = (byte: number) => new Uint8Array(BLINDING_BYTES).fill(byte);

  test("is SHA-256 of tag, blinding and contents", () => {
    const bytes = Buffer.concat([Buffer.from("abs/signature\0"), blinding(7), contents]);
    expect(signatureCommitment(blinding(7), contents)).toBe(hashOf(bytes));
  });

  test("tells nothing to who has the contents and not the blinding", () => {
    const [one, other] = [blinding(1), blinding(2)].map((b) => signatureCommitment(b, contents));
    expect(one).not.toBe(other);
  });
});

/** A member of `builder`, and a KEY_ROTATE of it that both keys signed. */
function rotation(builder: ChainBuilder, nodeId: NodeId, change: object = {}) {
  const fresh = builder.keys.makeKeys();
  const old = builder.keysOf(nodeId).signer;
  const words = {
    seq: 1,
    ledgerPub: fresh.signer.publicKey,
    vrfPub: fresh.vrf.publicKey,
    certificate: hashOf(Buffer.from("renewed")),
    ...change,
  };
  const hash = rotationHash(builder.state.chainId, nodeId, words.seq, words);
  const record = {
    kind: "KEY_ROTATE",
    nodeId,
    ...words,
    oldSignature: old.sign(hash),
    newSignature: fresh.signer.sign(hash),
  } as const satisfies LedgerRecord;
  return { record, fresh, hash, old };
}

describe("KEY_ROTATE", () => {
  const builder = new ChainBuilder(standInKeys(26), 4);
  const [first, second] = eligibleAt(builder.state, at(1)).map((line) => line.nodeId) as [
    NodeId,
    NodeId,
  ];
  const { record, fresh, hash, old } = rotation(builder, first);
  const stranger = builder.keys.makeKeys();
  const keyOf = (nodeId: NodeId) => builder.keysOf(nodeId).signer.publicKey;
  const to = (change: object): LedgerRecord => rotation(builder, first, change).record;
  const renewal = (): LedgerRecord => {
    const words = { ledgerPub: old.publicKey, vrfPub: builder.keysOf(first).vrf.publicKey };
    const renewed = { ...record, ...words, certificate: hashOf(Buffer.from("renewed")) };
    const signature = old.sign(rotationHash(builder.state.chainId, first, 1, renewed));
    return { ...renewed, oldSignature: signature, newSignature: signature };
  };
  test.each([
    ["new keys, signed by the old and the new", record, undefined],
    ["the same keys with a renewed certificate", renewal(), undefined],
    ["seq again", { ...record, seq: 2 }, "record-rule"],
    ["seq left out", to({ seq: 2 }), "record-rule"],
    ["the old key's signature alone", { ...record, newSignature: old.sign(hash) }, "by"],
    ["the new key's signature alone", { ...record, oldSignature: fresh.signer.sign(hash) }, "by"],
    ["a stranger's signature", { ...record, oldSignature: stranger.signer.sign(hash) }, "by"],
    ["another certificate than signed", { ...record, certificate: NO_HASH }, "by"],
    ["another VRF key than signed", { ...record, vrfPub: stranger.vrf.publicKey }, "by"],
    ["another node than signed", { ...record, nodeId: second }, "by"],
    ["a node that is none", { ...record, nodeId: "00".repeat(16) as NodeId }, "record-rule"],
    ["another member's key", to({ ledgerPub: keyOf(second) }), "record-rule"],
    ["the master's key", to({ ledgerPub: builder.master.signer.publicKey }), "record-rule"],
    ["the recovery key", to({ ledgerPub: builder.recovery.signer.publicKey }), "record-rule"],
    ["a key that is none", to({ ledgerPub: `02${"00".repeat(32)}` }), "record-rule"],
    [
      "another member's VRF key",
      to({ vrfPub: builder.keysOf(second).vrf.publicKey }),
      "record-rule",
    ],
  ] as const)("%s", (_, words, fault) => {
    const expected = fault === "by" ? "record-signature" : fault;
    expect(faultOf(builder, words as LedgerRecord)).toBe(expected as never);
  });

  test("of another chain it is refused: the chain's id is signed", () => {
    const other = rotationHash(NO_HASH as string as ChainId, first, 1, record);
    const elsewhere = { oldSignature: old.sign(other), newSignature: fresh.signer.sign(other) };
    expect(faultOf(builder, { ...record, ...elsewhere })).toBe("record-signature");
  });

  test("the old key votes until two heights later, the new one then; ids stay; no way back", () => {
    const chain = new ChainBuilder(standInKeys(27), 4);
    const [nodeId] = committeeOf(chain.state, 0 as Attempt) as [NodeId];
    const rotated = rotation(chain, nodeId);
    chain.add({ records: [rotated.record] });
    const key = (height: number) => memberKeysAt(chain.state, nodeId, at(height))?.ledgerPub;
    expect(key(2)).toBe(rotated.old.publicKey);
    expect(key(3)).toBe(rotated.fresh.signer.publicKey);
    // Sealed by the old key at 2, by the new one at 3: the builder signs with what it is given.
    chain.add();
    chain.nodes.set(nodeId, rotated.fresh);
    chain.add();
    expect(chain.state.height as number).toBe(3);
    expect(nodeIdOf(rotated.fresh.signer.publicKey)).not.toBe(nodeId);
    const back = rotation(chain, nodeId, { seq: 2, ledgerPub: rotated.old.publicKey }).record;
    expect(faultOf(chain, back)).toBe("record-rule");
  });

  test("a certificate is renewed over the same keys as often as it runs out", () => {
    const chain = new ChainBuilder(standInKeys(27), 4);
    const [nodeId] = committeeOf(chain.state, 0 as Attempt) as [NodeId];
    const { signer, vrf } = chain.keysOf(nodeId);
    for (const seq of [1, 2, 3]) {
      const certificate = hashOf(Buffer.from(`renewed ${seq}`));
      const words = { ledgerPub: signer.publicKey, vrfPub: vrf.publicKey, certificate };
      const signature = signer.sign(rotationHash(chain.state.chainId, nodeId, seq, words));
      const signatures = { oldSignature: signature, newSignature: signature };
      chain.add({ records: [{ kind: "KEY_ROTATE", nodeId, seq, ...words, ...signatures }] });
      expect(chain.state.members.get(nodeId)?.keys.at(-1)?.certificate).toBe(certificate);
    }
  });

  test("a key given up is nobody else's for ever", () => {
    const chain = new ChainBuilder(standInKeys(28), 4);
    const [one, other] = eligibleAt(chain.state, at(1)).map((line) => line.nodeId) as [
      NodeId,
      NodeId,
    ];
    const rotated = rotation(chain, one);
    chain.add({ records: [rotated.record] });
    const stolen = rotation(chain, other, { ledgerPub: rotated.old.publicKey }).record;
    expect(faultOf(chain, stolen)).toBe("record-rule");
  });
});

describe("NODE_REVOKE", () => {
  const builder = new ChainBuilder(standInKeys(29), 4);
  const [first] = eligibleAt(builder.state, at(1)).map((line) => line.nodeId) as [NodeId];
  const revoke = (nodeId: NodeId, reason = "stolen"): LedgerRecord => ({
    kind: "NODE_REVOKE",
    nodeId,
    reason,
  });
  test.each([
    ["a member", revoke(first), undefined],
    ["a stranger", revoke("00".repeat(16) as NodeId), "record-rule"],
    ["nobody", revoke("" as NodeId), "record-schema"],
    ["a reason that is too long", revoke(first, "x".repeat(201)), "record-schema"],
  ] as const)("%s", (_, record, fault) => {
    expect(faultOf(builder, record)).toBe(fault as BlockFault | undefined);
  });

  test("it is for good: no second revocation, no rotation, no stake, no id again", () => {
    const chain = new ChainBuilder(standInKeys(30), 4);
    const [line, other] = eligibleAt(chain.state, at(1)) as [Stake, Stake];
    const { nodeId } = line;
    const genesis = chain.file.members.find(({ ledgerPub }) => nodeIdOf(ledgerPub) === nodeId);
    if (genesis === undefined) throw new Error("no genesis member");
    chain.add({ records: [revoke(nodeId)] });
    expect(memberKeysAt(chain.state, nodeId, at(2))).toBeDefined();
    expect(memberKeysAt(chain.state, nodeId, at(3))).toBeUndefined();
    const { ledgerPub, vrfPub, certificate, possession } = genesis;
    const again = { kind: "NODE_ADD", nodeId, ledgerPub, vrfPub, certificate, possession } as const;
    for (const record of [
      revoke(nodeId),
      rotation(chain, nodeId).record,
      { kind: "TNL", set: [line], remove: [] } as const,
      again,
    ]) {
      expect(faultOf(chain, record)).toBe("record-rule");
    }
    chain.add();
    expect(committeeOf(chain.state, 0 as Attempt)).not.toContain(nodeId);
    // Its key is nobody's either, under whatever id.
    expect(faultOf(chain, rotation(chain, other.nodeId, { ledgerPub }).record)).toBe("record-rule");
  });

  test("a revoked node and its removal from the list go together in one block", () => {
    const chain = new ChainBuilder(standInKeys(31), 2);
    const [nodeId] = eligibleAt(chain.state, at(1)).map((line) => line.nodeId) as [NodeId];
    const remove = { kind: "TNL", set: [], remove: [nodeId] } as const;
    // One of two would leave no quorum of two: the list alone does not let it go.
    expect(faultOf(chain, remove)).toBe("record-rule");
    expect(faultOf(chain, revoke(nodeId), remove)).toBeUndefined();
  });
});
