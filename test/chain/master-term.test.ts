/**
 * MASTER_TERM: the recovery key replaces a lost master key. docs/ledger.md "Recovery"; design
 * "Agreement": it acts on receipt and is recorded in the new master's first block, after QC_FETCH
 * from n - f nodes. The rules of the record, and a network that loses its master for good.
 */
import { describe, expect, test } from "bun:test";
import { draftBlock } from "../../src/chain/apply-block.ts";
import type { BlockFault } from "../../src/chain/block-fault.ts";
import { encodeBlockJson } from "../../src/chain/block-json.ts";
import { recordedTerm } from "../../src/chain/chain-state.ts";
import type { NodeKeys } from "../../src/chain/crypto-interface.ts";
import { encodeGenesis } from "../../src/chain/genesis-file.ts";
import { type ChainId, NO_HASH, type NodeId, type Term } from "../../src/chain/ledger-units.ts";
import { signMasterTerm } from "../../src/chain/master-term.ts";
import { nodeIdOf, signMessage } from "../../src/chain/message-signing.ts";
import type { CandidateMessage, MasterTermMessage } from "../../src/chain/message-types.ts";
import { decodeRecord, encodeRecord } from "../../src/chain/record-schema.ts";
import type { LedgerRecord } from "../../src/chain/record-types.ts";
import { isMasterTerm } from "../../src/chain/seal-check.ts";
import { exportLine, verifyChain } from "../../src/chain/verify-chain.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { ChainBuilder, contractOf, sortedRecords, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const SECOND = 2 as Term;

/** A term for a key, signed by the recovery key of a chain or by `by`. */
function termOf(builder: ChainBuilder, heir: NodeKeys, change: object = {}, by?: NodeKeys) {
  const words = { chainId: builder.state.chainId, term: SECOND, masterPub: heir.signer.publicKey };
  const signer = (by ?? builder.recovery).signer;
  return signMasterTerm(signer, { ...words, ...change });
}

function recordOf({ term, masterPub, signature }: MasterTermMessage): LedgerRecord {
  return { kind: "MASTER_TERM", term, masterPub, signature };
}

describe("the record", () => {
  const builder = new ChainBuilder(standInKeys(61), 4);
  const heir = builder.keys.makeKeys();
  const other = builder.keys.makeKeys();
  const good = recordOf(termOf(builder, heir));
  const elsewhere = { chainId: NO_HASH as string as ChainId };
  const key = { masterPub: other.signer.publicKey };
  const faultOf = (record: LedgerRecord): BlockFault | undefined => {
    const { state, crypto } = builder;
    const body = { contracts: [], records: sortedRecords([record]) };
    const timestamp = (state.core.timestamp + 1) as EpochSeconds;
    const drafted = draftBlock(state, { term: state.core.term, timestamp, body }, crypto);
    return "fault" in drafted ? drafted.fault : undefined;
  };
  test.each([
    ["the next term", good, undefined],
    ["a term that leaves some out", recordOf(termOf(builder, heir, { term: 9 })), undefined],
    ["the present term", recordOf(termOf(builder, heir, { term: 1 })), "record-schema"],
    ["another term than signed", { ...good, term: 3 as Term }, "record-signature"],
    ["another key than signed", { ...good, ...key }, "record-signature"],
    ["another chain's", recordOf(termOf(builder, heir, elsewhere)), "record-signature"],
    [
      "one the master signed",
      recordOf(termOf(builder, heir, {}, builder.master)),
      "record-signature",
    ],
    ["one its own key signed", recordOf(termOf(builder, heir, {}, heir)), "record-signature"],
    ["a key that is none", { ...good, masterPub: `02${"00".repeat(32)}` }, "record-rule"],
  ] as const)("%s", (_, record, fault) => {
    expect(faultOf(record as LedgerRecord)).toBe(fault as BlockFault | undefined);
  });

  test("a term that is on the chain is not below another's any more", () => {
    const chain = new ChainBuilder(standInKeys(64), 4);
    const record = recordOf(termOf(chain, chain.keys.makeKeys()));
    chain.add({ records: [record] });
    expect(recordedTerm(chain.state)).toBe(SECOND);
    const { state, crypto } = chain;
    const body = { contracts: [], records: [encodeRecord(record)] };
    const timestamp = (state.core.timestamp + 1) as EpochSeconds;
    for (const term of [1, 2] as Term[]) {
      expect(draftBlock(state, { term, timestamp, body }, crypto)).toMatchObject({
        fault: "record-rule",
      });
    }
    // From here on the second master's blocks stand; the first one's do still, unless it is past.
    expect(draftBlock(state, { term: SECOND, timestamp, body: EMPTY }, crypto)).toHaveProperty(
      "core",
    );
  });
});

