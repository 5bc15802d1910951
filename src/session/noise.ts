/**
 * The Noise Protocol Framework, revision 34, as far as handshakes here need it: symmetric state
 * (§5.2), handshake state (§5.3) over 25519, pre-shared keys (§9), and the pattern IK (§7.5).
 * docs/wire.md "HANDSHAKE" uses IKpsk0+psk2 and mixes more into the hash through `mixHash`.
 * A failed read returns undefined; the state is then spoilt, so readers of hostile bytes read into
 * a `clone`. Nothing here checks what a payload means.
 */
import { ascii, concat } from "../bytes.ts";
import { assert } from "../errors.ts";
import { openAead, sealAead } from "./aead.ts";
import { type HashFunction, type HashName, hashFunction, hkdf } from "./hashes.ts";
import { KeyPair } from "./x25519.ts";

export type NoiseCipher = "AESGCM" | "ChaChaPoly";
export type NoiseSuite = { readonly cipher: NoiseCipher; readonly hash: HashName };
export type NoiseToken = "e" | "s" | "ee" | "es" | "se" | "ss" | "psk";
export type NoisePattern = {
  /** As it stands in the protocol name, modifiers included: `IKpsk0+psk2`. */
  readonly name: string;
  /** Static keys known beforehand, mixed in before the first message: initiator's, responder's. */
  readonly known: { readonly initiator: boolean; readonly responder: boolean };
  readonly messages: readonly (readonly NoiseToken[])[];
};

const KEY_BYTES = 32;
const TAG_BYTES = 16;
const EMPTY = new Uint8Array(0);
const HASH_LABELS: Readonly<Record<HashName, string>> = {
  sha256: "SHA256",
  sha512: "SHA512",
  blake2s: "BLAKE2s",
  blake2b: "BLAKE2b",
};

/** The peer channel's: §7.5, without pre-shared keys. */
export const IK: NoisePattern = {
  name: "IK",
  known: { initiator: false, responder: true },
  messages: [
    ["e", "es", "s", "ss"],
    ["e", "ee", "se"],
  ],
};
/** The handshake of docs/wire.md. */
export const IK_PSK0_PSK2: NoisePattern = withPsk(IK, [0, 2]);

/**
 * The pattern with pre-shared keys at these places (§9.4): 0 begins message 1, n ends message n.
 */
export function withPsk(pattern: NoisePattern, places: readonly number[]): NoisePattern {
  if (places.length === 0) return pattern;
  const messages = pattern.messages.map((tokens, i): readonly NoiseToken[] => [
    ...(i === 0 && places.includes(0) ? (["psk"] as const) : []),
    ...tokens,
    ...(places.includes(i + 1) ? (["psk"] as const) : []),
  ]);
  const modifiers = places.map((place) => `psk${place}`).join("+");
  return { ...pattern, name: `${pattern.name}${modifiers}`, messages };
}

/** A key with its counter (§5.1). Without a key, text passes as it is. */
export class CipherState {
  private counter = 0;
  /** Of the next call, which is over before the one after it begins. */
  private readonly nonce = new Uint8Array(12);
  private readonly nonceMemory = new DataView(this.nonce.buffer);

  constructor(
    private readonly cipher: NoiseCipher,
    readonly key: Uint8Array | undefined,
  ) {}

  clone(): CipherState {
    const copy = new CipherState(this.cipher, this.key);
    copy.counter = this.counter;
    return copy;
  }

  seal(associated: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (this.key === undefined) return plaintext;
    return sealAead(this.input(this.key, associated), plaintext);
  }

  open(associated: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    if (this.key === undefined) return sealed;
    return openAead(this.input(this.key, associated), sealed);
  }

  private input(key: Uint8Array, associated: Uint8Array) {
    const { nonce } = this;
    // §12.3, §12.4: ChaChaPoly counts little-endian, AESGCM big-endian.
    const isLittleEndian = this.cipher === "ChaChaPoly";
    this.nonceMemory.setUint32(isLittleEndian ? 4 : 8, this.counter, isLittleEndian);
    this.counter++;
    const algorithm = isLittleEndian ? ("chacha20-poly1305" as const) : ("aes-256-gcm" as const);
    return { algorithm, key, nonce, associated };
  }
}

/**
 * Chaining key, handshake hash and the cipher between them (§5.2). Byte strings are never altered.
 */
export class SymmetricState {
  private readonly hash: HashFunction;
  private chainingKey: Uint8Array;
  private digest: Uint8Array;
  private cipher: CipherState;

