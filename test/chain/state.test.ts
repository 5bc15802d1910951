/**
 * What a block does to the state, and every rule that refuses one. docs/ledger.md "Contracts",
 * "Records", "Choosing". A table row is one broken rule; the block beside it, in order, is taken.
 */
import { describe, expect, test } from "bun:test";
import { applyBlock, draftBlock } from "../../src/chain/apply-block.ts";
import type { BlockCore } from "../../src/chain/block.ts";
import type { BlockFault } from "../../src/chain/block-fault.ts";
import { quorumOf } from "../../src/chain/certificate.ts";
import { type ChainState, committeeOf, eligibleAt } from "../../src/chain/chain-state.ts";
import { drawCommittee } from "../../src/chain/choosing.ts";
import {
  type ContractEntry,
  decodeContract,
  dummyScId,
  encodeContract,
  readContract,
} from "../../src/chain/contract-entry.ts";
import { evidenceOf } from "../../src/chain/evidence.ts";
import {
  type Attempt,
  type Hash,
  type Height,
  NO_HASH,
  type NodeId,
  type Term,
  type View,
} from "../../src/chain/ledger-units.ts";
import { leafBytes, rootOf } from "../../src/chain/merkle.ts";
import { nodeIdOf, signMessage } from "../../src/chain/message-signing.ts";
import type { CommitMessage, PrepareMessage } from "../../src/chain/message-types.ts";
import { decodeRecord, encodeRecord } from "../../src/chain/record-schema.ts";
import type { LedgerRecord } from "../../src/chain/record-types.ts";
import { rotationHash } from "../../src/chain/registration.ts";
import { ScdTree, scdEntry, verifyScdProof } from "../../src/chain/scd-tree.ts";
import { checkSeal } from "../../src/chain/seal-check.ts";
import { hashOf } from "../../src/chain/sha256.ts";
import { stakeOf, weightOf } from "../../src/chain/stake.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { Prng, seed } from "../prng.ts";
import {
  ChainBuilder,
  contractOf,
  must,
  START,
  scIdOf,
  sortedRecords,
  standInKeys,
} from "./chain-builder.ts";

type Body = Partial<{ contracts: ContractEntry[]; records: LedgerRecord[] }>;

/** What refuses a body on top of the chain, or undefined. */
function faultOf(builder: ChainBuilder, body: Body): BlockFault | undefined {
  const contracts = (body.contracts ?? []).map(encodeContract);
  const bytes = { contracts, records: sortedRecords(body.records ?? []) };
  const timestamp = (builder.state.core.timestamp + 1) as EpochSeconds;
  const plan = { term: builder.state.core.term, timestamp, body: bytes };
  const drafted = draftBlock(builder.state, plan, builder.crypto);
  return "fault" in drafted ? drafted.fault : undefined;
}

/** Fig. 6 of the paper, with the id where JSON can hold it. */
const FIG_6 = {
  "sc-id": "a156fe4c-27af-4692-b205-58ad201c5cf9",
  encryption_algo: "rsa256",
  hash_algo: "sha256",
  quickmode: "false",
  active: "false",
  "sc-lifetime": 1551225600,
  lifetime: { keyregen: 1546214400, busytime: 600, idletime: 180 },
};

