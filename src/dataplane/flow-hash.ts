/**
 * Seeded hash of a flow's key: picks slots in flow-table.ts. Not cryptographic: it keeps a stranger
 * who chooses ports and addresses, but cannot see our timing per packet, from filling one cluster.
 * Hot path. Every step is a bijection of the word mixed in, under secret odd factors, so two flows
 * that differ in one word only never share all 32 bits. Numbers only (Math.imul); results are
 * int32.
 */

const FACTORS = 5;

/** Set-up. Random odd factors with about half their bits set: 1, or 2^31 + 1, would mix nothing. */
function secretFactors(random: Uint32Array): Int32Array {
  const factors = new Int32Array(FACTORS);
  for (let i = 0; i < FACTORS; i++) {
    let factor = random[i] | 1;
    for (let turn = 0; turn < 64 && !mixesWell(factor); turn++) {
      factor = (Math.imul(factor, 0x9e3779b1) + 0x7f4a7c16) | 1;
    }
    factors[i] = factor;
  }
  return factors;
}

/** Bits set between 12 and 20, and neither half of the word empty of them. */
function mixesWell(factor: number): boolean {
  let bits = 0;
  for (let bit = 0; bit < 32; bit++) bits += (factor >>> bit) & 1;
  return bits >= 12 && bits <= 20 && factor >>> 24 !== 0 && (factor & 0xfff0) !== 0;
}

export class FlowHash {
  // Read by plain-ipv4.ts and plain-ingress.ts, which write of4() out in their loops.
  readonly seed: number;
  readonly factor0: number;
  readonly factor1: number;
  readonly factor2: number;
  readonly factor3: number;
  readonly factor4: number;

  /** @param random six random words; tests pass fixed ones */
  constructor(random: Uint32Array = crypto.getRandomValues(new Uint32Array(FACTORS + 1))) {
    const factors = secretFactors(random);
    this.seed = random[FACTORS] | 0;
    this.factor0 = factors[0];
    this.factor1 = factors[1];
    this.factor2 = factors[2];
    this.factor3 = factors[3];
    this.factor4 = factors[4];
  }

  /** Hash of an IPv4 key; words as in flow-table.ts, signed or unsigned alike. */
  of4(local3: number, remote3: number, ports: number, protocol: number): number {
    // What varies most goes in first, to be mixed most; the local side and the protocol hardly
    // vary.
    const beside = local3 ^ Math.imul(protocol, this.factor4);
    let hash = Math.imul(ports ^ this.seed, this.factor0);
    hash = Math.imul(hash ^ (hash >>> 15) ^ remote3, this.factor1);
    hash = Math.imul(hash ^ (hash >>> 14) ^ beside, this.factor2);
    hash = Math.imul(hash ^ (hash >>> 16), this.factor3);
    return hash ^ (hash >>> 16);
  }

  /** Hash of an IPv6 key. */
  of6(
    local3: number,
    remote3: number,
    ports: number,
    protocol: number,
    local0: number,
    local1: number,
    local2: number,
    remote0: number,
    remote1: number,
    remote2: number,
  ): number {
    const beside = local3 ^ Math.imul(protocol, this.factor4);
    let hash = Math.imul(ports ^ this.seed, this.factor0);
    hash = Math.imul(hash ^ (hash >>> 15) ^ remote3, this.factor1);
    hash = Math.imul(hash ^ (hash >>> 14) ^ remote2, this.factor2);
    hash = Math.imul(hash ^ (hash >>> 16) ^ remote1, this.factor3);
    hash = Math.imul(hash ^ (hash >>> 15) ^ remote0, this.factor4);
    hash = Math.imul(hash ^ (hash >>> 14) ^ local2, this.factor0);
    hash = Math.imul(hash ^ (hash >>> 16) ^ local1, this.factor1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ local0, this.factor4);
    hash = Math.imul(hash ^ (hash >>> 14) ^ beside, this.factor2);
    hash = Math.imul(hash ^ (hash >>> 16), this.factor3);
    return hash ^ (hash >>> 16);
  }
}
