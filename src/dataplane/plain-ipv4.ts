/**
 * The commonest packet by far: an untagged, whole IPv4 packet with a TCP segment in mid-flow or a
 * UDP datagram. It is recognised and hashed straight from memory; writing a ParsedPacket and
 * reading it again costs more than the rest of the work (measured: egress 126 ns a packet with it,
 * 60 without).
 * Hot path. Whatever is not certainly such a packet is left to parsePacket(), which is the
 * authority: plain-ipv4.test.ts holds both against each other.
 *
 * Headers are read as whole words of an Int32Array where they are aligned: JavaScriptCore checks a
 * typed array's index once, a DataView's offset twice and adds to it (4 and 8 instructions). Such
 * a word is least significant byte first, so 16-bit fields of the network are swapped in it.
 */
import type { FlowHash } from "./flow-hash.ts";

// Words from the frame's start; a comment names the bytes, least significant first.
export const PLAIN_TYPES = 3; // EtherType, version and header words, type of service
export const PLAIN_LENGTH_AND_ID = 4;
export const PLAIN_FRAGMENT = 5; // flags and fragment offset, time to live, protocol
export const PLAIN_CHECKSUM = 6; // checksum, half the source
export const PLAIN_ADDRESSES = 7; // half the source, half the destination
export const PLAIN_DESTINATION_END = 8; // half the destination, source port
const PLAIN_UDP_LENGTH = 9; // destination port, UDP length
const PLAIN_TCP_FLAGS = 11; // half the acknowledgement, data offset, flags

// Bytes from the frame's start.
export const PLAIN_IP_AT = 14;
export const PLAIN_SOURCE_AT = 26;
export const PLAIN_DESTINATION_AT = 30;
export const PLAIN_PAYLOAD_AT = 34;

export const TCP = 6;
export const UDP = 17;
export const IPV4_BYTES = 20;
export const UDP_BYTES = 8;
export const TCP_BYTES_MIN = 20;
const FRAME_BYTES_MIN = 42;
/** EtherType IPv4, version 4, header of 5 words; any type of service. */
export const IPV4_TYPES = 0x0045_0008;
export const IPV4_TYPES_MASK = 0x00ff_ffff;
/** Reserved bit, more-fragments and offset. */
export const FRAGMENT_BITS = 0xffbf;
/** ACK, or ACK and PSH: nothing that changes a flow's state. Of the word's last byte. */
export const TCP_FLAGS_MASK = 0x37;
export const TCP_ACK = 0x10;

/** Set-up. The aligned words of the pool. */
export function wordsOf(memory: DataView): Int32Array {
  return new Int32Array(memory.buffer, memory.byteOffset, memory.byteLength >>> 2);
}

/**
 * Writes to `protocols` the protocol of each of the burst's packets, 0 for one that is not plain,
 * and to `hashes` the hash of a plain one that leaves. Returns how many are plain. The hash is
 * FlowHash.of4(), written out: a call in the loop would have JavaScriptCore check all tables again
 * for every packet (measured: 6.3 ns a packet with it, 5.7 without).
 */
export function classifyPlain(
  memory: DataView,
  words: Int32Array,
  flowHash: FlowHash,
  offset: Uint32Array,
  length: Uint32Array,
  count: number,
  protocols: Int32Array,
  hashes: Int32Array,
): number {
  const { seed, factor0, factor1, factor2, factor3, factor4 } = flowHash;
  let plain = 0;
  for (let i = 0; i < count; i++) {
    protocols[i] = 0;
    const start = offset[i];
    const room = length[i];
    if (room < FRAME_BYTES_MIN || (start & 3) !== 0) continue;
    const at = start >>> 2;
    if ((words[at + PLAIN_TYPES] & IPV4_TYPES_MASK) !== IPV4_TYPES) continue;
    const fragment = words[at + PLAIN_FRAGMENT];
    if ((fragment & FRAGMENT_BITS) !== 0) continue;
    const lengthAndId = words[at + PLAIN_LENGTH_AND_ID];
    const bytes = (((lengthAndId & 0xff) << 8) | ((lengthAndId >>> 8) & 0xff)) - IPV4_BYTES;
    if (bytes + PLAIN_PAYLOAD_AT > room) continue;
    const protocol = fragment >>> 24;
    if (protocol === UDP) {
      const udp = words[at + PLAIN_UDP_LENGTH];
      if (bytes < UDP_BYTES || (((udp >>> 8) & 0xff00) | (udp >>> 24)) !== bytes) continue;
    } else {
      if (protocol !== TCP || bytes < TCP_BYTES_MIN) continue;
      const flags = words[at + PLAIN_TCP_FLAGS];
      const headerBytes = (flags >>> 18) & 0x3c;
      if (headerBytes < TCP_BYTES_MIN || headerBytes > bytes) continue;
      if (((flags >>> 24) & TCP_FLAGS_MASK) !== TCP_ACK) continue;
    }
    const beside = memory.getInt32(start + PLAIN_SOURCE_AT, false) ^ Math.imul(protocol, factor4);
    const remote = memory.getInt32(start + PLAIN_DESTINATION_AT, false);
    let hash = Math.imul(memory.getInt32(start + PLAIN_PAYLOAD_AT, false) ^ seed, factor0);
    hash = Math.imul(hash ^ (hash >>> 15) ^ remote, factor1);
    hash = Math.imul(hash ^ (hash >>> 14) ^ beside, factor2);
    hash = Math.imul(hash ^ (hash >>> 16), factor3);
    hashes[i] = hash ^ (hash >>> 16);
    protocols[i] = protocol;
    plain++;
  }
  return plain;
}
