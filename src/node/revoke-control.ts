/**
 * The master revokes a node: at once, by its signature that peers pass on, and for good, by a
 * NODE_REVOKE in the next block. docs/peer-channel.md "Revocations". Over the control socket.
 */

import { parseJsonText } from "../chain/canonical-json.ts";
import { JsonFields } from "../chain/json-fields.ts";
import { masterId } from "../chain/ledger-node.ts";
import { encodeRecord } from "../chain/record-schema.ts";
import { REASON_CHARACTERS_MAX, signRevocation } from "../chain/revocation.ts";
import { AbsError } from "../errors.ts";
import { ask } from "./control-server.ts";
import type { LedgerProcess } from "./ledger-process.ts";
import { epochNow } from "./ledger-runner.ts";

export function answerRevoke(process: LedgerProcess, text: string): Response {
  const refuse = (error: string): Response => Response.json({ error }, { status: 400 });
  const { participant } = process.runner;
  if (participant.kind !== "master") return refuse("only the master revokes");
  if (participant.stoppedBy !== undefined)
    return refuse(`it has stopped: ${participant.stoppedBy}`);
  const json = parseJsonText(new TextEncoder().encode(text));
  const fields = new JsonFields("value" in json ? json.value : undefined);
  const nodeId = fields.nodeId("node_id");
  const reason = fields.text("reason", REASON_CHARACTERS_MAX);
  fields.end();
  if (fields.complaint !== undefined) return refuse(fields.complaint);
  if (nodeId === masterId(participant)) return refuse("a master is replaced, not revoked");
  const { chainId, members } = participant.chain;
  const words = { chainId, nodeId, reason, at: epochNow() };
  process.peers.revoke(signRevocation(process.keys.ledger.signer, words));
  const member = members.get(nodeId);
  const isMember = member !== undefined && member.revokedFrom === undefined;
  if (isMember) {
    const records = [encodeRecord({ kind: "NODE_REVOKE", nodeId, reason })];
    process.runner.take({ kind: "propose", contracts: [], records });
  }
  return Response.json({ is_member: isMember });
}

/** Whether it is a member, so that a block will say so. @throws AbsError REVOKE_REFUSED */
export async function revokeNode(
  socket: string,
  nodeId: string,
  reason: string,
): Promise<{ readonly is_member: boolean }> {
  const response = await ask(socket, "/revoke", JSON.stringify({ node_id: nodeId, reason }));
  const answer = (await response.json()) as { error?: string; is_member: boolean };
  if (response.ok) return answer;
  throw new AbsError(
    "REVOKE_REFUSED",
    `It was not revoked: ${answer.error}.`,
    "`abs ledger members` lists node ids; `abs ledger recover` is for a master's key.",
  );
}