describe("contracts", () => {
  test("the sample of Fig. 6 loads, and is written with booleans", () => {
    const read = readContract(FIG_6);
    if ("complaint" in read) throw new Error(read.complaint);
    expect(read.contract.active).toBe(false);
    expect(read.contract.encryptionAlgo).toBe("rsa256");
    expect(Buffer.from(encodeContract(read.contract)).toString()).toContain('"quickmode":false');
    expect(decodeContract(encodeContract(read.contract))).toEqual(read);
  });

  test.each([
    ["an unknown field", { ...FIG_6, color: 1 }],
    ["another version of UUID", { ...FIG_6, "sc-id": FIG_6["sc-id"].replace("-4692", "-1692") }],
    ["an unknown algorithm", { ...FIG_6, encryption_algo: "des" }],
    ["a float", { ...FIG_6, "sc-lifetime": 1.5 }],
    ["no lifetime", Object.fromEntries(Object.entries(FIG_6).slice(0, 6))],
    ["a word for active", { ...FIG_6, active: "maybe" }],
    [
      "an unsorted scope",
      { ...FIG_6, scope: { agents: ["b", "a"], applications: [], groups: [] } },
    ],
  ])("an entry with %s is refused", (_, entry) => {
    expect("complaint" in readContract(entry)).toBe(true);
  });

  const builder = new ChainBuilder(standInKeys(1), 4);
  builder.add({ contracts: [contractOf(1)] });
  const over = { scLifetime: START, keyregen: START };
  test.each([
    ["a new one", contractOf(2), undefined],
    ["an id of the chain", contractOf(1), "contract-duplicate"],
    ["an expired one", contractOf(2, { active: "expired" }), "contract-rule"],
    ["one that is over", contractOf(2, over), "contract-rule"],
    ["keyregen past its life", contractOf(2, { keyregen: 2e9 as EpochSeconds }), "contract-rule"],
    ["no secret", contractOf(2, { secretCommitment: NO_HASH }), "contract-rule"],
    ["generation 0", contractOf(2, { generation: 0 }), "contract-rule"],
    ["a seq", contractOf(2, { seq: 1 }), "contract-rule"],
  ] as const)("%s", (_, contract, fault) => {
    expect(faultOf(builder, { contracts: [contract] })).toBe(fault);
  });

  test("one id twice in a block, or the id of its dummy, is refused", () => {
    expect(faultOf(builder, { contracts: [contractOf(3), contractOf(3)] })).toBe(
      "contract-duplicate",
    );
    const scId = dummyScId(builder.state.chainId, 2 as Height, 1);
    expect(faultOf(builder, { contracts: [contractOf(3, { scId })] })).toBe("contract-duplicate");
  });

  test("1,025 are too many", () => {
    const contracts = Array.from({ length: 1025 }, (_, i) => contractOf(100 + i));
    expect(faultOf(builder, { contracts })).toBe("too-many");
  });
});

describe("SC_UPDATE", () => {
  const builder = new ChainBuilder(standInKeys(2), 4);
  builder.add({ contracts: [contractOf(1)] });
  const { scId, generation, secretCommitment, keyregen } = contractOf(1);
  const words = { kind: "SC_UPDATE", scId, seq: 1, active: false } as const;
  const off = { ...words, generation, secretCommitment, keyregen };
  const fresh = hashOf(Buffer.from("a new secret"));
  const soon = (START + 1000) as EpochSeconds;
  const again = { ...off, generation: 2, secretCommitment: fresh, keyregen: soon };
  test.each([
    ["deactivation", off, undefined],
    ["a new generation", again, undefined],
    ["expiry", { ...off, active: "expired" as const }, undefined],
    ["an unknown contract", { ...off, scId: scIdOf(9) }, "record-rule"],
    ["seq left out", { ...off, seq: 2 }, "record-rule"],
    ["a generation left out", { ...again, generation: 3 }, "record-rule"],
    ["a generation back", { ...again, generation: 0 }, "record-schema"],
    ["the old secret again", { ...again, secretCommitment }, "record-rule"],
    ["no secret", { ...again, secretCommitment: NO_HASH }, "record-rule"],
    ["a secret without generation", { ...off, secretCommitment: fresh }, "record-rule"],
    ["keyregen in the past", { ...again, keyregen: START }, "record-rule"],
    ["keyregen past its life", { ...again, keyregen: 2e9 as EpochSeconds }, "record-rule"],
  ] as const)("%s", (_, record, fault) => {
    expect(faultOf(builder, { records: [record] })).toBe(fault);
  });

  test("expired stays expired: its id leaves the SCD and is never taken again", () => {
    builder.add({ records: [{ ...off, active: "expired" }] });
    expect(builder.state.scd.find(scId)).toBeUndefined();
    expect(builder.state.core.scdRoot).toBe(ScdTree.EMPTY.root);
    expect(faultOf(builder, { contracts: [contractOf(1)] })).toBe("contract-duplicate");
    expect(faultOf(builder, { records: [{ ...off, seq: 2 }] })).toBe("record-rule");
  });
});

