/** Our SSH server and client with each other: frames, keys, refusals. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { FrameChannel, type FrameChannelOptions } from "../../src/ssh/frame-channel.ts";
import type { SshClient } from "../../src/ssh/ssh-client.ts";
import { fingerprintOf, sshPublicKey } from "../../src/ssh/ssh-keys.ts";
import { SSH_LIMITS } from "../../src/ssh/ssh-settings.ts";
import { type ManagerFrame, managementTag } from "../../src/wire/manager-frame.ts";
import { clientOf, drawSeed, openSite, type Site, TAG } from "./ssh-site.ts";

let site: Site;

beforeAll(async () => {
  site = await openSite();
});

afterAll(() => site.close());

type Talk = { channel: FrameChannel; next: () => Promise<ManagerFrame>; ended: Promise<string> };

async function talkOver(client: SshClient, options: Partial<FrameChannelOptions> = {}) {
  const stream = await client.subsystem();
  const channel = new FrameChannel(stream, { tag: TAG, ...SSH_LIMITS, ...options });
  const waiting: ((frame: ManagerFrame) => void)[] = [];
  const came: ManagerFrame[] = [];
  const ended = new Promise<string>((resolve) => {
    channel.open({
      frame: (frame) => {
        const waiter = waiting.shift();
        if (waiter === undefined) came.push(frame);
        else waiter(frame);
      },
      ended: resolve,
    });
  });
  const next = (): Promise<ManagerFrame> => {
    const first = came.shift();
    return first === undefined
      ? new Promise((resolve) => waiting.push(resolve))
      : Promise.resolve(first);
  };
  return { channel, next, ended } satisfies Talk;
}

test("frames of every size go there and back", async () => {
  const client = await clientOf(site);
  const { channel, next } = await talkOver(client);
  for (const sizeBytes of [0, 1, 1000, 40_000, 4 * 1024 * 1024]) {
    const frame = { flag: 3, type: 7, body: new Uint8Array(sizeBytes).fill(sizeBytes & 0xff) };
    expect(channel.send(frame)).toBe(true);
    const echo = await next();
    expect(echo.body.length).toBe(sizeBytes);
    expect(echo).toEqual(frame);
  }
  expect(client.localAddress).toBe("127.0.0.1");
  client.close();
});

test("another manager's tag ends the channel", async () => {
  const client = await clientOf(site);
  const { channel, ended } = await talkOver(client, { tag: managementTag(new Uint8Array(33)) });
  channel.send({ flag: 3, type: 7, body: new Uint8Array(3) });
  expect(await ended).toBe("the other end closed");
  expect(site.ended.at(-1)).toBe("a frame had a wrong tag");
  client.close();
});

test("100 wrong host keys are refused 100 times, loudly, before anything is sent", async () => {
  const before = site.refusals.length;
  for (let i = 0; i < 100; i++) {
    const wrong = fingerprintOf(sshPublicKey(drawSeed()));
    const failure = await clientOf(site, { hostFingerprint: wrong }).catch((error) => error);
    expect(failure).toMatchObject({ code: "MANAGER_HOST_KEY" });
    expect(failure.message).toContain("IS NOT THE MANAGER");
  }
  // No log-in was tried: the server was shown no key.
  const shown = site.refusals.slice(before).filter(({ fingerprint }) => fingerprint !== undefined);
  expect(shown).toEqual([]);
});

test("100 wrong keys are refused 100 times", async () => {
  for (let i = 0; i < 100; i++) {
    const failure = await clientOf(site, { seed: drawSeed() }).catch((error) => error);
    expect(failure).toMatchObject({ code: "MANAGER_LOGIN_REFUSED" });
  }
});

const refusedLogins = [
  { name: "an agent's key as admin", user: "admin", seed: () => site.agentSeed },
  { name: "an administrator's key as agent", user: "agent", seed: () => site.adminSeed },
  { name: "a known key as root", user: "root", seed: () => site.adminSeed },
  { name: "a known key as nobody", user: "", seed: () => site.agentSeed },
];

test.each(refusedLogins)("refused: $name", async ({ user, seed }) => {
  const failure = await clientOf(site, { user, seed: seed() }).catch((error) => error);
  expect(failure).toMatchObject({ code: "MANAGER_LOGIN_REFUSED" });
});

test("an agent's key executes nothing, an administrator's opens no subsystem", async () => {
  const agent = await clientOf(site);
  const asAgent = await agent.execute(["agents", "list"]).catch((error) => error);
  expect(asAgent).toMatchObject({ code: "MANAGER_CHANNEL_REFUSED" });
  agent.close();
  const admin = await clientOf(site, { user: "admin", seed: site.adminSeed });
  const asAdmin = await admin.subsystem().catch((error) => error);
  expect(asAdmin).toMatchObject({ code: "MANAGER_CHANNEL_REFUSED" });
  const said = await admin.execute(["agents", "show", "web one", "$(id)"]);
  expect(said).toEqual({
    ...{ code: 0, output: "agents|show|web one|$(id)\n", complaint: "to stderr\n" },
  });
  admin.close();
});

const cutAt = [
  { name: "while the command is answered", words: ["wait"] },
  { name: "before the command is taken", words: ["cut"] },
];

test.each(cutAt)("a connection that ends $name is no answer", async ({ words }) => {
  const admin = await clientOf(site, { user: "admin", seed: site.adminSeed });
  const asked = admin.execute(words).catch((error) => error);
  if (words[0] === "wait") while (site.commands.at(-1)?.[0] !== "wait") await Bun.sleep(5);
  site.server.cut("admin", "the manager stops");
  expect(await asked).toMatchObject({ code: "MANAGER_SILENT" });
});

test("a third connection of a login takes the place of its first", async () => {
  const first = await clientOf(site);
  const gone = new Promise<void>((resolve) => first.onClose(resolve));
  const [second, third] = [await clientOf(site), await clientOf(site)];
  await gone;
  const { channel, next } = await talkOver(third);
  channel.send({ flag: 3, type: 1, body: new Uint8Array(1) });
  expect((await next()).type).toBe(1);
  second.close();
  third.close();
});

test("cutting a login ends its connections at once", async () => {
  const client = await clientOf(site);
  const gone = new Promise<void>((resolve) => client.onClose(resolve));
  site.server.cut("agent", "revoked");
  await gone;
});

test("keys of the connection are renewed under traffic", async () => {
  const renewing = await openSite({ rekeyMs: 40 });
  const client = await clientOf(renewing);
  const { channel, next } = await talkOver(client);
  const until = performance.now() + 400;
  let count = 0;
  while (performance.now() < until) {
    channel.send({ flag: 3, type: count & 0xff, body: new Uint8Array(2000) });
    expect((await next()).type).toBe(count++ & 0xff);
  }
  expect(count).toBeGreaterThan(20);
  client.close();
  await renewing.close();
});

test("who has keys renewed too often is cut off", async () => {
  const renewing = await openSite({ rekeyMs: 40, rekeysPerHourMax: 2 });
  const client = await clientOf(renewing);
  await talkOver(client);
  await new Promise<void>((resolve) => client.onClose(resolve));
  expect(renewing.refusals.at(-1)?.why).toBe("too many key exchanges");
  await renewing.close();
});

test("nobody is there", async () => {
  const closed = await openSite();
  const { port } = closed.server;
  await closed.close();
  const gone = { ...closed, server: { port } } as Site;
  const failure = await clientOf(gone).catch((error) => error);
  expect(failure).toMatchObject({ code: "MANAGER_UNREACHABLE" });
});
