/**
 * One connection as bytes: handshake, records, frames. docs/peer-channel.md. Everything on the
 * wire is a Noise message behind its length in 2 bytes; the first two are the handshake, each with
 * its sender's certificate as payload. No sockets and no clock: peer-channel.ts has them. Hostile
 * bytes end the link with a fault, never more.
 */
import { concat } from "../bytes.ts";
import {
  encodePeerFrames,
  PEER_FLAG,
  type PeerFrame,
  PeerFrameReader,
} from "../wire/peer-frame.ts";
import type { PeerCipher, PeerHandshake, PeerNoise } from "./peer-noise.ts";

const LENGTH_BYTES = 2;
const NOISE_BYTES_MAX = 65_535;
const TAG_BYTES = 16;
const RECORD_BYTES_MAX = NOISE_BYTES_MAX - TAG_BYTES;
/** e, sealed s, sealed payload: certificates are at most 4 KiB. */
const HANDSHAKE_BYTES_MAX = 32 + 48 + 4096 + TAG_BYTES;
/** The cipher's counter has 32 bits: a link ends long before, and another is made. */
const RECORDS_MAX = 2 ** 31;
const NOTHING = new Uint8Array(0);
const ALIVE: PeerFrame = { flag: PEER_FLAG.alive, type: 0, body: NOTHING };

/** In clear, instead of an answer that could not be understood: length 0, then the realm. */
const REALM_BYTES = 32;
const REALM_NOTICE = Uint8Array.of(0, 0);

export const LINK_FAULTS = [
  "length",
  "handshake",
  "realm",
  "identity",
  "record",
  "frame-length",
  "worn-out",
] as const;
export type LinkFault = (typeof LINK_FAULTS)[number];

export type LinkOptions = {
  readonly noise: PeerNoise;
  /** What both ends must be of, 32 bytes; the handshake proves it, this is for people. */
  readonly realm: Uint8Array;
  /** The caller's place is a peer's: it may hear the realm where it cannot be understood. */
  readonly isKnownPlace: boolean;
  /** What this side shows: its signed certificate. */
  readonly certificate: Uint8Array;
  /** Whose certificate and key these are; undefined: nobody's who may speak here. */
  readonly authenticate: (certificate: Uint8Array, key: Uint8Array) => string | undefined;
  /** Whom the initiator calls; undefined for the responder. */
  readonly callee: { readonly nodeId: string; readonly key: Uint8Array } | undefined;
  /** 32 random bytes, used once. */
  readonly ephemeralSecret: Uint8Array;
};

export class PeerLink {
  /** Why it is over. */
  fault: LinkFault | undefined;
  /** Who is at the other end: once its certificate is verified. */
  peer: string | undefined;
  /** What the callee says to be of, where it is not ours: nothing proves it. */
  otherRealm: Uint8Array | undefined;
  /** The other end has shown that it has the keys now, not in a recording. */
  isConfirmed = false;
  private readonly handshake: PeerHandshake;
  private readonly frames = new PeerFrameReader();
  private sending: PeerCipher | undefined;
  private receiving: PeerCipher | undefined;
  private records = 0;
  private rest = NOTHING;
  private answer: Uint8Array[] = [];

  constructor(private readonly options: LinkOptions) {
    this.handshake = options.noise.handshake(options.callee?.key);
    if (options.callee !== undefined) this.writeHandshake();
  }

  /** Bytes that the handshake wants sent, once. */
  takeAnswer(): Uint8Array {
    const bytes = concat(...this.answer);
    this.answer = [];
    return bytes;
  }

  get isOpen(): boolean {
    return this.sending !== undefined && this.fault === undefined;
  }

  /** Frames as records, several in one where they fit. On entry the link is open. */
  seal(frames: readonly PeerFrame[]): Uint8Array {
    return this.sealRecords(encodePeerFrames(frames));
  }