describe("members", () => {
  const builder = new ChainBuilder(standInKeys(3), 4);
  const added = builder.member(9);
  const nodeId = nodeIdOf(added.ledgerPub);
  const { ledgerPub, vrfPub, certificate, possession, vcpu, ramMib, securityScore } = added;
  const add = { kind: "NODE_ADD", nodeId, ledgerPub, vrfPub, certificate, possession } as const;
  const stake = stakeOf({ nodeId, vcpu, ramMib, securityScore });
  const ids = eligibleAt(builder.state, 1 as Height).map((line) => line.nodeId);
  const [first, second] = ids as [NodeId, NodeId];
  const known = builder.state.members.get(first)?.keys[0];
  if (known === undefined) throw new Error("no member");
  const revoke = { kind: "NODE_REVOKE", nodeId: first, reason: "test" } as const;
  const tnl = (set: (typeof stake)[], ...remove: NodeId[]) =>
    ({ kind: "TNL", set, remove }) as const;

  test.each([
    ["a new node and its stake", [add, tnl([stake])], undefined],
    ["another's id", [{ ...add, nodeId: first }], "record-rule"],
    ["an id that is not its key's", [{ ...add, nodeId: "00".repeat(16) as NodeId }], "record-rule"],
    ["another certificate than signed", [{ ...add, certificate: NO_HASH }], "record-signature"],
    ["another's VRF key", [{ ...add, vrfPub: known.vrfPub }], "record-rule"],
    ["a stake of nobody", [tnl([stake])], "record-rule"],
    ["an inflated stake", [add, tnl([{ ...stake, weight: 100 }])], "record-schema"],
    ["one of four off the list", [tnl([], first)], undefined],
    ["two of four off the list", [tnl([], ...[first, second].sort())], "record-rule"],
    ["off the list twice", [tnl([], nodeId)], "record-rule"],
    ["a revocation", [revoke], undefined],
    ["a stranger's revocation", [{ ...revoke, nodeId }], "record-rule"],
    ["all revoked", ids.map((id) => ({ ...revoke, nodeId: id })), "last-member"],
  ] as readonly (readonly [string, LedgerRecord[], BlockFault | undefined])[])(
    "%s",
    (_, records, fault) => {
      expect(faultOf(builder, { records })).toBe(fault);
    },
  );

  test("records out of order, or one subject twice, are refused", () => {
    const plan = { term: builder.state.core.term, timestamp: START };
    const records = [tnl([]), revoke].map(encodeRecord);
    const body = { contracts: [], records };
    expect(draftBlock(builder.state, { ...plan, body }, builder.crypto)).toMatchObject({
      fault: "record-order",
    });
    const twice = { contracts: [], records: [revoke, revoke].map(encodeRecord) };
    expect(draftBlock(builder.state, { ...plan, body: twice }, builder.crypto)).toMatchObject({
      fault: "record-order",
    });
  });

  test("a node added at height 1 may vote at 3, one revoked there no longer at 3", () => {
    builder.add({ records: [add, tnl([stake]), revoke] });
    expect(eligibleAt(builder.state, 2 as Height).map((line) => line.nodeId)).toEqual(ids);
    builder.add();
    const expected = [...ids.filter((id) => id !== first), nodeId].sort();
    expect(eligibleAt(builder.state, 3 as Height).map((line) => line.nodeId)).toEqual(expected);
    expect([...committeeOf(builder.state, 0 as Attempt)].sort()).toEqual(expected);
    expect(faultOf(builder, { records: [revoke] })).toBe("record-rule");
  });

  test("KEY_ROTATE needs both keys, the next seq and a key that was never used", () => {
    const old = builder.keysOf(second);
    const fresh = builder.keys.makeKeys();
    const keys = { ledgerPub: fresh.signer.publicKey, vrfPub: fresh.vrf.publicKey, certificate };
    const rotate = (seq: number, words = keys): LedgerRecord => {
      const hash = rotationHash(builder.state.chainId, second, seq, words);
      const signatures = {
        oldSignature: old.signer.sign(hash),
        newSignature: fresh.signer.sign(hash),
      };
      return { kind: "KEY_ROTATE", nodeId: second, seq, ...words, ...signatures };
    };
    const good = rotate(1) as Extract<LedgerRecord, { kind: "KEY_ROTATE" }>;
    const swapped = { ...good, oldSignature: good.newSignature };
    const used = { ...keys, ledgerPub };
    expect(faultOf(builder, { records: [good] })).toBeUndefined();
    expect(faultOf(builder, { records: [rotate(2)] })).toBe("record-rule");
    expect(faultOf(builder, { records: [swapped] })).toBe("record-signature");
    expect(faultOf(builder, { records: [{ ...good, newSignature: good.oldSignature }] })).toBe(
      "record-signature",
    );
    expect(faultOf(builder, { records: [rotate(1, used)] })).toBe("record-rule");
  });
});

