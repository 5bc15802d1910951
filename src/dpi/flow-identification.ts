/**
 * The application of a whole flow from the signatures that its two first payloads match: the best
 * of both directions by winning order; among signatures of equal rank, one whose usual ports hold
 * the flow's. A signature with contents for both directions must be met by both, once both are
 * known.
 */
import { pinnedBytes, pinnedNumbers } from "./compile.ts";
import type { AppSignature } from "./signature.ts";
import { holds } from "./signature-matches.ts";
import { REQUEST, RESPONSE, type SignatureSnapshot } from "./snapshot.ts";

/**
 * What is known of a flow when it is identified; one object serves all flows. The signatures that
 * each direction's first payload matched, in winning order, are `found[at .. at + count)`.
 */
export class FlowEvidence {
  requestAt = 0;
  requestCount = 0;
  responseAt = 0;
  responseCount = 0;
  hasRequest = false;
  hasResponse = false;
  sourcePort = 0;
  destinationPort = 0;

  constructor(readonly found: Uint16Array) {}

  get request(): number[] {
    return [...this.found.subarray(this.requestAt, this.requestAt + this.requestCount)];
  }

  get response(): number[] {
    return [...this.found.subarray(this.responseAt, this.responseAt + this.responseCount)];
  }
}

export interface FlowIdentity {
  /** Of the signature, in winning order. */
  readonly index: number;
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
  /** Identities of flows that matched one signature only, by 4 * signature + directions. */
  readonly #alone = new Map<number, FlowIdentity>();
  /** By signature: how many signatures of better rank there are. Equal numbers are equal ranks. */
  readonly #rank: Int32Array;

  constructor(
    private readonly snapshot: SignatureSnapshot,
    private readonly signatures: readonly AppSignature[],
    private readonly portsMatter: boolean,
    /** Whether the signatures that lost are told; it takes longer. */
    private readonly explain: boolean,
  ) {
    this.#rank = new Int32Array(signatures.length);
    for (let i = 1; i < signatures.length; i++) {
      const isSame = sameRank(signatures[i - 1], signatures[i]);
      this.#rank[i] = isSame ? this.#rank[i - 1] : i;
    }
  }

  /** Undefined: no signature is met. */
  identify(evidence: FlowEvidence): FlowIdentity | undefined {
    const { found, requestCount, responseCount } = evidence;
    if (requestCount + responseCount === 0) return undefined;
    // Most flows match one signature: those share what is said of it.
    if (requestCount > 1 || responseCount > 1) return this.#choose(evidence);
    const inRequest = found[evidence.requestAt];
    const inResponse = found[evidence.responseAt];
    if (responseCount === 0) return this.#only(inRequest, 1, evidence);
    if (requestCount === 0) return this.#only(inResponse, 2, evidence);
    if (inRequest === inResponse) return this.#only(inRequest, 3, evidence);
    const isTie = this.#rank[inRequest] === this.#rank[inResponse];
    if (this.explain || isTie) return this.#choose(evidence);
    const request = this.#only(inRequest, 1, evidence);
    const response = this.#only(inResponse, 2, evidence);
    if (request === undefined || response === undefined) return request ?? response;
    return this.#rank[inRequest] < this.#rank[inResponse] ? request : response;
  }

  /** The only signature there is; `directions`: 1 request, 2 response, 3 both. */
  #only(index: number, directions: number, evidence: FlowEvidence): FlowIdentity | undefined {
    if (directions !== 3 && !this.#isEnough(index, evidence)) return undefined;
    const key = 4 * index + directions;
    const known = this.#alone.get(key);
    if (known !== undefined) return known;
    const identity: FlowIdentity = {
      index,
      signature: this.signatures[index],
      request: (directions & 1) !== 0,
      response: (directions & 2) !== 0,
      byPort: false,
      others: [],
    };
    this.#alone.set(key, identity);
    return identity;
  }

  #choose(evidence: FlowEvidence): FlowIdentity | undefined {
    const { request, response } = evidence;
    const met = [...new Set([...request, ...response])].sort((left, right) => left - right);
    const isMet = (index: number) =>
      (request.includes(index) && response.includes(index)) || this.#isEnough(index, evidence);
    const valid = met.filter(isMet);
    if (valid.length === 0) return undefined;
    const best = this.#byUsualPorts(valid, evidence);
    return {
      index: best,
      signature: this.signatures[best],
      request: request.includes(best),
      response: response.includes(best),
      byPort: best !== valid[0],
      others: met
        .filter((index) => index !== best)
        .map((index) => ({
          signature: this.signatures[index],
          why: valid.includes(index) ? this.#whyLost(index, best) : "its other direction differs",
        })),
    };
  }

  /** Whether one direction is enough: the signature asks nothing of the other, or it is silent. */
  #isEnough(index: number, { hasRequest, hasResponse }: FlowEvidence): boolean {
    const judges = this.snapshot.judges;
    const asksBoth = judges[2 * index + REQUEST] === 1 && judges[2 * index + RESPONSE] === 1;
    return !asksBoth || !hasRequest || !hasResponse;
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