  constructor(
    protocolName: string,
    private readonly suite: NoiseSuite,
  ) {
    this.hash = hashFunction(suite.hash);
    const name = ascii(protocolName);
    const padded = new Uint8Array(this.hash.digestBytes);
    if (name.length <= padded.length) padded.set(name);
    this.digest = name.length <= padded.length ? padded : this.hash.digest(name);
    this.chainingKey = this.digest;
    this.cipher = new CipherState(suite.cipher, undefined);
  }

  get handshakeHash(): Uint8Array {
    return this.digest;
  }

  get hasKey(): boolean {
    return this.cipher.key !== undefined;
  }

  /** A copy that can be spoilt; `protocolName` plays no part once the digest is taken over. */
  clone(): SymmetricState {
    const copy = new SymmetricState("", this.suite);
    copy.chainingKey = this.chainingKey;
    copy.digest = this.digest;
    copy.cipher = this.cipher.clone();
    return copy;
  }

  mixHash(data: Uint8Array): void {
    this.digest = this.hash.digest(this.digest, data);
  }

  mixKey(material: Uint8Array): void {
    const [chainingKey, key] = this.expand(material, 2);
    this.chainingKey = chainingKey;
    this.cipher = new CipherState(this.suite.cipher, key.subarray(0, KEY_BYTES));
  }

  mixKeyAndHash(material: Uint8Array): void {
    const [chainingKey, digest, key] = this.expand(material, 3);
    this.chainingKey = chainingKey;
    this.mixHash(digest);
    this.cipher = new CipherState(this.suite.cipher, key.subarray(0, KEY_BYTES));
  }

  sealAndHash(plaintext: Uint8Array): Uint8Array {
    const sealed = this.cipher.seal(this.digest, plaintext);
    this.mixHash(sealed);
    return sealed;
  }

  openAndHash(sealed: Uint8Array): Uint8Array | undefined {
    const plaintext = this.cipher.open(this.digest, sealed);
    if (plaintext !== undefined) this.mixHash(sealed);
    return plaintext;
  }

  /** The keys of the initiator's and the responder's direction. */
  split(): { readonly initiator: Uint8Array; readonly responder: Uint8Array } {
    const [initiator, responder] = this.expand(EMPTY, 2);
    return {
      initiator: initiator.subarray(0, KEY_BYTES),
      responder: responder.subarray(0, KEY_BYTES),
    };
  }

  private expand(material: Uint8Array, count: number): [Uint8Array, Uint8Array, Uint8Array] {
    const sizeBytes = this.hash.digestBytes;
    const salt = this.chainingKey;
    const output = hkdf(this.hash, {
      ikm: material,
      salt,
      info: EMPTY,
      sizeBytes: count * sizeBytes,
    });
    return [
      output.slice(0, sizeBytes),
      output.slice(sizeBytes, 2 * sizeBytes),
      output.slice(2 * sizeBytes),
    ];
  }
}

export type NoiseOptions = {
  readonly pattern: NoisePattern;
  readonly suite: NoiseSuite;
  readonly initiator: boolean;
  readonly prologue: Uint8Array;
  readonly localStatic: KeyPair | undefined;
  /** Needed beforehand where the pattern says so. */
  readonly remoteStatic?: Uint8Array;
};

/** One side of a handshake (§5.3). Messages alternate, the initiator's first. */
export class HandshakeState {
  remoteStatic: Uint8Array | undefined;
  private remoteEphemeral: Uint8Array | undefined;
  private localEphemeral: KeyPair | undefined;
  private symmetric: SymmetricState;
  private messageIndex = 0;
  private pskIndex = 0;
  private psks: readonly Uint8Array[] = [];

  constructor(private readonly options: NoiseOptions) {
    const { pattern, suite, localStatic, remoteStatic } = options;
    const label = HASH_LABELS[suite.hash];
    this.symmetric = new SymmetricState(
      `Noise_${pattern.name}_25519_${suite.cipher}_${label}`,
      suite,
    );
    this.remoteStatic = remoteStatic;
    this.symmetric.mixHash(options.prologue);
    const initiatorStatic = options.initiator ? localStatic?.publicKey : remoteStatic;
    const responderStatic = options.initiator ? remoteStatic : localStatic?.publicKey;
    if (pattern.known.initiator) this.symmetric.mixHash(known(initiatorStatic));
    if (pattern.known.responder) this.symmetric.mixHash(known(responderStatic));
  }

  get handshakeHash(): Uint8Array {
    return this.symmetric.handshakeHash;
  }

