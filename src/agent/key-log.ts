/**
 * A session's keys as one line of a key log, for `abs capture --keylog` and the dissector that
 * reads it (contrib/wireshark/abs.lua). docs/wireshark.md "The key log" describes every field.
 */

import type { DirectionKeys } from "../session/data-keys.ts";
import { algorithmOf } from "../session/data-proof.ts";
import type { InstallOutput } from "../session/session-api.ts";

const MARK = "ABS_SESSION_1";

export type SessionNames = { readonly peer: string; readonly app: string };

/** @param timeMs when it was made, UNIX time */
export function keyLogLine(session: InstallOutput, names: SessionNames, timeMs: number): string {
  const fields = [
    MARK,
    (timeMs / 1000).toFixed(3),
    directionOf("in", session.receiverIndex, session.in),
    directionOf("out", session.remoteIndex, session.out),
    `under=${session.under.map(({ scId, generation }) => `${scId}/${generation}`).join(",")}`,
    `peer=${encodeURIComponent(names.peer)}`,
    `app=${encodeURIComponent(names.app)}`,
  ];
  return `${fields.join(" ")}\n`;
}

/** What packets of one direction carry, and how their proofs are made. */
function directionOf(name: string, index: number, keys: DirectionKeys): string {
  const { confidential, key, quickProof } = keys;
  const isQuick = quickProof !== undefined;
  const protection = isQuick ? "unauthenticated" : confidential ? "confidential" : "integrity";
  const proof = isQuick ? `,${hex(quickProof)}` : "";
  const indexText = index.toString(16).padStart(8, "0");
  return `${name}=${indexText},${algorithmOf(keys)},${protection},${hex(key)}${proof}`;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
