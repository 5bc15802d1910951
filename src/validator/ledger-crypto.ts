/** Which cryptography the product's ledger uses; the simulator has its own stand-ins. */
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import { EcvrfVerifier } from "../chain/ecvrf.ts";
import { NobleVerifier } from "../chain/noble-signatures.ts";

export function createLedgerCrypto(): LedgerCrypto {
  return { signatures: new NobleVerifier(), vrf: new EcvrfVerifier() };
}
