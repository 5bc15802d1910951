/**
 * Gossip and catch-up: answers to questions of now only, and a checkpoint that nothing may conflict
 * with. docs/ledger.md "Catch-up", design "Spreading and checking".
 */
import { describe, expect, test } from "bun:test";
import { blockHashOf } from "../../src/chain/block-core.ts";
import { KeyRing } from "../../src/chain/key-ring.ts";
import type { BlockHash, Hash, Height, NodeId } from "../../src/chain/ledger-units.ts";
import type { HeadersResponse, LedgerMessage } from "../../src/chain/message-types.ts";
import { createMaster, createValidator, step } from "../../src/chain/participant.ts";
import { hashOf } from "../../src/chain/sha256.ts";
import { ChainBuilder, contractOf, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const OTHER = hashOf(Buffer.from("another")) as string as BlockHash;
const SEED = 81;

/** All at `height`; then one is wiped, and has what it was told at enrolment. */
function grown(height: number): SmallNetwork {
  const net = new SmallNetwork(standInKeys(SEED), 4);
  for (let i = 1; i <= height; i++) {
    net.propose(contractOf(i));
    expect(net.run(5000, () => net.heights().every((other) => other === i))).toBe(true);
  }
  return net;
}

function hashAt(net: SmallNetwork, height: number): BlockHash {
  return net.chainOf(net.master).height === height
    ? net.chainOf(net.master).blockHash
    : blockHashOf(blockAt(net, height).core);
}

function blockAt(net: SmallNetwork, height: number) {
  const block = net.seat(net.master).disk.at(height as Height);
  if (block === undefined) throw new Error(`no block ${height}`);
  return block;
}

describe("a nonce", () => {
  test("is echoed: a question and its answers have one, a gossip a new one", () => {
    const net = grown(1);
    net.sent = [];
    net.run(10_000);
    const nonces = new Map<NodeId, Set<Hash>>();
    for (const { from, to, message } of net.sent) {
      if (message.kind === "HEADERS_REQ") {
        nonces.set(from, (nonces.get(from) ?? new Set()).add(message.nonce));
      }
      if (message.kind === "HEADERS_RESP") {
        expect(nonces.get(to)?.has(message.nonce)).toBe(true);
      }
    }
    for (const nodeId of net.seats.keys()) {
      expect(nonces.get(nodeId)?.size).toBeGreaterThanOrEqual(5);
    }
  });

  test("that was not asked with is no answer: nothing is pulled by it", () => {
    const net = grown(3);
    const [behind] = net.members as [NodeId];
    net.tamper = (_from, _to, message) =>
      message.kind === "HEADERS_RESP" ? { ...message, nonce: OTHER as string as Hash } : message;
    net.wipe(behind);
    net.start(behind, true);
    net.run(20_000);
    expect(net.chainOf(behind).height as number).toBe(0);
    net.tamper = (_from, _to, message) => message;
    expect(net.run(10_000, () => net.chainOf(behind).height === 3)).toBe(true);
  });

  test("of before an observation counts for nothing in it: it is asked anew (rule 8)", () => {
    const net = grown(2);
    const [copy] = net.members as [NodeId];
    // Answers that were on their way when the machine was copied.
    const stale: { from: NodeId; message: LedgerMessage }[] = [];
    net.tamper = (from, to, message) => {
      if (to !== copy || message.kind !== "HEADERS_RESP") return message;
      stale.push({ from, message });
      return undefined;
    };
    net.run(10_000);
    expect(new Set(stale.map(({ from }) => from)).size).toBe(4);
    net.push(copy, { kind: "observe", reason: "a copy" }, 0);
    for (const { from, message } of stale) net.push(copy, { kind: "message", from, message }, 1);
    net.run(100);
    const observing = () => {
      const { participant } = net.seat(copy);
      return participant?.kind === "validator" ? participant.observing : undefined;
    };
    expect([observing()?.answered.size, observing()?.until]).toEqual([0, undefined]);
    net.tamper = (_from, _to, message) => message;
    net.run(5000);
    expect(observing()?.until as number | undefined).toBe(4);
  });
});

describe("a checkpoint", () => {
  /** Wiped, and started with this checkpoint. */
  function enrolled(net: SmallNetwork, height: number, blockHash: BlockHash): NodeId {
    const [nodeId] = net.members as [NodeId];
    net.wipe(nodeId);
    net.checkpoint = { height: height as Height, blockHash };
    net.start(nodeId, true);
    return nodeId;
  }

  test("that holds changes nothing, be it below, at or above the tip", () => {
    for (const height of [1, 3, 5]) {
      const net = grown(5);
      const nodeId = enrolled(net, height, hashAt(net, height));
      expect(net.run(10_000, () => net.chainOf(nodeId).height === 5)).toBe(true);
    }
    const net = grown(2);
    const nodeId = enrolled(net, 9, OTHER);
    expect(net.run(10_000, () => net.chainOf(nodeId).height === 2)).toBe(true);
  });

  test.each([1, 2, 3])(
    "that conflicts at height %d lets no block of that chain in from there",
    (at) => {
      const net = grown(3);
      const nodeId = enrolled(net, at, OTHER);
      net.run(20_000);
      expect(net.chainOf(nodeId).height).toBeLessThan(at);
      const refused = net.seat(nodeId).reports.filter((line) => line.startsWith("refused"));
      expect(refused.some((line) => line.includes("checkpoint"))).toBe(true);
    },
  );

  test("is kept by every way a block comes in: a SEAL down the line, and a candidate's parent", () => {
    const net = grown(1);
    // Its headers are never answered: only the line and candidates can bring it on.
    const [nodeId] = net.members as [NodeId];
    net.crash(nodeId);
    net.checkpoint = { height: 2 as Height, blockHash: OTHER };
    net.start(nodeId);
    net.tamper = (_from, to, message) =>
      to === nodeId && ["HEADERS_RESP", "BODY_RESP"].includes(message.kind) ? undefined : message;
    const others = (height: number) => () =>
      [...net.seats.keys()].every((id) => id === nodeId || net.chainOf(id).height >= height);
    for (const height of [2, 3]) {
      net.propose(contractOf(height));
      expect(net.run(60_000, others(height))).toBe(true);
    }
    net.run(5000);
    expect(net.chainOf(nodeId).height as number).toBe(1);
    const refused = net.seat(nodeId).reports.filter((line) => line.includes("checkpoint"));
    expect(refused.length).toBeGreaterThan(0);
  });

  test("keeps a newcomer from another history that long-revoked keys wrote", () => {
    const [own, forged] = [0, 1].map((start) => {
      const builder = new ChainBuilder(standInKeys(SEED), 4);
      for (let i = 1; i <= 3; i++) builder.add({ contracts: [contractOf(start * 100 + i)] });
      return builder;
    }) as [ChainBuilder, ChainBuilder];
    const [keys] = own.nodes.values();
    if (keys === undefined) throw new Error("no member");
    const tip = own.states.at(-1)?.blockHash as BlockHash;
    const validator = createValidator({
      ...{
        keys: KeyRing.of(keys),
        crypto: own.crypto,
        chain: own.states[0] as never,
        below: undefined,
      },
      ...{ tipProof: undefined, history: { at: () => undefined, find: () => undefined } },
      ...{ log: [], wasWiped: true, checkPeriodMs: 1000 },
      checkpoint: { height: 3 as Height, blockHash: tip },
    });
    const peer = [...own.nodes.keys()][1] as NodeId;
    const told = (builder: ChainBuilder): HeadersResponse =>
      ({
        ...{ kind: "HEADERS_RESP", chainId: own.state.chainId, term: 1, height: 3, attempt: 0 },
        ...{ view: 0, signer: peer, nonce: validator.catchUp.nonces[0] },
        headers: builder.blocks.map(({ core, proof }) => ({ core, proof })),
      }) as unknown as HeadersResponse;
    const hear = (message: LedgerMessage): string[] => {
      const at = { ms: 1, epoch: 1_700_001_000 as never };
      return step(validator, { kind: "message", from: peer, message, at }).map((output) => {
        return output.kind === "send" ? output.message.kind : output.kind;
      });
    };
    expect(hear(told(forged))).toEqual(["report"]);
    expect(validator.catchUp.headers).toEqual([]);
    expect(hear(told(own))).toEqual(["BODY_REQ"]);
  });

  test("a disk that conflicts with it is not worked with at all", () => {
    const builder = new ChainBuilder(standInKeys(SEED), 4);
    for (let i = 1; i <= 3; i++) builder.add({ contracts: [contractOf(i)] });
    const [keys] = builder.nodes.values();
    if (keys === undefined) throw new Error("no member");
    const config = {
      ...{
        keys: KeyRing.of(keys),
        crypto: builder.crypto,
        chain: builder.state,
        below: builder.states.at(-2),
      },
      tipProof: builder.blocks.at(-1)?.proof,
      history: {
        at: (height: Height) => builder.blocks[height - 1],
        find: () => undefined,
      },
      ...{ log: [], wasWiped: false, checkPeriodMs: 1000, masterTerm: undefined },
    };
    const right = builder.states[2]?.blockHash as BlockHash;
    for (const [blockHash, isStopped] of [
      [right, false],
      [OTHER, true],
    ] as const) {
      const checkpoint = { height: 2 as Height, blockHash };
      expect(createValidator({ ...config, checkpoint }).stoppedBy !== undefined).toBe(isStopped);
      const master = createMaster({ ...config, keys: KeyRing.of(builder.master), checkpoint });
      expect(master.stoppedBy !== undefined).toBe(isStopped);
    }
  });
});
