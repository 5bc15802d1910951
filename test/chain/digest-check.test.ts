/**
 * Consistency checks, paper §3.3.3 and design "Check": own root differs, a peer differs, a peer
 * lies, and two valid quorums at one height. docs/ledger.md "Evidence".
 */
import { describe, expect, test } from "bun:test";
import type { Block } from "../../src/chain/block.ts";
import { blockHashOf } from "../../src/chain/block-core.ts";
import type { ChainState } from "../../src/chain/chain-state.ts";
import type { Hash, Height, NodeId } from "../../src/chain/ledger-units.ts";
import { signMessage } from "../../src/chain/message-signing.ts";
import type {
  DigestResponse,
  EvidenceMessage,
  LedgerMessage,
  SealMessage,
} from "../../src/chain/message-types.ts";
import { sealWords } from "../../src/chain/seal-check.ts";
import { hashOf } from "../../src/chain/sha256.ts";
import { ChainBuilder, contractOf, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const CHECK_MS = 30_000;
const OTHER = hashOf(Buffer.from("another root"));

/** Four (or more) members at height 1, their first check still ahead. */
function network(members = 4): SmallNetwork {
  const net = new SmallNetwork(standInKeys(51), members);
  net.propose(contractOf(1));
  expect(net.run(5000, () => net.heights().every((height) => height === 1))).toBe(true);
  net.sent = [];
  return net;
}

function reportsOf(net: SmallNetwork, nodeId: NodeId): string[] {
  return net.seat(nodeId).reports.map((line) => line.split(" ", 1)[0] ?? "");
}

function sentOf<Kind extends LedgerMessage["kind"]>(net: SmallNetwork, kind: Kind) {
  return net.sent.filter(({ message }) => message.kind === kind);
}

describe("the own disk", () => {
  test("a root that is not the sealed one is repaired at once, and the master hears of it", () => {
    const net = network();
    const [spoilt] = net.members as [NodeId];
    net.seat(spoilt).found.scdRoot = OTHER;
    net.run(CHECK_MS + 100);
    expect(reportsOf(net, spoilt)).toContain("own-root-differs");
    expect(reportsOf(net, spoilt)).toContain("repair");
    expect(reportsOf(net, spoilt)).toContain("repaired");
    const notice = net.seat(net.master).reports.filter((line) => line.includes(spoilt));
    expect(notice.some((line) => line.startsWith("peer-differs"))).toBe(true);
    for (const seat of net.seats.values()) seat.reports.length = 0;
    net.run(CHECK_MS);
    expect([...net.seats.values()].flatMap(({ reports }) => reports)).toEqual([]);
  });

  test("a damaged block is fetched from the master, and only the right one is taken", () => {
    const net = network();
    const [spoilt, other] = net.members as [NodeId, NodeId];
    net.seat(spoilt).found.damaged = [1 as Height];
    let isLying = true;
    net.tamper = (_from, to, message) => {
      if (message.kind !== "BODY_RESP" || to !== spoilt || !isLying) return message;
      const blocks = message.blocks.map(({ core }) => {
        return { core, body: { contracts: [], records: [] } };
      });
      return { ...message, blocks };
    };
    net.run(CHECK_MS + 100);
    expect(new Set(sentOf(net, "BODY_REQ").map(({ to }) => to))).toEqual(new Set([net.master]));
    expect(reportsOf(net, spoilt)).not.toContain("restore");
    isLying = false;
    net.run(CHECK_MS);
    expect(reportsOf(net, spoilt)).toContain("restore");
    expect(net.seat(spoilt).found.damaged).toEqual([]);
    const at = (nodeId: NodeId) => net.seat(nodeId).disk.at(1 as Height)?.body;
    expect(at(spoilt)).toEqual(at(other));
  });
});

describe("peers", () => {
  test("five others are asked, each once, with a fresh nonce a period, and all agree", () => {
    const net = network(7);
    net.run(CHECK_MS + 100);
    const first = sentOf(net, "DIGEST_REQ");
    for (const nodeId of net.members) {
      const asked = first.filter(({ from }) => from === nodeId).map(({ to }) => to);
      expect(asked.length).toBe(5);
      expect(new Set(asked).size).toBe(5);
      expect(asked).not.toContain(nodeId);
      expect(asked).not.toContain(net.master);
    }
    expect(sentOf(net, "DIGEST_RESP").length).toBe(first.length);
    net.run(CHECK_MS);
    const nonces = sentOf(net, "DIGEST_REQ").map(
      ({ message }) => (message as { nonce: Hash }).nonce,
    );
    expect(new Set(nonces).size).toBe(2 * net.members.length);
    expect([...net.seats.values()].flatMap(({ reports }) => reports)).toEqual([]);
  });

  test("one that asks again and again gets one answer a second: each is a walk over the disk", () => {
    const net = network();
    const [asker, asked] = net.members as [NodeId, NodeId];
    const { chainId } = net.builder.state;
    const place = { chainId, term: 1, height: 1, attempt: 0, view: 0, signer: asker };
    for (let i = 0; i < 300; i++) {
      const message = { kind: "DIGEST_REQ", ...place, nonce: OTHER } as unknown as LedgerMessage;
      net.push(asked, { kind: "message", from: asker, message }, 10 * i);
    }
    net.run(5000);
    expect(sentOf(net, "DIGEST_RESP").length).toBe(3);
  });

  test("one that lies about its root is reported to the master, and proves nothing", () => {
    const net = network();
    const [liar] = net.members as [NodeId];
    const { signer } = net.seat(liar).keys;
    net.tamper = (from, _to, message) =>
      from === liar && message.kind === "DIGEST_RESP"
        ? signMessage<DigestResponse>(signer, { ...message, scdRoot: OTHER })
        : message;
    net.run(CHECK_MS + 100);
    const askers = sentOf(net, "DIGEST_REQ").filter(({ to }) => to === liar);
    expect(askers.length).toBeGreaterThan(0);
    for (const { from } of askers) {
      expect(reportsOf(net, from)).toEqual(["peer-differs"]);
    }
    expect(reportsOf(net, net.master)).toContain("peer-differs");
    expect(sentOf(net, "EVIDENCE")).toEqual([]);
    // Nobody changed a thing for it, the liar is still a member, and blocks go on.
    net.propose(contractOf(2));
    expect(net.run(20_000, () => net.heights().every((height) => height === 2))).toBe(true);
    expect(net.chainOf(net.master).members.get(liar)?.revokedFrom).toBeUndefined();
    expect(net.heights()).toEqual([2, 2, 2, 2, 2]);
  });

  const unasked: readonly (readonly [
    string,
    (told: DigestResponse, net: SmallNetwork) => object,
  ])[] = [
    ["an older nonce", () => ({ nonce: OTHER })],
    ["another height", () => ({ height: 2 as Height })],
    ["another's name", (told, net) => ({ signer: net.members.find((id) => id !== told.signer) })],
  ];
  test.each(unasked)("an answer with %s is no answer", (_, change) => {
    const net = network();
    const [liar] = net.members as [NodeId];
    const { signer } = net.seat(liar).keys;
    net.tamper = (from, _to, message) =>
      from === liar && message.kind === "DIGEST_RESP"
        ? signMessage<DigestResponse>(signer, {
            ...message,
            ...{ scdRoot: OTHER, ...change(message, net) },
          } as DigestResponse)
        : message;
    net.run(CHECK_MS + 100);
    const found = net.members.flatMap((nodeId) => reportsOf(net, nodeId));
    expect(found).toEqual([]);
  });

  test("an answer that its sender did not sign, or sends twice, counts at most once", () => {
    const net = network();
    const [liar] = net.members as [NodeId];
    net.tamper = (from, to, message) => {
      if (from !== liar || message.kind !== "DIGEST_RESP") return message;
      const { signer } = net.seat(liar).keys;
      const lie = signMessage<DigestResponse>(signer, { ...message, scdRoot: OTHER });
      net.push(to, { kind: "message", from: liar, message: lie }, 3);
      return { ...message, scdRoot: OTHER };
    };
    net.run(CHECK_MS + 100);
    // The forged one used up the question: the signed one after it is not heard.
    expect(net.members.flatMap((nodeId) => reportsOf(net, nodeId))).toEqual([]);
  });
});

/** A block that another chain of the same keys has at height 1, as its SEAL. */
function sealOf(builder: ChainBuilder, block: Block, next: ChainState): SealMessage {
  const words = sealWords(next, block.proof, builder.master.signer.publicKey);
  return { ...words, body: block.body, signature: block.proof.blockSignature };
}

/** Genesis and two blocks of height 1 that both have a quorum and the master's seal. */
function fork(views: readonly [number, number]) {
  return views.map((view, i) => {
    const builder = new ChainBuilder(standInKeys(52), 4);
    const block = builder.add({ contracts: [contractOf(i)] }, view);
    return { builder, block, seal: sealOf(builder, block, builder.state) };
  }) as [Fork, Fork];
}
type Fork = { builder: ChainBuilder; block: Block; seal: SealMessage };

/** Two members hold one block of height 1, two the other; the line between them is cut. */
function split(views: readonly [number, number]) {
  const net = new SmallNetwork(standInKeys(52), 4);
  const [one, other] = fork(views);
  net.tamper = (_from, _to, message) => (message.kind === "SEAL" ? undefined : message);
  net.members.forEach((nodeId, i) => {
    const { seal } = i < 2 ? one : other;
    net.push(nodeId, { kind: "message", from: net.master, message: seal }, 0);
  });
  net.run(10);
  expect(net.members.map((nodeId) => net.chainOf(nodeId).height as number)).toEqual([1, 1, 1, 1]);
  return { net, one, other };
}

describe("two valid quorums at one height", () => {
  test("every node stops, proves the liars, and signs nothing more, also after a restart", () => {
    const { net } = split([0, 0]);
    net.run(CHECK_MS + 1000);
    for (const nodeId of net.members) {
      expect(net.seat(nodeId).participant?.stoppedBy).toContain("two sealed blocks at height 1");
      expect(reportsOf(net, nodeId)).toContain("conflict");
      expect(reportsOf(net, nodeId)).toContain("evidence");
    }
    const lies = sentOf(net, "EVIDENCE").map(({ message }) => message as EvidenceMessage);
    expect(lies.length).toBeGreaterThan(0);
    // Three of four voted for both, and the master sealed both.
    const found = net.members.flatMap((nodeId) =>
      net.seat(nodeId).reports.filter((line) => line.startsWith("evidence")),
    );
    expect(new Set(found.filter((line) => !line.includes("the master"))).size).toBe(4);
    const [restarted] = net.members as [NodeId];
    net.crash(restarted);
    net.start(restarted);
    net.sent = [];
    net.propose(contractOf(7));
    net.run(20_000);
    expect(net.heights().every((height) => height <= 1)).toBe(true);
    const voices = net.sent.filter(({ from, message }) => {
      return from !== net.master && ["PREPARE", "COMMIT", "PRE_PREPARE"].includes(message.kind);
    });
    expect(voices).toEqual([]);
    expect(net.seat(restarted).participant?.stoppedBy).toBeDefined();
  });

  test("of two views they convict the master alone: each voter may have been honest", () => {
    const { net } = split([0, 1]);
    net.run(CHECK_MS + 1000);
    const accused = net.members.flatMap((nodeId) =>
      net.seat(nodeId).reports.filter((line) => line.startsWith("evidence")),
    );
    expect(accused.length).toBeGreaterThan(0);
    for (const line of accused) expect(line).toMatch(new RegExp(`${net.master}|the master`));
    for (const nodeId of net.members) expect(net.seat(nodeId).participant?.stoppedBy).toBeDefined();
  });

  test("a seal without its quorum stops nobody", () => {
    const net = new SmallNetwork(standInKeys(52), 4);
    const [one, other] = fork([0, 0]);
    const [nodeId] = net.members as [NodeId];
    const { quorum } = other.block.proof;
    const [first, second] = quorum.signatures;
    if (first === undefined || second === undefined) throw new Error("no votes");
    const short = {
      ...other.block.proof,
      quorum: { ...quorum, bitmap: 3, signatures: [first, second] },
    };
    const words = sealWords(other.builder.state, short, net.builder.master.signer.publicKey);
    const unsigned = { ...words, body: other.block.body };
    const rival = signMessage<SealMessage>(net.builder.master.signer, unsigned);
    net.push(nodeId, { kind: "message", from: net.master, message: one.seal }, 0);
    net.push(nodeId, { kind: "message", from: net.master, message: rival }, 1);
    net.run(100);
    expect(net.chainOf(nodeId).blockHash).toBe(blockHashOf(one.block.core));
    expect(net.seat(nodeId).participant?.stoppedBy).toBeUndefined();
    // Two words of one master they are all the same.
    expect(reportsOf(net, nodeId)).toContain("evidence");
  });
});
