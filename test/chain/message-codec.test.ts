/**
 * Messages as bytes: what is written is read again, of every kind; what is read is written again as
 * it was; cut, lengthened, changed or random bytes give a fault and nothing else. docs/ledger.md
 * "Messages".
 */
import { describe, expect, test } from "bun:test";
import type { BlockBody, BlockCore, SealProof } from "../../src/chain/block.ts";
import { blockHashOf, CORE_BYTES, encodeCore } from "../../src/chain/block-core.ts";
import type {
  CommittedCertificate,
  PreparedCertificate,
  Quorum,
} from "../../src/chain/certificate.ts";
import { committeeHash } from "../../src/chain/certificate-codec.ts";
import {
  decodeMessage,
  encodeMessage,
  HEADER_BYTES,
  isSignedKind,
  MESSAGE_BYTES_MAX,
  signedPart,
} from "../../src/chain/message-codec.ts";
import { justificationHash, quorumHash } from "../../src/chain/message-parts.ts";
import {
  type LedgerMessage,
  MESSAGE_CODES,
  type MessageKind,
  type MessageOf,
  QC_PURPOSES,
} from "../../src/chain/message-types.ts";
import { Prng, seed } from "../prng.ts";

/** Random messages that hold together. Casts stand for a decoder's. */
class MessageMaker {
  constructor(private readonly prng: Prng) {}

  make<Kind extends MessageKind>(kind: Kind): MessageOf<Kind> {
    const header = { kind, ...this.place(), signer: this.hex(16) };
    const signature = isSignedKind(kind) ? { signature: this.bytes(64) } : {};
    return { ...header, ...signature, ...this.words(kind, header) } as unknown as MessageOf<Kind>;
  }

  private words(kind: MessageKind, header: ReturnType<MessageMaker["place"]>): object {
    const blockHash = this.hex(32);
    switch (kind) {
      case "CANDIDATE": {
        const abandons = this.some(3, () => this.make("ABANDON"));
        const words = { sequence: this.prng.u32(), core: this.core(header), body: this.body() };
        return { ...words, parent: this.maybe(() => this.proof()), abandons, ...this.redraw() };
      }
      case "PRE_PREPARE": {
        const committee = this.some(20, () => this.hex(16)) as never[];
        const justification = this.some(3, () => this.make("ROUND_CHANGE"));
        const hash = justificationHash(justification);
        const hashes = { committeeHash: committeeHash(committee), justificationHash: hash };
        return { blockHash, ...hashes, vrfProof: this.bytes(80), committee, justification };
      }
      case "PREPARE":
      case "COMMIT":
      case "REPL_ACK":
        return { blockHash };
      case "REJECT":
        return { blockHash, reason: this.prng.below(65536) };
      case "ROUND_CHANGE":
        return { prepared: this.maybe(() => this.prepared()) };
      case "ABANDON":
        return { highest: this.maybe(() => this.prepared()) };
      case "RESULT":
        return { blockHash, quorum: this.quorum(header), vrfProof: this.bytes(80) };
      case "NO_QUORUM":
        return { blockHash, refusals: this.some(4, () => this.make("REJECT")) };
      case "SEAL": {
        const core = this.core(header);
        const quorum = this.quorum(header);
        const seal = { quorum, vrfProof: this.maybe(() => this.bytes(80)), ...this.redraw() };
        const words = { ...seal, masterTerm: this.maybe(() => this.make("MASTER_TERM")) };
        const hashes = { blockHash: blockHashOf(core), quorumHash: quorumHash(words as never) };
        return { ...hashes, core, ...words, body: this.body() };
      }
      default:
        return this.rareWords(kind);
    }
  }