describe("evidence", () => {
  const builder = new ChainBuilder(standInKeys(4), 4);
  const [offender] = committeeOf(builder.state, 0 as Attempt) as [NodeId];
  const { signer } = builder.keysOf(offender);
  const place = {
    chainId: builder.state.chainId,
    term: 1 as Term,
    height: 1 as Height,
    attempt: 0 as Attempt,
    view: 0 as View,
    signer: offender,
  };
  const hash = (text: string) => hashOf(Buffer.from(text)) as Hash as never;
  const vote = (blockHash: string, change: object = {}) =>
    signMessage<PrepareMessage>(signer, {
      kind: "PREPARE",
      ...place,
      blockHash: hash(blockHash),
      ...change,
    });
  const commit = signMessage<CommitMessage>(signer, {
    kind: "COMMIT",
    ...place,
    blockHash: hash("b"),
  });
  const forged = { ...vote("b"), signature: vote("c").signature };
  test.each([
    ["two PREPAREs", vote("a"), vote("b"), undefined],
    ["a PREPARE and a COMMIT", vote("a"), commit, undefined],
    ["one hash twice", vote("b"), commit, "record-rule"],
    ["two views", vote("a"), vote("b", { view: 1 }), "record-rule"],
    ["two attempts", vote("a"), vote("b", { attempt: 1 }), "record-rule"],
    ["two heights", vote("a"), vote("b", { height: 2 }), "record-rule"],
    ["two terms", vote("a"), vote("b", { term: 2 }), "record-rule"],
    [
      "another chain",
      vote("a", { chainId: NO_HASH }),
      vote("b", { chainId: NO_HASH }),
      "record-rule",
    ],
    ["a forged one", vote("a"), forged, "record-signature"],
  ] as const)("%s", (_, one, other, fault) => {
    const record: LedgerRecord = { kind: "EVIDENCE", evidence: evidenceOf(one, other) };
    expect(faultOf(builder, { records: [record] })).toBe(fault as BlockFault | undefined);
  });

  test("it is accepted once, and the node is revoked for good", () => {
    const record: LedgerRecord = { kind: "EVIDENCE", evidence: evidenceOf(vote("a"), vote("b")) };
    builder.add({ records: [record] });
    expect(builder.state.members.get(offender)).toMatchObject({ revokedBy: "evidence" });
    const more: LedgerRecord = { kind: "EVIDENCE", evidence: evidenceOf(vote("a"), vote("c")) };
    expect(faultOf(builder, { records: [more] })).toBe("record-rule");
    builder.add();
    expect(committeeOf(builder.state, 0 as Attempt)).not.toContain(offender);
  });
});

