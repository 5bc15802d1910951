/**
 * Follows what happens to the interfaces while they are taken over, by netlink's multicast groups:
 * addresses and routes that DHCP or an administrator changes inside; MTU, carrier and MAC of the
 * outside. What can be followed is; the rest is undone or refused with a sentence. A message is
 * only the occasion: what holds is read from the kernel, so lost messages do no harm.
 */
import { AbsError, messageOf } from "../errors.ts";
import {
  addressKey,
  deleteAddress,
  isLeased,
  RTM_DELADDR,
  RTM_NEWADDR,
  readAddresses,
} from "./addresses.ts";
import { findLink, findLinkByIndex, type Link, listLinks, RTM_NEWLINK, setLink } from "./links.ts";
import { decodeAttributes, type NetlinkMessage, u32Of } from "./netlink-message.ts";
import { NetlinkSocket } from "./netlink-socket.ts";
import { activeFeatures, leavesWorkUndone, mergesPackets, turnOff } from "./offloads.ts";
import { insideMtuOf, readConfiguration } from "./preflight.ts";
import { FAR_NAME } from "./restore.ts";
import { RTM_DELROUTE, RTM_NEWROUTE, routeKey } from "./routes.ts";
import type { Configuration } from "./state-file.ts";
import type { Takeover } from "./takeover.ts";

/** RTMGRP_… of linux/rtnetlink.h: link, neighbours, IPv4 and IPv6 addresses and routes. */
const VM_GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400;
const PRIVATE_GROUPS = 0x1 | 0x10 | 0x100;
const RTM_DELLINK = 17;
const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const NUD_PERMANENT = 0x80;
const RTA_OIF = 4;
const POLL_MS = 100;

export type LinkStatus = {
  readonly carrier: boolean;
  readonly outsideMtu: number;
  readonly insideMtu: number;
};

/** What the agent hears; none of these may call the monitor. */
export type Followers = {
  /** The VM's own addresses are these now, 4 or 16 bytes each; the state file has them already. */
  readonly addresses: (addresses: readonly Uint8Array[]) => void;
  readonly link: (status: LinkStatus) => void;
  /** Something was undone or is not followed; a sentence for the administrator. */
  readonly refused: (sentence: string) => void;
  /** An interface is gone: nothing can be forwarded any more. */
  readonly lost: (error: AbsError) => void;
};

export class Monitor {
  readonly #takeover: Takeover;
  readonly #followers: Followers;
  readonly #mtuReductionBytes: number;
  readonly #vmEvents: NetlinkSocket;
  readonly #privateEvents: NetlinkSocket;
  readonly #insideIndex: number;
  readonly #outsideIndex: number;
  #status: LinkStatus;
  #timer: ReturnType<typeof setInterval> | undefined;
  #lost = false;
  #complaint = "";

  constructor(takeover: Takeover, mtuReductionBytes: number, followers: Followers) {
    this.#takeover = takeover;
    this.#mtuReductionBytes = mtuReductionBytes;
    this.#followers = followers;
    // Listening begins before the first look, so that nothing falls in between.
    this.#vmEvents = takeover.vm.run(() => new NetlinkSocket(VM_GROUPS));
    this.#privateEvents = takeover.privateNamespace.run(() => new NetlinkSocket(PRIVATE_GROUPS));
    const inside = findLink(takeover.vm.netlink, takeover.inside.name);
    const outside = findLink(takeover.privateNamespace.netlink, takeover.outsideName);
    this.#insideIndex = inside?.index ?? 0;
    this.#outsideIndex = outside?.index ?? 0;
    const { outsideMtu, insideMtu } = takeover;
    this.#status = { carrier: true, outsideMtu, insideMtu };
    this.#look(true, true);
  }

  /** Polls from now on, every 100 ms; the timer does not keep the process alive. */
  start(): void {
    this.#timer = setInterval(() => this.poll(), POLL_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#vmEvents.close();
    this.#privateEvents.close();
    this.#lost = true;
  }