const EMPTY = { contracts: [], records: [] };

describe("the message", () => {
  const builder = new ChainBuilder(standInKeys(62), 1);
  const heir = builder.keys.makeKeys();
  const message = termOf(builder, heir);
  const signedAs = (signer: NodeId, by: NodeKeys) =>
    signMessage<MasterTermMessage>(by.signer, { ...message, signer });
  test.each([
    ["the recovery key's", message, true],
    ["with another key", { ...message, masterPub: builder.master.signer.publicKey }, false],
    ["with another term", { ...message, term: 3 as Term }, false],
    [
      "under the master's name",
      signedAs(nodeIdOf(builder.master.signer.publicKey), builder.master),
      false,
    ],
    ["by the heir under the recovery key's name", signedAs(message.signer, heir), false],
  ] as const)("%s", (_, shown, isRight) => {
    expect(isMasterTerm(builder.state, shown, builder.crypto)).toBe(isRight);
  });
});

/** A network at height 2 whose master is gone, and the keys of the next. */
function orphaned(members = 4) {
  const net = new SmallNetwork(standInKeys(63), members);
  for (let i = 1; i <= 2; i++) {
    net.propose(contractOf(i));
    expect(net.run(5000, () => net.heights().every((height) => height === i))).toBe(true);
  }
  const keys = net.builder.keys.makeKeys();
  return { net, keys, term: termOf(net.builder, keys) };
}

function isAt(net: SmallNetwork, height: number, without?: NodeId): () => boolean {
  return () =>
    [...net.seats].every(([nodeId, { participant }]) => {
      return nodeId === without || participant === undefined || participant.chain.height >= height;
    });
}

/** The newest chain of a seat, as an export. */
function exportOf(net: SmallNetwork, nodeId: NodeId): Uint8Array[] {
  const blocks = [...net.seat(nodeId).disk.blocks].sort(([one], [other]) => one - other);
  return [
    encodeGenesis(net.builder.file),
    ...blocks.map(([, block]) => encodeBlockJson(block)),
  ].map(exportLine);
}

function reportsOf(net: SmallNetwork, nodeId: NodeId): string {
  return net.seat(nodeId).reports.join("\n");
}