describe("a core", () => {
  const builder = new ChainBuilder(standInKeys(5), 4);
  builder.add({ contracts: [contractOf(1)] });
  const before = builder.states[0] as ChainState;
  const [block] = builder.blocks;
  if (block === undefined) throw new Error("no block");
  const other = hashOf(Buffer.from("other"));
  test.each([
    ["version", { version: 2 }],
    ["chain", { chainId: other }],
    ["height", { height: 2 }],
    ["term", { term: 2 }],
    ["term", { term: 0 }],
    ["parent-hash", { previousBlockHash: other }],
    ["parent-quorum", { parentView: 1 }],
    ["parent-quorum", { parentAttempt: 1 }],
    ["parent-quorum", { parentBeta: other + other }],
    ["time-order", { timestamp: START - 1 }],
    ["sc-count", { scReal: 2 }],
    ["sc-count", { scCount: 4 }],
    ["merkleroot", { merkleRoot: other }],
    ["recordsroot", { recordsRoot: other }],
    ["scd-root", { scdRoot: other }],
    ["tnl-root", { tnlRoot: other }],
    ["membership-root", { membershipRoot: other }],
  ])("is refused for its %s", (fault, change) => {
    const core = { ...block.core, ...change } as unknown as BlockCore;
    expect(applyBlock(before, core, block.body, builder.crypto)).toMatchObject({ fault });
  });

  test("is sealed by q votes of its committee, and by nothing less", () => {
    const next = must(applyBlock(before, block.core, block.body, builder.crypto));
    const { quorum } = block.proof;
    const sealed = (words: object): string => {
      const proof = { ...block.proof, ...words };
      const own = { ...proof, blockSignature: builder.sealSignature(next, proof) };
      const seal = checkSeal(before, next, own, builder.crypto);
      return "fault" in seal ? seal.fault : "sealed";
    };
    const [one, two, three] = quorum.signatures;
    const votes = (bitmap: number, ...signatures: unknown[]) => ({
      quorum: { ...quorum, bitmap, signatures },
    });
    expect(sealed({})).toBe("sealed");
    expect(sealed(votes(0b11, one, two))).toBe("quorum-short");
    expect(sealed(votes(0b111, one, two))).toBe("bitmap");
    expect(sealed(votes(0b10011, one, two, three))).toBe("bitmap");
    expect(sealed(votes(0b111, one, two, two))).toBe("vote-signature");
    expect(sealed(votes(0b1011, one, two, three))).toBe("vote-signature");
    expect(sealed({ quorum: { ...quorum, view: 1 } })).toBe("vote-signature");
    expect(sealed({ vrfProof: undefined })).toBe("vrf");
    expect(sealed({ vrfProof: new Uint8Array(80) })).toBe("vrf");
    expect(sealed({ sealTerm: 2 })).toBe("seal-term");
    const alien = { ...block.proof, blockSignature: one };
    expect(checkSeal(before, next, alien as never, builder.crypto)).toMatchObject({
      fault: "seal-signature",
    });
  });
});

describe("choosing", () => {
  test.each([
    [1, 1],
    [2, 2],
    [3, 3],
    [4, 3],
    [5, 4],
    [6, 5],
    [7, 5],
    [10, 7],
    [20, 14],
  ])("of %d validators %d are a quorum", (n, q) => {
    expect(quorumOf(n)).toBe(q);
  });

  test("weight is 1 to 100, and more of everything never weighs less", () => {
    expect(weightOf(1, 1, 0)).toBe(1);
    expect(weightOf(4096, 2 ** 26, 100)).toBe(100);
    expect(weightOf(4, 8192, 50)).toBeLessThanOrEqual(weightOf(8, 8192, 50));
  });

  const eligible = Array.from({ length: 30 }, (_, i) => {
    const id = hashOf(Uint8Array.of(i)).slice(0, 32) as NodeId;
    return { nodeId: id, vcpu: 1, ramMib: 1, securityScore: 0, weight: i < 10 ? 90 : 10 };
  }).sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
  const isCooling = (): boolean => false;

  test("seats are distinct, at most 20, and heavier nodes sit more often", () => {
    let heavy = 0;
    for (let i = 0; i < 300; i++) {
      const draw = { eligible, attempt: 0 as Attempt, committeeMax: 5, isCooling };
      const drawn = drawCommittee({ ...draw, seed: hashOf(Uint8Array.of(i, i >> 8)) });
      expect(new Set(drawn).size).toBe(5);
      for (const id of drawn) {
        if ((eligible.find(({ nodeId }) => nodeId === id)?.weight ?? 0) > 10) heavy++;
      }
    }
    // 900 of 1,100 by weight, less without replacement.
    expect(heavy / 1500).toBeGreaterThan(0.65);
    expect(heavy / 1500).toBeLessThan(0.85);
  });

  test("cooling nodes keep their seat, as the last", () => {
    const draw = { eligible, seed: NO_HASH, attempt: 0 as Attempt, committeeMax: 20 };
    const plain = drawCommittee({ ...draw, isCooling });
    const [leader] = plain as [NodeId];
    const cooled = drawCommittee({ ...draw, isCooling: (id) => id === leader });
    expect(cooled).toEqual([...plain.slice(1), leader]);
  });

  test("a leader whose view passed sits last for eight blocks", () => {
    const builder = new ChainBuilder(standInKeys(6), 4);
    const [slow] = committeeOf(builder.state, 0 as Attempt);
    builder.add({}, 1);
    builder.add();
    for (let i = 0; i < 8; i++) {
      expect(committeeOf(builder.state, 0 as Attempt).at(-1)).toBe(slow);
      builder.add();
    }
    expect(builder.state.coolingUntil.size).toBe(0);
  });

  test("before any member the master seals alone, and its word suffices no longer after", () => {
    const builder = new ChainBuilder(standInKeys(7), 0);
    const { ledgerPub, vrfPub, certificate, possession, ...resources } = builder.member(1);
    const nodeId = nodeIdOf(ledgerPub);
    const add = { kind: "NODE_ADD", nodeId, ledgerPub, vrfPub, certificate, possession } as const;
    const set = [stakeOf({ nodeId, ...resources })];
    builder.add({ records: [add, { kind: "TNL", set, remove: [] }] });
    expect(builder.add().proof.quorum.signatures).toEqual([]);
    expect(builder.add().proof.quorum.signatures.length).toBe(1);
  });
});

