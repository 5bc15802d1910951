/**
 * DISCOVERY and revocations: who hears of whom, over how many hops, and what a stranger, a member
 * or a deposed master cannot make anybody believe. docs/peer-channel.md.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChainState } from "../../src/chain/chain-state.ts";
import { decodeDiscovery, encodeDiscovery } from "../../src/chain/discovery.ts";
import { DEFAULT_PARAMS } from "../../src/chain/genesis.ts";
import { genesisState } from "../../src/chain/genesis-block.ts";
import {
  type IdentityCertificate,
  type SignedCertificate,
  signCertificate,
} from "../../src/chain/identity-certificate.ts";
import { decodeIntroduction, encodeIntroduction } from "../../src/chain/introduction.ts";
import {
  type ChainId,
  type Height,
  NO_HASH,
  type NodeId,
  type Term,
} from "../../src/chain/ledger-units.ts";
import { signMasterTerm } from "../../src/chain/master-term.ts";
import {
  decodeRevocations,
  encodeRevocations,
  REVOCATIONS_MAX,
  type SignedRevocation,
  signRevocation,
} from "../../src/chain/revocation.ts";
import { createLedgerCrypto } from "../../src/node/ledger-crypto.ts";
import { fileIn } from "../../src/node/node-folder.ts";
import { drawSecrets, keysOfSecrets, type OwnKeys } from "../../src/node/node-keys.ts";
import { PeerGossip } from "../../src/node/peer-gossip.ts";
import { PeerIdentities } from "../../src/node/peer-identities.ts";
import { RevocationList } from "../../src/node/revocation-list.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { PEER_FLAG, type PeerFrame } from "../../src/wire/peer-frame.ts";

const NOW = 1_800_000_000 as EpochSeconds;
const DAY = 24 * 3600;
const crypto = createLedgerCrypto();
const newKeys = (): OwnKeys => keysOfSecrets(drawSecrets());
const master = newKeys();
const recovery = newKeys();
const root = mkdtempSync(join(tmpdir(), "abs-gossip-"));
afterAll(() => rmSync(root, { recursive: true }));

function genesis(): ChainState {
  const state = genesisState(
    {
      ...{ tenant: "t", timestamp: NOW, params: DEFAULT_PARAMS, members: [] },
      masterPub: master.ledger.signer.publicKey,
      recoveryPub: recovery.ledger.signer.publicKey,
    },
    crypto,
  );
  if (typeof state === "string") throw new Error(state);
  return state;
}

const chain = genesis();
const { chainId } = chain;

function certificateOf(keys: OwnKeys, change: Partial<IdentityCertificate> = {}) {
  const certificate: IdentityCertificate = {
    ...{ chainId, nodeId: keys.nodeId, tenant: "t", roles: [], carrier: "ip", seq: 0 },
    ledgerPub: keys.ledger.signer.publicKey,
    sessionPub: Buffer.from(keys.session.publicKey).toString("hex"),
    ...{ sshPub: keys.sshPub, vrfPub: keys.ledger.vrf.publicKey, addresses: ["127.0.0.1"] },
    ...{ applicationTags: [], peerPort: 6254, issuer: master.nodeId },
    notBefore: (NOW - DAY) as EpochSeconds,
    notAfter: (NOW + DAY) as EpochSeconds,
    ...change,
  };
  return certificate;
}

const issued = (certificate: IdentityCertificate, by = master): SignedCertificate =>
  signCertificate(certificate, by.ledger.signer);

/** One node: frames it sends wait in the mesh. */
class Node {
  readonly keys = newKeys();
  readonly identities: PeerIdentities;
  readonly revocations: RevocationList;
  readonly gossip: PeerGossip;
  readonly shut: string[] = [];
  masterPub = master.ledger.signer.publicKey;
  nowMs = 0;
  sent = 0;
  readonly neighbours = new Set<Node>();

