/**
 * Joins the session machine (src/session) to the world: its outputs become keys in the shim,
 * commands to the worker, frames on the outside link, files and events; what the worker and the
 * network say becomes its events. docs/wire.md "HANDSHAKE", "Lifetimes". Order matters and is the
 * machine's.
 */
import { COMMAND, INSTALL } from "../dataplane/control-records.ts";
import { SESSION_FREE } from "../dataplane/session-table.ts";
import type { Shim } from "../dataplane/shim.ts";
import type { EventLog } from "../observe/event-log.ts";
import { keepAlivePacket, openReject, rejectPacket } from "../session/data-proof.ts";
import type { InstallOutput, SessionsEvent, SessionsOutput } from "../session/session-api.ts";
import type { Sessions } from "../session/sessions.ts";
import type { Micros, PeerIndex, Role, SessionSlot, TagIndex, WallMillis } from "../units.ts";
import { DATA_HEADER_BYTES, readCounter } from "../wire/data-frame.ts";
import { formatAddress } from "../wire/ip-text.ts";
import { encodeUnknownIndexHint, HINT_BYTES, type SealedReject } from "../wire/reject-message.ts";
import { keyLogLine, type SessionNames } from "./key-log.ts";
import { outerFrame, type Route } from "./outer-frame.ts";
import { addressOfBytes } from "./own-addresses.ts";
import type { Provisioning } from "./provisioning.ts";
import type { FrameEnds, Routes } from "./routes.ts";
import type { PlaneLink } from "./worker-link.ts";

export interface DriverParts {
  readonly sessions: Sessions;
  readonly worker: PlaneLink;
  readonly shim: Shim;
  readonly events: EventLog;
  readonly routes: Routes;
  /** Updates replace it. */
  provisioning: Provisioning;
  /** Number of the first of two shim keys a slot; 0 but where several agents share a process. */
  readonly firstKey?: number;
  readonly saveStamp: (stamp: Uint8Array) => void;
  /** The set of sessions changed: worth remembering for the next start. */
  readonly onChange: () => void;
}

export class SessionDriver {
  readonly installed = new Map<SessionSlot, InstallOutput>();
  /** Told of each session made while a capture writes a key log. */
  keyListener: ((line: string) => void) | undefined;
  /** Greatest counter of lane 15 received by slot: a REJECT is taken once. */
  readonly #rejectSeen = new Map<SessionSlot, number>();
  /** Next counter of lane 15 by slot. */
  readonly #mainCounters = new Map<SessionSlot, number>();
  /** Where the handshake at hand came from, to answer it there. */
  #answer: Route | undefined;
  /** The ends of its frame, for the event when it is refused. */
  #from: FrameEnds | undefined;

  constructor(readonly parts: DriverParts) {}

  /** One event of the machine, with the time that it happens at. */
  step(event: SessionsEvent, now: Micros, wall: WallMillis): void {
    this.#carryOut(this.parts.sessions.step({ type: "time", now, wall }));
    if (event.type !== "time") this.#carryOut(this.parts.sessions.step(event));
  }

  /** What the data plane saw on each session since the last time. */
  tell(now: Micros, wall: WallMillis): void {
    const table = this.parts.worker.sessions;
    for (const slot of [...this.installed.keys()]) {
      if (table.state[slot] === SESSION_FREE) continue;
      const activity: SessionsEvent = {
        type: "activity",
        slot,
        lastSent: table.lastSentUs[slot] as Micros,
        lastReceived: table.lastReceivedUs[slot] as Micros,
        lastHeard: table.lastHeardUs[slot] as Micros,
        packetsSent: table.sent(slot),
      };
      this.#carryOut(this.parts.sessions.step(activity));
    }
    this.step({ type: "time", now, wall }, now, wall);
  }

  /** A handshake message and the frame that it came in. */
  handshake(
    message: Uint8Array,
    from: FrameEnds,
    load: boolean,
    now: Micros,
    wall: WallMillis,
  ): void {
    const peer = this.parts.routes.peerAt(from.source);
    this.#answer = peer === undefined ? undefined : this.parts.routes.answerTo(peer, from);
    this.#from = from;
    const event: SessionsEvent = {
      type: "handshake",
      message,
      sourceAddress: from.source,
      underLoad: load,
      mac1Checked: true,
    };
    this.step(event, now, wall);
    this.#answer = undefined;
    this.#from = undefined;
  }

