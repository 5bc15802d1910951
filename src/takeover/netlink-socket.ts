/**
 * Requests to the kernel over rtnetlink: changes that are acknowledged, dumps, and the messages of
 * multicast groups. A socket belongs to the network namespace of the thread that opened it and
 * keeps acting there, wherever the thread is later. Blocks for the kernel's answer.
 */
import { assert } from "../errors.ts";
import {
  closeDescriptor,
  NETLINK_ROUTE,
  openNetlink,
  receiveBytes,
  SystemCallError,
  sendBytes,
} from "./libc.ts";
import {
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTERRUPTED,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  textOf,
} from "./netlink-message.ts";

/** The kernel fills dump datagrams up to 32 KiB; twice that leaves room for its future. */
const DATAGRAM_BYTES_MAX = 65_536;
const DUMP_ATTEMPTS = 10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const HEADER_BYTES = 16;

export class NetlinkSocket {
  readonly #descriptor: number;
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES_MAX);
  #sequence = 0;
  #closed = false;

  /** Opens in the calling thread's network namespace; `groups` as in openNetlink(). */
  constructor(groups = 0, protocol = NETLINK_ROUTE) {
    this.#descriptor = openNetlink(protocol, groups);
  }

  /** Asks for a change and waits for the acknowledgement; `what` names it in the error. */
  change(what: string, type: number, flags: number, payload: Uint8Array): void {
    this.#send(type, flags | NLM_F_REQUEST | NLM_F_ACK, payload);
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== this.#sequence || message.type !== NLMSG_ERROR) continue;
        throwRefusal(what, message);
        return;
      }
    }
  }

  /** Asks for one object. */
  get(what: string, type: number, payload: Uint8Array): NetlinkMessage {
    this.#send(type, NLM_F_REQUEST, payload);
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== this.#sequence) continue;
        if (message.type === NLMSG_ERROR) throwRefusal(what, message);
        return message;
      }
    }
  }

  /** All objects of a kind; asked again when they changed while the kernel was listing them. */
  dump(what: string, type: number, payload: Uint8Array): NetlinkMessage[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      this.#send(type, NLM_F_REQUEST | NLM_F_DUMP, payload);
      const messages = this.#collectDump(what);
      if (messages !== undefined) return messages;
    }
    throw new SystemCallError(what, 4, "the list changed each time it was read");
  }

  /**
   * Messages of the multicast groups that are waiting. `overrun`: the kernel had to drop some, so
   * everything must be read anew.
   */
  poll(): { readonly messages: NetlinkMessage[]; readonly overrun: boolean } {
    const messages: NetlinkMessage[] = [];
    let overrun = false;
    for (;;) {
      const size = receiveBytes(this.#descriptor, this.#buffer, false);
      if (size === -1) return { messages, overrun };
      if (size === -2) overrun = true;
      else messages.push(...decodeMessages(this.#buffer.subarray(0, size)));
    }
  }

  /** Raw datagrams that are waiting, for protocols that are not made of netlink messages. */
  pollRaw(): Uint8Array[] {
    const datagrams: Uint8Array[] = [];
    for (;;) {
      const size = receiveBytes(this.#descriptor, this.#buffer, false);
      if (size === -1) return datagrams;
      if (size >= 0) datagrams.push(this.#buffer.slice(0, size));
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeDescriptor(this.#descriptor);
  }

  #send(type: number, flags: number, payload: Uint8Array): void {
    assert(!this.#closed, "a netlink socket is used before it is closed");
    this.#sequence = (this.#sequence + 1) >>> 0;
    sendBytes(this.#descriptor, encodeMessage({ type, flags, sequence: this.#sequence }, payload));
  }

  #receive(): NetlinkMessage[] {
    const size = receiveBytes(this.#descriptor, this.#buffer, true);
    return size < 0 ? [] : decodeMessages(this.#buffer.subarray(0, size));
  }

  /** Reads a dump to its end; undefined when it was interrupted by a change. */
  #collectDump(what: string): NetlinkMessage[] | undefined {
    const messages: NetlinkMessage[] = [];
    let interrupted = false;
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== this.#sequence) continue;
        if ((message.flags & NLM_F_DUMP_INTERRUPTED) !== 0) interrupted = true;
        if (message.type === NLMSG_ERROR) throwRefusal(what, message);
        else if (message.type === NLMSG_DONE) return interrupted ? undefined : messages;
        else messages.push(message);
      }
    }
  }
}

/** Throws when `message` carries an error; an error number of 0 is the acknowledgement. */
function throwRefusal(what: string, message: NetlinkMessage): void {
  const { payload } = message;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const errno = -view.getInt32(0, true);
  if (errno === 0) return;
  throw new SystemCallError(what, errno, explanationIn(message, view));
}

/** The kernel's own words (extended acknowledgement), if it gave any. */
function explanationIn(message: NetlinkMessage, view: DataView): string {
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return "";
  const echoedBytes = (message.flags & NLM_F_CAPPED) !== 0 ? HEADER_BYTES : view.getUint32(4, true);
  const start = 4 + ((echoedBytes + 3) & ~3);
  return textOf(decodeAttributes(message.payload, start).get(NLMSGERR_ATTR_MSG)) ?? "";
}
