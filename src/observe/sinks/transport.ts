/**
 * What a sink's pump asks of the way to it. A transport connects when it is first asked to send,
 * gives up by itself after its own time limits, and never keeps more than one batch.
 */
import type { EventRecord } from "../event-record.ts";

/** A record in the sink's format. */
export type SinkItem = { readonly record: EventRecord; readonly text: string };

/**
 * `taken`: the sink has them. `rejected`: it will never take them as they are. `down`: try again
 * later.
 */
export type Delivery =
  | { readonly kind: "taken" }
  | { readonly kind: "rejected"; readonly why: string }
  | { readonly kind: "down"; readonly why: string };

export interface Transport {
  /** Of items that `taken` says no more than: the kernel has them. They count after so long. */
  readonly settleMs: number;
  /** Greatest number of items in one send(). */
  readonly batchMax: number;
  send(items: readonly SinkItem[]): Promise<Delivery>;
  /** Set by the pump: the connection ended, and what was not settled is to be sent again. */
  onLost: (why: string) => void;
  close(): void;
}

export const TAKEN: Delivery = { kind: "taken" };

export function down(why: string): Delivery {
  return { kind: "down", why: oneLine(why) };
}

export function rejected(why: string): Delivery {
  return { kind: "rejected", why: oneLine(why) };
}

/** Words of the other end: short and printable. */
function oneLine(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, " ").slice(0, 200);
}