  /** Acts on what has happened since the last call. */
  poll(): void {
    if (this.#lost) return;
    try {
      const vm = this.#vmEvents.poll();
      const apart = this.#privateEvents.poll();
      const overrun = vm.overrun || apart.overrun;
      const linkChanged = [...vm.messages, ...apart.messages].some(isLinkMessage);
      const configured = vm.messages.some((message) => concerns(message, this.#insideIndex));
      const intruded = apart.messages.some((message) => message.type === RTM_NEWADDR);
      if (overrun || intruded) this.#clearPrivateAddresses();
      if (overrun || linkChanged || configured) {
        this.#look(overrun || linkChanged, overrun || configured);
      }
    } catch (thrown) {
      this.#complain(`A change was not followed: ${messageOf(thrown)}`);
    }
  }

  /** What goes wrong at each poll is said once. */
  #complain(sentence: string): void {
    if (sentence === this.#complaint) return;
    this.#complaint = sentence;
    this.#followers.refused(sentence);
  }

  #look(links: boolean, configuration: boolean): void {
    const { vm, privateNamespace } = this.#takeover;
    if (links) {
      const inside = findLinkByIndex(vm.netlink, this.#insideIndex);
      const outside = findLinkByIndex(privateNamespace.netlink, this.#outsideIndex);
      if (inside === undefined) this.#lose("INSIDE_GONE", this.#takeover.inside.name);
      else if (outside === undefined) this.#lose("OUTSIDE_GONE", this.#takeover.outsideName);
      else this.#compareLinks(inside, outside);
    }
    if (configuration && !this.#lost) this.#compareConfiguration();
  }

  #lose(code: string, name: string): void {
    this.#lost = true;
    const remedy = "Start the agent again once the interface is back.";
    this.#followers.lost(new AbsError(code, `${name} has been removed.`, remedy));
  }

  #compareLinks(inside: Link, outside: Link): void {
    this.#keepIdentity(inside, outside);
    const before = this.#status;
    let outsideMtu = before.outsideMtu;
    let insideMtuMax = before.outsideMtu - this.#mtuReductionBytes;
    if (outside.mtu !== outsideMtu) {
      try {
        const { configuration } = this.#takeover.state;
        insideMtuMax = insideMtuOf(outside.mtu, this.#mtuReductionBytes, configuration);
        outsideMtu = outside.mtu;
        this.#setMtus(inside, outsideMtu, insideMtuMax);
      } catch (thrown) {
        this.#undoMtu(outside, thrown);
      }
    } else if (inside.mtu > insideMtuMax) {
      this.#setMtus(inside, outsideMtu, insideMtuMax);
      this.#followers.refused(
        `The MTU of ${inside.name} cannot be ${inside.mtu}: packets grow by ` +
          `${this.#mtuReductionBytes} bytes on their way out. It is ${insideMtuMax} again.`,
      );
    }
    const carrier = outside.carrier && outside.up;
    if (inside.dormant === carrier) {
      const what = `telling ${inside.name} about the carrier`;
      setLink(this.#takeover.vm.netlink, what, inside.index, { dormant: !carrier });
    }
    const insideMtu =
      outsideMtu === before.outsideMtu ? Math.min(inside.mtu, insideMtuMax) : insideMtuMax;
    this.#status = { carrier, outsideMtu, insideMtu };
    const same =
      carrier === before.carrier &&
      outsideMtu === before.outsideMtu &&
      insideMtu === before.insideMtu;
    if (!same) this.#followers.link(this.#status);
  }

  #setMtus(inside: Link, outsideMtu: number, insideMtu: number): void {
    const { vm, privateNamespace, farName } = this.#takeover;
    const far = farName === undefined ? undefined : findLink(privateNamespace.netlink, FAR_NAME);
    if (far !== undefined) {
      const what = `setting the MTU of ${FAR_NAME}`;
      setLink(privateNamespace.netlink, what, far.index, { mtu: outsideMtu });
    }
    setLink(vm.netlink, `setting the MTU of ${inside.name}`, inside.index, { mtu: insideMtu });
  }

  #undoMtu(outside: Link, thrown: unknown): void {
    const { outsideMtu } = this.#status;
    const what = `setting the MTU of ${outside.name} back`;
    setLink(this.#takeover.privateNamespace.netlink, what, outside.index, { mtu: outsideMtu });
    this.#followers.refused(
      `${messageOf(thrown)} The MTU of ${outside.name} is ${outsideMtu} again.`,
    );
  }

  /** MAC, name and offloads must stay as the agent set them: undone, and said. */
  #keepIdentity(inside: Link, outside: Link): void {
    const { vm, privateNamespace, mac } = this.#takeover;
    const { refused } = this.#followers;
    const sides = [
      { link: inside, namespace: vm, name: this.#takeover.inside.name, unwanted: leavesWorkUndone },
      {
        link: outside,
        namespace: privateNamespace,
        name: this.#takeover.outsideName,
        unwanted: mergesPackets,
      },
    ];
    for (const { link, namespace, name, unwanted } of sides) {
      if (link.mac !== mac) {
        setLink(namespace.netlink, `giving ${name} its MAC address back`, link.index, { mac });
        refused(`The MAC address of ${name} must not change while the agent runs; it is undone.`);
      }
      if (link.name !== name) {
        setLink(namespace.netlink, `giving ${name} its name back`, link.index, { name });
        refused(`${name} must not be renamed while the agent runs; it is undone.`);
      }
      const active = activeFeatures(namespace.control, name, unwanted);
      if (active.length > 0) {
        turnOff(namespace.control, name, unwanted);
        refused(`${active.join(", ")} of ${name} would break packets; turned off again.`);
      }
    }
    if (inside.master !== undefined) {
      refused(`${inside.name} became a part of another interface, which is not followed.`);
    }
  }

  #compareConfiguration(): void {
    const { vm, state } = this.#takeover;
    const inside = findLinkByIndex(vm.netlink, this.#insideIndex);
    // Taken down it has lost its routes; they are kept for when it comes back.
    if (inside === undefined || !inside.up) return;
    const configuration = readConfiguration(vm, inside);
    const before = state.configuration;
    const addressesBefore = before.addresses.map(addressKey).join();
    const addressesNow = configuration.addresses.map(addressKey).join();
    if (addressesBefore === addressesNow && restOf(before) === restOf(configuration)) return;
    this.#takeover.saveState({ ...state, configuration });
    if (addressesBefore !== addressesNow) this.#followers.addresses(this.#takeover.addresses());
  }

  /** An address in the private namespace would open the way around the agent. */
  #clearPrivateAddresses(): void {
    const { netlink } = this.#takeover.privateNamespace;
    for (const link of listLinks(netlink)) {
      for (const record of readAddresses(netlink, link.index, link.name)) {
        deleteAddress(netlink, link.index, record);
        this.#followers.refused(
          `${link.name} must not have addresses in the private namespace; they are removed.`,
        );
      }
    }
  }
}

