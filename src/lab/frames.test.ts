import { expect, test } from "bun:test";
import {
  arpPacket,
  canonical,
  decodeFrame,
  ETHERTYPE,
  ethernet,
  internetChecksum,
  ipPacket,
  PROTOCOL,
  TCP_FLAG,
  tcpPacket,
  udpPacket,
} from "./frames.ts";

const LINK = { sourceMac: "02:ab:05:00:00:11", destinationMac: "02:ab:05:00:00:12" };
const PAYLOAD = new TextEncoder().encode("hello");

const flows = [
  { name: "IPv4", source: "10.77.0.11", destination: "10.77.0.12" },
  { name: "IPv6", source: "fd77:ab5::11", destination: "fd77:ab5::12" },
];

test.each(flows)("what is built is read back: $name", ({ source, destination }) => {
  const flow = { source, destination, sourcePort: 20_001, destinationPort: 6_379 };
  const frame = decodeFrame(ethernet(LINK, tcpPacket({ ...flow, flags: TCP_FLAG.syn }, PAYLOAD)));
  expect(frame).toMatchObject({ ...LINK, ...flow, protocol: PROTOCOL.tcp, tcpFlags: 2, vlans: [] });
  expect(frame.payload).toEqual(PAYLOAD);
  const tagged = decodeFrame(ethernet({ ...LINK, vlans: [7, 100] }, udpPacket(flow, PAYLOAD)));
  expect(tagged).toMatchObject({ ...flow, protocol: PROTOCOL.udp, vlans: [7, 100] });
  expect(tagged.payload).toEqual(PAYLOAD);
});

test("checksums verify to zero, RFC 1071", () => {
  const header = ipPacket({ source: "10.0.0.1", destination: "10.0.0.2", protocol: 6 }, PAYLOAD);
  expect(internetChecksum(header.subarray(0, 20))).toBe(0);
  const odd = { source: "10.0.0.1", destination: "10.0.0.2", sourcePort: 1, destinationPort: 2 };
  const datagram = udpPacket(odd, PAYLOAD).subarray(20);
  const pseudo = Uint8Array.of(10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0, datagram.length);
  expect(internetChecksum(pseudo, datagram)).toBe(0);
});

test("every truncation of a frame is read without an error", () => {
  const flow = { source: "fd77::1", destination: "fd77::2", sourcePort: 1, destinationPort: 2 };
  const frames = [
    ethernet({ ...LINK, vlans: [1] }, tcpPacket({ ...flow, flags: TCP_FLAG.ack }, PAYLOAD)),
    ethernet(
      LINK,
      arpPacket({
        operation: 2,
        senderMac: LINK.sourceMac,
        senderAddress: "10.0.0.1",
        targetMac: LINK.destinationMac,
        targetAddress: "10.0.0.2",
      }),
      ETHERTYPE.arp,
    ),
  ];
  for (const frame of frames) {
    for (let end = 0; end <= frame.length; end++) decodeFrame(frame.subarray(0, end));
  }
});

test("addresses compare by their canonical text", () => {
  expect(canonical("FD77:0AB5:0:0::0011")).toBe("fd77:ab5::11");
  expect(canonical("10.1.2.3")).toBe("10.1.2.3");
});
