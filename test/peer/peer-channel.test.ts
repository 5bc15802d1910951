/** Peer channels over loopback: who calls whom, restarts, strangers, floods. */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { ascii, concat } from "../../src/bytes.ts";
import { PeerChannel } from "../../src/peer/peer-channel.ts";
import type { PeerNoise } from "../../src/peer/peer-noise.ts";
import { CipherState, HandshakeState, IK } from "../../src/session/noise.ts";
import { KeyPair } from "../../src/session/x25519.ts";

setDefaultTimeout(60_000);

const NAMES = ["a", "b"] as const;
type Name = (typeof NAMES)[number];
const keys: Readonly<Record<Name, KeyPair>> = { a: newKeys(), b: newKeys() };

function newKeys(): KeyPair {
  return new KeyPair(crypto.getRandomValues(new Uint8Array(32)));
}

const REALM = new Uint8Array(32).fill(1);

function noiseOf(own: KeyPair, realm: Uint8Array): PeerNoise {
  const base = { pattern: IK, suite: { cipher: "AESGCM", hash: "sha256" } as const };
  const named = { ...base, prologue: concat(ascii("abs peer 1"), realm), localStatic: own };
  return {
    handshake: (key) =>
      new HandshakeState({
        ...named,
        initiator: key !== undefined,
        ...(key === undefined ? {} : { remoteStatic: key }),
      }),
    cipher: (key) => new CipherState("AESGCM", key),
  };
}

class Node {
  readonly heard: string[] = [];
  readonly notices: string[] = [];
  readonly channel: PeerChannel;

  constructor(
    readonly name: Name,
    port: number,
    callsAll = false,
    realm: Uint8Array = REALM,
  ) {
    this.channel = new PeerChannel({
      self: name,
      callsAll,
      noise: noiseOf(keys[name], realm),
      realm,
      certificate: ascii(name),
      authenticate: (certificate, key) =>
        NAMES.find(
          (known) =>
            known === Buffer.from(certificate).toString() &&
            Buffer.compare(key, keys[known].publicKey) === 0,
        ),
      listen: { host: "127.0.0.1", port },
      random: (sizeBytes) => crypto.getRandomValues(new Uint8Array(sizeBytes)),
      onFrame: (from, { body }) => this.heard.push(`${from} ${Buffer.from(body)}`),
      onNotice: (code, detail) => this.notices.push(`${code} ${detail}`),
    });
    open.push(this.channel);
  }

  say(to: Name, words: string): void {
    this.channel.send(to, { flag: 1, type: 1, body: ascii(words) });
  }
}

let open: PeerChannel[] = [];
afterEach(() => {
  for (const channel of open) channel.close();
  open = [];
});

async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 8000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error("it did not come true in 8 s");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function callee(name: Name, port: number) {
  return { nodeId: name, key: keys[name].publicKey, host: "127.0.0.1", port };
}

async function pair(): Promise<{ a: Node; b: Node; port: number }> {
  const b = new Node("b", 0);
  const port = await b.channel.listen();
  const a = new Node("a", 0);
  b.channel.meet([callee("a", 1)]);
  a.channel.meet([callee("b", port)]);
  return { a, b, port };
}

test("the lower id calls, and both speak over one connection", async () => {
  const { a, b } = await pair();
  a.say("b", "said before the connection");
  b.say("a", "back");
  await until(() => a.heard.length === 1 && b.heard.length === 1);
  expect([a.heard, b.heard]).toEqual([["b back"], ["a said before the connection"]]);
});

test("what waits to go along goes before what is said after it, and alone where nothing is", async () => {
  const { a, b } = await pair();
  await until(() => a.notices.length === 1 && b.notices.length === 1);
  const along = (words: string) =>
    a.channel.sendAlong("b", { flag: 1, type: 1, body: ascii(words) });
  along("first");
  a.say("b", "second");
  await until(() => b.heard.length === 2);
  along("third");
  await until(() => b.heard.length === 3);
  expect(b.heard).toEqual(["a first", "a second", "a third"]);
  expect(a.channel.sendAlong("x", { flag: 1, type: 1, body: ascii("nobody") })).toBe(false);
});

test("frames that wait leave in one record with the next, and long ones in several", async () => {
  const { a, b } = await pair();
  await until(() => a.notices.length === 1 && b.notices.length === 1);
  const before = a.channel.sent();
  for (let i = 0; i < 49; i++) {
    a.channel.sendAlong("b", { flag: 1, type: 1, body: ascii(`number ${i}`) });
  }
  a.say("b", "number 49");
  await until(() => b.heard.length === 50);
  const { frames, bytes } = a.channel.sent();
  expect(frames - before.frames).toBe(50);
  // Header 6 and words each; length 2 and tag 16 once.
  const words = b.heard.reduce((sum, text) => sum + text.length - "a ".length, 0);
  expect(bytes - before.bytes).toBe(50 * 6 + words + 18);
  const long = "x".repeat(100_000);
  for (let i = 0; i < 3; i++) a.say("b", `${i}${long}`);
  await until(() => b.heard.length === 53);
  expect(b.heard.slice(50)).toEqual([0, 1, 2].map((i) => `a ${i}${long}`));
});

test("the higher id calls where no call comes: it may not be known there", async () => {
  const a = new Node("a", 0);
  const port = await a.channel.listen();
  const b = new Node("b", 0);
  b.channel.meet([callee("a", port)]);
  b.say("a", "here I am");
  await until(() => a.heard.length === 1);
  expect(a.heard).toEqual(["b here I am"]);
});

