/**
 * Checks of the story made from inside a VM: the way around the agent on the way out, addresses
 * that are not the VM's own, and the death of an agent. design/agent.md, first section and "Guard
 * below IP"; what happens when the agent dies is `onStop`.
 */
import type { Captured } from "./capture.ts";
import { all, type Check, type Observed, type StoryContext } from "./check.ts";
import { app1, app1Works } from "./checks-programs.ts";
import { lastWords } from "./command.ts";
import { ethernet, PROTOCOL, TCP_FLAG, tcpPacket, udpPacket } from "./frames.ts";
import { REDIS_PORT, STRANGER, VMS } from "./lab-plan.ts";
import { PacketSocket } from "./packet-socket.ts";
import { interfacesIn, namespaceOf } from "./topology.ts";

const { web: WEB, db: DB } = VMS;
const SOURCE_PORT = 20_002;
const SETTLE_MS = 300;

/** Sends frames by a packet socket out of every interface that web's root can see. */
function sendFromWeb(story: StoryContext, frames: readonly Uint8Array[]): string[] {
  const namespace = namespaceOf(story.site.options.prefix, "web");
  const interfaces = interfacesIn(namespace);
  for (const [index, name] of interfaces) {
    const socket = new PacketSocket(namespace, name);
    for (const frame of frames) socket.send(index, frame);
    socket.close();
  }
  return [...interfaces.values()];
}

/** Frames of the forged flow that left web for the switch without the field. */
function leaked(story: StoryContext): Captured[] {
  return story.switchTap
    .frames()
    .filter((frame) => frame.where === "web" && frame.direction === "received")
    .filter((frame) => frame.protocol !== PROTOCOL.abs && frame.sourcePort === SOURCE_PORT);
}

function flowFrames(source: string, destination: string): Uint8Array[] {
  const ports = { sourcePort: SOURCE_PORT, destinationPort: REDIS_PORT };
  const flow = { source, destination, ...ports };
  const payload = new TextEncoder().encode("FLUSHALL\r\n");
  const link = { sourceMac: WEB.mac, destinationMac: DB.mac };
  return [
    tcpPacket({ ...flow, flags: TCP_FLAG.ack | TCP_FLAG.psh, acknowledgement: 1 }, payload),
    udpPacket(flow, payload),
  ].map((packet) => ethernet(link, packet));
}

function bypassOutbound(version: "ipv4" | "ipv6"): Check {
  return {
    name: `bypass-out-${version}`,
    tried: `root in web sends raw frames to db out of every interface there is (${version})`,
    expected: "only the inside interface is there; no frame of that flow leaves without the field",
    async run(story) {
      const interfaces = sendFromWeb(story, flowFrames(WEB[version], DB[version]));
      await Bun.sleep(SETTLE_MS);
      const breached = leaked(story).length > 0;
      const seen: Observed = {
        passed: !breached && interfaces.length === 1,
        breached,
        words: `interfaces: ${interfaces.join(", ")}; ${leaked(story).length} bare frames left web`,
      };
      const pattern = { source: WEB[version], sourcePort: SOURCE_PORT, destination: DB[version] };
      return all(seen, await story.eventProof(pattern, 2_000), nothingAtDb(story));
    },
    sabotage: { words: "no agents run", settings: { agents: "none" } },
  };
}

function nothingAtDb(story: StoryContext): Observed {
  const arrived = story.insideFrames("db").filter((frame) => frame.sourcePort === SOURCE_PORT);
  const breached = arrived.length > 0;
  return { passed: !breached, breached, words: `${arrived.length} frames inside db` };
}

const spoofedSource: Check = {
  name: "spoofed-source",
  tried: "root in web sends packets with rogue's and a stranger's address as their source",
  expected: "dropped by web's agent: not this VM's address; nothing leaves, with or without field",
  async run(story) {
    const frames = [VMS.rogue, STRANGER].flatMap((vm) => flowFrames(vm.ipv4, DB.ipv4));
    sendFromWeb(story, frames);
    await Bun.sleep(SETTLE_MS);
    const breached = leaked(story).length > 0;
    const seen: Observed = {
      passed: !breached,
      breached,
      words: `${leaked(story).length} spoofed frames left web`,
    };
    const pattern = {
      source: VMS.rogue.ipv4,
      sourcePort: SOURCE_PORT,
      reasons: ["source-address", "spoofed-source"],
    };
    return all(seen, await story.eventProof(pattern, 2_000), nothingAtDb(story));
  },
  sabotage: { words: "no agents run", settings: { agents: "none" } },
};

const agentKilled: Check = {
  name: "agent-killed",
  tried:
    "web's agent is stopped, started again by the same command, and killed; App1 tries meanwhile",
  expected: "web, which enforces, is cut off (onStop: closed): App1 fails, no packet leaves web",
  async run(story) {
    const agent = story.agent("web");
    // What it does when it ends is fixed at its start, and then it was new, and observed.
    await agent.stop();
    agent.startAgain();
    await agent.ready();
    await agent.kill();
    story.begin();
    const command = app1(DB.ipv4, "GET", "story");
    const result = await story.site.run("web", command, { timeoutMs: 1_500 });
    const left = story.switchTap
      .frames()
      .filter((frame) => frame.where === "web" && frame.direction === "received").length;
    const words = `client: ${lastWords(result)}; ${left} frames left web`;
    const breached = result.code === 0 || left > 0;
    return { passed: !breached, breached, words };
  },
  sabotage: { words: "web's agent runs with onStop: open", settings: { onStop: "open" } },
};

const agentBack: Check = {
  name: "agent-back",
  tried: "web's agent is started again on what its death left behind",
  expected: "App1 works again",
  async run(story) {
    const agent = story.agent("web");
    await agent.kill();
    agent.startAgain();
    const started = performance.now();
    await agent.ready();
    const readyMs = Math.round(performance.now() - started);
    const observed = await app1Works(story, "web", DB.ipv4);
    return { passed: observed.passed, words: `ready after ${readyMs} ms; ${observed.words}` };
  },
  sabotage: { words: "the manager no longer lets web claim App1", settings: { webApps: ["ping"] } },
};

export const LOCAL_CHECKS: readonly Check[] = [
  bypassOutbound("ipv4"),
  bypassOutbound("ipv6"),
  spoofedSource,
];

export const DEATH_CHECKS: readonly Check[] = [agentKilled, agentBack];
