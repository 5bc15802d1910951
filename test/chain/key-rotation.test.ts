/**
 * A member gets new ledger and VRF keys while blocks are agreed: docs/ledger.md "Members and
 * stake". Four members, all of which sit in every committee; nothing is lost on the way.
 */
import { describe, expect, test } from "bun:test";
import { memberKeysAt } from "../../src/chain/chain-state.ts";
import type { NodeKeys } from "../../src/chain/crypto-interface.ts";
import type { Hash, Height, NodeId } from "../../src/chain/ledger-units.ts";
import { checkOf } from "../../src/chain/message-signing.ts";
import type { SignedMessage } from "../../src/chain/message-types.ts";
import { encodeRecord } from "../../src/chain/record-schema.ts";
import { rotationHash } from "../../src/chain/registration.ts";
import { contractOf, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const MINUTE_MS = 60_000;

type Rotating = { net: SmallNetwork; node: NodeId; old: NodeKeys; fresh: NodeKeys };

function begin(seed: number): Rotating {
  const net = new SmallNetwork(standInKeys(seed), 4);
  const [node] = net.members as [NodeId];
  const old = net.seat(node).ring.own;
  const fresh = net.builder.keys.makeKeys();
  const words = {
    ...{ ledgerPub: fresh.signer.publicKey, vrfPub: fresh.vrf.publicKey },
    certificate: "77".repeat(32) as Hash,
  };
  const { chainId } = net.chainOf(node);
  const hash = rotationHash(chainId, node, 1, words);
  const signatures = { oldSignature: old.signer.sign(hash), newSignature: fresh.signer.sign(hash) };
  const record = { kind: "KEY_ROTATE" as const, nodeId: node, seq: 1, ...words, ...signatures };
  net.proposeTo(net.master, [], [encodeRecord(record)]);
  return { net, node, old, fresh };
}

/** Seals another contract; true: all have it. */
function seal(net: SmallNetwork, number: number): boolean {
  const height = Math.max(...net.heights());
  net.propose(contractOf(number));
  return net.run(MINUTE_MS, () => Math.min(...net.heights()) > height);
}

/** By which of the two keys each signed message of the node verifies, by its height. */
function signersByHeight({ net, node, old, fresh }: Rotating): Map<number, Set<string>> {
  const found = new Map<number, Set<string>>();
  const { signatures } = net.builder.crypto;
  const votes = ["PRE_PREPARE", "PREPARE", "COMMIT"];
  for (const { from, message } of net.sent) {
    if (from !== node || !votes.includes(message.kind)) continue;
    const isBy = ({ signer }: NodeKeys) =>
      signatures.verify(checkOf(message as SignedMessage, signer.publicKey));
    const by = isBy(old) ? "old" : isBy(fresh) ? "fresh" : "none";
    found.set(message.height, (found.get(message.height) ?? new Set()).add(by));
  }
  return found;
}

const effectOf = ({ net, node, fresh }: Rotating): Height =>
  net
    .chainOf(node)
    .members.get(node)
    ?.keys.find((one) => one.ledgerPub === fresh.signer.publicKey)?.from as Height;

describe("a member's new keys", () => {
  test("sign from the height that the chain says, the old ones below it, and none both", () => {
    const rotating = begin(41);
    const { net, node, old, fresh } = rotating;
    net.seat(node).ring.replace([old, fresh]);
    for (let i = 1; i <= 6; i++) expect(seal(net, i)).toBe(true);
    const effect = effectOf(rotating);
    const signers = signersByHeight(rotating);
    for (const [height, by] of signers) {
      expect([height, [...by]]).toEqual([height, [height < effect ? "old" : "fresh"]]);
    }
    expect(signers.has(effect)).toBe(true);
    expect(net.seat(node).reports.join()).not.toContain("keys-absent");
    // The old ones are destroyed: nothing is missed.
    net.seat(node).ring.replace([fresh]);
    for (let i = 11; i <= 12; i++) expect(seal(net, i)).toBe(true);
    expect(signersByHeight(rotating).get(net.chainOf(node).height)).toEqual(new Set(["fresh"]));
  });

  test("that are not there are not replaced by others: it says so, and follows", () => {
    const rotating = begin(42);
    const { net, node, old, fresh } = rotating;
    for (let i = 1; i <= 5; i++) expect(seal(net, i)).toBe(true);
    const effect = effectOf(rotating);
    expect(net.chainOf(node).height).toBeGreaterThanOrEqual(effect);
    expect([...signersByHeight(rotating).keys()].every((height) => height < effect)).toBe(true);
    expect(net.seat(node).reports.join()).toContain(`keys-absent height ${effect} wants`);
    const named = memberKeysAt(net.chainOf(node), node, effect);
    expect(named?.ledgerPub).toBe(fresh.signer.publicKey);
    // Found again, it votes at once, without a new start.
    net.seat(node).ring.replace([fresh, old]);
    for (let i = 11; i <= 12; i++) expect(seal(net, i)).toBe(true);
    expect(signersByHeight(rotating).get(net.chainOf(node).height)).toEqual(new Set(["fresh"]));
  });

  test("a restart of the node and of the master on both sides of the height changes nothing", () => {
    const rotating = begin(43);
    const { net, node, old, fresh } = rotating;
    net.seat(node).ring.replace([old, fresh]);
    for (let i = 1; i <= 6; i++) {
      expect(seal(net, i)).toBe(true);
      for (const one of [node, net.master]) {
        net.crash(one);
        net.start(one);
      }
    }
    const effect = effectOf(rotating);
    expect(net.chainOf(node).height).toBeGreaterThan(effect);
    for (const [height, by] of signersByHeight(rotating)) {
      expect([height, [...by]]).toEqual([height, [height < effect ? "old" : "fresh"]]);
    }
  });

  test("a master that lost its disk hears from nodes by keys that it does not know yet", () => {
    const rotating = begin(44);
    const { net, node, old, fresh } = rotating;
    net.seat(node).ring.replace([old, fresh]);
    for (let i = 1; i <= 5; i++) expect(seal(net, i)).toBe(true);
    net.wipe(net.master);
    net.start(net.master, true);
    const { height } = net.chainOf(node);
    expect(net.run(MINUTE_MS, () => net.chainOf(net.master).height >= height)).toBe(true);
    expect(seal(net, 9)).toBe(true);
  });
});