test("who is told to calls at once, whatever its id", async () => {
  const a = new Node("a", 0);
  const port = await a.channel.listen();
  const b = new Node("b", 0, true);
  const startMs = performance.now();
  b.channel.meet([callee("a", port)]);
  await until(() => a.notices.length === 1);
  expect(performance.now() - startMs).toBeLessThan(3000);
});

test("where both call at once, one connection stays, the same for both", async () => {
  for (let i = 0; i < 8; i++) {
    const [a, b] = [new Node("a", 0), new Node("b", 0, true)];
    const ports = [await a.channel.listen(), await b.channel.listen()] as const;
    a.channel.meet([callee("b", ports[1])]);
    b.channel.meet([callee("a", ports[0])]);
    await until(() => a.notices.length > 0 && b.notices.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 30));
    const before = a.notices.length + b.notices.length;
    a.say("b", "one");
    b.say("a", "two");
    await until(() => a.heard.length === 1 && b.heard.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    // No flapping: nothing was lost or connected since.
    expect(a.notices.length + b.notices.length).toBe(before);
    a.channel.close();
    b.channel.close();
  }
});

test("two live nodes with one id are an alarm; one that comes back after a crash is none", async () => {
  const { a, b, port } = await pair();
  await until(() => a.heard.length === 0 && b.notices.length === 1);
  const [{ channel }] = [a];
  channel.close();
  await until(() => b.notices.some((line) => line.startsWith("peer-lost")));
  const again = new Node("a", 0);
  again.channel.meet([callee("b", port)]);
  await until(() => b.notices.filter((line) => line.startsWith("peer-connected")).length === 2);
  expect(b.notices.some((line) => line.startsWith("peer-twice"))).toBe(false);
  // Long enough that it is not a call of both at once.
  await new Promise((resolve) => setTimeout(resolve, 3100));
  const twin = new Node("a", 0);
  twin.channel.meet([callee("b", port)]);
  await until(() => b.notices.some((line) => line.startsWith("peer-twice a: at ")));
});

test("frames of 1 MiB keep their order past what the socket takes at once", async () => {
  const { a, b } = await pair();
  const sizes: number[] = [];
  for (let i = 0; i < 7; i++) a.say("b", `${i}`.padEnd(1_000_000, "."));
  await until(() => b.heard.length === 7);
  for (const text of b.heard) sizes.push(Number(text.slice(2, 3)));
  expect(sizes).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test("a callee that comes back is called again, and hears what is said then", async () => {
  const { a, b, port } = await pair();
  await until(() => a.channel.status()[0]?.isConnected === true);
  b.channel.close();
  await until(() => a.channel.status()[0]?.isConnected === false);
  const again = new Node("b", port);
  await again.channel.listen();
  await until(() => a.channel.status()[0]?.isConnected === true);
  a.say("b", "welcome back");
  await until(() => again.heard.length === 1);
  expect(again.heard).toEqual(["a welcome back"]);
});

/** A stranger's socket. */
async function stranger(port: number): Promise<{ socket: Socket; isClosed: () => boolean }> {
  const socket = connect({ host: "127.0.0.1", port });
  let isClosed = false;
  socket.on("close", () => {
    isClosed = true;
  });
  socket.on("error", () => {});
  await new Promise<void>((resolve) => socket.once("connect", resolve));
  return { socket, isClosed: () => isClosed };
}

test("nodes of two ledgers hear which, at both ends", async () => {
  const other = new Uint8Array(32).fill(2);
  const b = new Node("b", 0, false, other);
  const port = await b.channel.listen();
  b.channel.meet([callee("a", 1)]);
  const a = new Node("a", 0);
  a.channel.meet([callee("b", port)]);
  await until(() => a.notices.length > 0 && b.notices.length > 0);
  const [ours, theirs] = ["01".repeat(32), "02".repeat(32)];
  expect(a.notices[0]).toContain(`it is of chain ${theirs}, this node of ${ours}`);
  expect(b.notices[0]).toContain(`it is no peer of a node of chain ${theirs}`);
  expect([a, b].map(({ channel }) => channel.status()[0]?.isConnected)).toEqual([false, false]);
});

test("garbage is cut off, and peers go on speaking", async () => {
  const { a, b, port } = await pair();
  for (let i = 0; i < 20; i++) {
    const { socket, isClosed } = await stranger(port);
    socket.write(crypto.getRandomValues(new Uint8Array(5000)).fill(0xff, 0, 2));
    await until(isClosed);
  }
  expect(b.notices.filter((line) => line.startsWith("peer-refused")).length).toBe(20);
  a.say("b", "still here");
  await until(() => b.heard.length === 1);
});

test("strangers who say nothing have seats that are taken from them, oldest first", async () => {
  const { a, b, port } = await pair();
  const silent = await Promise.all(Array.from({ length: 80 }, () => stranger(port)));
  await until(() => silent.filter(({ isClosed }) => isClosed()).length >= 16);
  a.say("b", "hello");
  await until(() => b.heard.length === 1);
  await until(() => silent.every(({ isClosed }) => isClosed()));
});

test("a port in use is an error that says what to do", async () => {
  const { port } = await pair();
  const third = new Node("b", port);
  expect(third.channel.listen()).rejects.toThrow(`port ${port}`);
});