describe("a master that is lost for good", () => {
  test.each([1, 2, 4, 7])(
    "of %d members the heir is followed, and records its term first",
    async (n) => {
      const { net, keys, term } = orphaned(n);
      net.crash(net.master);
      const heir = net.addMaster(keys, term);
      net.run(5000);
      net.proposeTo(heir, [contractOf(3)]);
      expect(net.run(20_000, isAt(net, 3))).toBe(true);
      net.proposeTo(heir, [contractOf(4)]);
      expect(net.run(20_000, isAt(net, 4))).toBe(true);
      const first = net.seat(heir).disk.blocks.get(3 as never);
      const kinds = first?.body.records.map((bytes) => {
        const read = decodeRecord(bytes);
        return "record" in read ? read.record.kind : "?";
      });
      expect(kinds).toEqual(["MASTER_TERM"]);
      expect(first?.core.term).toBe(SECOND);
      for (const nodeId of net.members) {
        expect(reportsOf(net, nodeId)).toContain("new-term term 2");
        expect(recordedTerm(net.chainOf(nodeId))).toBe(SECOND);
      }
      const verified = await verifyChain(exportOf(net, heir), net.builder.crypto);
      expect(verified).toMatchObject({ isValid: true });
    },
  );

  test("so does a master that may be a copy of itself: it asks before anything new", () => {
    const { net } = orphaned(4);
    net.tamper = (_from, _to, message) => (message.kind === "QC_STATE" ? undefined : message);
    net.push(net.master, { kind: "observe", reason: "a copy" }, 0);
    net.run(10);
    net.sent = [];
    net.propose(contractOf(3));
    net.run(5000);
    expect(net.sent.some(({ message }) => message.kind === "CANDIDATE")).toBe(false);
    net.tamper = (_from, _to, message) => message;
    expect(net.run(5000, isAt(net, 3))).toBe(true);
  });

  test("it proposes nothing before n - f have told what they hold", () => {
    const { net, keys, term } = orphaned(4);
    net.crash(net.master);
    const [one, two] = net.members as [NodeId, NodeId];
    // Two of four are cut off: two answers are not three.
    net.tamper = (from, to, message) =>
      [one, two].some((nodeId) => nodeId === from || nodeId === to) ? undefined : message;
    const heir = net.addMaster(keys, term);
    net.proposeTo(heir, [contractOf(3)]);
    net.sent = [];
    net.run(20_000);
    expect(net.sent.some(({ message }) => message.kind === "QC_FETCH")).toBe(true);
    expect(net.sent.some(({ message }) => message.kind === "CANDIDATE")).toBe(false);
    net.tamper = (from, to, message) => (from === one || to === one ? undefined : message);
    expect(net.run(40_000, isAt(net, 3, one))).toBe(true);
  });

  test("what was prepared under the old master is carried on, term and all", () => {
    const { net, keys, term } = orphaned(4);
    net.tamper = (_from, _to, message) => (message.kind === "COMMIT" ? undefined : message);
    net.sent = [];
    net.propose(contractOf(3));
    net.run(50);
    expect(net.sent.filter(({ message }) => message.kind === "PREPARE").length).toBe(9);
    expect(net.heights()).toEqual([2, 2, 2, 2, 2]);
    net.crash(net.master);
    net.tamper = (_from, _to, message) => message;
    const heir = net.addMaster(keys, term);
    net.proposeTo(heir, [contractOf(4)]);
    expect(net.run(60_000, isAt(net, 4))).toBe(true);
    const third = net.seat(heir).disk.blocks.get(3 as never);
    expect(third?.core.term).toBe(1 as Term);
    expect(third?.core.scReal).toBe(1);
    expect(third?.proof.sealTerm).toBe(SECOND);
    expect(third?.proof.masterTerm).toEqual(term);
    expect(net.seat(heir).disk.blocks.get(4 as never)?.core.term).toBe(SECOND);
  });

  test("what was prepared is offered by the heir itself when it has fetched it", () => {
    const { net, keys, term } = orphaned(4);
    net.tamper = (_from, _to, message) => (message.kind === "COMMIT" ? undefined : message);
    net.propose(contractOf(3));
    net.run(50);
    net.crash(net.master);
    const heir = net.addMaster(keys, term);
    net.sent = [];
    net.run(9000);
    const offered = net.sent.filter(({ message }) => message.kind === "CANDIDATE");
    expect(offered.length).toBeGreaterThan(0);
    for (const { message } of offered) {
      expect(message).toMatchObject({ term: SECOND, core: { term: 1, scReal: 1 } });
    }
    expect(net.seat(heir).participant?.chain.height as number).toBe(2);
  });

  test("an item that may not stand leaves the queue, and takes no other with it", () => {
    const { net, keys, term } = orphaned(4);
    net.crash(net.master);
    const heir = net.addMaster(keys, term);
    const good: LedgerRecord = {
      ...{ kind: "SIGNATURE", signatureId: "redis/1", seq: 1, status: "published" },
      ...{ version: 1, commitment: "11".repeat(32) as never },
    };
    const bad: LedgerRecord = { ...good, signatureId: "redis/2", seq: 7 };
    const records = [good, bad].map(encodeRecord);
    // Number 1 is on the chain already.
    net.proposeTo(heir, [contractOf(3), contractOf(1), contractOf(4)], records);
    expect(net.run(20_000, isAt(net, 3))).toBe(true);
    const { body } = net.seat(heir).disk.blocks.get(3 as never) ?? { body: EMPTY };
    expect(body.contracts.length).toBe(2);
    expect(body.records.length).toBe(2);
    const refused = net.seat(heir).reports.filter((line) => line.startsWith("refused"));
    expect(refused.length).toBe(2);
  });

  test("the old master that comes back is heard by nobody, hears of it, and stops", () => {
    const { net, keys, term } = orphaned(4);
    const heir = net.addMaster(keys, term);
    expect(net.run(20_000, isAt(net, 3, net.master))).toBe(true);
    expect(net.seat(net.master).participant?.stoppedBy).toContain(heir);
    const { height } = net.chainOf(heir);
    net.sent = [];
    net.propose(contractOf(5));
    net.crash(net.master);
    net.start(net.master);
    net.propose(contractOf(6));
    net.run(10_000);
    expect(net.seat(net.master).participant?.stoppedBy).toBeDefined();
    const spoken = net.sent.filter(({ from, message }) => {
      return from === net.master && ["CANDIDATE", "SEAL"].includes(message.kind);
    });
    expect(spoken).toEqual([]);
    expect(net.chainOf(heir).height).toBe(height);
  });

  test("what proved the old master a liar is on the heir's chain: its term is marked", () => {
    const { net, keys, term } = orphaned(4);
    const { signer } = net.seat(net.master).keys;
    const [witness] = net.members as [NodeId];
    net.tamper = (_from, to, message) => {
      if (message.kind !== "CANDIDATE" || to !== witness) return message;
      const core = { ...message.core, timestamp: (message.core.timestamp + 1) as EpochSeconds };
      const other = signMessage<CandidateMessage>(signer, { ...message, core });
      // Another text under one sequence; its roots are right, for time is under none of them.
      net.push(to, { kind: "message", from: net.master, message: other }, 2);
      return message;
    };
    net.propose(contractOf(3));
    expect(net.run(20_000, isAt(net, 3))).toBe(true);
    expect(reportsOf(net, witness)).toContain(`evidence ${net.master}`);
    // It would not write that down itself.
    net.run(10_000);
    expect(net.chainOf(witness).masters[0]?.isProvenLiar).toBe(false);
    net.tamper = (_from, _to, message) => message;
    net.crash(net.master);
    const heir = net.addMaster(keys, term);
    const isMarked = () => net.chainOf(heir).masters[0]?.isProvenLiar === true;
    expect(net.run(30_000, isMarked)).toBe(true);
    expect(net.chainOf(heir).masters.map(({ isProvenLiar }) => isProvenLiar)).toEqual([
      true,
      false,
    ]);
  });

  test("one that missed the message learns it from the seal, and remembers it after a crash", () => {
    const { net, keys, term } = orphaned(4);
    net.crash(net.master);
    const [deaf, other] = net.members as [NodeId, NodeId];
    net.tamper = (_from, to, message) =>
      to === deaf && message.kind === "MASTER_TERM" ? undefined : message;
    net.crash(other);
    const heir = net.addMaster(keys, term);
    // Three of four are needed, and the deaf one is one of them once it is told by others' seals.
    net.start(other);
    expect(net.run(20_000, isAt(net, 3))).toBe(true);
    net.crash(other);
    net.start(other);
    expect(net.seat(other).participant?.term).toBe(SECOND);
    net.proposeTo(heir, [contractOf(5)]);
    expect(net.run(20_000, isAt(net, 4))).toBe(true);
  });

  test("a validator that crashed before a block recorded the term still knows it", () => {
    const { net, keys, term } = orphaned(4);
    net.crash(net.master);
    const [one] = net.members as [NodeId];
    net.tamper = (_from, _to, message) => (message.kind === "CANDIDATE" ? undefined : message);
    net.addMaster(keys, term);
    net.run(3000);
    net.crash(one);
    net.start(one);
    expect(net.seat(one).participant?.term).toBe(SECOND);
    expect(net.seat(one).participant?.masterPub).toBe(keys.signer.publicKey);
  });

  test("a third term overrules the second, the lower one is nothing any more", () => {
    const { net, keys, term } = orphaned(4);
    net.crash(net.master);
    const heir = net.addMaster(keys, term);
    expect(net.run(20_000, isAt(net, 3))).toBe(true);
    const third = net.builder.keys.makeKeys();
    const next = net.addMaster(third, termOf(net.builder, third, { term: 3 }));
    expect(net.run(20_000, isAt(net, 4, heir))).toBe(true);
    expect(net.seat(heir).participant?.stoppedBy).toContain(next);
    expect(recordedTerm(net.chainOf(next)) as number).toBe(3);
    const [member] = net.members as [NodeId];
    net.push(member, { kind: "message", from: heir, message: term }, 0);
    net.run(100);
    expect(net.seat(member).participant?.term as number).toBe(3);
  });
});
