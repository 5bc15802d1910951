/**
 * What an agent has refused although it was proven who sent it, by peer: UPDATE violations.
 * docs/manager-channel.md "Violations". Nothing that could be forged is in it: only packets that a
 * session's proof covers count.
 */
import type { JsonObject } from "../chain/canonical-json.ts";
import { JsonFields } from "../chain/json-fields.ts";
import { MANAGER_FLAG, type ManagerFrame } from "../wire/manager-frame.ts";
import { frameOf, NAME_CHARACTERS_MAX, UPDATE } from "./message-reading.ts";

const KEY_BYTES = 32;
/** Of peers in one report, and of packets of one. */
export const VIOLATORS_MAX = 256;
const COUNT_MAX = 2 ** 32 - 1;

export type Violations = {
  /** X25519 of the peer whose packets were refused, hexadecimal. */
  readonly sessionPub: string;
  readonly count: number;
  /** Drop reason of the last one. */
  readonly reason: string;
};

export function violationsFrame(list: readonly Violations[]): ManagerFrame {
  const peers = list
    .slice(0, VIOLATORS_MAX)
    .map(
      ({ sessionPub, count, reason }): JsonObject => ({ session_pub: sessionPub, count, reason }),
    );
  return frameOf(MANAGER_FLAG.update, UPDATE.violations, { peers });
}

export function readViolations(fields: JsonFields): Violations[] {
  return fields.list("peers", VIOLATORS_MAX).map((value, i) => {
    const part = new JsonFields(value, `peers[${i}]`);
    const item = {
      sessionPub: part.hex("session_pub", KEY_BYTES),
      count: part.integer("count", 1, COUNT_MAX),
      reason: part.text("reason", NAME_CHARACTERS_MAX),
    };
    part.end();
    if (part.complaint !== undefined) fields.complaint ??= part.complaint;
    return item;
  });
}