  /** Frames that `chunk` completes; `fault` is set where it is not what a peer sends. */
  receive(chunk: Uint8Array): PeerFrame[] {
    const bytes = this.rest.length === 0 ? chunk : concat(this.rest, chunk);
    const frames: PeerFrame[] = [];
    let offset = 0;
    while (this.fault === undefined && bytes.length - offset >= LENGTH_BYTES) {
      const sizeBytes = ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
      if (!this.isSizeAllowed(sizeBytes)) return this.fail("length");
      const isNotice = sizeBytes === 0 && this.receiving === undefined;
      if (isNotice && this.options.callee !== undefined) {
        const from = offset + LENGTH_BYTES;
        if (bytes.length - from < REALM_BYTES) break;
        this.otherRealm = bytes.slice(from, from + REALM_BYTES);
        return this.fail("realm");
      }
      const end = offset + LENGTH_BYTES + sizeBytes;
      if (end > bytes.length) break;
      const message = bytes.subarray(offset + LENGTH_BYTES, end);
      offset = end;
      if (this.receiving === undefined) this.readHandshake(message);
      else frames.push(...this.readRecord(this.receiving, message));
    }
    this.rest = offset === bytes.length ? NOTHING : bytes.slice(offset);
    return this.fault === undefined ? frames : [];
  }

  private isSizeAllowed(sizeBytes: number): boolean {
    if (this.receiving !== undefined) return sizeBytes > TAG_BYTES;
    return sizeBytes <= HANDSHAKE_BYTES_MAX;
  }

  private fail(fault: LinkFault): PeerFrame[] {
    this.fault ??= fault;
    this.rest = NOTHING;
    return [];
  }

  private writeHandshake(): void {
    const { certificate, ephemeralSecret } = this.options;
    const message = this.handshake.write(certificate, ephemeralSecret);
    if (message === undefined) this.fail("handshake");
    else this.answer.push(withLength(message));
  }

  private readHandshake(message: Uint8Array): void {
    const { callee, authenticate, realm, isKnownPlace } = this.options;
    const certificate = this.handshake.read(message);
    const key = this.handshake.remoteStatic;
    if (certificate === undefined || key === undefined) {
      if (callee === undefined && isKnownPlace) this.answer.push(REALM_NOTICE, realm);
      this.fail("handshake");
      return;
    }
    const peer = authenticate(certificate, key);
    if (peer === undefined || (callee !== undefined && peer !== callee.nodeId)) {
      this.fail("identity");
      return;
    }
    if (callee === undefined) this.writeHandshake();
    if (this.fault !== undefined) return;
    this.peer = peer;
    this.begin(callee !== undefined);
  }

  private begin(isInitiator: boolean): void {
    const keys = this.handshake.split();
    const { noise } = this.options;
    this.sending = noise.cipher(isInitiator ? keys.initiator : keys.responder);
    this.receiving = noise.cipher(isInitiator ? keys.responder : keys.initiator);
    if (!isInitiator) return;
    // The responder's answer is made of our ephemeral key: it is no recording. Ours may be one
    // until a record follows.
    this.isConfirmed = true;
    this.answer.push(this.seal([ALIVE]));
  }

  private readRecord(cipher: PeerCipher, sealed: Uint8Array): PeerFrame[] {
    const plaintext = cipher.open(NOTHING, sealed);
    if (plaintext === undefined) return this.fail("record");
    if (this.records++ > RECORDS_MAX) return this.fail("worn-out");
    this.isConfirmed = true;
    const frames = this.frames.take(plaintext);
    return this.frames.isSpoilt ? this.fail("frame-length") : frames;
  }

  private sealRecords(plaintext: Uint8Array): Uint8Array {
    const { sending } = this;
    if (sending === undefined) return NOTHING;
    const count = Math.ceil(plaintext.length / RECORD_BYTES_MAX);
    const sealed = new Uint8Array(plaintext.length + count * (LENGTH_BYTES + TAG_BYTES));
    let end = 0;
    for (let start = 0; start < plaintext.length; start += RECORD_BYTES_MAX) {
      const record = sending.seal(NOTHING, plaintext.subarray(start, start + RECORD_BYTES_MAX));
      sealed[end] = record.length >>> 8;
      sealed[end + 1] = record.length;
      sealed.set(record, end + LENGTH_BYTES);
      end += LENGTH_BYTES + record.length;
      if (this.records++ > RECORDS_MAX) this.fail("worn-out");
    }
    return sealed;
  }
}

function withLength(message: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(message.length >>> 8, message.length & 0xff), message);
}