  private rareWords(kind: MessageKind): object {
    const nonce = this.hex(32);
    switch (kind) {
      case "FORCED_REDRAW": {
        const carried = this.maybe(() => this.prepared());
        const carriedHash = carried?.blockHash ?? this.maybe(() => this.hex(32));
        const committee = this.some(20, () => this.hex(16));
        return { committee, carried, carriedHash, recoverySignature: this.bytes(64) };
      }
      case "MASTER_TERM":
        return { height: 0, attempt: 0, view: 0, masterPub: this.hex(33) };
      case "QC_STATE": {
        const tip = { sealedHeight: this.prng.u32(), sealedHash: this.hex(32) };
        const prepared = this.maybe(() => this.prepared());
        const committed = this.maybe(() => this.committed());
        const flags = { abandoned: this.prng.oneIn(2), remembers: this.prng.oneIn(2) };
        const isPromised = this.prng.oneIn(2);
        return {
          nonce,
          ...tip,
          ...flags,
          isPromised,
          frozen: this.prng.below(65536),
          prepared,
          committed,
        };
      }
      case "DIGEST_RESP":
        return { nonce, blockHash: this.hex(32), scdRoot: this.hex(32) };
      case "QC_FETCH": {
        const purpose = QC_PURPOSES[this.prng.below(QC_PURPOSES.length)];
        return { nonce, purpose, redrawn: this.prng.below(65536) };
      }
      case "DIGEST_REQ":
        return { nonce };
      case "LINK_DOWN":
        return { nodeId: this.hex(16), blockHash: this.hex(32) };
      case "HEADERS_REQ":
        return { nonce, count: this.prng.below(257) };
      case "HEADERS_RESP":
        return {
          nonce,
          headers: this.some(3, () => ({ core: this.anyCore(), proof: this.proof() })),
        };
      case "BODY_REQ":
        return { blockHashes: this.some(5, () => this.hex(32)) };
      case "BODY_RESP":
        return { blocks: this.some(3, () => ({ core: this.anyCore(), body: this.body() })) };
      default:
        return { evidence: { first: this.bytes(this.prng.below(512)), second: this.bytes(9) } };
    }
  }

  private place() {
    const { prng } = this;
    const height = prng.below(2 ** 21) * 2 ** 32 + prng.u32();
    const [attempt, view] = [prng.below(65536), prng.below(65536)];
    return { chainId: this.hex(32), term: prng.u32(), height, attempt, view };
  }

  private anyCore(): BlockCore {
    return this.core(this.place());
  }

  private core(header: { chainId: string; height: number }): BlockCore {
    const { chainId, height } = header;
    const words = { version: 1, chainId, height, term: this.prng.u32() };
    const roots = { merkleRoot: this.hex(32), recordsRoot: this.hex(32), scdRoot: this.hex(32) };
    const more = { tnlRoot: this.hex(32), membershipRoot: this.hex(32) };
    const parent = { previousBlockHash: this.hex(32), parentAttempt: 1, parentView: 2 };
    const counts = { scCount: this.prng.below(1025), scReal: this.prng.below(1025) };
    const rest = { parentBeta: this.hex(64), timestamp: this.prng.u32(), ...counts };
    return { ...words, ...parent, ...roots, ...more, ...rest } as unknown as BlockCore;
  }

  private body(): BlockBody {
    const piece = (): Uint8Array => this.bytes(this.prng.below(300));
    return { contracts: this.some(4, piece), records: this.some(4, piece) };
  }

  private votes() {
    const bitmap = this.prng.below(2 ** 20);
    const count = bitmap.toString(2).replaceAll("0", "").length;
    return { bitmap, signatures: Array.from({ length: count }, () => this.bytes(64)) };
  }

  private quorum({ attempt, view }: { attempt: number; view: number }): Quorum {
    return { attempt, view, ...this.votes() } as unknown as Quorum;
  }

  private prepared(): PreparedCertificate {
    const { chainId: _, ...place } = this.place();
    const hashes = { blockHash: this.hex(32), committeeHash: this.hex(32) };
    const leader = { vrfProof: this.bytes(80), leaderSignature: this.bytes(64) };
    const rest = { justificationHash: this.hex(32), ...this.votes() };
    return { ...place, ...hashes, ...leader, ...rest } as unknown as PreparedCertificate;
  }

  private committed(): CommittedCertificate {
    const { term, height, attempt, view } = this.place();
    const words = { term, height, blockHash: this.hex(32), vrfProof: this.bytes(80) };
    return { ...words, quorum: this.quorum({ attempt, view }) } as unknown as CommittedCertificate;
  }