function isLinkMessage(message: NetlinkMessage): boolean {
  return message.type === RTM_NEWLINK || message.type === RTM_DELLINK;
}

/** Whether a message is about addresses, routes or permanent neighbours of interface `index`. */
function concerns(message: NetlinkMessage, index: number): boolean {
  const { type, payload } = message;
  if (payload.length < 12 && payload.length !== 8) return false;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  if (type === RTM_NEWADDR || type === RTM_DELADDR) return view.getUint32(4, true) === index;
  if (type === RTM_NEWROUTE || type === RTM_DELROUTE) {
    const outgoing = u32Of(decodeAttributes(payload, 12).get(RTA_OIF));
    return outgoing === undefined || outgoing === index;
  }
  if (type === RTM_NEWNEIGH || type === RTM_DELNEIGH) {
    return view.getInt32(4, true) === index && (view.getUint16(8, true) & NUD_PERMANENT) !== 0;
  }
  return false;
}

/** Routes, fixed neighbours and the ends of leases: changes that only the state file cares for. */
function restOf(configuration: Configuration): string {
  const { addresses, routes, neighbours, readAtSeconds } = configuration;
  const fixed = neighbours.filter((record) => record.state === NUD_PERMANENT);
  // In steps of a minute: a lease that merely runs down has not changed.
  const ends = addresses
    .filter(isLeased)
    .map((record) => Math.round((record.validSeconds + readAtSeconds) / 60));
  return JSON.stringify([routes.map(routeKey), fixed, ends]);
}
