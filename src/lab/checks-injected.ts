/**
 * Checks of the story in which somebody at the switch injects frames: bare packets, replayed ones,
 * forged ones, ARP lies. design/wire.md "What an attacker on the network must not achieve".
 */
import type { Captured } from "./capture.ts";
import { all, type Check, type Observed, observeInjection, type StoryContext } from "./check.ts";
import { app1Works } from "./checks-programs.ts";
import {
  arpPacket,
  ETHERTYPE,
  ethernet,
  isPeerChannel,
  PROTOCOL,
  TCP_FLAG,
  tcpPacket,
  udpPacket,
} from "./frames.ts";
import { REDIS_PORT, STRANGER, VMS } from "./lab-plan.ts";

const { web: WEB, db: DB } = VMS;
/** Ports that no real client of the lab uses: the range below the kernel's own choice. */
const FORGED_SOURCE_PORT = 20_001;
/** The last acknowledgement of an exchange may follow the client's end. */
const EXCHANGE_END_MS = 200;
const ABS_HEADER_BYTES = 32;
const FLAG_DATA = 5;

/** A SYN, a segment with payload and a datagram, bare, from one address to db's Redis port. */
export function bareFrames(from: typeof WEB, version: "ipv4" | "ipv6"): Uint8Array[] {
  const link = { sourceMac: from.mac, destinationMac: DB.mac };
  const flow = {
    source: from[version],
    destination: DB[version],
    sourcePort: FORGED_SOURCE_PORT,
    destinationPort: REDIS_PORT,
  };
  const payload = new TextEncoder().encode("PING\r\n");
  return [
    tcpPacket({ ...flow, flags: TCP_FLAG.syn }),
    tcpPacket({ ...flow, flags: TCP_FLAG.ack | TCP_FLAG.psh, acknowledgement: 1 }, payload),
    udpPacket(flow, payload),
  ].map((packet) => ethernet(link, packet));
}

/** Whether a frame belongs to the flow of bareFrames(), in either direction, or asks for it. */
function ofForgedFlow(frame: Captured): boolean {
  return frame.sourcePort === FORGED_SOURCE_PORT || frame.destinationPort === FORGED_SOURCE_PORT;
}

function bareInjected(version: "ipv4" | "ipv6"): Check {
  return {
    name: `bare-injected-${version}`,
    tried: `bare TCP and UDP packets in web's name are injected towards db (${version})`,
    expected: "dropped as untagged: nothing inside, no answer, an event with the 5-tuple",
    run: (story) =>
      observeInjection(story, {
        to: "db",
        frames: bareFrames(WEB, version),
        pattern: {
          source: WEB[version],
          sourcePort: FORGED_SOURCE_PORT,
          destination: DB[version],
          destinationPort: REDIS_PORT,
          reasons: ["untagged"],
        },
        caused: ofForgedFlow,
      }),
    sabotage: { words: "no agents run", settings: { agents: "none" } },
  };
}

function bypassInbound(version: "ipv4" | "ipv6"): Check {
  return {
    name: `bypass-in-${version}`,
    tried: `a stranger at the switch sends to db's own address, past the agent (${version})`,
    expected: "no socket of db hears it: nothing inside, no answer",
    run: (story) =>
      observeInjection(story, {
        to: "db",
        frames: bareFrames(STRANGER, version),
        pattern: {
          source: STRANGER[version],
          sourcePort: FORGED_SOURCE_PORT,
          destination: DB[version],
          destinationPort: REDIS_PORT,
          reasons: ["outside-denied"],
        },
        // Even looking for the stranger's MAC would show that db's kernel got a packet.
        caused: (frame) => ofForgedFlow(frame) || mentionsStranger(frame),
      }),
    sabotage: { words: "no agents run", settings: { agents: "none" } },
  };
}

function mentionsStranger(frame: Captured): boolean {
  if (frame.source === STRANGER.ipv4 || frame.source === STRANGER.ipv6) return true;
  if (frame.destination === STRANGER.ipv4 || frame.destination === STRANGER.ipv6) return true;
  const targetOfArp = frame.bytes.subarray(38, 42).join(".");
  return frame.etherType === ETHERTYPE.arp && targetOfArp === STRANGER.ipv4;
}

