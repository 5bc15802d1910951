/** Joins the peer channel with the Noise code of the data plane's handshakes. */
import { ascii, concat, toHex } from "../bytes.ts";
import type { ChainId } from "../chain/ledger-units.ts";
import { bytesOf } from "../chain/sha256.ts";
import { AbsError } from "../errors.ts";
import type { PeerHandshake, PeerNoise } from "../peer/peer-noise.ts";
import { CipherState, HandshakeState, IK } from "../session/noise.ts";
import type { KeyPair } from "../session/x25519.ts";

const LABEL = ascii("abs peer 1");

/** A node's own, as they are when a connection begins: while the key changes there are two. */
export type SessionKeys = {
  readonly all: readonly KeyPair[];
  /** Public half of the one in the certificate that is shown, hexadecimal: it calls. */
  readonly shown: string;
};

/** Of a node whose key does not change while it runs. */
export function onlyKey(own: KeyPair): () => SessionKeys {
  const keys = { all: [own], shown: toHex(own.publicKey) };
  return () => keys;
}

/** `Noise_IK_25519_AESGCM_SHA256` for peers of one chain. */
export function peerNoise(chainId: ChainId, keys: () => SessionKeys): PeerNoise {
  const prologue = concat(LABEL, bytesOf(chainId));
  const suite = { cipher: "AESGCM", hash: "sha256" } as const;
  const begin = (localStatic: KeyPair, remoteStatic?: Uint8Array): HandshakeState =>
    new HandshakeState({
      ...{ pattern: IK, suite, prologue, localStatic, initiator: remoteStatic !== undefined },
      ...(remoteStatic === undefined ? {} : { remoteStatic }),
    });
  return {
    handshake: (remoteStatic) => {
      const { all, shown } = keys();
      if (remoteStatic === undefined) return new AnsweredHandshake(all.map((own) => begin(own)));
      return begin(all.find((own) => toHex(own.publicKey) === shown) ?? firstOf(all), remoteStatic);
    },
    cipher: (key) => new CipherState("AESGCM", key),
  };
}

/** The responder's: with that key of its own to which the first message was written. */
class AnsweredHandshake implements PeerHandshake {
  #chosen: HandshakeState;

  constructor(readonly states: readonly HandshakeState[]) {
    this.#chosen = firstOf(states);
  }

  get remoteStatic(): Uint8Array | undefined {
    return this.#chosen.remoteStatic;
  }

  read(message: Uint8Array): Uint8Array | undefined {
    for (const state of this.states) {
      this.#chosen = state;
      const payload = state.read(message);
      if (payload !== undefined) return payload;
    }
    return undefined;
  }

  write(payload: Uint8Array, ephemeralSecret: Uint8Array): Uint8Array | undefined {
    return this.#chosen.write(payload, ephemeralSecret);
  }

  split() {
    return this.#chosen.split();
  }
}

function firstOf<T>([first]: readonly T[]): T {
  if (first === undefined) throw new AbsError("INTERNAL", "A node has no session key.", "");
  return first;
}
