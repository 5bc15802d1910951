/** Joins the peer channel with the Noise code of the data plane's handshakes. */
import { ascii, concat } from "../bytes.ts";
import type { ChainId } from "../chain/ledger-units.ts";
import { bytesOf } from "../chain/sha256.ts";
import type { PeerNoise } from "../peer/peer-noise.ts";
import { CipherState, HandshakeState, IK } from "../session/noise.ts";
import type { KeyPair } from "../session/x25519.ts";

const LABEL = ascii("abs peer 1");

/** `Noise_IK_25519_AESGCM_SHA256` for peers of one chain. */
export function peerNoise(chainId: ChainId, localStatic: KeyPair): PeerNoise {
  const prologue = concat(LABEL, bytesOf(chainId));
  const common = { pattern: IK, suite: { cipher: "AESGCM", hash: "sha256" } as const };
  return {
    handshake: (remoteStatic) =>
      new HandshakeState({
        ...common,
        ...{ prologue, localStatic, initiator: remoteStatic !== undefined },
        ...(remoteStatic === undefined ? {} : { remoteStatic }),
      }),
    cipher: (key) => new CipherState("AESGCM", key),
  };
}
