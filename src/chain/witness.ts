/**
 * Evidence that is met on the way: two signed texts by one key that no honest node signs both.
 * design "Spreading and checking": evidence.ts says what counts. It goes to the master, once, who
 * puts it into a block; there the liar is revoked for good.
 */

import { contradictionChecks, evidenceOf, offenderKey, readEvidence } from "./evidence.ts";
import {
  type LedgerNode,
  masterId,
  memberIds,
  openHeight,
  plainHeader,
  report,
  send,
} from "./ledger-node.ts";
import { nodeIdOf } from "./message-signing.ts";
import type { EvidenceMessage, SignedMessage } from "./message-types.ts";
import type { Validator } from "./validator-state.ts";

/** Sends EVIDENCE where the two really contradict each other under valid signatures. */
export function accuse(node: LedgerNode, one: SignedMessage, other: SignedMessage): void {
  if (node.accused.has(one.signer)) return;
  const { chain, crypto } = node;
  const evidence = evidenceOf(one, other);
  const contradiction = readEvidence(chain.chainId, evidence);
  if (typeof contradiction === "string") return;
  const { offender, height, isMaster } = contradiction;
  // A term that no block has recorded is known from its MASTER_TERM alone.
  const unrecorded = isMaster && masterId(node) === offender ? node.masterPub : undefined;
  const key = offenderKey(chain, contradiction) ?? unrecorded;
  if (key === undefined) return;
  const checks = contradictionChecks(contradiction, key);
  if (crypto.signatures.verifyMany(checks).includes(false)) return;
  node.accused.add(offender);
  report(node, "evidence", `${offender} signed two hashes at height ${height}`);
  if (isMaster) node.masterLie = evidence;
  const header = plainHeader(node, openHeight(node));
  // A lying master would keep evidence against itself: the others hear of it too.
  const to = isMaster ? memberIds(node) : [masterId(node)];
  send(node, to, { kind: "EVIDENCE", ...header, evidence });
}

/** Evidence against the master is an alarm; against members it is the master's affair. */
export function takeEvidence(validator: Validator, message: EvidenceMessage): void {
  const { chain, crypto, masterPub } = validator;
  const contradiction = readEvidence(chain.chainId, message.evidence);
  if (typeof contradiction === "string" || validator.accused.has(contradiction.offender)) return;
  if (!contradiction.isMaster || contradiction.offender !== nodeIdOf(masterPub)) return;
  const checks = contradictionChecks(contradiction, masterPub);
  if (crypto.signatures.verifyMany(checks).includes(false)) return;
  validator.accused.add(contradiction.offender);
  validator.masterLie = message.evidence;
  report(validator, "evidence", `the master signed two hashes at height ${contradiction.height}`);
}
