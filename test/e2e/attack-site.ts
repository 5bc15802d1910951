/**
 * The site of the attack tests and what an attacker at its switch can do: record, hold back,
 * change, inject. Five VMs: an honest client and server; rogue, a compromised VM of the tenant
 * whose agent judges nothing and sends everything under the tenant session; liar, which claims tags
 * that it may not have; other, a VM of another tenant. Frames are changed as whole packets, IP
 * checksum mended.
 */

import { generateTag } from "../../src/agent/keys.ts";
import type { Captured } from "../../src/lab/capture.ts";
import { inject } from "../../src/lab/check.ts";
import { waitFor } from "../../src/lab/command.ts";
import { type AgentEvent, type FlowPattern, namesFlow } from "../../src/lab/event-reader.ts";
import { internetChecksum, isPeerChannel, PROTOCOL } from "../../src/lab/frames.ts";
import { startRedis, startSshd } from "../../src/lab/programs.ts";
import type { Site } from "../../src/lab/site.ts";
import type { Provisioning } from "../../src/lab/tenant.ts";
import { BRIDGE, ipBatch, namespaceOf } from "../../src/lab/topology.ts";
import { type Attacked, openEnrolled, openProvisioned } from "./attack-tenants.ts";
import type { Way } from "./enrolled-site.ts";
import { CLIENT, PORTS, SERVER } from "./harness.ts";

/** The last acknowledgement of a connection follows the client's end. */
const LAST_SEGMENT_MS = 100;
/** An enrolled agent that has just started reads its chain first. */
const REDIS_MS = 20_000;
/** A port of the server that no rule opens. */
export const CLOSED_PORT = 6_380;

/** Site, taps and attacker's tools in one. */
export class AttackSite {
  readonly site: Site;
  readonly bridge;
  readonly inside;
  /** Events of each agent before begin(). */
  readonly #marks = new Map<string, number>();

  private constructor(readonly attacked: Attacked) {
    const { site } = attacked;
    this.site = site;
    this.bridge = site.tapSwitch();
    this.inside = site.tapVm(SERVER.name);
  }

  static async open(way: Way): Promise<AttackSite> {
    const attacked = await (way === "provisioned" ? openProvisioned() : openEnrolled());
    const { site } = attacked;
    const host = site.host(SERVER.name);
    await site.keep(startRedis(host, PORTS.redis));
    await site.keep(startRedis(host, CLOSED_PORT));
    await site.keep(startSshd(host, PORTS.ssh));
    const attack = new AttackSite(attacked);
    await attack.warmUp();
    return attack;
  }

  /** Both sides know each other's MAC and have sessions for Redis and load. */
  async warmUp(): Promise<void> {
    if (!(await this.redisWorks())) throw new Error("Redis does not work on the attack site");
    await this.datagram("warm-up");
    await waitFor("the first datagram", () => this.hasText("warm-up") || undefined);
    this.begin();
  }

  begin(): void {
    this.bridge.clear();
    this.inside.clear();
    for (const { launch, events } of this.site.agents()) {
      this.#marks.set(launch.vm, events.all().length);
    }
  }

  async redisWorks(timeoutMs = REDIS_MS): Promise<boolean> {
    const command = ["redis-cli", "-h", SERVER.ipv4, "PING"];
    const result = await this.site.run(CLIENT.name, command, { timeoutMs });
    await Bun.sleep(LAST_SEGMENT_MS);
    return result.stdout.trim() === "PONG";
  }

  /** One datagram of application `load` from the client, by its kernel. */
  async datagram(text: string, port = 7_000): Promise<void> {
    const script = `echo -n '${text}' > /dev/udp/${SERVER.ipv4}/${port}`;
    await this.site.run(CLIENT.name, ["bash", "-c", script]);
  }

  /** A DATA frame of the client that the server has just taken; `text` is its payload. */
  async freshData(text: string): Promise<Captured> {
    await this.datagram(text);
    await waitFor("the datagram", () => this.hasText(text) || undefined, 20_000);
    const found = this.dataFrom(CLIENT.name).find(({ bytes }) => hasWords(bytes, text));
    if (found === undefined) throw new Error("the datagram did not pass the switch");
    return found;
  }

  /** DATA frames that a VM sent to the server since begin(), as they entered the switch. */
  dataFrom(vm: string): Captured[] {
    return this.bridge.frames().filter((frame) => {
      const isData = frame.protocol === PROTOCOL.abs && frame.ipPayload?.[0] === 0x15;
      const toServer = frame.destination === SERVER.ipv4 || frame.destination === SERVER.ipv6;
      return frame.where === vm && frame.direction === "received" && isData && toServer;
    });
  }