  constructor(readonly mesh: Mesh) {
    const dir = join(root, this.keys.nodeId);
    mkdirSync(dir, { recursive: true });
    this.revocations = new RevocationList(dir);
    this.identities = new PeerIdentities(
      this.id,
      () => ({
        ...{ chain, masterPub: this.masterPub, term: 1 as Term },
        ...{ verifier: crypto.signatures, now: NOW },
      }),
      {
        isRevoked: (nodeId) => this.revocations.has(nodeId),
        onNews: (signed) => this.gossip.passOn(signed),
      },
    );
    this.gossip = new PeerGossip({
      ...{ chainId, own: this.certificate, identities: this.identities },
      ...{ revocations: this.revocations, verifier: crypto.signatures },
      masterPub: () => this.masterPub,
      send: (to, frame) => {
        this.sent++;
        mesh.frames.push({ from: this.id, to, frame });
      },
      connected: () => [...this.neighbours].map(({ id }) => id),
      onRevoked: ({ revocation }) => this.shut.push(revocation.nodeId),
      nowMs: () => this.nowMs,
    });
  }

  get id(): NodeId {
    return this.keys.nodeId;
  }

  get certificate(): SignedCertificate {
    return issued(certificateOf(this.keys));
  }

  knows(): string[] {
    return this.identities.callees().map(({ nodeId }) => nodeId);
  }
}

class Mesh {
  readonly nodes: Node[] = [];
  frames: { from: NodeId; to: NodeId; frame: PeerFrame }[] = [];

  constructor(count: number) {
    for (let i = 0; i < count; i++) this.nodes.push(new Node(this));
  }

  /** Both have authenticated each other. */
  connect(one: Node, other: Node): void {
    one.neighbours.add(other);
    other.neighbours.add(one);
    const ways = [
      [one, other],
      [other, one],
    ] as const;
    for (const [from, to] of ways) {
      const shown = encodeIntroduction({ signed: from.certificate, masterTerm: undefined });
      expect(to.identities.authenticate(shown, from.keys.session.publicKey)).toBe(from.id);
    }
    for (const [from, to] of ways) from.gossip.greet(to.id);
  }

  /** Until nobody has anything to say. */
  settle(): number {
    let count = 0;
    for (let next = this.frames.shift(); next !== undefined; next = this.frames.shift()) {
      const { from, to, frame } = next;
      const node = this.nodes.find(({ id }) => id === to);
      expect(node?.gossip.receive(from, frame)).toBe(true);
      if (++count > 10_000) throw new Error("it never ends");
    }
    return count;
  }
}

/** Each knows only the next: news must take all the hops. */
function line(count: number): Mesh {
  const mesh = new Mesh(count);
  mesh.nodes.forEach((node, i) => {
    const next = mesh.nodes[i + 1];
    if (next !== undefined) mesh.connect(node, next);
  });
  mesh.settle();
  return mesh;
}

function revocationOf(nodeId: NodeId, by = master, change: object = {}): SignedRevocation {
  const words = { chainId, nodeId, reason: "stolen", at: NOW, ...change };
  return signRevocation(by.ledger.signer, words);
}

