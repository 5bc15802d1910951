/**
 * Egress of plain packets (plain-ipv4.ts) in allowed flows to peers on the `ip` carrier: three
 * loops over the burst, with the tables in locals. It does what egress.ts and sealer.ts do for
 * such a packet, byte for byte (test/oracle); every other packet is theirs. docs/wire.md "DATA".
 * Hot path. Offsets are bytes of the pool.
 */
import type { Egress } from "./egress.ts";
import {
  F_BINDING,
  F_LOCAL3,
  F_PEER,
  F_PORTS,
  F_PROTOCOL,
  F_REMOTE3,
  F_SEEN,
  F_STATE,
  FLOW_ALLOWED,
  FLOW_WORDS,
} from "./flow-table.ts";
import {
  IPV4_BYTES,
  PLAIN_ADDRESSES,
  PLAIN_CHECKSUM,
  PLAIN_DESTINATION_AT,
  PLAIN_DESTINATION_END,
  PLAIN_FRAGMENT,
  PLAIN_IP_AT,
  PLAIN_LENGTH_AND_ID,
  PLAIN_PAYLOAD_AT,
  PLAIN_SOURCE_AT,
  PLAIN_TYPES,
} from "./plain-ipv4.ts";
import { BURST_MAX } from "./send-queue.ts";

const ABS_HEADER_BYTES = 32;
const ABS_HEADER_WORDS = 8;
// As read from memory, least significant byte first.
const DATA_BYTE = 0x15;
const DONT_FRAGMENT = 0x0040;
const ADDED_LENGTH = ABS_HEADER_BYTES << 8;
/** Counters up to here are written as one 32-bit word without a division. */
const SMALL_COUNTER = 0x7fffffff;
const TWO_TO_32 = 4294967296;

/** Of the burst's packets that judge() let pass. */
const slots = new Int32Array(BURST_MAX);
const pairs = new Int32Array(BURST_MAX);

/**
 * Sends the burst's packets from `first` on, up to one that is not for this way: it is not plain
 * (0 in `protocols`), its flow is not allowed here or not the one guessed by flows.prefetch(), or
 * its session does not send so. Returns that one, of which nothing was changed, or `count`.
 *
 * Three loops without a call in them: after a call, JavaScriptCore reads and checks every table
 * again. Each has few enough tables for the registers (measured: 7, 5 and 10 ns a packet, at 5
 * instructions a cycle: only fewer instructions would help).
 */
export function sendPlain(
  egress: Egress,
  words: Int32Array,
  protocols: Int32Array,
  first: number,
  count: number,
): number {
  const end = judge(egress, words, protocols, first, count);
  if (end === first) return end;
  moveHeaders(egress, words, protocols, first, end);
  if (egress.plane.outside.count + end - first > BURST_MAX) egress.plane.outside.flush();
  writeHeaders(egress, words, protocols, first, end);
  return end;
}

/** Looks up flow, session and peer; notes who sends. Returns the first packet not for this way. */
function judge(
  egress: Egress,
  words: Int32Array,
  protocols: Int32Array,
  first: number,
  count: number,
): number {
  const plane = egress.plane;
  const memory = plane.memory;
  const flows = plane.flows.signed;
  const hints = plane.flows.hints;
  const sendSession = plane.bindings.sendSession;
  const innerMtu = plane.innerMtu;
  const carrier = plane.peerCarrier;
  const lastSentUs = plane.sessions.lastSentUs;
  const quickOut = plane.sessions.quickOut;
  const nowSeconds = plane.nowSeconds;
  const nowUs = plane.nowUs;
  const ownMacHigh = swap16(plane.guard.ownMacHigh);
  const ownMacLow = swap16(plane.guard.ownMacLow >>> 16) | (swap16(plane.guard.ownMacLow) << 16);
  const offset = egress.offset;
  let i = first;
  for (; i < count; i++) {
    const protocol = protocols[i];
    const flow = hints[i];
    if (protocol === 0 || flow < 0) break;
    const start = offset[i];
    const record = flow * FLOW_WORDS;
    const difference =
      (flows[record + F_REMOTE3] ^ memory.getInt32(start + PLAIN_DESTINATION_AT, false)) |
      (flows[record + F_LOCAL3] ^ memory.getInt32(start + PLAIN_SOURCE_AT, false)) |
      (flows[record + F_PORTS] ^ memory.getInt32(start + PLAIN_PAYLOAD_AT, false)) |
      (flows[record + F_PROTOCOL] ^ protocol) |
      ((flows[record + F_STATE] & 0xff) ^ FLOW_ALLOWED);
    if (difference !== 0) break;
    const from = start >>> 2;
    const slot = sendSession[flows[record + F_BINDING] - 1];
    const peerWord = flows[record + F_PEER];
    const peer = (peerWord & 0xffff) - 1;
    const lengthAndId = words[from + PLAIN_LENGTH_AND_ID];
    const length = ((lengthAndId & 0xff) << 8) | ((lengthAndId >>> 8) & 0xff);
    // Not `slot < 0`: a flow without a binding gives undefined.
    if (!(slot >= 0) || length > innerMtu[peer]) break;
    const odd =
      carrier[peer] |
      ((words[from + 1] >>> 16) ^ ownMacHigh) |
      (words[from + 2] ^ ownMacLow) |
      quickOut[slot];
    if (odd !== 0) break;
    flows[record + F_SEEN] = nowSeconds;
    lastSentUs[slot] = nowUs;
    slots[i] = slot;
    pairs[i] = peerWord >>> 16;
  }
  return i;
}