  /**
   * Datagrams of these texts that the client sends while its wire behind the switch is cut: fresh
   * packets, proofs right, that the server has not seen. In the order of the texts.
   */
  async heldBack(...texts: readonly string[]): Promise<Captured[]> {
    // The session must be there before the cut: nobody would answer a handshake behind it.
    await this.freshData(`before ${texts[0]}`);
    const flags = ["-n", namespaceOf(this.site.options.prefix, "switch")];
    this.bridge.clear();
    await ipBatch(flags, [`link set ${CLIENT.name} nomaster`]);
    try {
      for (const text of texts) await this.datagram(text);
      const held = () => {
        const frames = this.dataFrom(CLIENT.name);
        const found = texts.map((text) => frames.find(({ bytes }) => hasWords(bytes, text)));
        return found.every((frame) => frame !== undefined) ? found : undefined;
      };
      return await waitFor("the datagrams at the switch", held, 20_000);
    } finally {
      await ipBatch(flags, [`link set ${CLIENT.name} master ${BRIDGE}`]);
    }
  }

  /** Injects towards the server and waits until they have been handled. */
  async inject(frames: readonly Uint8Array[], settleMs = 150): Promise<void> {
    for (let i = 0; i < frames.length; i += 256) {
      inject(this.site, SERVER.name, frames.slice(i, i + 256));
      await Bun.sleep(2);
    }
    await Bun.sleep(settleMs);
  }

  /** Frames that the server's applications got from `source` since begin(). */
  delivered(source: string): Captured[] {
    return this.inside.frames().filter((frame) => {
      return frame.direction === "received" && frame.source === source && !isPeerChannel(frame);
    });
  }

  /** The same in words: what a failing test prints. */
  deliveredWords(source: string): string[] {
    return this.delivered(source).map((frame) => {
      const ports = `${frame.sourcePort ?? 0} → ${frame.destinationPort ?? 0}`;
      return `protocol ${frame.protocol}, ports ${ports}, ${frame.payload?.length ?? 0} bytes`;
    });
  }

  /** Whether the text reached the inside of the server since begin(). */
  hasText(text: string): boolean {
    return this.inside.frames().some((frame) => {
      return frame.direction === "received" && hasWords(frame.bytes, text);
    });
  }

  /** Resident bytes of the server's agent. */
  async serverResidentBytes(): Promise<number> {
    const status = await Bun.file(`/proc/${this.site.agent(SERVER.name).pid}/status`).text();
    return 1_024 * Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0);
  }

  /** A counter of an agent by its name, wherever in the status it stands. */
  async counter(vm: string, name: string): Promise<number> {
    const found = findNumber(await this.site.agent(vm).status(), name);
    if (found === undefined) throw new Error(`the status of ${vm} has no ${name}`);
    return found;
  }

  /** The provisioning of a VM in which the tag of redis is one that nobody issued. */
  withGhostTag(vm: string): Provisioning {
    const truth = this.attacked.fileOf(vm);
    const tags = truth["tags"] as readonly { readonly name: string; readonly tag: string }[];
    const drawn = generateTag();
    return {
      ...truth,
      tags: tags.map((tag) => (tag.name === "redis" ? { ...tag, tag: drawn } : tag)),
    };
  }

  /** Kills a VM's agent and starts it again, with another provisioning if one is given. */
  async restart(vm: string, provisioning?: Provisioning): Promise<void> {
    const agent = this.site.agent(vm);
    await agent.kill();
    agent.restart(provisioning);
    await agent.ready();
  }

  hasEvent(name: string): boolean {
    const events = this.site.agent(SERVER.name).events.since(this.#marks.get(SERVER.name) ?? 0);
    return events.some((event) => event.event === name);
  }

  events(pattern: FlowPattern): AgentEvent[] {
    const events = this.site.agent(SERVER.name).events.since(this.#marks.get(SERVER.name) ?? 0);
    return events.filter((event) => namesFlow(event, pattern));
  }

  /** Why packets were refused since begin(), by the server's agent or another one. */
  reasons(vm = SERVER.name): Set<string> {
    const events = this.site.agent(vm).events.since(this.#marks.get(vm) ?? 0);
    return new Set(events.map((event) => event.reason ?? ""));
  }
}

function hasWords(bytes: Uint8Array, text: string): boolean {
  return Buffer.from(bytes).includes(text);
}

function findNumber(value: unknown, name: string): number | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    if (key === name && typeof inner === "number") return inner;
    const deeper = findNumber(inner, name);
    if (deeper !== undefined) return deeper;
  }
  return undefined;
}

/** A changed copy of a frame: `change` gets the bytes from the IP header on. */
export function changed(
  frame: Captured,
  change: (packet: DataView, absStart: number) => void,
): Uint8Array {
  const bytes = frame.bytes.slice();
  const ipStart = frame.ipStart ?? 14;
  const packet = new DataView(bytes.buffer, ipStart);
  change(packet, (frame.ipPayloadStart ?? 34) - ipStart);
  mendIpv4Checksum(bytes, ipStart);
  return bytes;
}

function mendIpv4Checksum(bytes: Uint8Array, ipStart: number): void {
  if ((bytes[ipStart] ?? 0) >>> 4 !== 4) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset + ipStart);
  view.setUint16(10, 0, false);
  view.setUint16(10, internetChecksum(bytes.subarray(ipStart, ipStart + 20)), false);
}