  private proof(): SealProof {
    const vrfProof = this.maybe(() => this.bytes(80));
    const words = { quorum: this.quorum(this.place()), vrfProof, ...this.redraw() };
    const masterTerm = this.maybe(() => this.make("MASTER_TERM"));
    const seal = { masterTerm, sealTerm: this.prng.u32(), blockSignature: this.bytes(64) };
    return { ...words, ...seal } as unknown as SealProof;
  }

  private redraw() {
    return { redraw: this.maybe(() => this.make("FORCED_REDRAW")) };
  }

  private maybe<T>(make: () => T): T | undefined {
    return this.prng.oneIn(2) ? make() : undefined;
  }

  private some<T>(countMax: number, make: () => T): T[] {
    return Array.from({ length: this.prng.below(countMax + 1) }, make);
  }

  private bytes(sizeBytes: number): Uint8Array {
    return Uint8Array.from({ length: sizeBytes }, () => this.prng.below(256));
  }

  private hex(sizeBytes: number): string {
    return this.bytes(sizeBytes).toHex();
  }
}

const KINDS = Object.keys(MESSAGE_CODES) as MessageKind[];
const prng = new Prng(seed);
const maker = new MessageMaker(prng);

function read(bytes: Uint8Array): LedgerMessage {
  const result = decodeMessage(bytes);
  if ("fault" in result) throw new Error(result.fault);
  return result.message;
}

describe.each(KINDS)(`%s (SEED=${seed})`, (kind) => {
  test("is read as it was written", () => {
    for (let i = 0; i < 50; i++) {
      const message = maker.make(kind);
      expect(read(encodeMessage(message))).toEqual(message);
    }
  });

  test("is refused when cut anywhere, or longer by a byte", () => {
    const bytes = encodeMessage(maker.make(kind));
    for (let end = 0; end < bytes.length; end++) {
      expect("fault" in decodeMessage(bytes.subarray(0, end))).toBe(true);
    }
    expect(decodeMessage(Buffer.concat([bytes, Uint8Array.of(0)]))).toEqual({ fault: "trailing" });
  });

  test("with a changed byte it is refused, or another message with this one encoding", () => {
    for (let i = 0; i < 200; i++) {
      const bytes = encodeMessage(maker.make(kind));
      const at = prng.below(bytes.length);
      bytes[at] = prng.below(256);
      const result = decodeMessage(bytes);
      if ("message" in result) expect(encodeMessage(result.message).toHex()).toBe(bytes.toHex());
    }
  });

  test("every signed word is under the signature, and nothing of the attachment is loose", () => {
    if (!isSignedKind(kind)) return;
    const message = maker.make(kind);
    const bytes = encodeMessage(message);
    const words = signedPart(message);
    expect(bytes.subarray(0, words.length).toHex()).toBe(words.toHex());
    expect(bytes.subarray(words.length, words.length + 64).toHex()).toBe(message.signature.toHex());
  });
});

test(`random bytes behind a right header give a fault or a message (SEED=${seed})`, () => {
  for (let i = 0; i < 5000; i++) {
    const bytes = Uint8Array.from({ length: prng.below(1500) }, () => prng.below(256));
    bytes.set(Buffer.from("abs/1\0").subarray(0, bytes.length));
    const result = decodeMessage(bytes);
    if ("message" in result) expect(encodeMessage(result.message).toHex()).toBe(bytes.toHex());
  }
});

test("a message past the frame is refused before it is looked at", () => {
  expect(decodeMessage(new Uint8Array(MESSAGE_BYTES_MAX + 1))).toEqual({ fault: "size" });
});

test("a count that promises more than there is allocates nothing", () => {
  const bytes = encodeMessage({ ...maker.make("BODY_REQ"), blockHashes: [] });
  bytes.set([0xff, 0xff], HEADER_BYTES);
  expect(decodeMessage(bytes)).toEqual({ fault: "count" });
});

test("a core has the size that docs/ledger.md gives", () => {
  expect(encodeCore(maker.make("CANDIDATE").core).length).toBe(CORE_BYTES);
});