test(`the SCD root is that of the slow way, and each entry is proven (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  const entries = new Map<string, Uint8Array>();
  let tree = ScdTree.EMPTY;
  for (let round = 0; round < 20; round++) {
    const changes = new Map<string, ReturnType<typeof scdEntry> | undefined>();
    for (let i = 0; i < 20; i++) {
      // Few shelves, so that some hold several entries.
      const id = `000${prng.below(4)}${scIdOf(prng.below(150)).slice(4)}`;
      const isGone = entries.has(id) && prng.oneIn(4);
      changes.set(id, isGone ? undefined : scdEntry(id, Uint8Array.of(prng.below(256))));
    }
    for (const [id, entry] of changes) {
      if (entry === undefined) entries.delete(id);
      else entries.set(id, entry.bytes);
    }
    tree = tree.with([...changes].map(([id, entry]) => ({ id, entry }) as never));
  }
  const shelves = Array.from({ length: 65_536 }, () => [] as Uint8Array[]);
  for (const id of [...entries.keys()].sort()) {
    const leaf = leafBytes(entries.get(id) ?? new Uint8Array(0));
    shelves[Number.parseInt(id.slice(0, 4), 16)]?.push(leaf);
  }
  const roots = shelves.map((leaves) => leafBytes(Buffer.from(rootOf(leaves), "hex")));
  expect(tree.root).toBe(rootOf(roots));
  expect(tree.size).toBe(entries.size);
  for (const [id, bytes] of entries) {
    const proof = tree.proof(id);
    if (proof === undefined) throw new Error(`no proof of ${id}`);
    expect(verifyScdProof(bytes, proof, tree.root)).toBe(true);
    expect(verifyScdProof(Uint8Array.of(1, 2), proof, tree.root)).toBe(false);
  }
});

test("a record with an unknown field, or none of its own, is refused", () => {
  const text = '{"kind":"NODE_REVOKE","node_id":"00112233445566778899aabbccddeeff","reason":"r"}';
  expect("record" in decodeRecord(Buffer.from(text))).toBe(true);
  expect("complaint" in decodeRecord(Buffer.from(text.replace('"r"}', '"r","x":1}')))).toBe(true);
  expect("complaint" in decodeRecord(Buffer.from('{"kind":"NODE_REVOKE"}'))).toBe(true);
  expect("complaint" in decodeRecord(Buffer.from('{"kind":"OTHER"}'))).toBe(true);
});
