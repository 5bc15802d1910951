/**
 * How many half-open flows each peer has: a bound on what one peer can occupy. design/agent.md
 * "Ingress" 3. Hot path. Fixed memory. The caller counts a flow in when it inserts it and out when
 * it becomes anything but `establishing`, or is forgotten.
 */
export const HALF_OPEN_LIMIT = 1024;

export class HalfOpen {
  private readonly counts: Uint32Array;

  /**
   * @param peers peer indexes below this are known
   * @param limit flows of one peer
   */
  constructor(
    peers: number,
    readonly limit: number = HALF_OPEN_LIMIT,
  ) {
    this.counts = new Uint32Array(peers);
  }

  isFull(peer: number): boolean {
    return !(this.counts[peer] < this.limit); // also for a peer that is not known
  }

  /**
   * Counts a flow in; false, and nothing is counted, when the peer has its share or is not known.
   */
  enter(peer: number): boolean {
    if (this.isFull(peer)) return false;
    this.counts[peer]++;
    return true;
  }

  /** Counts a flow out. */
  leave(peer: number): void {
    if (this.counts[peer] > 0) this.counts[peer]--;
  }

  count(peer: number): number {
    return this.counts[peer];
  }
}
