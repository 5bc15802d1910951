/** Which signature is named as nearest, and the words that say why it missed. */
import { expect, test } from "bun:test";
import type { IpAddress } from "../wire/ip-text.ts";
import { parseAddress } from "../wire/ip-text.ts";
import { type MissedFlow, nearestMiss } from "./nearest-miss.ts";
import { parseSignatures } from "./schema.ts";

const HEAD = { version: 1, status: "enabled", proto_type: "tcp" };
const SIGNATURES = parseSignatures(
  JSON.stringify([
    {
      ...HEAD,
      sig_id: "app1",
      app_name: "app1",
      dst_port: "6379",
      contents: [{ offset: 0, depth: 12, expr: "*3\\x0d\\x0a$4\\x0d\\x0aapp1" }],
    },
    { ...HEAD, sig_id: "find", app_name: "find", contents: [{ offset: 4, expr: "needle" }] },
    { ...HEAD, sig_id: "ssh", app_name: "ssh", contents: [{ expr: "/^SSH-2\\.[0-9]+-/" }] },
    { ...HEAD, sig_id: "off", app_name: "off", status: "disabled", contents: [{ expr: "x" }] },
  ]),
  "test.json",
);

function address(text: string): IpAddress {
  const found = parseAddress(text);
  if (found === undefined) throw new Error(text);
  return found;
}

function flow(payload: string, change: Partial<MissedFlow> = {}): MissedFlow {
  return {
    protocol: 6,
    source: address("10.0.0.1"),
    sourcePort: 40_000,
    destination: address("10.0.0.2"),
    destinationPort: 6379,
    payload: new TextEncoder().encode(payload),
    payloadLength: payload.length,
    ...change,
  };
}

const CASES: readonly { name: string; flow: MissedFlow; id: string | undefined; why: string }[] = [
  {
    name: "a byte differs",
    flow: flow("*3\r\n$4\r\napp2"),
    id: "app1",
    why: "payload byte 11 is 0x32",
  },
  {
    name: "too short",
    flow: flow("*3\r\n$4"),
    id: "app1",
    why: "needs 12 bytes of payload, there are 6",
  },
  {
    name: "another port",
    flow: flow("*3\r\n$4\r\napp1", { destinationPort: 7000 }),
    id: "app1",
    why: "for destination port 6379, not 7000",
  },
  {
    name: "the tail of an expression",
    flow: flow("SSH-2.10x-abc"),
    id: "ssh",
    why: "does not match",
  },
  { name: "nothing in common", flow: flow("\u0001\u0001\u0001"), id: undefined, why: "" },
];

test.each([...CASES])("nearestMiss: $name", ({ flow: missed, id, why }) => {
  const miss = nearestMiss(SIGNATURES, missed);
  expect(miss?.signature.id).toBe(id as string);
  expect(miss?.why ?? "").toContain(why);
});
