/**
 * A node's session key changes while its peer channel stands: docs/peer-channel.md "Connection".
 * Over loopback, with the Noise code of a node.
 */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { ascii, toHex } from "../../src/bytes.ts";
import type { ChainId } from "../../src/chain/ledger-units.ts";
import { onlyKey, peerNoise, type SessionKeys } from "../../src/node/peer-noise-ik.ts";
import { PeerChannel } from "../../src/peer/peer-channel.ts";
import { KeyPair } from "../../src/session/x25519.ts";
import { until } from "../manager/manager-site.ts";

setDefaultTimeout(60_000);

const CHAIN = "ab".repeat(32) as ChainId;
const [CALLER, OLD, NEXT] = [newKey(), newKey(), newKey()];

function newKey(): KeyPair {
  return new KeyPair(crypto.getRandomValues(new Uint8Array(32)));
}

let open: PeerChannel[] = [];
afterEach(() => {
  for (const channel of open) channel.close();
  open = [];
});

/** Each shows its name; which key came with it is noted. */
function nodeOf(self: string, keys: () => SessionKeys) {
  const notices: string[] = [];
  const met: string[] = [];
  const channel = new PeerChannel({
    ...{ self, noise: peerNoise(CHAIN, keys), realm: new Uint8Array(32), certificate: ascii(self) },
    listen: { host: "127.0.0.1", port: 0 },
    authenticate: (certificate, key) => {
      met.push(toHex(key));
      return Buffer.from(certificate).toString();
    },
    random: (sizeBytes) => crypto.getRandomValues(new Uint8Array(sizeBytes)),
    onFrame: () => {},
    onNotice: (code) => notices.push(code),
  });
  open.push(channel);
  return { channel, notices, met };
}

const calleeAt = (port: number, { publicKey: key }: KeyPair) => [
  { nodeId: "b", key, host: "127.0.0.1", port },
];

test("both keys are answered for while there are two; afterwards the new one alone", async () => {
  let keys: SessionKeys = { all: [OLD, NEXT], shown: toHex(OLD.publicKey) };
  const callee = nodeOf("b", () => keys);
  const port = await callee.channel.listen();
  for (const key of [OLD, NEXT]) {
    const caller = nodeOf("a", onlyKey(CALLER));
    caller.channel.meet(calleeAt(port, key));
    await until(() => caller.channel.connected().length === 1);
    caller.channel.close();
  }
  keys = { all: [NEXT], shown: toHex(NEXT.publicKey) };
  const late = nodeOf("a", onlyKey(CALLER));
  late.channel.meet(calleeAt(port, OLD));
  await until(() => callee.notices.includes("peer-refused"));
  expect(late.channel.connected()).toEqual([]);
  // It has heard of the other key: the next call is made with that.
  late.channel.meet(calleeAt(port, NEXT));
  await until(() => late.channel.connected().length === 1);
});

test("a connection that stands goes on; the next call is by the key of what is shown", async () => {
  let keys: SessionKeys = { all: [OLD, NEXT], shown: toHex(OLD.publicKey) };
  const callee = nodeOf("b", onlyKey(CALLER));
  const port = await callee.channel.listen();
  const caller = nodeOf("a", () => keys);
  caller.channel.meet(calleeAt(port, CALLER));
  await until(() => callee.channel.connected().length === 1);
  keys = { all: [OLD, NEXT], shown: toHex(NEXT.publicKey) };
  expect(caller.channel.connected()).toEqual(["b"]);
  expect(callee.met).toEqual([toHex(OLD.publicKey)]);
  caller.channel.close();
  const again = nodeOf("a", () => keys);
  again.channel.meet(calleeAt(port, CALLER));
  await until(() => callee.met.length === 2);
  expect(callee.met[1]).toBe(toHex(NEXT.publicKey));
});
