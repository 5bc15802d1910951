/**
 * One snapshot: everything the worker reads that can change while it runs: policy, signatures,
 * peers with addresses, own addresses, settings. The main thread builds it from the provisioning
 * and packs it into shared memory (dataplane/snapshot.ts); the worker makes tables and views of it
 * between two bursts. Field names carry the part they belong to: `policy.ports`, `signature.ports`.
 */
import { concat } from "../bytes.ts";
import type { CompiledSignatures } from "../dpi/compile.ts";
import type { CompiledPolicy } from "../policy/compile.ts";
import { STAGE_NAMES } from "../policy/decision.ts";
import { mac1KeyOf } from "../session/mac.ts";
import { addressHash } from "../wire/data-frame.ts";
import { addressBytes, type IpAddress } from "../wire/ip-text.ts";
import type { Provisioning } from "./provisioning.ts";
import { ownKeysOf } from "./provisioning-fields.ts";

export type SnapshotFields = Record<string, Uint8Array | Uint32Array | Float64Array>;

/** Positions in `settings`. */
export const SETTING = {
  ownQuick: 0,
  ownCarrier: 1,
  carrierProtocol: 2,
  udpPort: 3,
  defaultStage: 4,
  innerMtu: 5,
  database: 6, // + 1; 0 when no signature has an expression
  ownMacHigh: 7,
  ownMacLow: 8,
  peerTagWords: 9,
  count: 10,
} as const;

/** Words of a row of `peerAddresses`: IP version, four address words, peer. */
export const PEER_ADDRESS_WORDS = 6;
/** Words of a row of `pairs`: IP version, own address, peer address, peer, two hashes of three. */
export const PAIR_WORDS = 16;

export interface SnapshotSource {
  readonly provisioning: Provisioning;
  readonly policy: CompiledPolicy;
  readonly signatures: CompiledSignatures;
  /** Number of the expressions' database in the shim, or undefined without expressions. */
  readonly database: number | undefined;
  readonly ownAddresses: readonly IpAddress[];
  /** 6 bytes. */
  readonly ownMac: Uint8Array;
  /** Largest inner IP packet, in bytes. */
  readonly innerMtu: number;
}

export function snapshotFields(source: SnapshotSource): SnapshotFields {
  const { provisioning } = source;
  const { peers } = provisioning;
  const fields: SnapshotFields = {
    settings: settingsOf(source),
    mac1Keys: concat(...ownKeysOf(provisioning.node).map((key) => mac1KeyOf(key.publicKey))),
    ownTags: ownTags(provisioning),
    peerTags: peerTagBits(provisioning),
    peerQuick: Uint8Array.from(peers, ({ mode }) => Number(mode === "quick")),
    peerCarrier: Uint8Array.from(peers, ({ carrier }) => Number(carrier === "udp")),
    peerAddresses: peerAddressRows(provisioning),
    pairs: pairRows(provisioning, source.ownAddresses),
    ownNeighbours: neighbourRows(source.ownAddresses, source.ownMac),
    peerNeighbours: peerNeighbourRows(provisioning),
    vlans: vlanBits(provisioning.node.vlans),
  };
  addFields(fields, "policy.", source.policy.snapshot);
  addFields(fields, "signature.", source.signatures.snapshot);
  return fields;
}

/** The fields of one part, without its prefix. */
export function fieldsOf(fields: SnapshotFields, prefix: string): SnapshotFields {
  const own: SnapshotFields = {};
  for (const [name, field] of Object.entries(fields)) {
    if (name.startsWith(prefix)) own[name.slice(prefix.length)] = field;
  }
  return own;
}

function addFields(
  fields: SnapshotFields,
  prefix: string,
  part: Record<string, Uint8Array | Uint32Array | Float64Array>,
): void {
  for (const [name, field] of Object.entries(part)) fields[prefix + name] = field;
}