describe("DISCOVERY", () => {
  test("in a line of six everybody hears of everybody, and then nobody says any more", () => {
    const { nodes, ...mesh } = line(6);
    const ids = nodes.map(({ id }) => id);
    for (const node of nodes) {
      expect(node.knows().sort()).toEqual(ids.filter((id) => id !== node.id).sort());
    }
    expect(mesh.frames).toEqual([]);
  });

  test("one that is known already is not told of all the others again", () => {
    const mesh = line(3);
    const [first, second] = mesh.nodes as [Node, Node];
    first.gossip.greet(second.id);
    expect(mesh.settle()).toBe(1);
  });

  test("a renewed certificate is passed on, an older one is not taken back", () => {
    const mesh = line(4);
    const [first, , , last] = mesh.nodes as [Node, Node, Node, Node];
    const renewed = issued(certificateOf(first.keys, { seq: 1, peerPort: 7000 }));
    const tell = (signed: SignedCertificate) => {
      const body = encodeDiscovery({ certificates: [signed] });
      mesh.frames.push({
        ...{ from: first.id, to: mesh.nodes[1]?.id as NodeId },
        frame: { flag: PEER_FLAG.discovery, type: 0, body },
      });
      mesh.settle();
      return last.identities.callees().find(({ nodeId }) => nodeId === first.id)?.port;
    };
    expect(tell(renewed)).toBe(7000);
    expect(tell(first.certificate)).toBe(7000);
  });

  const strange = newKeys();
  const lies: readonly (readonly [string, SignedCertificate])[] = [
    ["signed by the node itself", issued(certificateOf(strange), strange)],
    ["of another chain", issued(certificateOf(strange, { chainId: NO_HASH as string as ChainId }))],
    [
      "that is long over",
      issued(certificateOf(strange, { notAfter: (NOW - 40 * DAY) as EpochSeconds })),
    ],
  ];
  test.each(lies)("a certificate %s is not learnt, nor passed on", (_, signed) => {
    const mesh = line(3);
    const [first, second] = mesh.nodes as [Node, Node];
    const body = encodeDiscovery({ certificates: [signed] });
    const frame = { flag: PEER_FLAG.discovery, type: 0, body };
    expect(second.gossip.receive(first.id, frame)).toBe(true);
    expect(second.knows()).not.toContain(strange.nodeId);
    expect(mesh.frames).toEqual([]);
  });

  test("a mode is the sender's own, and goes to its peers when it changes", () => {
    const mesh = line(3);
    const [first, second, third] = mesh.nodes as [Node, Node, Node];
    expect(second.gossip.modeOf(first.id)).toBeUndefined();
    first.gossip.announce("quick");
    mesh.settle();
    expect(second.gossip.modeOf(first.id)).toBe("quick");
    first.gossip.announce("full");
    mesh.settle();
    expect([second.gossip.modeOf(first.id), third.gossip.modeOf(first.id)]).toEqual([
      "full",
      undefined,
    ]);
  });

  test("a peer makes this node verify 2,000 signatures, and then 100 a second", () => {
    const mesh = line(2);
    const [first, second] = mesh.nodes as [Node, Node];
    const forged = issued(certificateOf(newKeys()), newKeys());
    let asked = 0;
    const learn = second.identities.learn.bind(second.identities);
    second.identities.learn = (signed) => {
      asked++;
      return learn(signed);
    };
    const certificates = Array.from({ length: 128 }, () => forged);
    const frame = { flag: PEER_FLAG.discovery, type: 0, body: encodeDiscovery({ certificates }) };
    const heard = Array.from({ length: 200 }, () => second.gossip.receive(first.id, frame));
    expect(asked).toBeGreaterThanOrEqual(1900);
    expect(asked).toBeLessThanOrEqual(2001);
    // And no more than 4 MiB of it is parsed.
    const parsed = heard.filter((isHeard) => isHeard).length;
    expect(parsed * frame.body.length).toBeGreaterThan(4 * 1024 * 1024);
    expect((parsed - 1) * frame.body.length).toBeLessThanOrEqual(4 * 1024 * 1024);
    // Revocations have a measure of their own.
    const gone = { flag: PEER_FLAG.revocation, type: 0, body: encodeRevocations([]) };
    expect(second.gossip.receive(first.id, gone)).toBe(true);

    second.nowMs += 10_000;
    const before = asked;
    for (let i = 0; i < 10; i++) second.gossip.receive(first.id, frame);
    expect(asked - before).toBeLessThanOrEqual(1001);
    expect(asked - before).toBeGreaterThanOrEqual(100);
  });
});

