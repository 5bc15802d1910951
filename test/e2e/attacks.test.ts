/**
 * "What an attacker on the network must not achieve" (design/wire.md): one test a line, 15 lines,
 * each on the wire against running agents. What is replayed or changed was sent by a real agent
 * just before; a positive control follows where a refusal could also mean a broken test.
 * In each way (enrolled-site.ts).
 */
import {
  afterAll,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { dropsOf } from "../../src/lab/agent-drops.ts";
import type { Captured } from "../../src/lab/capture.ts";
import { waitFor } from "../../src/lab/command.ts";
import { isPeerChannel, PROTOCOL, TCP_FLAG, tcpPacket } from "../../src/lab/frames.ts";
import type { Provisioning } from "../../src/lab/tenant.ts";
import {
  barePackets,
  endlessFragments,
  FIRST_BYTE,
  keylessFrames,
  movedFields,
  randomInitiations,
  smuggledPackets,
  synFlood,
  tearDownFrames,
} from "./attack-frames.ts";
import { framesFromInside, fromInside } from "./attack-inside.ts";
import { LINK_ATTACKS } from "./attack-link.ts";
import { AttackSite, CLOSED_PORT, changed } from "./attack-site.ts";
import { LIAR } from "./attack-tenants.ts";
import { WAYS } from "./enrolled-site.ts";
import { CLIENT, OTHER, PORTS, ROGUE, SERVER, STRANGER, stopwatch } from "./harness.ts";

const MINUTE_MS = 60_000;
const REDIS = ["redis-cli", "-h", SERVER.ipv4];
const done = stopwatch("e2e attacks");
let attack: AttackSite;

setDefaultTimeout(MINUTE_MS);
afterAll(done);

/** Frames that a VM sent since begin(), as they entered the switch; none of its ledger node. */
function sentBy(vm: string): Captured[] {
  const frames = attack.bridge.frames().filter((frame) => !isPeerChannel(frame));
  return frames.filter((frame) => frame.where === vm && frame.direction === "received");
}

function isHandshake(frame: Captured, kind: number): boolean {
  const [first, second] = frame.ipPayload ?? [];
  return frame.protocol === PROTOCOL.abs && first === FIRST_BYTE.handshake && second === kind;
}

/** Where the ABS header begins in IPv4 without options, without VLAN. */
const ABS_START = 34;

/**
 * What the server answered to these initiations: answers name the index of what they answer. It may
 * speak with honest VMs meanwhile.
 */
function answersTo(asked: readonly Uint8Array[]): Captured[] {
  const index = (bytes: Uint8Array, at: number) =>
    new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
  const indices = new Set(asked.map((bytes) => index(bytes, ABS_START + 8)));
  return sentBy(SERVER.name).filter((frame) => {
    const isAnswer = isHandshake(frame, 2) || isHandshake(frame, 3);
    return isAnswer && indices.has(index(frame.bytes, (frame.ipPayloadStart ?? ABS_START) + 4));
  });
}

function has(frame: Captured, text: string): boolean {
  return Buffer.from(frame.bytes).includes(text);
}

/** The only one, or the reason that there is none. */
function need<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`there is no ${what}`);
  return value;
}

