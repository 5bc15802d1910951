/**
 * Making a MASTER_TERM: the recovery key gives a term to a master's key. docs/ledger.md "Recovery".
 * Checking one is seal-check.ts's isMasterTerm(), acting on it ledger-node.ts's takeMasterTerm().
 */
import type { Signer } from "./crypto-interface.ts";
import type { Attempt, ChainId, Height, PublicKey, Term, View } from "./ledger-units.ts";
import { nodeIdOf, signMessage } from "./message-signing.ts";
import type { MasterTermMessage } from "./message-types.ts";

export function signMasterTerm(
  recovery: Signer,
  words: { readonly chainId: ChainId; readonly term: Term; readonly masterPub: PublicKey },
): MasterTermMessage {
  return signMessage<MasterTermMessage>(recovery, {
    kind: "MASTER_TERM",
    chainId: words.chainId,
    term: words.term,
    height: 0 as Height,
    attempt: 0 as Attempt,
    view: 0 as View,
    signer: nodeIdOf(recovery.publicKey),
    masterPub: words.masterPub,
  });
}