function settingsOf(source: SnapshotSource): Uint32Array {
  const { provisioning, ownMac } = source;
  const { node, carriers, policy } = provisioning;
  const mac = new DataView(ownMac.buffer, ownMac.byteOffset, 6);
  const settings = new Uint32Array(SETTING.count);
  settings[SETTING.ownQuick] = Number(node.mode === "quick");
  settings[SETTING.ownCarrier] = Number(node.carrier === "udp");
  settings[SETTING.carrierProtocol] = carriers.ipProtocol;
  settings[SETTING.udpPort] = carriers.udpPort;
  settings[SETTING.defaultStage] = STAGE_NAMES.indexOf(node.stage ?? policy.defaults.stage);
  settings[SETTING.innerMtu] = source.innerMtu;
  settings[SETTING.database] = source.database === undefined ? 0 : source.database + 1;
  settings[SETTING.peerTagWords] = tagWords(provisioning);
  settings[SETTING.ownMacHigh] = mac.getUint16(0, false);
  settings[SETTING.ownMacLow] = mac.getUint32(2, false);
  return settings;
}

function ownTags(provisioning: Provisioning): Uint8Array {
  const own = new Uint8Array(provisioning.tags.length);
  for (const tag of provisioning.node.tags) own[tag] = 1;
  return own;
}

function tagWords({ tags }: Provisioning): number {
  return Math.ceil(tags.length / 32);
}

/** A bit for each tag that a peer may claim; tagWords() words a peer. */
function peerTagBits(provisioning: Provisioning): Uint32Array {
  const words = tagWords(provisioning);
  const bits = new Uint32Array(words * provisioning.peers.length);
  provisioning.peers.forEach(({ tags }, peer) => {
    for (const tag of tags) bits[peer * words + (tag >>> 5)] |= 1 << (tag & 31);
  });
  return bits;
}

function peerAddressRows(provisioning: Provisioning): Uint32Array {
  const rows: number[] = [];
  provisioning.peers.forEach(({ addresses }, peer) => {
    for (const { version, words } of addresses) rows.push(version, ...words, peer);
  });
  return Uint32Array.from(rows);
}

function pairRows(provisioning: Provisioning, own: readonly IpAddress[]): Uint32Array {
  const rows: number[] = [];
  provisioning.peers.forEach(({ addresses }, peer) => {
    for (const remote of addresses) {
      for (const local of own) {
        if (local.version !== remote.version) continue;
        const out = addressHash(addressBytes(local), addressBytes(remote));
        const back = addressHash(addressBytes(remote), addressBytes(local));
        rows.push(local.version, ...local.words, ...remote.words, peer);
        rows.push(...wordsOf(out), ...wordsOf(back));
      }
    }
  });
  return Uint32Array.from(rows);
}

/** Three big-endian words. */
function wordsOf(hash: Uint8Array): number[] {
  const bytes = new DataView(hash.buffer, hash.byteOffset, 12);
  return [bytes.getUint32(0, false), bytes.getUint32(4, false), bytes.getUint32(8, false)];
}

/** Rows of dataplane/mac-table.ts. */
function neighbourRows(addresses: readonly IpAddress[], mac: Uint8Array): Uint32Array {
  const bytes = new DataView(mac.buffer, mac.byteOffset, 6);
  const rows = addresses.flatMap(({ words }) => [
    ...words,
    bytes.getUint16(0, false),
    bytes.getUint32(2, false),
  ]);
  return Uint32Array.from(rows);
}

function peerNeighbourRows(provisioning: Provisioning): Uint32Array {
  const rows: number[] = [];
  for (const { addresses, macs } of provisioning.peers) {
    const known = macs.length === 0 ? ["00:00:00:00:00:00"] : macs;
    for (const mac of known) {
      const bytes = Uint8Array.from(mac.split(":"), (byte) => Number.parseInt(byte, 16));
      rows.push(...neighbourRows(addresses, bytes));
    }
  }
  return Uint32Array.from(rows);
}

/** A bit for each VLAN id; bit 0, untagged frames, is always set. */
function vlanBits(vlans: readonly number[]): Uint32Array {
  const bits = new Uint32Array(128);
  for (const id of [0, ...vlans]) bits[id >>> 5] |= 1 << (id & 31);
  return bits;
}
