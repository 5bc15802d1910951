/**
 * Cuts a capture to the first packets of each flow and labels the flows: used by
 * scripts/make-captures.sh, which made the capture itself (pcap, Ethernet, microseconds, this
 * machine's byte order, whole packets), so nothing else is understood. Flows are labelled by the
 * responder's port. Rows of labels.csv for the same capture are replaced.
 *
 *   flow-cutter.ts IN.pcap OUT.pcap LABELS.csv PACKETS_A_FLOW FLOWS_A_PORT PROTOCOL:PORT=APP…
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";

const HEADER = "file,proto,src_ip,src_port,dst_ip,dst_port,app";
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const ETHERNET_BYTES = 14;
const SYN_OF_SYN_ACK = 0x12;
const TCP = 6;

interface Packet {
  readonly protocol: "tcp" | "udp";
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly isSyn: boolean;
  readonly payloadBytes: number;
}

interface Flow {
  readonly row: string;
  readonly portKey: string;
  packets: number;
  hasPayload: boolean;
}

/** The IPv4 TCP or UDP packet in an Ethernet frame; undefined: another, or a later fragment. */
function parse(frame: Buffer): Packet | undefined {
  if (frame.length < ETHERNET_BYTES + 28 || frame.readUInt16BE(12) !== 0x0800) return undefined;
  const number = frame[ETHERNET_BYTES + 9];
  if (number !== TCP && number !== 17) return undefined;
  if ((frame.readUInt16BE(ETHERNET_BYTES + 6) & 0x1fff) !== 0) return undefined;
  const start = ETHERNET_BYTES + ((frame[ETHERNET_BYTES] ?? 0) & 15) * 4;
  const end = ETHERNET_BYTES + frame.readUInt16BE(ETHERNET_BYTES + 2);
  const headerBytes = number === TCP ? ((frame[start + 12] ?? 0) >> 4) * 4 : 8;
  return {
    protocol: number === TCP ? "tcp" : "udp",
    source: frame.subarray(26, 30).join("."),
    sourcePort: frame.readUInt16BE(start),
    destination: frame.subarray(30, 34).join("."),
    destinationPort: frame.readUInt16BE(start + 2),
    isSyn: number === TCP && ((frame[start + 13] ?? 0) & SYN_OF_SYN_ACK) === 2,
    payloadBytes: end - start - headerBytes,
  };
}

function* records(file: Buffer): Generator<Buffer> {
  for (let at = FILE_HEADER_BYTES; at + RECORD_HEADER_BYTES <= file.length; ) {
    const end = at + RECORD_HEADER_BYTES + file.readUInt32LE(at + 8);
    if (end > file.length) return;
    yield file.subarray(at, end);
    at = end;
  }
}

const [input = "", output = "", labelsFile = "", packetsText, flowsText, ...rules] =
  process.argv.slice(2);
const packetsMax = Number(packetsText);
const flowsMax = Number(flowsText);
const apps = new Map(rules.map((rule) => rule.split("=") as [string, string]));
const name = basename(output);

/** Keeps what belongs to labelled flows; a TCP flow must begin with its SYN. */
function cut(file: Buffer): { kept: Buffer[]; flows: Flow[] } {
  const flows = new Map<string, Flow>();
  const flowsOfPort = new Map<string, number>();
  const kept: Buffer[] = [];
  for (const record of records(file)) {
    const packet = parse(record.subarray(RECORD_HEADER_BYTES));
    if (packet === undefined) continue;
    const from = `${packet.source},${packet.sourcePort}`;
    const to = `${packet.destination},${packet.destinationPort}`;
    const key = `${packet.protocol},${from < to ? `${from},${to}` : `${to},${from}`}`;
    let flow = flows.get(key);
    if (flow === undefined) {
      const portKey = `${packet.protocol}:${packet.destinationPort}`;
      const app = apps.get(portKey);
      const count = flowsOfPort.get(portKey) ?? 0;
      if (app === undefined || count >= flowsMax) continue;
      if (packet.protocol === "tcp" && !packet.isSyn) continue;
      flowsOfPort.set(portKey, count + 1);
      const row = `${name},${packet.protocol},${from},${to},${app}`;
      flow = { row, portKey, packets: 0, hasPayload: false };
      flows.set(key, flow);
    }
    flow.packets += 1;
    if (flow.packets > packetsMax) continue;
    flow.hasPayload ||= packet.payloadBytes > 0;
    kept.push(record);
  }
  return { kept, flows: [...flows.values()] };
}

const file = readFileSync(input);
const { kept, flows } = cut(file);
const labelled = flows.filter((flow) => flow.hasPayload);
for (const port of apps.keys()) {
  if (!labelled.some((flow) => flow.portKey === port)) console.error(`${name}: none on ${port}`);
}
const lines = existsSync(labelsFile) ? readFileSync(labelsFile, "utf8").trim().split("\n") : [];
const others = lines.filter((line) => line !== HEADER && !line.startsWith(`${name},`));
const rows = [...others, ...labelled.map((flow) => flow.row)].sort();
if (labelled.length > 0) {
  const bytes = Buffer.concat([file.subarray(0, FILE_HEADER_BYTES), ...kept]);
  writeFileSync(output, bytes);
  writeFileSync(labelsFile, `${[HEADER, ...rows].join("\n")}\n`);
  console.log(`${name}: ${labelled.length} flows, ${bytes.length} bytes`);
}
if (labelled.length === 0) process.exitCode = 1;