describe("revocations", () => {
  test("go down a line of six at once: nobody speaks with the node any more", () => {
    const mesh = line(6);
    const thief = mesh.nodes[5] as Node;
    const [first] = mesh.nodes as [Node];
    first.gossip.revoke(revocationOf(thief.id), undefined);
    mesh.settle();
    for (const node of mesh.nodes.slice(0, 5)) {
      expect(node.shut).toEqual([thief.id]);
      expect(node.knows()).not.toContain(thief.id);
      const shown = encodeIntroduction({ signed: thief.certificate, masterTerm: undefined });
      expect(node.identities.authenticate(shown, thief.keys.session.publicKey)).toBeUndefined();
      const renewed = issued(certificateOf(thief.keys, { seq: 9 }));
      expect(node.identities.learn(renewed)).toBe(false);
    }
    const again = first.sent;
    first.gossip.revoke(revocationOf(thief.id), undefined);
    expect(first.sent).toBe(again);
  });

  test("who comes later hears of them when it connects", () => {
    const mesh = line(2);
    const [first] = mesh.nodes as [Node];
    const gone = newKeys().nodeId;
    first.gossip.revoke(revocationOf(gone), undefined);
    const late = new Node(mesh);
    mesh.nodes.push(late);
    mesh.connect(first, late);
    mesh.settle();
    expect(late.shut).toEqual([gone]);
  });

  const victim = newKeys().nodeId;
  const lies: readonly (readonly [string, SignedRevocation])[] = [
    ["another's signature", revocationOf(victim, newKeys())],
    ["the recovery key's", revocationOf(victim, recovery)],
    ["another chain's", revocationOf(victim, master, { chainId: NO_HASH })],
    ["of the master itself", revocationOf(master.nodeId)],
    [
      "whose words were changed",
      {
        ...revocationOf(newKeys().nodeId),
        revocation: revocationOf(victim).revocation,
      },
    ],
  ];
  test.each(lies)("one with %s revokes nobody, and is not passed on", (_, signed) => {
    const mesh = line(3);
    const [first, second] = mesh.nodes as [Node, Node];
    const frame = { flag: PEER_FLAG.revocation, type: 0, body: encodeRevocations([signed]) };
    expect(second.gossip.receive(first.id, frame)).toBe(true);
    expect([second.shut, mesh.frames]).toEqual([[], []]);
  });

  test("a deposed master's key revokes nobody any more, what it revoked before stays", () => {
    const mesh = line(2);
    const [first, second] = mesh.nodes as [Node, Node];
    const gone = newKeys().nodeId;
    const tell = (signed: SignedRevocation) =>
      second.gossip.receive(first.id, {
        ...{ flag: PEER_FLAG.revocation, type: 0 },
        body: encodeRevocations([signed]),
      });
    tell(revocationOf(gone));
    second.masterPub = newKeys().ledger.signer.publicKey;
    tell(revocationOf(victim));
    expect(second.shut).toEqual([gone]);
  });

  test("are on the disk before they count, and leave it when the ledger has them", () => {
    const mesh = line(2);
    const [first] = mesh.nodes as [Node];
    const dir = join(root, first.id);
    const gone = newKeys().nodeId;
    first.gossip.revoke(revocationOf(gone), undefined);
    expect(new RevocationList(dir).has(gone)).toBe(true);
    const member = {
      nodeId: gone,
      keys: [],
      revokedFrom: 5 as Height,
      revokedBy: "master",
    } as const;
    const at = (height: number): ChainState => ({
      ...chain,
      height: height as Height,
      members: new Map([[gone, member]]),
    });
    first.revocations.settle(at(3));
    expect(new RevocationList(dir).has(gone)).toBe(true);
    first.revocations.settle(at(4));
    expect(new RevocationList(dir).has(gone)).toBe(false);
    expect(existsSync(`${fileIn(dir, "revocations")}.new`)).toBe(false);
  });

  test("a spoilt file is refused, not forgotten; a full list takes no more", () => {
    const dir = join(root, "spoilt");
    mkdirSync(dir);
    const file = fileIn(dir, "revocations");
    const one = encodeRevocations([revocationOf(victim)]);
    for (let end = 0; end < one.length; end += 7) {
      writeFileSync(file, one.subarray(0, end));
      expect(() => new RevocationList(dir)).toThrow("revocations.json");
    }
    const many = Array.from({ length: REVOCATIONS_MAX }, (_, i) => {
      const nodeId = i.toString(16).padStart(32, "0") as NodeId;
      return {
        ...revocationOf(victim),
        revocation: { ...revocationOf(victim).revocation, nodeId },
      };
    });
    writeFileSync(file, encodeRevocations(many));
    const list = new RevocationList(dir);
    expect(list.all().length).toBe(REVOCATIONS_MAX);
    expect(list.add(revocationOf(victim))).toBe(false);
    expect(readFileSync(file).length).toBeLessThan(1024 * 1024);
  });

  test("any bytes give revocations or a complaint, each flipped bit another or none", () => {
    const bytes = encodeRevocations([revocationOf(victim)]);
    for (let i = 0; i < bytes.length; i++) {
      const altered = bytes.slice();
      altered[i] = (altered[i] ?? 0) ^ 1;
      const mesh = new Mesh(1);
      const [node] = mesh.nodes as [Node];
      node.gossip.receive(victim, { flag: PEER_FLAG.revocation, type: 0, body: altered });
      expect(node.shut).toEqual([]);
      expect(() => decodeRevocations(bytes.subarray(0, i))).not.toThrow();
    }
  });
});

