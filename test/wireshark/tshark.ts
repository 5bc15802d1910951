/**
 * Captures made of ABS packets, and what tshark with contrib/wireshark/abs.lua says of them.
 * docs/wireshark.md.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { packetBlock, sectionStart } from "../../src/capture/pcapng-blocks.ts";
import { runCommand } from "../../src/lab/command.ts";

export const DISSECTOR = join(import.meta.dir, "../../contrib/wireshark/abs.lua");
const TIMEOUT_MS = 120_000;
const PROTOCOL_UDP = 17;
const ABS_IP_PROTOCOL = 253;
const ABS_UDP_PORT = 6253;

export type Envelope = {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** IPv4. */
  readonly identification?: number;
  readonly carrier?: "ip" | "udp";
};

/** The Ethernet frame of an ABS packet. */
export function frameOf(packet: Uint8Array, envelope: Envelope): Uint8Array {
  const { source, destination, identification = 0, carrier = "ip" } = envelope;
  const payload = carrier === "ip" ? packet : Buffer.concat([udpHeader(packet.length), packet]);
  const protocol = carrier === "ip" ? ABS_IP_PROTOCOL : PROTOCOL_UDP;
  const isV4 = source.length === 4;
  const link = Buffer.alloc(14, 2);
  link.writeUInt16BE(isV4 ? 0x0800 : 0x86dd, 12);
  const ip = Buffer.alloc(isV4 ? 12 : 8);
  if (isV4) {
    ip[0] = 0x45;
    ip.writeUInt16BE(20 + payload.length, 2);
    ip.writeUInt16BE(identification, 4);
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = protocol;
  } else {
    ip[0] = 0x60;
    ip.writeUInt16BE(payload.length, 4);
    ip[6] = protocol;
    ip[7] = 64;
  }
  return Buffer.concat([link, ip, source, destination, payload]);
}

function udpHeader(payloadBytes: number): Uint8Array {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(50_000, 0);
  header.writeUInt16BE(ABS_UDP_PORT, 2);
  header.writeUInt16BE(8 + payloadBytes, 4);
  return header;
}

export function writeFrames(file: string, frames: readonly Uint8Array[]): void {
  const blocks = frames.map((frame, i) => packetBlock(frame, i * 1000, "in"));
  writeFileSync(file, Buffer.concat([sectionStart("test"), ...blocks]));
}

/** What tshark prints; both its outputs, since errors of Lua can be in either. */
export async function tshark(
  words: readonly string[],
  dissector = DISSECTOR,
): Promise<{ readonly stdout: string; readonly stderr: string; readonly code: number }> {
  const command = ["tshark", "-n", "-X", `lua_script:${dissector}`, ...words];
  return await runCommand(command, { timeoutMs: TIMEOUT_MS });
}

export type Row = Readonly<Record<string, string>>;

/** Fields of each packet that the filter takes; an empty one is not there. */
export async function dissect(
  file: string,
  fields: readonly string[],
  more: {
    readonly keylog?: string;
    readonly filter?: string;
    /** Ports whose protocol is not the usual one's, as `-d` has it. */
    readonly decodeAs?: string;
  } = {},
): Promise<Row[]> {
  const { keylog, filter, decodeAs } = more;
  const { stdout, stderr, code } = await tshark([
    ...["-r", file, "-T", "fields", "-E", "separator=|", "-E", "occurrence=f"],
    ...fields.flatMap((field) => ["-e", field]),
    ...(keylog === undefined ? [] : ["-o", `abs.keylog:${keylog}`]),
    ...(filter === undefined ? [] : ["-Y", filter]),
    ...(decodeAs === undefined ? [] : ["-d", decodeAs]),
  ]);
  if (code !== 0) throw new Error(`tshark ended with ${code}: ${stderr}`);
  const lines = stdout.split("\n").filter((line) => line !== "");
  return lines.map((line) => {
    const values = line.split("|");
    return Object.fromEntries(fields.map((field, i) => [field, values[i] ?? ""]));
  });
}
