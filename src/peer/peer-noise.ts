/**
 * What the peer channel needs of Noise, by shape: a role joins it with the code of the data plane's
 * handshakes (src/session/noise.ts), as parts do not know each other. Protocol
 * `Noise_IK_25519_AESGCM_SHA256`, prologue `"abs peer 1" || chain_id`; docs/peer-channel.md.
 */

/** One side of an IK handshake: the initiator writes, then reads; the responder the other way. */
export interface PeerHandshake {
  /** Of the other side: known beforehand, or read from the first message. */
  readonly remoteStatic: Uint8Array | undefined;
  /** The next message; undefined when the other side's key is of low order. */
  write(payload: Uint8Array, ephemeralSecret: Uint8Array): Uint8Array | undefined;
  /** The payload of the next message, or undefined when it is forged, altered or too short. */
  read(message: Uint8Array): Uint8Array | undefined;
  /** The keys of the initiator's and the responder's direction. */
  split(): { readonly initiator: Uint8Array; readonly responder: Uint8Array };
}

/** A key with its counter, which each call takes one further. */
export interface PeerCipher {
  seal(associated: Uint8Array, plaintext: Uint8Array): Uint8Array;
  open(associated: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
}

export interface PeerNoise {
  /** `remoteStatic` is given by the initiator, who must know it. */
  handshake(remoteStatic: Uint8Array | undefined): PeerHandshake;
  cipher(key: Uint8Array): PeerCipher;
}
