/** Who is let in on the peer channel: by the ledger, the master's signature, or not at all. */
import { expect, test } from "bun:test";
import { fromHex } from "../../src/bytes.ts";
import type { ChainState } from "../../src/chain/chain-state.ts";
import { DEFAULT_PARAMS } from "../../src/chain/genesis.ts";
import { genesisState } from "../../src/chain/genesis-block.ts";
import {
  certificateHash,
  decodeSignedCertificate,
  encodeSignedCertificate,
  type IdentityCertificate,
  type SignedCertificate,
  signCertificate,
} from "../../src/chain/identity-certificate.ts";
import {
  type ChainId,
  type Height,
  NO_HASH,
  type NodeId,
  type Term,
} from "../../src/chain/ledger-units.ts";
import type { Member } from "../../src/chain/member.ts";
import { possessionHash } from "../../src/chain/registration.ts";
import { createLedgerCrypto } from "../../src/node/ledger-crypto.ts";
import { drawSecrets, keysOfSecrets, type OwnKeys } from "../../src/node/node-keys.ts";
import { PeerIdentities } from "../../src/node/peer-identities.ts";
import type { EpochSeconds } from "../../src/units.ts";

const NOW = 1_800_000_000 as EpochSeconds;
const DAY = 24 * 3600;
const crypto = createLedgerCrypto();
const newKeys = (): OwnKeys => keysOfSecrets(drawSecrets());
const [master, recovery, member, newcomer, self] = [1, 2, 3, 4, 5].map(newKeys) as [
  OwnKeys,
  OwnKeys,
  OwnKeys,
  OwnKeys,
  OwnKeys,
];

function certificateOf(keys: OwnKeys, change: Partial<IdentityCertificate> = {}) {
  const certificate: IdentityCertificate = {
    ...{ chainId: NO_HASH as string as ChainId, nodeId: keys.nodeId, tenant: "t", roles: [] },
    ledgerPub: keys.ledger.signer.publicKey,
    sessionPub: Buffer.from(keys.session.publicKey).toString("hex"),
    ...{ sshPub: keys.sshPub, vrfPub: keys.ledger.vrf.publicKey, addresses: ["127.0.0.1"] },
    ...{ applicationTags: [], carrier: "ip", peerPort: 6254, seq: 0, issuer: master.nodeId },
    notBefore: (NOW - 10 * DAY) as EpochSeconds,
    notAfter: (NOW + 10 * DAY) as EpochSeconds,
    ...change,
  };
  return certificate;
}

const genesisCertificate = certificateOf(member);

function genesis(): ChainState {
  const words = {
    ...{ ledgerPub: member.ledger.signer.publicKey, vrfPub: member.ledger.vrf.publicKey },
    certificate: certificateHash(genesisCertificate),
  };
  const possession = member.ledger.signer.sign(possessionHash(words));
  const resources = { vcpu: 1, ramMib: 1024, securityScore: 50 };
  const state = genesisState(
    {
      ...{ tenant: "t", timestamp: NOW, params: DEFAULT_PARAMS },
      masterPub: master.ledger.signer.publicKey,
      recoveryPub: recovery.ledger.signer.publicKey,
      members: [{ ...words, possession, ...resources }],
    },
    crypto,
  );
  if (typeof state === "string") throw new Error(state);
  return state;
}

const chain = genesis();
const { chainId } = chain;
const issued = (certificate: IdentityCertificate): SignedCertificate =>
  signCertificate(certificate, master.ledger.signer);

function identities(state: ChainState = chain, now = NOW): PeerIdentities {
  const masterPub = master.ledger.signer.publicKey;
  const term = 1 as Term;
  const basis = { chain: state, masterPub, term, verifier: crypto.signatures, now };
  return new PeerIdentities(self.nodeId, () => basis);
}

