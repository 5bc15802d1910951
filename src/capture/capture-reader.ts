/**
 * What the readers of both formats have in common, and which of them reads a capture: its first
 * bytes decide, never its name. A reader is asked for one record after another; it answers with a
 * code and writes where the packet lies into its own fields, so that nothing is allocated.
 */
import { AbsError } from "../errors.ts";
import type { CaptureWindow } from "./capture-window.ts";
import { PcapReader } from "./pcap-reader.ts";
import { PcapngReader } from "./pcapng-reader.ts";
import { PCAP_MAGICS, PCAPNG_MAGIC, WANT } from "./record-codes.ts";

/** The packet at hand of a capture. */
export interface CaptureReader {
  /** PACKET, WANT (fill the window, then ask again), or END. */
  next(): number;
  /** The packet's bytes in the window. */
  readonly packetStart: number;
  readonly packetEnd: number;
  /** Length on the wire; the capture may have kept less. */
  readonly wireBytes: number;
  readonly linkType: number;
  /** The time stamp as it stands in the capture, in units of 1 / ticksPerSecond. */
  readonly timeHigh: number;
  readonly timeLow: number;
  readonly ticksPerSecond: number;
  /** True: timeHigh is seconds and timeLow the rest; false: both are one number of 64 bits. */
  readonly timeInSeconds: boolean;
  /** Packet records that were skipped because no packet is so large, or of an unknown interface. */
  readonly skipped: number;
  /** Why reading ended before the capture did; empty when it did not. */
  readonly fault: string;
}

/** Begins to read the capture in `window`. Throws AbsError `CAPTURE_FORMAT`. */
export function readerOf(window: CaptureWindow, name: string): CaptureReader {
  while (window.end < 4 && window.finished === 0) window.fill();
  if (window.end === 0)
    throw unusable(name, "is empty", "Capture again: not even a header is there.");
  if (window.end < 4) throw unusable(name, `has ${window.end} bytes only`, "It was cut short.");
  const magic = window.memory.getUint32(0, true);
  if (magic === PCAPNG_MAGIC) return new PcapngReader(window);
  const kind = PCAP_MAGICS.get(magic);
  if (kind === undefined) {
    const hex = window.memory.getUint32(0, false).toString(16).padStart(8, "0");
    const hint = hex.startsWith("1f8b")
      ? "Decompress it: `gunzip -c FILE | abs sig test -`."
      : "Convert it with `editcap -F pcapng`.";
    throw unusable(name, `begins with 0x${hex}, which no capture format does`, hint);
  }
  const reader = new PcapReader(window, kind);
  while (reader.start() === WANT) window.fill();
  if (reader.fault !== "") throw unusable(name, reader.fault, "It was cut short.");
  return reader;
}

function unusable(name: string, why: string, remedy: string): AbsError {
  return new AbsError("CAPTURE_FORMAT", `${name} ${why}.`, remedy);
}
