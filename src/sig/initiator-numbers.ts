/**
 * Addresses, ports and protocol of a tracked flow as its initiator sends: what signatures compare,
 * and what reports show. One object, written anew for each payload.
 */
import {
  F_ADDRESS,
  F_FLAGS,
  F_KIND,
  F_PORTS,
  FLOW_WORDS,
  INITIATOR_IS_1,
  type TrackedFlows,
} from "../capture/tracked-flows.ts";
import type { FlowNumbers } from "../dpi/matcher.ts";
import type { AddressWords, IpAddress } from "../wire/ip-text.ts";

export class InitiatorNumbers implements FlowNumbers {
  /** Side of the table's entry that began. */
  initiator = 0;
  ipVersion = 0;
  transportProtocol = 0;
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  sourcePort = 0;
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;
  destinationPort = 0;

  read(flows: TrackedFlows, flow: number): void {
    const words = flows.words;
    const at = flow * FLOW_WORDS;
    const initiator = words[at + F_FLAGS] & INITIATOR_IS_1;
    const ports = words[at + F_PORTS];
    this.initiator = initiator;
    this.ipVersion = words[at + F_KIND] >>> 8;
    this.transportProtocol = words[at + F_KIND] & 0xff;
    this.source3 = words[at + F_ADDRESS + initiator] >>> 0;
    this.destination3 = words[at + F_ADDRESS + 1 - initiator] >>> 0;
    this.sourcePort = initiator === 0 ? ports >>> 16 : ports & 0xffff;
    this.destinationPort = initiator === 0 ? ports & 0xffff : ports >>> 16;
    const isWide = this.ipVersion === 6;
    const source = flow * 6 + 3 * initiator;
    const destination = flow * 6 + 3 - 3 * initiator;
    this.source0 = isWide ? flows.wide[source] >>> 0 : 0;
    this.source1 = isWide ? flows.wide[source + 1] >>> 0 : 0;
    this.source2 = isWide ? flows.wide[source + 2] >>> 0 : 0;
    this.destination0 = isWide ? flows.wide[destination] >>> 0 : 0;
    this.destination1 = isWide ? flows.wide[destination + 1] >>> 0 : 0;
    this.destination2 = isWide ? flows.wide[destination + 2] >>> 0 : 0;
  }

  get source(): IpAddress {
    const words: AddressWords = [this.source0, this.source1, this.source2, this.source3];
    return { version: this.ipVersion === 6 ? 6 : 4, words };
  }

  get destination(): IpAddress {
    const { destination0, destination1, destination2, destination3 } = this;
    const words: AddressWords = [destination0, destination1, destination2, destination3];
    return { version: this.ipVersion === 6 ? 6 : 4, words };
  }
}
