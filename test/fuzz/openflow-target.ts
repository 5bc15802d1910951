/**
 * OpenFlow for the decoder fuzzer: messages of a switch, altered, in pieces of any size, into a
 * whole session. It never throws, keeps no more than one message, and answers what it is asked.
 */
import { CookieRange, RULES_MAX } from "../../src/switch/flow-table.ts";
import { decodeMessage, OPENFLOW_FAULTS } from "../../src/switch/openflow-message.ts";
import { OpenFlowSession } from "../../src/switch/openflow-session.ts";
import * as said from "../switch/switch-messages.ts";
import { mutate } from "./decoder-mutator.ts";
import type { DecoderTarget } from "./fuzz-target.ts";
import type { Prng } from "./prng.ts";

const COOKIES = new CookieRange(3);
const LIMIT_MS = 100;
const CORPUS = [
  ...said.MESSAGES,
  said.flows(
    4,
    Array(40)
      .fill(said.flowStats(COOKIES.of(1)))
      .flat(),
    true,
  ),
  said.message(2, 1, [], 5),
  said.flows(4, Array(48).fill(0)),
];

/** As mutate() leaves it, mostly with a length that is right: else little else is reached. */
function anyMessage(prng: Prng): Uint8Array {
  const seed = CORPUS[prng.below(CORPUS.length)] ?? said.HELLO;
  if (prng.below(10) < 3) return seed.slice();
  const changed = mutate(prng, seed, CORPUS[prng.below(CORPUS.length)] ?? seed);
  if (changed.length < 4 || prng.below(10) === 0) return changed;
  return changed.with(2, changed.length >>> 8).with(3, changed.length & 0xff);
}

export function openflowTarget(): DecoderTarget {
  return {
    ...{ name: "openflow", share: 4, reasons: OPENFLOW_FAULTS, limitMs: LIMIT_MS },
    make: anyMessage,
    run(bytes: Uint8Array): string | undefined {
      takeWhole(bytes);
      const read = decodeMessage(bytes);
      if (typeof read === "string") return read;
      const isBounded = read.kind !== "flows" || read.flows.length <= RULES_MAX;
      if (!isBounded) throw new Error("more rules than a message holds");
      return undefined;
    },
  };
}

/** A session that was greeted and has asked gets it in two pieces, then again. */
function takeWhole(bytes: Uint8Array): void {
  let sent = 0;
  let ends = 0;
  const nothing = () => {};
  const session = new OpenFlowSession(COOKIES, undefined, {
    send: () => sent++,
    ended: () => ends++,
    ...{ ready: nothing, removed: nothing },
  });
  session.take(said.HELLO);
  session.take(said.features(2));
  session.installed().catch(nothing);
  const half = bytes.length >>> 1;
  for (const piece of [bytes.subarray(0, half), bytes.subarray(half), bytes]) session.take(piece);
  session.end("over");
  if (ends !== 1) throw new Error(`ended ${ends} times`);
  if (sent > 10) throw new Error(`${sent} answers to 2 messages`);
}
