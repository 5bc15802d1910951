/**
 * A tenant's whole chain, verified in the browser as `abs ledger verify` does it, by the ledger's
 * own code over noble's cryptography: from the genesis file on, every root, committee, quorum,
 * random output and seal. docs/console.md "What the browser verifies".
 */
import type { ChainPart } from "../answers/ledger.ts";
import { EcvrfVerifier } from "../chain/ecvrf.ts";
import { NobleEdwards } from "../chain/noble-edwards.ts";
import { NobleVerifier } from "../chain/noble-signatures.ts";
import { ChainVerifier, type Verification } from "../chain/verify-chain.ts";
import { ask } from "./api.ts";

/** Pages stay responsive. */
const AT_ONCE_MS = 40;

export type Progress = { readonly blocks: number; readonly tip: number };

/** @throws Problem of the API; what is wrong with the chain is in the answer */
export async function verifyWholeChain(
  tenant: string,
  { progress, signal }: { progress: (at: Progress) => void; signal: AbortSignal },
): Promise<Verification> {
  const crypto = { signatures: new NobleVerifier(), vrf: new EcvrfVerifier(new NobleEdwards()) };
  const verifier = new ChainVerifier(crypto);
  const encoder = new TextEncoder();
  const path = `/tenants/${encodeURIComponent(tenant)}/ledger/export`;
  let since = performance.now();
  for (let next: number | null = 0; next !== null && !verifier.isOver; ) {
    const part: ChainPart = await ask<ChainPart>("GET", `${path}?from=${next}`);
    for (const [i, line] of part.lines.entries()) {
      verifier.take(encoder.encode(`${line}\n`));
      if (performance.now() - since < AT_ONCE_MS) continue;
      progress({ blocks: next + i, tip: part.tip });
      await new Promise((resolve) => setTimeout(resolve));
      signal.throwIfAborted();
      since = performance.now();
    }
    next = part.next;
  }
  return verifier.finish();
}
