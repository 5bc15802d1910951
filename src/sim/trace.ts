/** What happened in a run, a line each: printed when it broke, or with `--trace`. */
import { blockHashOf } from "../chain/block-core.ts";
import type { LedgerMessage } from "../chain/message-types.ts";
import type { Participant } from "./fault.ts";

export class Trace {
  readonly lines: string[] = [];

  private readonly names = new Map<Participant, string>();

  call(participant: Participant, name: string): void {
    this.names.set(participant, name);
  }

  name(participant: Participant): string {
    return this.names.get(participant) ?? `node ${participant}`;
  }

  note(ms: number, words: string): void {
    this.lines.push(`${ms.toFixed(0).padStart(7)} ms  ${words}`);
  }

  message(ms: number, from: Participant, to: readonly Participant[], message: LedgerMessage): void {
    const { kind, height, attempt, view } = message;
    const listeners = to.map((one) => this.names.get(one)?.replace("node ", "") ?? one).join(",");
    this.note(
      ms,
      `${this.name(from)} → ${listeners}  ${kind} ${height}/${attempt}/${view} ${hashOf(message)}`,
    );
  }
}

function hashOf(message: LedgerMessage): string {
  if (message.kind === "CANDIDATE") return blockHashOf(message.core).slice(0, 8);
  if ("blockHash" in message) return message.blockHash.slice(0, 8);
  if (message.kind === "ROUND_CHANGE") return message.prepared?.blockHash.slice(0, 8) ?? "none";
  if (message.kind === "ABANDON") return message.highest?.blockHash.slice(0, 8) ?? "none";
  return "";
}