  /** A REJECT message. A sealed one is returned when it is genuine and new. */
  reject(
    message: Uint8Array,
    from: FrameEnds,
    now: Micros,
    wall: WallMillis,
  ): { reject: SealedReject; session: InstallOutput } | undefined {
    // The IP header may say less than the frame holds: this is what is left of the message.
    if (message.length < HINT_BYTES) return undefined;
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
    const index = view.getUint32(4, false);
    const peer = this.parts.routes.peerAt(from.source);
    if (peer === undefined) return undefined;
    if (index === 0) {
      const unknownIndex = view.getUint32(12, false);
      this.step({ type: "unknown-index", peer, unknownIndex }, now, wall);
      return undefined;
    }
    const slot = this.parts.worker.sessions.find(index) as SessionSlot;
    const session = this.installed.get(slot);
    const counter = message.length < DATA_HEADER_BYTES ? -1 : readCounter(view);
    if (session === undefined || session.peer !== peer) return undefined;
    if (counter <= (this.#rejectSeen.get(slot) ?? -1)) return undefined;
    const reject = openReject(session.in, message, from);
    if (reject === undefined) return undefined;
    this.#rejectSeen.set(slot, counter);
    return { reject, session };
  }

  /** Tells a peer that its flow was refused, under the session that it came by. */
  sendReject(
    peer: PeerIndex,
    tag: TagIndex,
    refused: Omit<SealedReject, "kind" | "receiverIndex" | "counter" | "proof">,
  ): void {
    const route = this.parts.routes.of(peer);
    for (const session of this.installed.values()) {
      if (session.peer !== peer || session.tag !== tag || route === undefined) continue;
      const counter = this.#nextCounter(session.slot);
      const reject = { ...refused, receiverIndex: session.remoteIndex, counter };
      this.#send(route, rejectPacket(session.out, reject, route));
      return;
    }
  }

  /** Tells a peer, without authentication, that nobody here knows its index. */
  hint(from: FrameEnds, unknownIndex: number, proof: Uint8Array): void {
    const peer = this.parts.routes.peerAt(from.source);
    if (peer === undefined) return;
    const message = encodeUnknownIndexHint({ kind: "hint", unknownIndex, proof });
    this.#send(this.parts.routes.answerTo(peer, from), message);
  }

  #carryOut(outputs: readonly SessionsOutput[]): void {
    for (const output of outputs) this.#one(output);
  }

  #one(output: SessionsOutput): void {
    const { worker, events, routes } = this.parts;
    switch (output.type) {
      case "send": {
        const route =
          output.address === undefined && output.peer !== undefined
            ? routes.of(output.peer)
            : this.#answer;
        if (route !== undefined) this.#send(route, output.message);
        break;
      }
      case "install":
        this.#install(output);
        break;
      case "use":
        worker.send(COMMAND.use, output.slot);
        break;
      case "retire":
        worker.send(COMMAND.retire, output.slot);
        break;
      case "close":
        this.#close(output.slot);
        break;
      case "keepalive":
        this.#keepAlive(output.slot);
        break;
      case "failed":
        this.#failed(output.peer, output.tag, output.role, output.reason);
        break;
      case "persist-stamp":
        this.parts.saveStamp(output.stamp);
        break;
      case "contract-expired":
        events.write({ event: "contract-expired", scId: output.scId });
        break;
      case "event":
        this.#notice(output);
        break;
    }
  }

