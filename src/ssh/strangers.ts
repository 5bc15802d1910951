/**
 * Connections that have not logged in yet: so many in all, and so many from one address. Past the
 * first limit the oldest leaves, so that a flood only shortens the time it has itself; past the
 * second the new one is not taken. docs/manager-channel.md "Limits".
 */

/** Anything that can be cut off. */
export type Stranger = { readonly address: string; readonly cut: (why: string) => void };

export type StrangerLimits = {
  readonly strangersMax: number;
  readonly strangersPerAddressMax: number;
};

export class Strangers {
  /** In the order of their coming. */
  private readonly all = new Set<Stranger>();
  private readonly counts = new Map<string, number>();

  constructor(private readonly limits: StrangerLimits) {}

  get size(): number {
    return this.all.size;
  }

  /** False: there are too many from its address. */
  add(stranger: Stranger): boolean {
    const place = placeOf(stranger.address);
    const count = this.counts.get(place) ?? 0;
    if (count >= this.limits.strangersPerAddressMax) return false;
    const [oldest] = this.all;
    if (oldest !== undefined && this.all.size >= this.limits.strangersMax) {
      this.remove(oldest);
      oldest.cut("too many strangers");
    }
    this.all.add(stranger);
    this.counts.set(place, (this.counts.get(place) ?? 0) + 1);
    return true;
  }

  /** It has logged in, or is gone. */
  remove(stranger: Stranger): void {
    if (!this.all.delete(stranger)) return;
    const place = placeOf(stranger.address);
    const left = (this.counts.get(place) ?? 1) - 1;
    if (left > 0) this.counts.set(place, left);
    else this.counts.delete(place);
  }
}

/** What one owner can have many addresses of: a /64 of IPv6. */
export function placeOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  if (tail !== undefined) {
    while (groups.length + after.length < 8) groups.push("0");
  }
  return `${[...groups, ...after].slice(0, 4).join(":")}::/64`;
}
