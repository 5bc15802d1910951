/**
 * Records between the main thread and a worker, over the two shared-memory rings (record-ring.ts).
 * design/README.md "Threads of an agent process". Commands go to the worker, punts come from it.
 * Little-endian, offsets from the record's first byte. Keys never travel here: the main thread
 * installs them in the shim's table first and names them by number.
 */

/** Commands, main thread → worker. */
export const COMMAND = {
  snapshot: 1, // area u32, generation u32: peers, policy and signatures changed
  install: 2, // a session as INSTALL lays out
  use: 3, // slot u32: the responder may send under it from now on
  retire: 4, // slot u32: receives, no longer sends
  close: 5, // slot u32
  failed: 6, // peer u32, tag u32, role u32: what waits for it is dropped
  sendOutside: 7, // a whole frame, as is
  sendInside: 8,
  forgetAll: 9, // every session ends before the next packet
  stop: 10,
  pathMtu: 11, // peer u32, MTU u32 (0: unknown again)
  refuseFlow: 13, // as REFUSE lays out: the peer said that it refused this flow
  capture: 15, // 1: the outside port's frames are copied; 0: no more
  management: 14, // as MANAGEMENT lays out: a connection of the agent itself, or who may call it
  // number u32: a punt of the same number answers, after all before it was carried out and every
  // flow has been decided by the last snapshot
  sync: 12,
} as const;

/** Punts, worker → main thread. */
export const PUNT = {
  handshake: 1, // offset of the ABS header in the frame u32, then the frame
  need: 2, // peer u32, tag u32, role u32, then the link header and addresses as NEED lays out
  confirmed: 3, // slot u32: the first valid DATA arrived
  event: 4, // as EVENT lays out
  reject: 5, // as handshake: a REJECT message
  unknownIndex: 6, // as handshake, the packet whose index nobody knows
  packetTooBig: 7, // as handshake: an ICMP error of the network
  sync: 8, // number u32
  rejected: 9, // as EVENT: a refusal that the peer is to be told of
  loaded: 11, // generation u32: from here on punts speak of this snapshot
  resumed: 10, // nothing: the VM was resumed or cloned, and every session is forgotten
} as const;

/** A session to install. Bytes 48.. are the constant proofs of an unauthenticated contract. */
export const INSTALL = {
  slot: 0,
  receiverIndex: 4,
  remoteIndex: 8,
  peer: 12,
  tag: 16,
  role: 20, // our own role
  keyOut: 24,
  keyIn: 28,
  confidentialOut: 32,
  confidentialIn: 36,
  quickOut: 40,
  quickIn: 44,
  proofOut: 48,
  proofIn: 64,
  sendNow: 80,
  order: 84, // 1 for the first session installed, and so on
  endsBefore: 88, // its first DATA ends the peer's sessions of a smaller order
  sizeBytes: 92,
} as const;

/** A session that a held packet waits for. */
export const NEED = {
  peer: 0,
  tag: 4,
  role: 8,
  ipVersion: 12,
  source: 16, // four big-endian words as numbers
  destination: 32,
  linkBytes: 48,
  link: 52, // up to 22 bytes
  sizeBytes: 76,
} as const;

/** A flow of this VM as the peer that refused it named it; four big-endian words an address. */
export const REFUSE = {
  peer: 0,
  ipVersion: 4,
  protocol: 8,
  sourcePort: 12,
  destinationPort: 16,
  source: 20,
  destination: 36,
  sizeBytes: 52,
} as const;

/** Connections of the agent itself (management-flows.ts). */
export const MANAGEMENT = {
  change: 0, // MANAGEMENT_CHANGE
  localPort: 4,
  ipVersion: 8,
  address: 12, // four big-endian words as numbers
  port: 28,
  sizeBytes: 32,
} as const;

export const MANAGEMENT_CHANGE = {
  open: 1, // a call: localPort, ipVersion, address, port
  close: 2, // localPort
  listen: 3, // port; who was named since the last one may call, and nobody else
  caller: 4, // ipVersion, address
} as const;

export const EVENT_BYTES_MAX = 32;

/** What the worker decided, for people. */
export const EVENT = {
  reason: 0, // code of DROP
  direction: 4, // 0 in, 1 out
  outcome: 8, // OUTCOME
  stage: 12, // STAGE
  ipVersion: 16,
  protocol: 20,
  sourcePort: 24,
  destinationPort: 28,
  source: 32,
  destination: 48,
  peer: 64,
  tag: 68,
  rule: 72,
  signature: 76,
  suppressed: 80, // events of the same cause that the limit held back since the last one
  textBytes: 84, // length of the payload looked at
  byteCount: 88,
  bytes: 92, // the first EVENT_BYTES_MAX bytes of it
  refusal: 124, // 1: reject rather than drop
  sizeBytes: 128,
} as const;

export const OUTCOME = { dropped: 0, wouldDrop: 1, allowed: 2 } as const;
export const STAGE = { observe: 0, warn: 1, enforce: 2 } as const;