describe("an introduction with a MASTER_TERM", () => {
  const heir = newKeys();
  const newcomer = newKeys().nodeId;
  const own = issued(certificateOf(heir, { roles: ["master"], issuer: heir.nodeId }), heir);
  const term = (change: object = {}, by = recovery) =>
    signMasterTerm(by.ledger.signer, {
      ...{ chainId, term: 2 as Term, masterPub: heir.ledger.signer.publicKey },
      ...change,
    });
  /** Who is let in, and what is acted on. */
  function show(masterTerm: ReturnType<typeof term> | undefined, signed = own, keys = heir) {
    let masterPub = master.ledger.signer.publicKey;
    const heard: number[] = [];
    const people = new PeerIdentities(
      newKeys().nodeId,
      () => ({ chain, masterPub, term: 1 as Term, verifier: crypto.signatures, now: NOW }),
      {
        onTerm: (message) => {
          heard.push(message.term);
          masterPub = message.masterPub;
        },
      },
    );
    const bytes = encodeIntroduction({ signed, masterTerm });
    return [people.authenticate(bytes, keys.session.publicKey), heard];
  }

  test("by the recovery key lets its master in, and acts", () => {
    expect(show(term())).toEqual([heir.nodeId, [2]]);
  });

  const thief = newKeys();
  const wrong = [
    ["none at all", undefined],
    ["one the old master signed", term({}, master)],
    ["one the heir signed", term({}, heir)],
    ["another chain's", term({ chainId: NO_HASH })],
    ["one of the present term", term({ term: 1 })],
    ["one for another key", term({ masterPub: thief.ledger.signer.publicKey })],
  ] as const;
  test.each(wrong)("with %s lets nobody in, and nothing acts", (_, message) => {
    expect(show(message as never)).toEqual([undefined, []]);
  });

  test("a thief who shows another's term is not let in by it", () => {
    const stolen = issued(certificateOf(thief, { issuer: thief.nodeId }), thief);
    expect(show(term(), stolen, thief)).toEqual([undefined, []]);
    // The heir's own certificate over the thief's key neither.
    expect(show(term(), own, thief)).toEqual([undefined, []]);
  });

  test("any bytes are read or complained of, cut and flipped ones let nobody in by the term", () => {
    const bytes = encodeIntroduction({ signed: own, masterTerm: term() });
    for (let i = 0; i < bytes.length; i++) {
      expect("complaint" in decodeIntroduction(bytes.subarray(0, i))).toBe(true);
      const altered = bytes.slice();
      altered[i] = (altered[i] ?? 0) ^ (1 << (i % 8));
      const people = new PeerIdentities(newcomer, () => ({
        ...{ chain, masterPub: master.ledger.signer.publicKey, term: 1 as Term, now: NOW },
        verifier: crypto.signatures,
      }));
      expect(people.authenticate(altered, heir.session.publicKey)).toBeUndefined();
      expect(() => decodeDiscovery(altered)).not.toThrow();
    }
  });

  test("a certificate that the heir did not sign is refused, though the term acts", () => {
    const byMaster = issued(certificateOf(heir, { roles: ["master"], issuer: master.nodeId }));
    expect(show(term(), byMaster)).toEqual([undefined, [2]]);
  });
});