describe.each(WAYS)("%s agents", (way) => {
  beforeAll(async () => {
    attack = await AttackSite.open(way);
  }, 2 * MINUTE_MS);
  afterAll(async () => {
    await attack?.site.close();
  });
  beforeEach(() => attack.begin());

  test("1. deliver a packet without the keys", async () => {
    await attack.inject(keylessFrames());
    expect(attack.deliveredWords(CLIENT.ipv4)).toEqual([]);
    expect(attack.deliveredWords(CLIENT.ipv6)).toEqual([]);
    for (const reason of [
      "untagged",
      "abs-version",
      "abs-flag",
      "abs-truncated",
      "unknown-index",
    ]) {
      expect(attack.reasons()).toContain(reason);
    }
    expect(await attack.redisWorks()).toBe(true);
  });

  test("2. replay within a session, across sessions, lanes, and a restart of either side", async () => {
    await attack.freshData("replay-me");
    const recorded = attack.dataFrom(CLIENT.name);
    expect(recorded.length).toBeGreaterThan(0);
    const lanes = recorded.flatMap((frame) =>
      Array.from({ length: 256 }, (_, lane) =>
        changed(frame, (packet, abs) => packet.setUint8(abs + 8, lane)),
      ),
    );
    const nothingArrives = async () => {
      attack.begin();
      await attack.inject([...recorded.map((frame) => frame.bytes), ...lanes]);
      expect(attack.deliveredWords(CLIENT.ipv4)).toEqual([]);
    };
    await nothingArrives();
    expect(attack.reasons()).toContain("counter-replayed");
    expect(attack.reasons()).toContain("lane");
    for (const vm of [CLIENT.name, SERVER.name]) {
      await attack.restart(vm);
      await nothingArrives();
      // The new session is in use, and knows the old packets as little.
      expect(await attack.redisWorks()).toBe(true);
      await nothingArrives();
    }
  });

  test("3. move a payload, port, address, length, identification or fragment field", async () => {
    const held = await attack.heldBack("first-secret", "other-secret");
    const first = need(held[0], "first datagram");
    const other = need(held[1], "other datagram");
    attack.begin();
    await attack.inject(movedFields(other).map((change) => changed(first, change)));
    expect(attack.deliveredWords(CLIENT.ipv4)).toEqual([]);
    expect(attack.deliveredWords(ROGUE.ipv4)).toEqual([]);
    expect(attack.reasons()).toContain("proof");
    expect(attack.reasons()).toContain("address-mismatch");
    // Unchanged they pass: what stopped the others was the change.
    await attack.inject([first.bytes, other.bytes]);
    expect(attack.hasText("first-secret")).toBe(true);
    expect(attack.hasText("other-secret")).toBe(true);
  });

  test("4. a session for another tenant, or for an application not entitled to", async () => {
    for (const vm of [OTHER.name, LIAR.name]) {
      attack.begin();
      const set = [...REDIS, "SET", "owned", "yes"];
      const result = await attack.site.run(vm, set, { timeoutMs: 1_500 });
      expect(result.timedOut).toBe(true);
      const delivered = attack.delivered(attack.site.vm(vm).ipv4);
      expect(delivered.filter((frame) => (frame.payload?.length ?? 0) > 0)).toEqual([]);
      const asked = sentBy(vm).filter((frame) => isHandshake(frame, 1));
      expect(asked.length).toBeGreaterThan(0);
      // Nor does the name of an honest VM help: addresses prove nothing.
      attack.begin();
      const asClient = asked.map((frame) => changed(frame, (packet) => packet.setUint8(15, 11)));
      await attack.inject(asClient, 500);
      expect(attack.hasEvent("handshake-refused")).toBe(true);
      expect(answersTo(asClient)).toEqual([]);
    }
    expect(await attack.redisWorks()).toBe(true);
  });

  test("5. learn whether an application tag exists", async () => {
    // The liar asks for a tag that exists and that it may not have, then for one nobody issued.
    const answersToLiar = async () => {
      attack.begin();
      // Attempts for the same tag may be under way from before; they are at most 2 s apart.
      await attack.site.run(LIAR.name, [...REDIS, "PING"], { timeoutMs: 4_000 });
      const answers = sentBy(SERVER.name).filter((frame) => frame.destination === LIAR.ipv4);
      return {
        asked: sentBy(LIAR.name).some((frame) => isHandshake(frame, 1)),
        answers: answers.filter((frame) => frame.ipPayload?.[0] !== FIRST_BYTE.data).length,
      };
    };
    // The tenant session exists before, so that only the tag is asked for.
    const meet = () =>
      attack.site.run(LIAR.name, ["ping", "-n", "-c", "1", "-W", "1", SERVER.ipv4]);
    await meet();
    expect(await answersToLiar()).toEqual({ asked: true, answers: 0 });
    await attack.restart(LIAR.name, attack.withGhostTag(LIAR.name));
    await meet();
    expect(await answersToLiar()).toEqual({ asked: true, answers: 0 });
  });

  test("6. fill tables, queues or the packet pool beyond their bounds", async () => {
    const flood = async () => {
      await fromInside(attack.site, ROGUE, synFlood(ROGUE, 4_000, PORTS.redis), SERVER);
      await attack.inject(endlessFragments(4_000));
      await attack.inject(randomInitiations(4_000));
      expect(await attack.redisWorks()).toBe(true);
    };
    // What has bounds is full after the first: events that are remembered, tables, hot code.
    await flood();
    const before = await attack.serverResidentBytes();
    await flood();
    const drops = Object.keys(dropsOf(await attack.site.agent(SERVER.name).status()));
    expect(drops.some((name) => name.includes("half-open-limit"))).toBe(true);
    const grownBytes = (await attack.serverResidentBytes()) - before;
    console.log(`  the server's agent grew by ${(grownBytes / (1 << 20)).toFixed(1)} MB`);
    expect(grownBytes).toBeLessThan(24 << 20);
  });

  test("7. make an agent spend more than one HMAC on an unauthenticated packet under load", async () => {
    const count = 5_000;
    const before = await attack.counter(SERVER.name, "mac1-checks");
    const initiations = randomInitiations(count);
    await attack.inject(initiations, 500);
    const spent = (await attack.counter(SERVER.name, "mac1-checks")) - before;
    expect(spent).toBeGreaterThan(0);
    // A genuine handshake may fall into the same second.
    expect(spent).toBeLessThanOrEqual(count + 8);
    expect(attack.reasons()).toContain("mac1");
    // Not one was worth a Diffie-Hellman, an answer or a cookie.
    expect(answersTo(initiations)).toEqual([]);
    expect(await attack.redisWorks()).toBe(true);
  });

  test("8. have the owner of an address quarantined by forging it", async () => {
    const frame = await attack.freshData("before");
    const forged = Array.from({ length: 2_000 }, (_, i) =>
      changed(frame, (packet, abs) => {
        packet.setUint32(abs + 12, packet.getUint32(abs + 12) + 1 + (i % 64));
      }),
    );
    await attack.inject(forged);
    expect(attack.reasons()).toContain("proof");
    expect(attack.reasons()).not.toContain("quarantined");
    expect(await attack.redisWorks()).toBe(true);
    await attack.freshData("still-welcome");
  });

  test("9. tear down or black-hole a session", async () => {
    const subscribe = [...REDIS, "SUBSCRIBE", "news"];
    const subscribing = attack.site.run(CLIENT.name, subscribe, { timeoutMs: 6_000 });
    const template = await attack.freshData("template");
    await attack.restart(LIAR.name, attack.attacked.fileOf(LIAR.name));
    await attack.site.run(LIAR.name, ["ping", "-n", "-c", "1", "-W", "1", SERVER.ipv4]);
    const handshakes = attack.bridge
      .frames()
      .filter((frame) => isHandshake(frame, 1) || isHandshake(frame, 2))
      .map((frame) => changed(frame, (packet, abs) => packet.setUint32(abs + 8, 0x01020304)));
    expect(handshakes.length).toBeGreaterThan(0);
    await attack.inject([...tearDownFrames(template), ...handshakes]);
    expect(await attack.redisWorks()).toBe(true);
    // The flow that was there all the time still gets what the server says, full-size packets too.
    const news = "x".repeat(3_000);
    await attack.site.run(SERVER.name, [...REDIS, "PUBLISH", "news", news]);
    expect((await subscribing).stdout).toContain(news);
  });

  test("10. use an old generation of a contract after its overlap", async () => {
    const { fileOf, outdatedFileOf } = attack.attacked;
    const attempt = async (file: Provisioning) => {
      await attack.restart(LIAR.name, file);
      attack.begin();
      const ping = ["ping", "-n", "-c", "1", "-W", "2", SERVER.ipv4];
      const result = await attack.site.run(LIAR.name, ping, { timeoutMs: 4_000 });
      return { passed: result.code === 0, refused: attack.hasEvent("handshake-refused") };
    };
    expect(await attempt(fileOf(LIAR.name))).toMatchObject({ passed: true });
    const outdated = await outdatedFileOf(LIAR.name);
    expect(await attempt(outdated)).toEqual({ passed: false, refused: true });
    // Rogue goes on with the new secrets: its pings are refused, but under a session.
    await attack.restart(ROGUE.name, fileOf(ROGUE.name));
    await attack.site.run(ROGUE.name, ["ping", "-n", "-c", "1", "-W", "2", SERVER.ipv4]);
  });

  test("11. pass a payload by fragments, Fast Open, options or extension headers", async () => {
    const text = "smuggled-payload";
    await fromInside(attack.site, ROGUE, smuggledPackets(text), SERVER);
    await Bun.sleep(1_500); // Held fragments have had their second.
    expect(attack.dataFrom(ROGUE.name).length).toBeGreaterThan(4);
    expect(attack.hasText(text)).toBe(false);
    expect(attack.hasText(text.slice(4))).toBe(false);
    // What rogue's own agent would not even seal, it says; the rest the server refuses.
    const reasons = new Set([...attack.reasons(ROGUE.name), ...attack.reasons()]);
    for (const reason of ["tenant-payload", "fast-open", "egress-options", "ipv4-source-route"]) {
      expect(reasons).toContain(reason);
    }
  });

  test("12. reach a socket through the outside interface behind the agent's back", async () => {
    await attack.inject(barePackets(STRANGER, 20_012));
    const addresses: readonly (string | undefined)[] = [STRANGER.ipv4, STRANGER.ipv6];
    const about = (frame: Captured) =>
      addresses.includes(frame.source) || addresses.includes(frame.destination);
    expect(attack.inside.frames().filter(about)).toEqual([]);
    expect(sentBy(SERVER.name).filter(about)).toEqual([]);
  });

  test("13. lock a host out by time stamps", async () => {
    const client = attack.site.agent(CLIENT.name);
    // Contracts of a manager end within the year; those in a file of these tests do not.
    const ahead = way === "provisioned" ? "31536000" : "86400";
    for (const offset of [ahead, "0", "-86400", "0"]) {
      await client.stop();
      client.restart(undefined, [`--wall-clock-offset=${offset}`]);
      await client.ready();
      expect(await attack.redisWorks()).toBe(true);
    }
    // Initiations of the future, replayed, change nothing either.
    const initiations = sentBy(CLIENT.name).filter((frame) => isHandshake(frame, 1));
    const genuine = initiations.map((frame) => frame.bytes);
    // They were answered: the answers that other lines do not find would be seen.
    expect(answersTo(genuine).length).toBeGreaterThan(0);
    await attack.inject(genuine);
    await attack.restart(CLIENT.name);
    expect(await attack.redisWorks()).toBe(true);
  });

  test("14. close a window by a forged counter", async () => {
    const [held] = await attack.heldBack("after-the-forgery");
    const frame = need(held, "held packet");
    const forged = [1, 4_095, 4_096, 2 ** 24, 2 ** 31].flatMap((ahead) => [
      changed(frame, (packet, abs) => {
        packet.setUint32(abs + 12, packet.getUint32(abs + 12) + ahead);
      }),
      changed(frame, (packet, abs) => packet.setUint16(abs + 10, 0xffff)),
      changed(frame, (packet, abs) => packet.setUint8(abs + 9, 0xff)),
    ]);
    attack.begin();
    await attack.inject(forged);
    expect(attack.deliveredWords(CLIENT.ipv4)).toEqual([]);
    await attack.inject([frame.bytes]);
    expect(attack.hasText("after-the-forgery")).toBe(true);
    expect(await attack.redisWorks()).toBe(true);
  });

  test("15. as a compromised VM: claim an application, scan ports, read unidentified", async () => {
    const run = (command: readonly string[]) => {
      return attack.site.run(ROGUE.name, command, { timeoutMs: 2_000 });
    };
    // Claim: Redis commands under the tenant session reach nobody.
    expect((await run([...REDIS, "SET", "owned", "yes"])).timedOut).toBe(true);
    expect(attack.hasText("owned")).toBe(false);
    // Scan: of ports that no rule opens not even the SYN arrives.
    const ports = [1, 23, 80, 443, 3_306, 5_432, CLOSED_PORT, 65_535];
    const flow = { source: ROGUE.ipv4, destination: SERVER.ipv4, sourcePort: 23_000 };
    const syns = ports.map((port) =>
      tcpPacket({ ...flow, destinationPort: port, flags: TCP_FLAG.syn }),
    );
    await fromInside(attack.site, ROGUE, syns, SERVER);
    const all = () => attack.events({ sourcePort: 23_000 }).length >= ports.length || undefined;
    await waitFor("an event for each port", all, 20_000);
    const arrived = attack.delivered(ROGUE.ipv4).filter((frame) => frame.sourcePort === 23_000);
    expect(arrived).toEqual([]);
    // Read: sshd greets at once, and its rule does not say serverFirst.
    const tap = attack.site.tapVm(ROGUE.name);
    const script = `exec 3<>/dev/tcp/${SERVER.ipv4}/${PORTS.ssh}; timeout 1 head -c 3 <&3`;
    const read = await run(["bash", "-c", script]);
    const greeting = tap.frames().filter((each) => each.direction === "received");
    tap.close();
    expect(read.stdout).toBe("");
    expect(greeting.filter((frame) => has(frame, "SSH-2"))).toEqual([]);
    const spoken = attack.inside.frames().filter((frame) => frame.direction === "sent");
    expect(spoken.some((frame) => has(frame, "SSH-2"))).toBe(true);
  });

  test.each([...LINK_ATTACKS])("below IP: $name", async ({ from, frames, reason }) => {
    const vm = from === "network" ? SERVER.name : CLIENT.name;
    if (from === "network") await attack.inject(frames);
    else await framesFromInside(attack.site, CLIENT, frames);
    await waitFor(`an event ${reason}`, () => attack.reasons(vm).has(reason) || undefined, 20_000);
    // Neither the server's kernel nor, of what the VM sends, the switch has seen any of them.
    const seen = from === "network" ? attack.inside.frames() : sentBy(CLIENT.name);
    const texts = new Set(frames.map((frame) => Buffer.from(frame).toString("hex")));
    const got = seen.filter(({ bytes }) => texts.has(Buffer.from(bytes).toString("hex")));
    expect(got.map(({ direction, where }) => `${direction} ${where}`)).toEqual([]);
    expect(await attack.redisWorks()).toBe(true);
  });
});
