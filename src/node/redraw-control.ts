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
import { planRedraw, redrawComplaint, signRedraw } from "../chain/redraw-plan.ts";
import { AbsError } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { ask } from "./control-server.ts";
import type { LedgerProcess } from "./ledger-process.ts";

const NODE_ID = /^[0-9a-f]{32}$/;
/** A day: longer than anybody waits for answers. */
const HOLD_MS_MAX = 86_400_000;
const NO_SIGNATURE = new Uint8Array(64) as Signature;

/** What the operator is shown before the recovery key signs. */
export type ShownPlan = {
  /** The message in hexadecimal, both signatures zero. */
  readonly message: string;
  readonly answered: readonly NodeId[];
  readonly silent: readonly NodeId[];
  /** In words; empty: the redraw cannot contradict what was agreed. */
  readonly dangers: readonly string[];
  /** Attempts that the master knows a redraw of. */
  readonly redrawn: readonly number[];
  readonly isBehind: boolean;
};

/** Before the message, where who holds the recovery key has read the dangers. */
const MAY_FORK = "may-fork ";

export function answerRecovery(process: LedgerProcess, path: string, text: string): Response {
  const { participant } = process.runner;
  const refuse = (error: string): Response => Response.json({ error }, { status: 400 });
  if (participant.kind !== "master") return refuse("only a master forces a redraw");
  if (path === "/recovery/survey") {
    const nonce = toHex(kernelRandom(32)) as Hash;
    const holdMs = text === "" ? undefined : Number(text);
    if (holdMs !== undefined && !(holdMs > 0 && holdMs <= HOLD_MS_MAX)) return refuse("how long?");
    process.runner.take({ kind: "survey", nonce, holdMs });
    return Response.json({});
  }
  if (path === "/recovery/release") {
    process.runner.take({ kind: "release" });
    return Response.json({});
  }
  if (path === "/recovery/plan") {
    const wanted = text === "" ? undefined : text.split(",");
    if (wanted?.some((nodeId) => !NODE_ID.test(nodeId))) return refuse("a node id is none");
    const plan = planRedraw(participant, wanted as NodeId[] | undefined);
    if ("refusal" in plan) return refuse(plan.refusal);
    const { words, ...rest } = plan;
    const message = toHex(encodeMessage({ ...words, signature: NO_SIGNATURE }));
    return Response.json({ message, ...rest } satisfies ShownPlan);
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
  const mayFork = text.startsWith(MAY_FORK);
  const words = readRedraw(mayFork ? text.slice(MAY_FORK.length) : text);
  if (words === undefined || participant.kind !== "master") return "it is no FORCED_REDRAW";
  if (words.signer !== masterId(participant)) return "it is another master's";
  const redraw = signRedraw(signer, words, words.recoverySignature);
  const complaint = redrawComplaint(participant, redraw, mayFork);
  if (complaint !== undefined) return complaint;
  process.runner.take({ kind: "redraw", redraw, mayFork });
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

/**
 * Asks all what they hold; answers are there a moment later. With `holdMs` they promise to wait so
 * long without a vote. @throws AbsError
 */
export async function surveyMembers(socket: string, holdMs: number | undefined): Promise<void> {
  await post(socket, "/recovery/survey", String(holdMs ?? ""));
}

/** Members vote again, where no redraw came of the survey. @throws AbsError */
export async function releaseMembers(socket: string): Promise<void> {
  await post(socket, "/recovery/release", "");
}

/** @throws AbsError REDRAW_REFUSED */
export async function askPlan(socket: string, committee: readonly string[]): Promise<ShownPlan> {
  return (await post(socket, "/recovery/plan", committee.join(","))) as ShownPlan;
}

/** `mayFork`: the plan's dangers were read. @throws AbsError REDRAW_REFUSED */
export async function forceRedraw(
  socket: string,
  words: Draft<ForcedRedrawMessage>,
  recoverySignature: Signature,
  mayFork: boolean,
): Promise<void> {
  const message = encodeMessage({ ...words, recoverySignature, signature: NO_SIGNATURE });
  await post(socket, "/recovery/redraw", `${mayFork ? MAY_FORK : ""}${toHex(message)}`);
}
