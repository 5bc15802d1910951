/**
 * A FORCED_REDRAW by an operator, over the control socket of a running master: everybody is asked,
 * the plan is shown, and when the recovery key has signed it the master signs and sends it.
 * docs/ledger.md "Recovery". The recovery key never comes near the master's process.
 */

import { fromHex, toHex } from "../bytes.ts";
import { masterId } from "../chain/ledger-node.ts";
import type { Hash, NodeId, Signature } from "../chain/ledger-units.ts";
import { decodeMessage, encodeMessage } from "../chain/message-codec.ts";
import type { Draft, ForcedRedrawMessage } from "../chain/message-types.ts";
import { planRedraw, signRedraw } from "../chain/redraw-plan.ts";
import { redrawFault } from "../chain/seal-check.ts";
import { AbsError } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { ask } from "./control-server.ts";
import { createLedgerCrypto } from "./ledger-crypto.ts";
import type { LedgerProcess } from "./ledger-process.ts";

const NODE_ID = /^[0-9a-f]{32}$/;
const NO_SIGNATURE = new Uint8Array(64) as Signature;

/** What the operator is shown before the recovery key signs. */
export type ShownPlan = {
  /** The message in hexadecimal, both signatures zero. */
  readonly message: string;
  readonly answered: readonly NodeId[];
  readonly silent: readonly NodeId[];
};

export function answerRecovery(process: LedgerProcess, path: string, text: string): Response {
  const { participant } = process.runner;
  const refuse = (error: string): Response => Response.json({ error }, { status: 400 });
  if (participant.kind !== "master") return refuse("only a master forces a redraw");
  if (path === "/recovery/survey") {
    process.runner.take({ kind: "survey", nonce: toHex(kernelRandom(32)) as Hash });
    return Response.json({});
  }
  if (path === "/recovery/plan") {
    const wanted = text === "" ? undefined : text.split(",");
    if (wanted?.some((nodeId) => !NODE_ID.test(nodeId))) return refuse("a node id is none");
    const plan = planRedraw(participant, wanted as NodeId[] | undefined);
    if ("refusal" in plan) return refuse(plan.refusal);
    const { words, answered, silent } = plan;
    const message = toHex(encodeMessage({ ...words, signature: NO_SIGNATURE }));
    return Response.json({ message, answered, silent } satisfies ShownPlan);
  }
  if (path === "/recovery/redraw") {
    const complaint = takeRedraw(process, text);
    return complaint === undefined ? Response.json({}) : refuse(complaint);
  }
  return Response.json({ error: `there is no ${path}` }, { status: 404 });
}

/** Signs what the recovery key has signed, and begins; or says why not. */
function takeRedraw(process: LedgerProcess, text: string): string | undefined {
  const { participant } = process.runner;
  const { signer } = process.keys.ledger;
  const words = readRedraw(text);
  if (words === undefined || participant.kind !== "master") return "it is no FORCED_REDRAW";
  if (words.signer !== masterId(participant)) return "it is another master's";
  const redraw = signRedraw(signer, words, words.recoverySignature);
  const { chain, masterPub, term, attempt } = participant;
  const fault = redrawFault(chain, redraw, masterPub, createLedgerCrypto());
  if (fault !== undefined) return `${fault.fault} ${fault.detail}`;
  if (redraw.term !== term || redraw.attempt <= attempt) return "it is of a time that has passed";
  process.runner.take({ kind: "redraw", redraw });
  return undefined;
}

/** The message of a plan. */
export function readRedraw(text: string): Draft<ForcedRedrawMessage> | undefined {
  const bytes = fromHex(text);
  const read = bytes === undefined ? undefined : decodeMessage(bytes);
  if (read === undefined || "fault" in read) return undefined;
  return read.message.kind === "FORCED_REDRAW" ? read.message : undefined;
}

async function post(socket: string, path: string, body: string): Promise<unknown> {
  const response = await ask(socket, path, body);
  const answer = (await response.json()) as { readonly error?: string };
  if (response.ok) return answer;
  throw new AbsError(
    "REDRAW_REFUSED",
    `The master refused: ${answer.error}.`,
    "Look at `abs ledger status` of master and members; docs/ledger.md has the runbook.",
  );
}

/** Asks all what they hold; answers are there a moment later. @throws AbsError */
export async function surveyMembers(socket: string): Promise<void> {
  await post(socket, "/recovery/survey", "");
}

/** @throws AbsError REDRAW_REFUSED */
export async function askPlan(socket: string, committee: readonly string[]): Promise<ShownPlan> {
  return (await post(socket, "/recovery/plan", committee.join(","))) as ShownPlan;
}

/** `message`: with the recovery key's signature in it. @throws AbsError REDRAW_REFUSED */
export async function forceRedraw(
  socket: string,
  words: Draft<ForcedRedrawMessage>,
  recoverySignature: Signature,
): Promise<void> {
  const message = encodeMessage({ ...words, recoverySignature, signature: NO_SIGNATURE });
  await post(socket, "/recovery/redraw", toHex(message));
}
