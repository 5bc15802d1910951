/**
 * Evidence: two texts by one key that no honest node signs both. docs/ledger.md "Evidence"; design
 * "Spreading and checking": two block hashes in PRE_PREPARE, PREPARE or COMMIT of one (term,
 * height, attempt, view), in CANDIDATE of one (term, height, attempt, sequence), in SEAL of one
 * height. A repeat, a digest answer or a vote of another term is none.
 */
import { blockHashOf, readCore } from "./block-core.ts";
import { ByteReader } from "./byte-codec.ts";
import { type ChainState, masterOf, memberKeysAt } from "./chain-state.ts";
import type { SignatureCheck } from "./crypto-interface.ts";
import type { ChainId, Height, NodeId, PublicKey, SigningHash, Term } from "./ledger-units.ts";
import { readSignedText, type SignedText, signedPart } from "./message-codec.ts";
import { nodeIdOf } from "./message-signing.ts";
import type { Evidence, SignedMessage } from "./message-types.ts";
import { sha256 } from "./sha256.ts";

/** A proven contradiction; the signatures are still to be checked with the offender's key. */
export type Contradiction = {
  readonly offender: NodeId;
  /** By which key of it: that of this height, or of this term for a master. */
  readonly height: Height;
  readonly term: Term;
  /** CANDIDATE and SEAL are a master's. */
  readonly isMaster: boolean;
  readonly texts: readonly [SignedText, SignedText];
};

/** What of a message EVIDENCE carries: the signed part and the signature. */
export function evidencePart(message: SignedMessage): Uint8Array {
  const words = signedPart(message);
  const part = new Uint8Array(words.length + message.signature.length);
  part.set(words);
  part.set(message.signature, words.length);
  return part;
}

/** The smaller text first, so that one pair is one record. */
export function evidenceOf(one: SignedMessage, other: SignedMessage): Evidence {
  const parts = [evidencePart(one), evidencePart(other)].sort(Buffer.compare);
  return { first: parts[0] ?? new Uint8Array(0), second: parts[1] ?? new Uint8Array(0) };
}

/** The contradiction, or in words why it is none. */
export function readEvidence(chainId: ChainId, evidence: Evidence): Contradiction | string {
  if (Buffer.compare(evidence.first, evidence.second) >= 0) return "the texts are not in order";
  const first = readSignedText(evidence.first);
  const second = readSignedText(evidence.second);
  if (typeof first === "string" || typeof second === "string") return "a text does not decode";
  if (first.header.chainId !== chainId || second.header.chainId !== chainId) {
    return "a text is of another chain";
  }
  const { signer, height, term } = first.header;
  if (signer !== second.header.signer) return "two signers";
  const one = placeAndHash(first);
  const other = placeAndHash(second);
  if (one === undefined || other === undefined) return "a kind that proves nothing";
  if (one.place !== other.place) return "two different places";
  if (one.blockHash === other.blockHash) return "one block hash";
  const isMaster = first.kind === "CANDIDATE" || first.kind === "SEAL";
  return { offender: signer, height, term, isMaster, texts: [first, second] };
}

/** The key that a contradiction has to be signed with; undefined: it is nobody's here. */
export function offenderKey(chain: ChainState, found: Contradiction): PublicKey | undefined {
  if (!found.isMaster) return memberKeysAt(chain, found.offender, found.height)?.ledgerPub;
  const reign = masterOf(chain, found.term);
  const isOurs = reign !== undefined && nodeIdOf(reign.masterPub) === found.offender;
  return isOurs ? reign.masterPub : undefined;
}

export function contradictionChecks(
  contradiction: Contradiction,
  publicKey: PublicKey,
): SignatureCheck[] {
  return contradiction.texts.map(({ words, signature }) => {
    return { hash: sha256(words) as SigningHash, signature, publicKey };
  });
}

/** Where one hash only may be signed, and which was. */
function placeAndHash(text: SignedText): { place: string; blockHash: string } | undefined {
  const { term, height, attempt, view } = text.header;
  const reader = new ByteReader(text.body);
  switch (text.kind) {
    case "PRE_PREPARE":
    case "PREPARE":
    case "COMMIT": {
      const blockHash = reader.blockHash();
      const bodyBytes = text.kind === "PRE_PREPARE" ? 32 + 32 + 80 + 32 : 32;
      if (text.body.length !== bodyBytes) return undefined;
      return { place: `vote ${term} ${height} ${attempt} ${view}`, blockHash };
    }
    case "CANDIDATE": {
      const sequence = reader.u32();
      const core = readCore(reader);
      reader.end();
      if (reader.fault !== undefined) return undefined;
      const place = `candidate ${term} ${height} ${attempt} ${sequence}`;
      return { place, blockHash: blockHashOf(core) };
    }
    case "SEAL": {
      if (text.body.length !== 64) return undefined;
      return { place: `seal ${height}`, blockHash: reader.blockHash() };
    }
    default:
      return undefined;
  }
}
