/**
 * The session token (paper §3.2): a hash of the contract's id, the frame tag (tenant tag and
 * application tag) and a time stamp. docs/wire.md "Session token". It is sent sealed in the
 * handshake and salts the sender's data key; no packet repeats it.
 */
import { TOKEN_BYTES } from "../wire/handshake-message.ts";
import type { Contract } from "./contract.ts";
import { hashFunction } from "./hashes.ts";

/** The token of the contract's sender, 32 bytes; the receiver recomputes it. */
export function sessionToken(
  contract: Contract,
  frame: {
    readonly tenantTag: Uint8Array;
    readonly applicationTag: Uint8Array;
    readonly stamp: Uint8Array;
  },
): Uint8Array {
  return hashFunction(contract.hash)
    .digest(contract.scIdBytes, frame.tenantTag, frame.applicationTag, frame.stamp)
    .slice(0, TOKEN_BYTES);
}
