/**
 * The test vectors published beside docs/ledger.md, from fixed keys. Run to write them anew:
 *     bun test/vectors/make-ledger-vectors.ts
 * ledger-vectors.test.ts recomputes them, so a change of format shows as a change of these files.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Block } from "../../src/chain/block.ts";
import { encodeCore } from "../../src/chain/block-core.ts";
import { encodeBlockJson } from "../../src/chain/block-json.ts";
import { committeeOf } from "../../src/chain/chain-state.ts";
import { drawCommittee, vrfAlpha } from "../../src/chain/choosing.ts";
import { encodeContract, encodeDummy } from "../../src/chain/contract-entry.ts";
import { encodeDiscovery } from "../../src/chain/discovery.ts";
import { encodeGenesis } from "../../src/chain/genesis-file.ts";
import { type IdentityCertificate, signCertificate } from "../../src/chain/identity-certificate.ts";
import { encodeIntroduction } from "../../src/chain/introduction.ts";
import type { Attempt, Hash, Height, Term, View } from "../../src/chain/ledger-units.ts";
import { signMasterTerm } from "../../src/chain/master-term.ts";
import { encodeMessage, signedPart } from "../../src/chain/message-codec.ts";
import { nodeIdOf, signingHash, signMessage } from "../../src/chain/message-signing.ts";
import type {
  CommitMessage,
  MessageHeader,
  PrepareMessage,
  RejectMessage,
  SignedMessage,
} from "../../src/chain/message-types.ts";
import { encodeRevocations, signRevocation } from "../../src/chain/revocation.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { ChainBuilder, contractOf, NobleKeys, START } from "../chain/chain-builder.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

/** Genesis file and two blocks of four members, on the real curves. */
export function ledgerVectors(): Record<string, unknown> {
  const builder = new ChainBuilder(new NobleKeys(1), 4);
  builder.add({ contracts: [contractOf(1), contractOf(2), contractOf(3)] });
  builder.add({}, 1);
  const blocks = builder.blocks.map((block, i) => blockVector(builder, block, i));
  return {
    "ledger-chain.json": {
      genesis: text(encodeGenesis(builder.file)),
      chain_id: builder.state.chainId,
      genesis_hash: builder.states[0]?.blockHash,
      blocks,
    },
    "ledger-messages.json": messageVectors(builder),
    "ledger-choosing.json": choosingVectors(builder),
    "ledger-peers.json": peerVectors(builder),
  };
}

function blockVector(builder: ChainBuilder, block: Block, i: number) {
  return {
    core: encodeCore(block.core).toHex(),
    block_hash: builder.states[i + 1]?.blockHash,
    contracts: block.body.contracts.map(text),
    dummy: text(encodeDummy(block.core.chainId, block.core.height, block.core.scCount - 1)),
    line: text(encodeBlockJson(block)),
  };
}

function messageVectors(builder: ChainBuilder) {
  const [signer] = committeeOf(builder.state, 0 as Attempt);
  if (signer === undefined) throw new Error("no committee");
  const keys = builder.keysOf(signer).signer;
  const { chainId, blockHash, core } = builder.state;
  const place = {
    ...{ chainId, term: core.term, height: 3 as Height, signer },
    ...{ attempt: 1 as Attempt, view: 2 as View },
  };
  const messages = [
    signMessage<PrepareMessage>(keys, { kind: "PREPARE", ...place, blockHash }),
    signMessage<CommitMessage>(keys, { kind: "COMMIT", ...place, blockHash }),
    signMessage<RejectMessage>(keys, { kind: "REJECT", ...place, blockHash, reason: 11 }),
  ];
  const { recovery } = builder;
  const masterPub = keys.publicKey;
  const term = signMasterTerm(recovery.signer, { chainId, term: 2 as Term, masterPub });
  return [
    ...messages.map((message) => signedVector(message, keys.publicKey)),
    signedVector(term, recovery.signer.publicKey),
    ...headerVectors(builder, place),
  ];
}

function signedVector(message: SignedMessage, publicKey: string) {
  return {
    kind: message.kind,
    public_key: publicKey,
    signed: signedPart(message).toHex(),
    sha256: signingHash(message).toHex(),
    signature: message.signature.toHex(),
    message: encodeMessage(message).toHex(),
  };
}

/** A question and its answer, which have one nonce. */
function headerVectors(builder: ChainBuilder, place: MessageHeader) {
  const [block] = builder.blocks;
  if (block === undefined) throw new Error("no block");
  const nonce = "5a".repeat(32) as Hash;
  const at = { ...place, attempt: 0 as Attempt, view: 0 as View };
  const request = { kind: "HEADERS_REQ", ...at, height: 1 as Height, nonce, count: 1 } as const;
  const headers = [{ core: block.core, proof: block.proof }];
  const response = { kind: "HEADERS_RESP", ...at, height: 2 as Height, nonce, headers } as const;
  return [request, response].map((message) => ({
    kind: message.kind,
    message: encodeMessage(message).toHex(),
  }));
}

function choosingVectors(builder: ChainBuilder) {
  const eligible = builder.states[0]?.tnl[0]?.value ?? [];
  const { chainId, seed } = builder.state;
  const draw = { eligible, seed, committeeMax: 20, isCooling: () => false };
  const committees = [0, 1, 2].map((attempt) => {
    return drawCommittee({ ...draw, attempt: attempt as Attempt });
  });
  const place = { chainId, height: 3 as Height, attempt: 1 as Attempt, view: 2 as View };
  return {
    eligible: eligible.map(({ nodeId, weight }) => ({ node_id: nodeId, weight })),
    seed,
    committees,
    alpha: vrfAlpha(place, seed).toHex(),
    contract: text(encodeContract(contractOf(1))),
  };
}

/** What the peer channel carries beside the ledger's messages, all signed by master or recovery. */
function peerVectors(builder: ChainBuilder) {
  const { master, recovery, state } = builder;
  const [keys] = builder.nodes.values();
  if (keys === undefined) throw new Error("no member");
  const { chainId } = state;
  const masterId = nodeIdOf(master.signer.publicKey);
  const nodeId = nodeIdOf(keys.signer.publicKey);
  const certificate: IdentityCertificate = {
    ...{ chainId, nodeId, tenant: "test", roles: ["validator"], seq: 3, issuer: masterId },
    ...{ ledgerPub: keys.signer.publicKey, vrfPub: keys.vrf.publicKey },
    ...{ sessionPub: "11".repeat(32), sshPub: "22".repeat(32), addresses: ["10.0.0.2"] },
    ...{ applicationTags: [], carrier: "ip", peerPort: 6254 },
    ...{ notBefore: START, notAfter: (START + 1000) as EpochSeconds },
  };
  const signed = signCertificate(certificate, master.signer);
  const masterPub = keys.signer.publicKey;
  const term = signMasterTerm(recovery.signer, { chainId, term: 2 as Term, masterPub });
  const words = { chainId, nodeId, reason: "stolen", at: START };
  return {
    chain_id: chainId,
    master_pub: master.signer.publicKey,
    recovery_pub: recovery.signer.publicKey,
    introduction: text(encodeIntroduction({ signed, masterTerm: undefined })),
    introduction_of_a_new_term: text(encodeIntroduction({ signed, masterTerm: term })),
    discovery: text(encodeDiscovery({ certificates: [signed], mode: "quick" })),
    revocations: text(encodeRevocations([signRevocation(master.signer, words)])),
  };
}

if (import.meta.main) {
  for (const [name, value] of Object.entries(ledgerVectors())) {
    writeFileSync(join(import.meta.dir, name), `${JSON.stringify(value, undefined, 2)}\n`);
  }
}
