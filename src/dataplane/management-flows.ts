/**
 * The agent's own connections to other nodes (the peer channel), which pass unchanged. design/
 * agent.md "Egress" 2, management flows. A call of ours is known by its 5-tuple before it is made.
 * A call from outside is taken at the one published port, from the addresses of known nodes only,
 * and with a limit of SYNs an address. Never by a port alone. Hot path for all that is not plain,
 * after one comparison of the protocol.
 */
import { AddressTable } from "./address-table.ts";
import { type ParsedPacket, TCP_ACK, TCP_SYN } from "./parsed-packet.ts";
import { TokenBuckets } from "./token-bucket.ts";

const ADDRESSES_MAX = 4096;
const SYNS_PER_SECOND = 10;
const SYNS_BURST = 20;
const ENTRY_WORDS = 6;
const PORTS = 65536;

export const MANAGEMENT_NONE = 0;
export const MANAGEMENT_PASS = 1;
/** A call from a node that calls too often. */
export const MANAGEMENT_LIMIT = 2;

export class ManagementFlows {
  /** Where nodes may call; 0: nowhere. */
  private listenPort = 0;
  private callers = new AddressTable(ADDRESSES_MAX);
  /** Who may call once listen() says so: never half a list, as connections stand meanwhile. */
  private nextCallers = new AddressTable(ADDRESSES_MAX);
  /** By local port, where a call of ours goes: IP version, four address words, port. */
  private readonly calls = new Int32Array(PORTS * ENTRY_WORDS);
  private readonly syns = new TokenBuckets(ADDRESSES_MAX, SYNS_PER_SECOND, SYNS_BURST);

  open(
    localPort: number,
    ipVersion: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    port: number,
  ): void {
    const at = (localPort & 0xffff) * ENTRY_WORDS;
    this.calls[at] = ipVersion;
    this.calls[at + 1] = word0;
    this.calls[at + 2] = word1;
    this.calls[at + 3] = word2;
    this.calls[at + 4] = word3;
    this.calls[at + 5] = port;
  }

  caller4(word: number): void {
    this.nextCallers.set4(word, this.nextCallers.count);
  }

  caller6(word0: number, word1: number, word2: number, word3: number): void {
    this.nextCallers.set6(word0, word1, word2, word3, this.nextCallers.count);
  }

  /** Whoever was named since the last time may call at `port`, and nobody else; 0: nowhere. */
  listen(port: number): void {
    const before = this.callers;
    this.callers = this.nextCallers;
    this.listenPort = port;
    before.clear();
    this.nextCallers = before;
  }

  close(localPort: number): void {
    this.calls[(localPort & 0xffff) * ENTRY_WORDS] = 0;
  }

  /** Of a TCP packet of this VM: MANAGEMENT_NONE or MANAGEMENT_PASS. */
  outgoing(packet: ParsedPacket): number {
    const isCall = this.isCall(
      packet.sourcePort,
      packet.ipVersion,
      packet.destination0,
      packet.destination1,
      packet.destination2,
      packet.destination3,
      packet.destinationPort,
    );
    if (isCall) return MANAGEMENT_PASS;
    if (packet.sourcePort !== this.listenPort || this.listenPort === 0) return MANAGEMENT_NONE;
    // What listens there answers; whoever calls from there is not the agent.
    if ((packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN) return MANAGEMENT_NONE;
    const caller =
      packet.ipVersion === 4
        ? this.callers.find4(packet.destination3)
        : this.callers.find6(
            packet.destination0,
            packet.destination1,
            packet.destination2,
            packet.destination3,
          );
    return caller < 0 ? MANAGEMENT_NONE : MANAGEMENT_PASS;
  }

  /** Of a TCP packet from outside. */
  incoming(packet: ParsedPacket, nowUs: number): number {
    const isAnswer = this.isCall(
      packet.destinationPort,
      packet.ipVersion,
      packet.source0,
      packet.source1,
      packet.source2,
      packet.source3,
      packet.sourcePort,
    );
    const isSyn = (packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    if (isAnswer) return isSyn ? MANAGEMENT_NONE : MANAGEMENT_PASS;
    if (packet.destinationPort !== this.listenPort || this.listenPort === 0) return MANAGEMENT_NONE;
    const caller =
      packet.ipVersion === 4
        ? this.callers.find4(packet.source3)
        : this.callers.find6(packet.source0, packet.source1, packet.source2, packet.source3);
    if (caller < 0) return MANAGEMENT_NONE;
    return isSyn && !this.syns.take(caller, nowUs) ? MANAGEMENT_LIMIT : MANAGEMENT_PASS;
  }

  private isCall(
    localPort: number,
    ipVersion: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    port: number,
  ): boolean {
    const calls = this.calls;
    const at = localPort * ENTRY_WORDS;
    if (calls[at] !== ipVersion) return false;
    // Addresses of IPv4 have their first three words 0 here, whatever the packet's fields hold.
    const isLast = calls[at + 4] === (word3 | 0) && calls[at + 5] === port;
    if (ipVersion === 4 || !isLast) return isLast;
    const rest = (calls[at + 1] ^ word0) | (calls[at + 2] ^ word1) | (calls[at + 3] ^ word2);
    return rest === 0;
  }
}