/** Link and IPv4 headers, moved to the front and rewritten; the checksum by RFC 1624 equation 3. */
function moveHeaders(
  egress: Egress,
  words: Int32Array,
  protocols: Int32Array,
  first: number,
  end: number,
): void {
  const offset = egress.offset;
  const carrierProtocol = egress.plane.carrierProtocol;
  const carrierByte = carrierProtocol << 24;
  const added = ADDED_LENGTH + DONT_FRAGMENT + (carrierProtocol << 8);
  for (let i = first; i < end; i++) {
    const from = offset[i] >>> 2;
    const to = from - ABS_HEADER_WORDS;
    words[to] = words[from];
    words[to + 1] = words[from + 1];
    words[to + 2] = words[from + 2];
    words[to + PLAIN_TYPES] = words[from + PLAIN_TYPES];
    const lengthAndId = words[from + PLAIN_LENGTH_AND_ID];
    const length = (((lengthAndId & 0xff) << 8) | ((lengthAndId >>> 8) & 0xff)) + ABS_HEADER_BYTES;
    words[to + PLAIN_LENGTH_AND_ID] =
      (lengthAndId & 0xffff0000) | ((length & 0xff) << 8) | (length >>> 8);
    const fragment = words[from + PLAIN_FRAGMENT];
    words[to + PLAIN_FRAGMENT] = DONT_FRAGMENT | (fragment & 0xff0000) | carrierByte;
    const checksum = words[from + PLAIN_CHECKSUM];
    let sum = added + (~checksum & 0xffff) + (~fragment & 0xffff) + (~(protocols[i] << 8) & 0xffff);
    sum = (sum & 0xffff) + (sum >>> 16);
    sum = (sum & 0xffff) + (sum >>> 16);
    words[to + PLAIN_CHECKSUM] = (checksum & 0xffff0000) | (~sum & 0xffff);
    words[to + PLAIN_ADDRESSES] = words[from + PLAIN_ADDRESSES];
    // Its second half is the ABS header's, written next.
    words[to + PLAIN_DESTINATION_END] = words[from + PLAIN_DESTINATION_END];
  }
}

/** ABS headers, and the packets' places in the queue. */
function writeHeaders(
  egress: Egress,
  words: Int32Array,
  protocols: Int32Array,
  first: number,
  end: number,
): void {
  const plane = egress.plane;
  const memory = plane.memory;
  const sessions = plane.sessions;
  const counters = sessions.counters;
  const remoteIndex = sessions.remoteIndex;
  const keyOut = sessions.keyOut;
  const confidentialOut = sessions.confidentialOut;
  const pairHashes = plane.pairs.hashOut;
  const lane = plane.sealer.lane;
  const lanes = plane.lanes;
  const laneWord = lane << 24;
  const offset = egress.offset;
  const handle = egress.handle;
  const outside = plane.outside;
  const sentHandle = outside.handle;
  const sentOffset = outside.offset;
  const sentLength = outside.length;
  const sealKey = outside.sealKey;
  const sealHeader = outside.sealHeader;
  const sealText = outside.sealText;
  const sealConfidential = outside.sealConfidential;
  let sent = outside.count;
  let sealed = outside.sealCount;
  for (let i = first; i < end; i++) {
    const start = offset[i];
    const slot = slots[i];
    const from = start >>> 2;
    // Not those at the front: one of these is under the header written here.
    const lengthAndId = words[from + PLAIN_LENGTH_AND_ID];
    const fragment = words[from + PLAIN_FRAGMENT];
    const header = start + PLAIN_PAYLOAD_AT - ABS_HEADER_BYTES;
    const cell = slot * lanes + lane;
    const counter = counters[cell];
    counters[cell] = counter + 1;
    memory.setInt32(header, DATA_BYTE | (protocols[i] << 8) | (fragment << 16), true);
    memory.setInt32(header + 4, remoteIndex[slot], false);
    if (counter <= SMALL_COUNTER) {
      memory.setInt32(header + 8, laneWord, false);
      memory.setInt32(header + 12, counter | 0, false);
    } else {
      memory.setInt32(header + 8, laneWord | (counter / TWO_TO_32), false);
      memory.setUint32(header + 12, counter % TWO_TO_32, false);
    }
    const pair = 3 * pairs[i];
    memory.setInt32(header + 16, pairHashes[pair], false);
    memory.setInt32(header + 20, pairHashes[pair + 1], false);
    memory.setInt32(header + 24, pairHashes[pair + 2], false);
    memory.setInt32(header + 28, lengthAndId, true);

    const length = ((lengthAndId & 0xff) << 8) | ((lengthAndId >>> 8) & 0xff);
    sentHandle[sent] = handle[i];
    sentOffset[sent] = start - ABS_HEADER_BYTES;
    sentLength[sent] = length + ABS_HEADER_BYTES + PLAIN_IP_AT;
    sent++;
    sealKey[sealed] = keyOut[slot];
    sealHeader[sealed] = header;
    sealText[sealed] = length - IPV4_BYTES;
    sealConfidential[sealed] = confidentialOut[slot];
    sealed++;
  }
  outside.count = sent;
  outside.sealCount = sealed;
}

function swap16(word: number): number {
  return ((word & 0xff) << 8) | ((word >>> 8) & 0xff);
}
