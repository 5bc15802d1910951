/**
 * Packets from outside the tenant that are larger than the inside interface, which is smaller than
 * the network by what a packet grows: split, or their sender is told (RFC 791, RFC 1191, RFC 8201).
 */
import { expect, test } from "bun:test";
import { type Ends, ipFrame, reversed, udp } from "../../test/plane/frames.ts";
import { play, WEB_TO_DB, WEB_TO_DB6 } from "../../test/plane/pair.ts";
import { checksumsHold } from "../../test/plane/rare-frames.ts";

const STRANGER = Uint8Array.of(192, 0, 2, 7);
const STRANGER6 = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7);
const GATEWAY_MAC = Uint8Array.of(2, 0, 0, 0, 0, 99);
const OUT: Ends = { ...WEB_TO_DB, toMac: GATEWAY_MAC, to: STRANGER };
const OUT6: Ends = { ...WEB_TO_DB6, toMac: GATEWAY_MAC, to: STRANGER6 };
const MTU = 1468;

function payload(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => i & 0xff);
}

test("a packet that fits exactly is delivered; one byte more with DF is answered", () => {
  play({}, (pair) => {
    pair.webSends(udp(OUT, 4000, 53, payload(4)));
    const fits = udp(reversed(OUT), 53, 4000, payload(MTU - 28));
    pair.webWire.send(fits);
    pair.run(20_000);
    expect(pair.webKernel.receive()).toEqual([fits]);
    pair.carried.length = 0;
    pair.webWire.send(udp(reversed(OUT), 53, 4000, payload(MTU - 27)));
    pair.run(20_000);
    expect(pair.webKernel.receive()).toEqual([]);
    expect(pair.web.drops()).toEqual(new Map([["ingress-too-big", 1]]));
    const [{ frame } = { frame: new Uint8Array(64) }] = pair.carried;
    const view = new DataView(frame.buffer, frame.byteOffset);
    expect([...frame.subarray(30, 34)]).toEqual([...STRANGER]);
    expect([frame[23], view.getUint16(34), view.getUint16(40)]).toEqual([1, 0x0304, MTU]);
    expect(checksumsHold(frame)).toBe(true);
  });
});

test("IPv6 is answered with Packet Too Big", () => {
  play({}, (pair) => {
    pair.webSends(udp(OUT6, 4000, 53, payload(4)));
    pair.carried.length = 0;
    pair.webWire.send(udp(reversed(OUT6), 53, 4000, payload(MTU - 47)));
    pair.run(20_000);
    expect(pair.webKernel.receive()).toEqual([]);
    const [{ frame } = { frame: new Uint8Array(64) }] = pair.carried;
    const view = new DataView(frame.buffer, frame.byteOffset);
    expect([frame[20], view.getUint16(54), view.getUint32(58)]).toEqual([58, 0x0200, MTU]);
    expect(checksumsHold(frame)).toBe(true);
  });
});

test("IPv4 without DF is split; the parts together are the packet", () => {
  play({}, (pair) => {
    pair.webSends(udp(OUT, 4000, 53, payload(4)));
    const whole = udp(reversed(OUT), 53, 4000, payload(1472));
    const body = whole.slice(34);
    pair.webWire.send(ipFrame(reversed(OUT), 17, body, -1, 0));
    pair.run(20_000);
    const parts = pair.webKernel.receive();
    expect(parts).toHaveLength(2);
    const received = new Uint8Array(body.length);
    for (const part of parts) {
      const view = new DataView(part.buffer, part.byteOffset);
      expect(part.length - 14).toBeLessThanOrEqual(MTU);
      expect(view.getUint16(16)).toBe(part.length - 14);
      received.set(part.subarray(34), (view.getUint16(20) & 0x1fff) * 8);
    }
    expect(received).toEqual(body);
    expect(pair.web.drops()).toEqual(new Map());
  });
});