/** DATA packets of a whole App1 exchange that web sent to db, as the switch saw them. */
async function recordExchange(story: StoryContext): Promise<Captured[]> {
  await app1Works(story, "web", DB.ipv4);
  await Bun.sleep(EXCHANGE_END_MS);
  const frames = story.switchTap.frames().filter((frame) => {
    const toDb = frame.where === "web" && frame.direction === "received";
    const isData = frame.protocol === PROTOCOL.abs && (frame.ipPayload?.[0] ?? 0) === 0x15;
    return toDb && isData && frame.destination === DB.ipv4;
  });
  story.begin();
  return frames;
}

/**
 * The replayed bytes are the exact ones, so an effect is anything new from web that has payload.
 */
function isFromWeb(frame: Captured): boolean {
  const isFrom = frame.direction === "received" && frame.source === WEB.ipv4;
  return isFrom && !isPeerChannel(frame);
}

const replayed: Check = {
  name: "replayed",
  tried: "every packet of an App1 exchange is captured at the switch and sent to db again",
  expected: "each is dropped: its counter was seen; not one reaches the inside",
  async run(story) {
    const recorded = await recordExchange(story);
    const enough: Observed = {
      passed: recorded.length >= 8 && recorded.some((frame) => frame.bytes.length > 100),
      words: `${recorded.length} packets recorded`,
    };
    const observed = await observeInjection(story, {
      to: "db",
      frames: recorded.map((frame) => frame.bytes),
      pattern: {
        source: WEB.ipv4,
        destination: DB.ipv4,
        reasons: ["counter-replayed", "counter-old"],
      },
      caused: isFromWeb,
    });
    return all(enough, observed);
  },
  sabotage: {
    words: "the contract is an unauthenticated one, which has no replay window",
    settings: { constantProof: true },
  },
};

const forged: Check = {
  name: "forged",
  tried: "captured packets with a counter not yet used and a changed byte of payload",
  expected: "each is dropped: the proof does not fit; not one reaches the inside",
  async run(story) {
    const recorded = await recordExchange(story);
    const changed = recorded.filter((frame) => frame.ipPayloadStart !== undefined).map(forge);
    const observed = await observeInjection(story, {
      to: "db",
      frames: changed,
      pattern: { source: WEB.ipv4, destination: DB.ipv4, reasons: ["proof"] },
      caused: isFromWeb,
    });
    const enough = { passed: changed.length >= 8, words: `${changed.length} packets changed` };
    return all(enough, observed);
  },
  sabotage: {
    words: "the contract is an unauthenticated one, whose proof never changes",
    settings: { constantProof: true },
  },
};

/** The packet with its counter raised by 500 and the last byte of its payload changed. */
function forge(frame: Captured): Uint8Array {
  const start = frame.ipPayloadStart ?? 0;
  const forgedBytes = frame.bytes.slice();
  const view = new DataView(forgedBytes.buffer);
  view.setUint32(start + 12, view.getUint32(start + 12, false) + 500, false);
  const last = start + (frame.ipPayload?.length ?? 0) - 1;
  view.setUint8(last, view.getUint8(last) ^ 0x01);
  return forgedBytes;
}

const arpLie: Check = {
  name: "arp-lie",
  tried: "an ARP reply at the switch tells db that web's address is at another MAC",
  expected: "dropped and reported: db's kernel never sees it",
  async run(story) {
    const packet = arpPacket({
      operation: 2,
      senderMac: STRANGER.mac,
      senderAddress: WEB.ipv4,
      targetMac: DB.mac,
      targetAddress: DB.ipv4,
    });
    const link = { sourceMac: STRANGER.mac, destinationMac: DB.mac };
    const isLie = (frame: Captured) =>
      frame.etherType === ETHERTYPE.arp && frame.sourceMac === STRANGER.mac;
    return await observeInjection(story, {
      to: "db",
      frames: [ethernet(link, packet, ETHERTYPE.arp)],
      pattern: { reasons: ["arp-spoofed"] },
      caused: isLie,
    });
  },
  sabotage: { words: "no agents run", settings: { agents: "none" } },
};

/** Whether a frame seen at the switch is a DATA packet with a payload of its own. */
export function isDataFrame(frame: Captured): boolean {
  const first = frame.ipPayload?.[0] ?? 0;
  const isAbs = frame.protocol === PROTOCOL.abs && first === (0x10 | FLAG_DATA);
  return isAbs && (frame.ipPayload?.length ?? 0) > ABS_HEADER_BYTES;
}

export const INJECTED_CHECKS: readonly Check[] = [
  bareInjected("ipv4"),
  bareInjected("ipv6"),
  bypassInbound("ipv4"),
  bypassInbound("ipv6"),
  replayed,
  forged,
  arpLie,
];
