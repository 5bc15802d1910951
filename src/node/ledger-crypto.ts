/** Which cryptography the product's ledger uses; the simulator has its own stand-ins. */
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import { vrfLibrary } from "../chain/edwards25519.ts";
import { signatureLibrary } from "../chain/secp256k1.ts";

export function createLedgerCrypto(): LedgerCrypto {
  return { signatures: signatureLibrary().verifier, vrf: vrfLibrary().verifier };
}