  #send(route: Route, message: Uint8Array): void {
    this.parts.worker.sendBytes(COMMAND.sendOutside, outerFrame(route, message));
  }

  #install(output: InstallOutput): void {
    const { shim, worker } = this.parts;
    const keyOut = (this.parts.firstKey ?? 0) + 2 * output.slot;
    const keyIn = keyOut + 1;
    shim.setKey(keyOut, output.out.algorithm, output.out.key);
    shim.setKey(keyIn, output.in.algorithm, output.in.key);
    const bytes = new Uint8Array(INSTALL.sizeBytes);
    const view = new DataView(bytes.buffer);
    const set = (offset: number, value: number) => view.setUint32(offset, value, true);
    set(INSTALL.slot, output.slot);
    set(INSTALL.receiverIndex, output.receiverIndex);
    set(INSTALL.remoteIndex, output.remoteIndex);
    set(INSTALL.peer, output.peer);
    set(INSTALL.tag, output.tag);
    set(INSTALL.role, output.myRole);
    set(INSTALL.keyOut, keyOut);
    set(INSTALL.keyIn, keyIn);
    set(INSTALL.confidentialOut, Number(output.out.confidential));
    set(INSTALL.confidentialIn, Number(output.in.confidential));
    set(INSTALL.quickOut, Number(output.out.quickProof !== undefined));
    set(INSTALL.quickIn, Number(output.in.quickProof !== undefined));
    if (output.out.quickProof !== undefined) bytes.set(output.out.quickProof, INSTALL.proofOut);
    if (output.in.quickProof !== undefined) bytes.set(output.in.quickProof, INSTALL.proofIn);
    set(INSTALL.sendNow, Number(output.sendNow));
    set(INSTALL.order, output.order);
    set(INSTALL.endsBefore, output.endsBefore);
    this.installed.set(output.slot, output);
    this.keyListener?.(keyLogLine(output, this.#namesOf(output), Date.now()));
    this.#rejectSeen.delete(output.slot);
    this.#mainCounters.set(output.slot, 0);
    worker.sendBytes(COMMAND.install, bytes);
    // The peer's ends were in an authenticated handshake: they are as good as our own packets'.
    if (this.#answer !== undefined) {
      const { link, source, destination } = this.#answer;
      this.parts.routes.learn(output.peer, { link, source, destination });
    }
    this.parts.onChange();
  }

  #close(slot: SessionSlot): void {
    this.parts.worker.send(COMMAND.close, slot);
    this.installed.delete(slot);
    this.parts.onChange();
  }

  /** Lane 15 is this thread's alone, and so is its counter. */
  #nextCounter(slot: SessionSlot): number {
    const counter = this.#mainCounters.get(slot) ?? 0;
    this.#mainCounters.set(slot, counter + 1);
    return counter;
  }

  #keepAlive(slot: SessionSlot): void {
    const session = this.installed.get(slot);
    const route = session === undefined ? undefined : this.parts.routes.of(session.peer);
    if (session === undefined || route === undefined) return;
    const counter = this.#nextCounter(slot);
    this.#send(route, keepAlivePacket(session.out, session.remoteIndex, counter, route));
  }

  #failed(peer: PeerIndex, tag: TagIndex, role: Role, reason: string): void {
    const { worker, events } = this.parts;
    worker.send(COMMAND.failed, peer, tag, role);
    events.write({
      event: "session-failed",
      peer: this.#peerName(peer),
      app: this.#tagName(tag),
      reason,
    });
  }

  #notice(output: Extract<SessionsOutput, { type: "event" }>): void {
    const { peer, tag, ...rest } = output.fields;
    this.parts.events.write({
      event: output.name,
      ...(peer === undefined ? {} : { peer: this.#peerName(peer) }),
      ...(tag === undefined ? {} : { app: this.#tagName(tag) }),
      ...rest,
      ...(output.name === "handshake-refused" ? this.#endsOfMessage() : {}),
    });
  }

  /** The 5-tuple of the message at hand, named as in the worker's events; it has no ports. */
  #endsOfMessage(): Record<string, string | number> {
    if (this.#from === undefined) return {};
    const { node, carriers } = this.parts.provisioning;
    return {
      direction: "in",
      source: formatAddress(addressOfBytes(this.#from.source)),
      sourcePort: 0,
      destination: formatAddress(addressOfBytes(this.#from.destination)),
      destinationPort: 0,
      protocol: node.carrier === "udp" ? "udp" : String(carriers.ipProtocol),
    };
  }

  #namesOf({ peer, tag }: InstallOutput): SessionNames {
    return { peer: this.#peerName(peer), app: this.#tagName(tag) };
  }

  #peerName(peer: PeerIndex): string {
    return this.parts.provisioning.peers[peer]?.id ?? String(peer);
  }

  #tagName(tag: TagIndex): string {
    return tag === 0 ? "(tenant)" : (this.parts.provisioning.tags[tag]?.name ?? String(tag));
  }
}
