/**
 * Addresses, routes and links as the kernel (Linux 6.18) sent them for an interface `eth0` with
 * number 2, and what is kept of them.
 */
import { describe, expect, test } from "bun:test";
import { fromHex } from "../bytes.ts";
import {
  addressBytes,
  addressKey,
  addressText,
  decodeAddress,
  isIpv4,
  isLeased,
  isTentative,
} from "./addresses.ts";
import { decodeLink, macText } from "./links.ts";
import type { NetlinkMessage } from "./netlink-message.ts";
import { decodeRoute, routeKey, routeText } from "./routes.ts";

function message(type: number, payload: string): NetlinkMessage {
  return { type, flags: 2, sequence: 1, payload: fromHex(payload) ?? new Uint8Array(0) };
}

describe("addresses", () => {
  const cases = [
    {
      name: "first of a network, with broadcast",
      payload:
        "0218800002000000080001000a090002080002000a090002080004000a0900ff0900030065746830" +
        "000000000800" +
        "08008000000014000600ffffffffffffffffb6190600b6190600",
      text: "10.9.0.2/24",
      label: "",
      flags: 0x80,
    },
    {
      name: "secondary, with a label",
      payload:
        "0218810002000000080001000a090003080002000a0900030b000300657468303a31000008000800" +
        "810000001400" +
        "0600ffffffffffffffffb6190600b6190600",
      text: "10.9.0.3/24",
      label: ":1",
      flags: 0x81,
    },
    {
      name: "flags beyond eight bits (noprefixroute)",
      payload:
        "0218800002000000080001000a090502080002000a09050209000300657468300000000008000800" +
        "800200001400" +
        "0600ffffffffffffffffb6190600b6190600",
      text: "10.9.5.2/24",
      label: "",
      flags: 0x280,
    },
    {
      name: "link-local, made by the kernel",
      payload:
        "0a4080fd0200000014000100fe80000000000000000000fffe00090214000600ffffffffffffffff" +
        "b6190600b619" +
        "0600080008008000000005000b0003000000",
      text: "fe80::ff:fe00:902/64",
      label: undefined,
      flags: 0x80,
    },
  ];
  test.each(cases)("$name", ({ payload, text, label, flags }) => {
    const { index, record } = decodeAddress(message(20, payload), "eth0");
    expect(index).toBe(2);
    expect(addressText(record)).toBe(text);
    expect(record.labelTail).toBe(label);
    expect(record.flags).toBe(flags);
    expect(isLeased(record)).toBe(false);
    expect(isTentative(record)).toBe(false);
    expect(isIpv4(record)).toBe(addressBytes(record).length === 4);
  });

  test("are the same whatever is left of their lease, and whichever is primary", () => {
    const [first, second] = cases
      .slice(0, 2)
      .map((c) => decodeAddress(message(20, c.payload), "eth0"));
    if (first === undefined || second === undefined) throw new Error("two cases");
    const leased = { ...first.record, validSeconds: 60, preferredSeconds: 30 };
    expect(addressKey(leased)).toBe(addressKey(first.record));
    expect(isLeased(leased)).toBe(true);
    expect(addressKey({ ...second.record, flags: 0x80 })).toBe(addressKey(second.record));
    expect(addressKey(first.record)).not.toBe(addressKey(second.record));
  });
});

describe("routes", () => {
  const none = new Set<string>();
  const decode = (payload: string, index = 2, sources: ReadonlySet<string> = none) =>
    decodeRoute(message(24, payload), index, sources)?.record;
  const withMetrics =
    "02100000fe0300010400000008000f00fe000000080001000a4d00000c0008000800020014050000" +
    "080005000ac80001" +
    "0800040002000000";
  const multipath =
    "02100000fe0300010000000008000f00fe000000080001000a4e0000240009001000000102000000" +
    "080005000a090001" +
    "1000000002000000080005000a090007";
  const defaultFrom =
    "02000000fe0300010000000008000f00fe0000000800060064000000080007000a09000308000500" +
    "0a09000108000400" +
    "02000000";
  const local =
    "02200000ff02fe020000000008000f00ff000000080001000a090002080007000a0900020800040002000000";

  test("by the interface, with onlink and metrics", () => {
    const record = decode(withMetrics);
    expect(record?.flags).toBe(4);
    expect(record?.direct).toBe(true);
    expect(record === undefined ? "" : routeText(record)).toBe("10.77.0.0/16 via 10.200.0.1");
    expect(record?.attributes).toContainEqual([8, "0800020014050000"]);
    expect(record?.expiresSeconds).toBeUndefined();
  });

  test("of another interface are not ours, unless they live from our address", () => {
    expect(decode(withMetrics, 3)).toBeUndefined();
    expect(decode(defaultFrom, 3)).toBeUndefined();
    const record = decode(defaultFrom, 3, new Set(["0a090003"]));
    expect(record?.otherInterface).toBe(2);
    expect(record?.direct).toBe(false);
  });

  test("in a list of next hops forget the number of the interface", () => {
    const record = decode(multipath);
    expect(record?.direct).toBe(false);
    const list = record?.attributes.find(([type]) => type === 9)?.[1];
    expect(list).toBe("1000000100000000080005000a0900011000000000000000080005000a090007");
  });

  test("that the kernel makes for each address are left to it", () => {
    expect(decode(local)).toBeUndefined();
  });

  test("are the same whatever is left of their life", () => {
    const record = decode(defaultFrom);
    if (record === undefined) throw new Error("a route");
    expect(routeText(record)).toBe("default via 10.9.0.1");
    expect(routeKey({ ...record, expiresSeconds: 9 })).toBe(routeKey(record));
    expect(routeKey({ ...record, flags: 4 })).not.toBe(routeKey(record));
  });
});

test("a veth whose other end is in another namespace", () => {
  const link = decodeLink(
    message(
      16,
      "0000010002000000031001000000000009000300657468300000000008000400dc0500000500100006000000" +
        "050011000000000008002000020000000500210001000000" +
        "0a00010002000000090200000800050002000000080025000000000010001200090001007665746800000000",
    ),
  );
  expect(link).toEqual({
    index: 2,
    name: "eth0",
    kind: "veth",
    hardwareType: 1,
    mac: "020000000902",
    mtu: 1500,
    up: true,
    loopback: false,
    promiscuous: false,
    carrier: true,
    dormant: false,
    alias: "",
    qdisc: "",
    master: undefined,
    below: 2,
    belowIsElsewhere: true,
  });
  expect(macText(link.mac)).toBe("02:00:00:00:09:02");
});
