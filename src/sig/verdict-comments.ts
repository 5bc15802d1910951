/**
 * What is written beside a packet of `--write`: the application of its flow as far as the packets
 * up to it tell, since a capture is read once. Equal verdicts share their bytes.
 */
import { ascii } from "../bytes.ts";
import type { SignatureJudge } from "./signature-judge.ts";

const NOTHING = new Uint8Array(0);
const UNKNOWN = ascii("abs: application unknown");

export class VerdictComments {
  readonly #bySignature = new Map<string, Uint8Array>();

  constructor(private readonly judge: SignatureJudge) {}

  /** The comment for a packet of `flow`; empty for packets without one and before any payload. */
  of(flow: number): Uint8Array {
    if (flow < 0 || !this.judge.hasPayload(flow)) return NOTHING;
    const identity = this.judge.identify(flow);
    if (identity === undefined) return UNKNOWN;
    const { app, id } = identity.signature;
    const known = this.#bySignature.get(id);
    if (known !== undefined) return known;
    const comment = ascii(`abs: application ${app}, signature ${id}`);
    this.#bySignature.set(id, comment);
    return comment;
  }
}