const at = (seconds: number): EpochSeconds => (NOW + seconds) as EpochSeconds;
const OTHER_ID = "0f".repeat(16) as NodeId;
const cases: readonly {
  readonly name: string;
  readonly shown: SignedCertificate;
  readonly keys: OwnKeys;
  readonly is?: NodeId;
}[] = [
  {
    name: "a member of genesis",
    shown: issued(genesisCertificate),
    keys: member,
    is: member.nodeId,
  },
  {
    name: "a member with another certificate than the ledger's",
    shown: issued(certificateOf(member, { chainId, peerPort: 1 })),
    keys: member,
  },
  {
    name: "a member's certificate over another's key",
    shown: issued(genesisCertificate),
    keys: newcomer,
  },
  {
    name: "the master",
    shown: issued(certificateOf(master, { chainId })),
    keys: master,
    is: master.nodeId,
  },
  {
    name: "whoever claims the master's id",
    shown: issued({ ...certificateOf(newcomer, { chainId }), nodeId: master.nodeId }),
    keys: newcomer,
  },
  {
    name: "a newcomer with the master's signature",
    shown: issued(certificateOf(newcomer, { chainId })),
    keys: newcomer,
    is: newcomer.nodeId,
  },
  {
    name: "rotated keys of a node that this chain does not know, by the master's word",
    shown: issued({ ...certificateOf(newcomer, { chainId, seq: 1 }), nodeId: OTHER_ID }),
    keys: newcomer,
    is: OTHER_ID,
  },
  {
    name: "rotated keys by their own word",
    shown: signCertificate(
      { ...certificateOf(newcomer, { chainId, seq: 1 }), nodeId: OTHER_ID },
      newcomer.ledger.signer,
    ),
    keys: newcomer,
  },
  {
    name: "a newcomer who signed for itself",
    shown: signCertificate(certificateOf(newcomer, { chainId }), newcomer.ledger.signer),
    keys: newcomer,
  },
  {
    name: "a newcomer of another chain",
    shown: issued(certificateOf(newcomer)),
    keys: newcomer,
  },
  {
    name: "a newcomer with a certificate past its grace",
    shown: issued(certificateOf(newcomer, { chainId, notAfter: at(-31 * DAY) })),
    keys: newcomer,
  },
  {
    name: "a newcomer with one that expired a week ago",
    shown: issued(certificateOf(newcomer, { chainId, notAfter: at(-7 * DAY) })),
    keys: newcomer,
    is: newcomer.nodeId,
  },
  {
    name: "a newcomer with one of the day after tomorrow",
    shown: issued(certificateOf(newcomer, { chainId, notBefore: at(2 * DAY) })),
    keys: newcomer,
  },
  { name: "ourselves", shown: issued(certificateOf(self, { chainId })), keys: self },
];

test.each(cases)("$name", ({ shown, keys, is }) => {
  const bytes = encodeSignedCertificate(shown);
  expect(identities().authenticate(bytes, keys.session.publicKey)).toBe(is as never);
});

test("a certificate over another key than the one met lets nobody in, and is learnt", () => {
  const people = identities();
  const shown = (keys: OwnKeys, seq: number) =>
    issued({ ...certificateOf(keys, { chainId, seq }), nodeId: OTHER_ID });
  expect(people.learn(shown(newcomer, 1))).toBe(true);
  const next = shown(member, 2);
  const bytes = encodeSignedCertificate(next);
  expect(people.authenticate(bytes, newcomer.session.publicKey)).toBeUndefined();
  expect(people.callees().map(({ key }) => key)).toEqual([member.session.publicKey]);
  expect(people.authenticate(bytes, member.session.publicKey)).toBe(OTHER_ID);
  // Who has the old key shows what was valid before, or what is not over it.
  const old = encodeSignedCertificate(issued(certificateOf(self, { chainId })));
  expect(people.authenticate(old, newcomer.session.publicKey)).toBeUndefined();
});

test("a revoked member is let in by nothing, and is not called any more", () => {
  const known = chain.members.get(member.nodeId) as Member;
  const revoked = { ...known, revokedFrom: 1 as Height, revokedBy: "master" as const };
  const after = { ...chain, members: new Map([[member.nodeId, revoked]]) };
  let state: ChainState = chain;
  const masterPub = master.ledger.signer.publicKey;
  const people = new PeerIdentities(self.nodeId, () => ({
    ...{ chain: state, masterPub, verifier: crypto.signatures, now: NOW, term: 1 as Term },
  }));
  expect(people.learn(issued(genesisCertificate))).toBe(true);
  expect(people.callees().map(({ nodeId }) => nodeId)).toEqual([member.nodeId]);
  state = after;
  expect(people.callees()).toEqual([]);
  for (const certificate of [genesisCertificate, certificateOf(member, { chainId, seq: 1 })]) {
    const bytes = encodeSignedCertificate(issued(certificate));
    expect(people.authenticate(bytes, member.session.publicKey)).toBeUndefined();
  }
});

test("any bytes give a certificate or a complaint, and every flipped bit another identity or none", () => {
  const bytes = encodeSignedCertificate(issued(genesisCertificate));
  const people = identities();
  for (let i = 0; i < bytes.length; i++) {
    const altered = bytes.slice();
    altered[i] = (altered[i] ?? 0) ^ 1;
    const read = decodeSignedCertificate(altered);
    if ("complaint" in read) continue;
    // The ledger commits to the certificate; its signature is only a newcomer's proof.
    const isSignature = i > bytes.length - 140;
    const found = people.authenticate(altered, fromHex(genesisCertificate.sessionPub) ?? altered);
    if (!isSignature) expect(found).toBeUndefined();
  }
  for (let end = 0; end < bytes.length; end++) {
    expect("complaint" in decodeSignedCertificate(bytes.subarray(0, end))).toBe(true);
  }
});