  /** A copy to read a message into that may be forged. */
  clone(): HandshakeState {
    const copy = new HandshakeState(this.options);
    copy.remoteStatic = this.remoteStatic;
    copy.remoteEphemeral = this.remoteEphemeral;
    copy.localEphemeral = this.localEphemeral;
    copy.symmetric = this.symmetric.clone();
    copy.messageIndex = this.messageIndex;
    copy.pskIndex = this.pskIndex;
    copy.psks = this.psks;
    return copy;
  }

  /** Appends the pre-shared key of the pattern's next `psk` that has none yet. */
  addPsk(psk: Uint8Array): void {
    this.psks = [...this.psks, psk];
  }

  /** Mixes data that travels outside the Noise message into the handshake hash. */
  mixHash(data: Uint8Array): void {
    this.symmetric.mixHash(data);
  }

  /** Mixes in a key that came beside the Noise message, as a `psk` is between two messages. */
  mixKeyAndHash(material: Uint8Array): void {
    this.symmetric.mixKeyAndHash(material);
  }

  split(): { readonly initiator: Uint8Array; readonly responder: Uint8Array } {
    return this.symmetric.split();
  }

  /** The next message; undefined when the remote key in use is of low order. */
  write(payload: Uint8Array, ephemeralSecret: Uint8Array): Uint8Array | undefined {
    const parts: Uint8Array[] = [];
    for (const token of this.nextTokens()) {
      if (token === "e") {
        this.localEphemeral = new KeyPair(ephemeralSecret);
        parts.push(this.localEphemeral.publicKey);
        this.mixEphemeral(this.localEphemeral.publicKey);
      } else if (token === "s") {
        parts.push(this.symmetric.sealAndHash(known(this.options.localStatic?.publicKey)));
      } else if (!this.mixToken(token)) return undefined;
    }
    parts.push(this.symmetric.sealAndHash(payload));
    return concat(...parts);
  }

  /** The payload of the next message, or undefined when it is forged, altered or too short. */
  read(message: Uint8Array): Uint8Array | undefined {
    let offset = 0;
    for (const token of this.nextTokens()) {
      if (token === "e") {
        if (message.length < offset + KEY_BYTES) return undefined;
        this.remoteEphemeral = message.slice(offset, offset + KEY_BYTES);
        offset += KEY_BYTES;
        this.mixEphemeral(this.remoteEphemeral);
      } else if (token === "s") {
        const end = offset + KEY_BYTES + (this.symmetric.hasKey ? TAG_BYTES : 0);
        if (message.length < end) return undefined;
        this.remoteStatic = this.symmetric.openAndHash(message.subarray(offset, end));
        if (this.remoteStatic === undefined) return undefined;
        offset = end;
      } else if (!this.mixToken(token)) return undefined;
    }
    return this.symmetric.openAndHash(message.subarray(offset));
  }

  private nextTokens(): readonly NoiseToken[] {
    const tokens = this.options.pattern.messages[this.messageIndex];
    assert(tokens !== undefined, "the handshake has a further message");
    this.messageIndex++;
    return tokens;
  }

  private mixEphemeral(publicKey: Uint8Array): void {
    this.symmetric.mixHash(publicKey);
    // §9.2: with pre-shared keys, ephemeral keys are key material too.
    const hasPsk = this.options.pattern.messages.some((tokens) => tokens.includes("psk"));
    if (hasPsk) this.symmetric.mixKey(publicKey);
  }

  /** False when the agreement fails. */
  private mixToken(token: Exclude<NoiseToken, "e" | "s">): boolean {
    if (token === "psk") {
      const psk = this.psks[this.pskIndex];
      assert(psk !== undefined, "a pre-shared key was added for each psk of the pattern");
      this.pskIndex++;
      this.symmetric.mixKeyAndHash(psk);
      return true;
    }
    // `es` joins the initiator's ephemeral key with the responder's static key.
    const mine = this.options.initiator ? token[0] : token[1];
    const theirs = this.options.initiator ? token[1] : token[0];
    const local = mine === "e" ? this.localEphemeral : this.options.localStatic;
    const remote = theirs === "e" ? this.remoteEphemeral : this.remoteStatic;
    assert(local !== undefined, `the local key of ${token} is known`);
    const shared = local.agree(known(remote));
    if (shared === undefined) return false;
    this.symmetric.mixKey(shared);
    return true;
  }
}

function known(key: Uint8Array | undefined): Uint8Array {
  assert(key !== undefined, "the pattern's keys are known when they are used");
  return key;
}
