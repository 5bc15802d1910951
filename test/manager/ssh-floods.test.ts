/** Strangers, half-open channels and slow readers: an enrolled agent is served all the same. */
import { expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { Client } from "ssh2";
import { FrameChannel } from "../../src/ssh/frame-channel.ts";
import { privateKeyText } from "../../src/ssh/ssh-keys.ts";
import { SSH_LIMITS } from "../../src/ssh/ssh-settings.ts";
import { clientOf, openSite, type Site, TAG } from "./ssh-site.ts";

function closeOf(socket: Socket): Promise<void> {
  socket.on("error", () => {});
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

function plainSocket(site: Site, from = "127.0.0.1"): Socket {
  const { port } = site.server;
  const socket = connect({ host: "127.0.0.1", port, localAddress: from });
  socket.resume();
  return socket;
}

/** One frame there and back by the agent of the site. */
async function isServed(site: Site): Promise<boolean> {
  const client = await clientOf(site);
  const channel = new FrameChannel(await client.subsystem(), { tag: TAG, ...SSH_LIMITS });
  const echo = new Promise<boolean>((resolve) => {
    channel.open({ frame: ({ type }) => resolve(type === 9), ended: () => resolve(false) });
  });
  channel.send({ flag: 3, type: 9, body: new Uint8Array(10) });
  const served = await echo;
  client.close();
  return served;
}

async function whenRefused(site: Site, why: string): Promise<void> {
  while (!site.refusals.some((refusal) => refusal.why === why)) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("strangers that say nothing are cut off in time", async () => {
  const site = await openSite({ loginMs: 100 });
  await closeOf(plainSocket(site));
  expect(site.refusals).toMatchObject([{ why: "no log-in in time", address: "127.0.0.1" }]);
  await site.close();
});

test("so many strangers of one address; those of others are served", async () => {
  const site = await openSite({ strangersPerAddressMax: 4 });
  const kept = Array.from({ length: 4 }, () => plainSocket(site, "127.0.0.2"));
  await closeOf(plainSocket(site, "127.0.0.2"));
  expect(site.refusals[0]?.why).toBe("too many strangers of one address");
  expect(await isServed(site)).toBe(true);
  for (const socket of kept) socket.destroy();
  await site.close();
});

test("a flood of 500 strangers from 100 addresses leaves room for an agent", async () => {
  const site = await openSite({ strangersMax: 64, strangersPerAddressMax: 8 });
  const flood = Array.from({ length: 500 }, (_, i) =>
    plainSocket(site, `127.0.1.${1 + (i % 100)}`),
  );
  const closed = flood.map(closeOf);
  expect(await isServed(site)).toBe(true);
  expect(site.server.counts().strangers).toBeLessThanOrEqual(64);
  await whenRefused(site, "too many strangers");
  for (const socket of flood) socket.destroy();
  await Promise.all(closed);
  await site.close();
});

test("noise before log-in: every stranger is cut off, and an agent is served", async () => {
  const site = await openSite({ loginBytesMax: 10_000, loginMs: 2000 });
  const noises = [
    Buffer.alloc(200_000, 0x41),
    Buffer.from(`SSH-2.0-${"x".repeat(20_000)}`),
    Buffer.concat([Buffer.from("SSH-2.0-x\r\n"), Buffer.alloc(100_000, 0xff)]),
    Buffer.concat([Buffer.from("SSH-2.0-x\r\n"), Buffer.alloc(100_000)]),
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    Buffer.from([0]),
  ];
  const closed = noises.map((noise) => {
    const socket = plainSocket(site);
    socket.write(noise);
    return closeOf(socket);
  });
  await Promise.all(closed);
  expect(await isServed(site)).toBe(true);
  await site.close();
});

test("who logs in and opens nothing is cut off", async () => {
  const site = await openSite({ idleMs: 100 });
  const client = await clientOf(site);
  await new Promise<void>((resolve) => client.onClose(resolve));
  expect(site.refusals.at(-1)).toMatchObject({ why: "no channel in time", user: "agent" });
  expect(await isServed(site)).toBe(true);
  await site.close();
});

/** A logged-in client of ssh2 itself, which does what ours does not. */
async function rawClient(site: Site, user: "agent" | "admin"): Promise<Client> {
  const client = new Client();
  client.on("error", () => {});
  await new Promise<void>((resolve) => {
    client.once("ready", resolve);
    const seed = user === "agent" ? site.agentSeed : site.adminSeed;
    const privateKey = privateKeyText(seed, "raw");
    client.connect({ host: "127.0.0.1", port: site.server.port, username: user, privateKey });
  });
  return client;
}

test("who takes nothing from its socket is cut off before it costs much", async () => {
  const site = await openSite({ waitingBytesMax: 256 * 1024, stallMs: 300 });
  site.onFrame = (frame, channel) => {
    for (let i = 0; i < 64; i++) channel.send(frame);
  };
  const client = await rawClient(site, "agent");
  const ended = new Promise<void>((resolve) => client.once("close", () => resolve()));
  const stream = await new Promise<import("ssh2").ClientChannel>((resolve, reject) => {
    client.subsys("abs", (error, channel) => (error ? reject(error) : resolve(channel)));
  });
  // The channel is never read: its window of 2 MiB fills, and then nothing is taken.
  const channel = new FrameChannel(stream, { tag: TAG, ...SSH_LIMITS });
  for (let i = 0; i < 40; i++) channel.send({ flag: 3, type: 1, body: new Uint8Array(100_000) });
  while (!site.ended.some((why) => why.startsWith("the other end reads"))) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  client.destroy();
  await ended;
  site.onFrame = undefined;
  expect(await isServed(site)).toBe(true);
  await site.close();
});

test("a socket that asks and never reads is cut off", async () => {
  const site = await openSite({ waitingBytesMax: 64 * 1024, stallMs: 600_000 });
  const client = await rawClient(site, "admin");
  const { _sock: socket, _protocol: protocol } = client as unknown as {
    _sock: Socket;
    _protocol: { ping: () => void };
  };
  socket.pause();
  const ended = closeOf(socket);
  let isCut = false;
  void whenRefused(site, "it reads too slowly").then(() => {
    isCut = true;
  });
  // Each asks for an answer; none is read.
  while (!isCut) {
    for (let i = 0; i < 1000; i++) protocol.ping();
    await new Promise((resolve) => setImmediate(resolve));
  }
  socket.destroy();
  await ended;
  await site.close();
}, 60_000);

test("an administrator that never takes its answer is cut off", async () => {
  const site = await openSite({ stallMs: 300 });
  const client = await rawClient(site, "admin");
  client.exec("big 10000000", () => {});
  await new Promise<void>((resolve) => client.once("close", () => resolve()));
  expect(site.refusals.at(-1)?.why).toBe("it does not read");
  await site.close();
});

test("so many sessions of a connection, and log-in attempts of a stranger", async () => {
  const site = await openSite({ sessionsMax: 2, loginAttemptsMax: 3 });
  const client = await rawClient(site, "admin");
  const answers = await Promise.all(
    Array.from({ length: 4 }, () => {
      return new Promise<boolean>((resolve) => {
        client.exec("agents", (error, channel) => {
          channel?.resume();
          resolve(error === undefined);
        });
      });
    }),
  );
  expect(answers.filter(Boolean)).toHaveLength(2);
  client.end();
  const stranger = new Client();
  stranger.on("error", () => {});
  const gone = new Promise<void>((resolve) => stranger.once("close", () => resolve()));
  let tries = 0;
  stranger.connect({
    ...{ host: "127.0.0.1", port: site.server.port, username: "agent" },
    authHandler: (_left, _partial, next) => {
      tries++;
      next({ type: "password", username: "agent", password: `${tries}` });
    },
  });
  await gone;
  expect(tries).toBeLessThanOrEqual(5);
  expect(site.refusals.at(-1)?.why).toBe("too many log-in attempts");
  await site.close();
});

/** An agent that is connected already: the longest that one of its frames took, in milliseconds. */
async function steadyAgent(site: Site): Promise<{ slowestMs: () => number; stop: () => void }> {
  const client = await clientOf(site);
  const channel = new FrameChannel(await client.subsystem(), { tag: TAG, ...SSH_LIMITS });
  let [slowest, sentMs, isOver] = [0, 0, false];
  const send = (): void => {
    sentMs = performance.now();
    channel.send({ flag: 3, type: 9, body: new Uint8Array(100) });
  };
  channel.open({
    frame: () => {
      slowest = Math.max(slowest, performance.now() - sentMs);
      setTimeout(send, 5);
    },
    ended: () => {
      if (!isOver) slowest = Number.POSITIVE_INFINITY;
    },
  });
  send();
  return {
    slowestMs: () => slowest,
    stop: () => {
      isOver = true;
      client.close();
    },
  };
}

test("an agent that logs in again and again is stopped, and the others are served", async () => {
  const site = await openSite({ loginsPerMinuteMax: 10 }, 2);
  const steady = await steadyAgent(site);
  const [, hostile] = site.agentSeeds;
  const results: string[] = [];
  for (let i = 0; i < 20; i++) {
    const done = clientOf(site, { seed: hostile ?? site.agentSeed }).then(
      (client) => {
        client.close();
        return "in";
      },
      () => "refused",
    );
    results.push(await done);
  }
  expect(results.filter((one) => one === "in")).toHaveLength(10);
  expect(results.slice(10)).toEqual(Array(10).fill("refused"));
  expect(site.refusals.at(-1)?.why).toBe("too many log-ins of one key");
  expect(steady.slowestMs()).toBeLessThan(3000);
  expect(await isServed(site)).toBe(true);
  steady.stop();
  await site.close();
});

test("an address that calls again and again is stopped, and an agent is served all the while", async () => {
  const site = await openSite({ callsPerMinuteMax: 50 });
  const steady = await steadyAgent(site);
  for (let i = 0; i < 300; i++) {
    const socket = plainSocket(site, "127.0.0.9");
    const closed = closeOf(socket);
    socket.end("SSH-2.0-flood\r\n");
    await closed;
  }
  const refused = site.refusals.filter(({ why }) => why === "too many calls of one address");
  expect(refused).toHaveLength(250);
  expect(new Set(refused.map(({ address }) => address))).toEqual(new Set(["127.0.0.9"]));
  expect(steady.slowestMs()).toBeLessThan(3000);
  expect(await isServed(site)).toBe(true);
  steady.stop();
  await site.close();
});
