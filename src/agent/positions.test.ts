/** Positions of peers and tags over updates, and what is kept of them; what an update changes. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AbsError } from "../errors.ts";
import { generateContractSecret, generateKeyPair } from "./keys.ts";
import { partDigestsOf } from "./part-digests.ts";
import { aligned, isGone, type Positions, positionsOf } from "./positions.ts";
import { type Provisioning, parseProvisioning } from "./provisioning.ts";
import { loadPositions, savePositions } from "./state-dir.ts";
import { changesOf, requireChangeable } from "./update-changes.ts";

const OWN = generateKeyPair().secretKey;
const CONTRACT = generateContractSecret();
const folder = mkdtempSync(join(tmpdir(), "abs-positions-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Lists {
  readonly peers: readonly string[];
  /** Names; the bytes follow from the first letter. */
  readonly tags: readonly string[];
  readonly node?: object;
  readonly rules?: readonly object[];
  readonly secret?: string;
}

function tagOf(name: string): string {
  return Buffer.alloc(16, name[0]).toString("hex");
}

const keys = new Map<string, string>();

function keyOf(peer: string): string {
  const known = keys.get(peer) ?? generateKeyPair().publicKey;
  keys.set(peer, known);
  return known;
}

function provisioning({ peers, tags, node, rules, secret }: Lists): Provisioning {
  const file = {
    version: 1,
    node: { id: "own", staticKey: OWN, tags: tags.slice(0, 1), ...node },
    tenant: { name: "t", tag: "ab".repeat(16) },
    tags: tags.map((name) => ({ name, tag: tagOf(name) })),
    peers: peers.map((id, i) => ({
      id,
      addresses: [`10.0.0.${i + 2}`],
      staticKey: keyOf(id),
      tags: tags.slice(-1),
    })),
    contracts: [
      {
        id: CONTRACT.scId,
        algorithm: "aes-128-gcm",
        hash: "sha256",
        "sc-lifetime": 4_000_000_000,
        lifetime: { keyregen: 4_000_000_000, busytime: 600, idletime: 180 },
        secret: secret ?? CONTRACT.secret,
      },
    ],
    policy: { version: 1, rules: rules ?? [] },
  };
  return parseProvisioning(JSON.stringify(file), "p.json");
}

function peersOf({ peers }: Provisioning): string[] {
  return peers.map((peer) => (isGone(peer) ? `(${peer.id})` : peer.id));
}

describe("positions", () => {
  const rows: readonly { before: string[]; after: string[]; result: string[] }[] = [
    { before: ["a", "b"], after: ["b", "a"], result: ["a", "b"] },
    { before: ["a", "b"], after: ["b"], result: ["(a)", "b"] },
    { before: ["a", "b"], after: ["c", "b"], result: ["(a)", "b", "c"] },
    { before: ["(a)", "b"], after: ["c", "b"], result: ["c", "b"] },
    { before: ["(a)", "b"], after: ["a", "b", "c"], result: ["a", "b", "c"] },
    { before: ["(a)", "(b)"], after: ["c", "b", "d", "e"], result: ["c", "b", "d", "e"] },
    { before: [], after: ["a"], result: ["a"] },
  ];
  test.each([...rows])("peers $before, then $after", ({ before, after, result }) => {
    const positions: Positions = {
      peers: before.map((id) => ({ id: id.replace(/[()]/g, ""), isGone: id.startsWith("(") })),
      tags: ["00".repeat(16)],
    };
    const found = aligned(provisioning({ peers: after, tags: [] }), positions);
    expect(peersOf(found)).toEqual(result);
    expect(positionsOf(found).peers.map(({ isGone }) => isGone)).toEqual(
      result.map((id) => id.startsWith("(")),
    );
  });

  test("tags are told by their bytes, and who may claim them follows", () => {
    const before = positionsOf(provisioning({ peers: ["p"], tags: ["x", "y"] }));
    const result = aligned(provisioning({ peers: ["p"], tags: ["z", "y-renamed"] }), before);
    expect(result.tags.map(({ name }) => name)).toEqual(["", "", "y-renamed", "z"]);
    expect([...result.node.tags] as number[]).toEqual([3]);
    expect([...(result.peers[0]?.tags ?? [])] as number[]).toEqual([2]);
  });

  test("the digest is the same where positions mean the same, and only there", () => {
    const first = provisioning({ peers: ["a", "b"], tags: ["x"] });
    const same = aligned(first, positionsOf(first));
    expect(same.digest).toBe(first.digest);
    const less = aligned(provisioning({ peers: ["a"], tags: ["x"] }), positionsOf(first));
    expect(less.digest).not.toBe(first.digest);
  });

  test("more than fit are refused", () => {
    const tags = Array.from({ length: 4095 }, (_, i) => i.toString(16).padStart(32, "0"));
    const full = () => aligned(provisioning({ peers: [], tags: ["x"] }), { peers: [], tags });
    expect(full).toThrow("4096 tags");
  });

  test("are kept in the state folder; what is not whole is as good as none", () => {
    const positions = positionsOf(provisioning({ peers: ["a"], tags: ["x"] }));
    expect(loadPositions(folder)).toBeUndefined();
    savePositions(folder, positions);
    expect(loadPositions(folder)).toEqual(positions);
    const { peers, tags } = positions;
    const broken = [
      "",
      "null",
      "[]",
      '{"peers":[',
      JSON.stringify({ peers }),
      JSON.stringify({ peers, tags: ["x"] }),
      JSON.stringify({ peers, tags: tags.slice(1) }),
      JSON.stringify({ peers: [{ id: 1, isGone: false }], tags }),
      JSON.stringify({ peers: [null], tags }),
    ];
    for (const text of broken) {
      writeFileSync(join(folder, "positions.json"), text);
      expect(loadPositions(folder)).toBeUndefined();
    }
  });
});

describe("changes", () => {
  const before = {
    peers: ["a", "b"],
    tags: ["x"],
    rules: [{ id: "r", direction: "in", action: "deny" }],
  };
  const between = (after: Lists) =>
    changesOf(partDigestsOf(provisioning(before)), partDigestsOf(provisioning(after)));

  test("none, though the places in the file differ", () => {
    expect(between(before)).toEqual({});
  });

  test("entries by id; secrets count, and are in no digest that is shown", () => {
    const secret = "11".repeat(32);
    expect(between({ ...before, peers: ["a", "c"] })).toEqual({
      peers: { added: ["c"], removed: ["b"], changed: [], reordered: false },
    });
    expect(between({ ...before, secret })).toEqual({
      contracts: { added: [], removed: [], changed: [CONTRACT.scId], reordered: false },
    });
    const digests = partDigestsOf(provisioning({ ...before, secret }));
    expect(digests.contracts.whole).toBe(partDigestsOf(provisioning(before)).contracts.whole);
  });

  const fixed = [
    { what: "id", node: { id: "other" }, may: false },
    { what: "key", node: { staticKey: generateKeyPair().secretKey }, may: false },
    { what: "onStop", node: { onStop: "open" }, may: false },
    { what: "mode", node: { mode: "full" }, may: true },
    { what: "stage", node: { stage: "enforce" }, may: true },
    { what: "addresses", node: { addresses: ["10.0.0.1"] }, may: true },
  ];
  test.each(fixed)("of the node: $what", ({ node, may }) => {
    let code = "";
    try {
      requireChangeable(between({ ...before, node }), false);
    } catch (error) {
      code = (error as AbsError).code;
    }
    expect(code).toBe(may ? "" : "UPDATE_NEEDS_RESTART");
  });
});
