/**
 * The application of a whole flow from the signatures that its two first payloads match: the best
 * of both directions by winning order; among signatures of equal rank, one whose usual ports hold the
 * flow's. A signature with contents for both directions must be met by both, once both are
 * known.
 */
import { pinnedBytes, pinnedNumbers } from "./compile.ts";
import type { AppSignature } from "./signature.ts";
import { holds } from "./signature-matches.ts";
import { REQUEST, RESPONSE, type SignatureSnapshot } from "./snapshot.ts";

/** What is known of a flow when it is identified. */
export interface FlowEvidence {
  /** Signatures matched by the first payload of each direction, in winning order. */
  readonly request: readonly number[];
  readonly response: readonly number[];
  readonly hasRequest: boolean;
  readonly hasResponse: boolean;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface FlowIdentity {
  readonly signature: AppSignature;
  /** By which directions it was met. */
  readonly request: boolean;
  readonly response: boolean;
  /** Whether usual ports broke a tie. */
  readonly byPort: boolean;
  /** Others that matched, and why each lost. */
  readonly others: readonly { readonly signature: AppSignature; readonly why: string }[];
}

export class FlowIdentification {
  /** By signature: how many signatures of better rank there are. Equal numbers are equal ranks. */
  readonly #rank: Int32Array;

  constructor(
    private readonly snapshot: SignatureSnapshot,
    private readonly signatures: readonly AppSignature[],
    private readonly portsMatter: boolean,
  ) {
    this.#rank = new Int32Array(signatures.length);
    for (let i = 1; i < signatures.length; i++) {
      const isSame = sameRank(signatures[i - 1], signatures[i]);
      this.#rank[i] = isSame ? this.#rank[i - 1] : i;
    }
  }

  /** Undefined: no signature is met. */
  identify(evidence: FlowEvidence): FlowIdentity | undefined {
    const met = [...new Set([...evidence.request, ...evidence.response])].sort((a, b) => a - b);
    const valid = met.filter((index) => this.#isMet(index, evidence));
    if (valid.length === 0) return undefined;
    const best = this.#byUsualPorts(valid, evidence);
    const others = met.filter((index) => index !== best);
    return {
      signature: this.signatures[best],
      request: evidence.request.includes(best),
      response: evidence.response.includes(best),
      byPort: best !== valid[0],
      others: others.map((index) => ({
        signature: this.signatures[index],
        why: valid.includes(index) ? this.#whyLost(index, best) : "its other direction differs",
      })),
    };
  }

  #isMet(index: number, evidence: FlowEvidence): boolean {
    const judges = this.snapshot.judges;
    const both = judges[2 * index + REQUEST] === 1 && judges[2 * index + RESPONSE] === 1;
    if (!both || !evidence.hasRequest || !evidence.hasResponse) return true;
    return evidence.request.includes(index) && evidence.response.includes(index);
  }

  #byUsualPorts(valid: readonly number[], evidence: FlowEvidence): number {
    const [first = 0] = valid;
    if (!this.portsMatter) return first;
    const equal = valid.filter((index) => this.#rank[index] === this.#rank[first]);
    const usual = equal.find((index) => {
      const { usualPorts } = this.signatures[index];
      if (usualPorts.length === 0) return false;
      return holds(usualPorts, evidence.destinationPort) || holds(usualPorts, evidence.sourcePort);
    });
    return usual ?? first;
  }

  #whyLost(index: number, best: number): string {
    const lost = this.signatures[index];
    const won = this.signatures[best];
    if (this.#rank[index] === this.#rank[best]) return "equal rank; usual ports or id decide";
    return lost.priority === won.priority ? "less specific" : `priority ${lost.priority}`;
  }
}

/** As compile.ts ranks, but for the order of ids. */
function sameRank(left: AppSignature, right: AppSignature): boolean {
  return (
    left.priority === right.priority &&
    left.version === right.version &&
    pinnedBytes(left) === pinnedBytes(right) &&
    pinnedNumbers(left) === pinnedNumbers(right)
  );
}
