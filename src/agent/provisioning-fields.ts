/**
 * The entries of a provisioning file: node, tenant, tags, peers, contracts, carriers. Each reader
 * takes the place where the entry stands and returns typed values, or throws AbsError
 * `PROVISIONING_INVALID` naming file, line, column and path. provisioning.ts joins them.
 */

import { equalBytes, toHex } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import type { KnownNames } from "../policy/policy.ts";
import { type Contract, PSK_BYTES, parseContract } from "../session/contract.ts";
import { isLowOrder, isZero, KeyPair } from "../session/x25519.ts";
import type { DocumentMap, DocumentNode } from "../store/document.ts";
import { readHex, readSecret } from "../store/secret-file.ts";
import type { TagIndex } from "../units.ts";
import { formatAddress, type IpAddress, isUnicast, parseAddress } from "../wire/ip-text.ts";
import { KEY_BYTES, TAG_BYTES } from "./keys.ts";

/** A private key, if any, follows the pre-shared key (session/contract.ts). */
const CONTRACT_SECRET_BYTES_MAX = 2048;

export type AgentMode = "full" | "quick";
export type Carrier = "ip" | "udp";
export type Stage = "observe" | "warn" | "enforce";

export interface Tag {
  /** Application name; empty for the zero tag. */
  readonly name: string;
  /** 16 bytes. */
  readonly bytes: Uint8Array;
}

export interface OwnNode {
  readonly id: string;
  readonly staticKey: KeyPair;
  /** The secret half, 32 bytes. */
  readonly staticSecret: Uint8Array;
  /** While the key changes: peers may begin sessions with this one too. */
  readonly otherSecret?: Uint8Array;
  readonly mode: AgentMode;
  /** Overrides the policy's `defaults.stage`. */
  readonly stage?: Stage;
  readonly groups: readonly string[];
  /** Applications this node may claim. */
  readonly tags: readonly TagIndex[];
  /** Tagged VLANs this VM may use beside untagged frames. */
  readonly vlans: readonly number[];
  readonly onStop?: "closed" | "open";
  readonly carrier: Carrier;
  /** Own addresses; undefined: those of the outside interface. */
  readonly addresses?: readonly IpAddress[];
  /** Largest IP packet of the network, when it is smaller than the outside interface says. */
  readonly mtu?: number;
}

export interface Peer {
  readonly id: string;
  readonly addresses: readonly IpAddress[];
  /** Lower case, as `02:ab:05:00:00:11`; empty: not known. */
  readonly macs: readonly string[];
  readonly mode: AgentMode;
  readonly carrier: Carrier;
  readonly staticPublic: Uint8Array;
  /** While it changes its key: it may begin sessions with this one too. */
  readonly otherPublic?: Uint8Array;
  readonly groups: readonly string[];
  /** Applications the peer may claim. */
  readonly tags: readonly TagIndex[];
  /** No session with it: what it sends is dropped (docs/manager.md "Quarantine"). */
  readonly quarantined?: boolean;
}

export interface CarrierSettings {
  /** IPv4 protocol and IPv6 next header of the carrier `ip`. */
  readonly ipProtocol: number;
  /** Destination port of the carrier `udp`. */
  readonly udpPort: number;
}

const MODES = ["full", "quick"] as const;
const CARRIERS = ["ip", "udp"] as const;
const STAGES = ["observe", "warn", "enforce"] as const;
const ON_STOP = ["closed", "open"] as const;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
/** Flow records keep 12 bits of a tag and of a peer. */
export const TAGS_MAX = 4095;
export const PEERS_MAX = 4096;
const ADDRESSES_MAX = 64;
const VLAN_MAX = 4094;
/** IPv6's least MTU (RFC 8200 §5) and the 40 bytes of the udp carrier. */
const MTU_MIN = 1320;
const MTU_MAX = 9216;
const CARRIER_DEFAULTS: CarrierSettings = { ipProtocol: 253, udpPort: 6253 };

export function readTenant(node: DocumentNode): { name: string; tag: Uint8Array } {
  const map = node.map(["name", "tag"]);
  return { name: readName(map.need("name")), tag: readTag(map.need("tag")) };
}

/** The tags by TagIndex: the zero tag first, then those of the file in its order. */
export function readTags(node: DocumentNode | undefined): Tag[] {
  const tags: Tag[] = [{ name: "", bytes: new Uint8Array(TAG_BYTES) }];
  for (const item of node?.list() ?? []) {
    const map = item.map(["name", "tag"]);
    const name = readName(map.need("name"));
    const bytes = readTag(map.need("tag"));
    if (name === "any") map.need("name").fail('"any" stands for every application.', "Rename it.");
    if (tags.some((tag) => tag.name === name)) {
      map.need("name").fail(`the tag "${name}" is listed twice.`, "Keep one.");
    }
    if (tags.some((tag) => toHex(tag.bytes) === toHex(bytes))) {
      map.need("tag").fail("another tag has the same value.", "Draw a fresh one.");
    }
    tags.push({ name, bytes });
  }
  if (tags.length > TAGS_MAX) {
    node?.fail(`${tags.length} tags; at most ${TAGS_MAX}.`, "Remove those not used.");
  }
  return tags;
}

export function readOwnNode(node: DocumentNode, tags: readonly Tag[]): OwnNode {
  const map = node.map([
    "id",
    "staticKey",
    "otherStaticKey",
    "mode",
    "stage",
    "groups",
    "tags",
    "vlans",
    "onStop",
    "carrier",
    "addresses",
    "mtu",
  ]);
  const staticSecret = readStaticSecret(map.need("staticKey"));
  const otherNode = map.get("otherStaticKey");
  const otherSecret = otherNode === undefined ? undefined : readStaticSecret(otherNode);
  if (otherSecret !== undefined && equalBytes(otherSecret, staticSecret)) {
    otherNode?.fail("it is the same as staticKey.", "Leave it out where the key does not change.");
  }
  const stage = map.get("stage")?.oneOf(STAGES);
  const onStop = map.get("onStop")?.oneOf(ON_STOP);
  const addressesNode = map.get("addresses");
  const mtu = map.get("mtu")?.integer(MTU_MIN, MTU_MAX);
  return {
    id: readName(map.need("id")),
    staticKey: new KeyPair(staticSecret),
    staticSecret,
    ...(otherSecret === undefined ? {} : { otherSecret }),
    mode: map.get("mode")?.oneOf(MODES) ?? "quick",
    groups: readNames(map.get("groups")),
    tags: readTagNames(map.get("tags"), tags),
    vlans: (map.get("vlans")?.list() ?? []).map((item) => item.integer(1, VLAN_MAX)),
    carrier: map.get("carrier")?.oneOf(CARRIERS) ?? "ip",
    ...(stage === undefined ? {} : { stage }),
    ...(onStop === undefined ? {} : { onStop }),
    ...(addressesNode === undefined ? {} : { addresses: readAddresses(addressesNode) }),
    ...(mtu === undefined ? {} : { mtu }),
  };
}

function readStaticSecret(node: DocumentNode): Uint8Array {
  const secret = readSecret(node, KEY_BYTES);
  if (isZero(secret)) node.fail("the key is all zeros.", "`abs keys generate` draws one.");
  return secret;
}

/** The first begins handshakes; all answer them. */
export function ownKeysOf({ staticKey, otherSecret }: OwnNode): readonly [KeyPair, ...KeyPair[]] {
  return otherSecret === undefined ? [staticKey] : [staticKey, new KeyPair(otherSecret)];
}

/** Whether both are one node: a key that both have is its own. */
export function sharesOwnKey(left: OwnNode, right: OwnNode): boolean {
  const keys = ownKeysOf(right).map(({ publicKey }) => publicKey);
  return ownKeysOf(left).some(({ publicKey }) => keys.some((key) => equalBytes(key, publicKey)));
}

type PeerKeys = Pick<Peer, "staticPublic" | "otherPublic">;

export function publicKeysOf({ staticPublic, otherPublic }: PeerKeys): readonly Uint8Array[] {
  return otherPublic === undefined ? [staticPublic] : [staticPublic, otherPublic];
}

export function sharesKey(left: PeerKeys, right: PeerKeys): boolean {
  const keys = publicKeysOf(right);
  return publicKeysOf(left).some((one) => keys.some((key) => equalBytes(key, one)));
}

/** @param key hexadecimal */
export function peerWithKey(peers: readonly Peer[], key: string): Peer | undefined {
  return peers.find((peer) => publicKeysOf(peer).some((one) => toHex(one) === key));
}

export function readPeers(
  node: DocumentNode | undefined,
  own: OwnNode,
  tags: readonly Tag[],
): Peer[] {
  const peers: Peer[] = [];
  // What must be unique among all nodes, and who has it.
  const owners = new Map<string, string>([
    [`id ${own.id}`, "this node"],
    ...ownKeysOf(own).map(({ publicKey }): [string, string] => [
      `key ${toHex(publicKey)}`,
      "this node",
    ]),
    ...(own.addresses ?? []).map((address): [string, string] => [
      `address ${formatAddress(address)}`,
      "this node",
    ]),
  ]);
  for (const item of node?.list() ?? []) {
    const peer = readPeer(item, tags);
    const claim = (what: string, value: string) => {
      const owner = owners.get(`${what} ${value}`);
      if (owner !== undefined) {
        const remedy = `Every node has its own ${what}; mend one of the two.`;
        item.fail(`the ${what} ${value} belongs to ${owner} already.`, remedy);
      }
      owners.set(`${what} ${value}`, `"${peer.id}"`);
    };
    claim("id", peer.id);
    for (const key of publicKeysOf(peer)) claim("key", toHex(key));
    for (const address of peer.addresses) claim("address", formatAddress(address));
    for (const mac of peer.macs) claim("MAC", mac);
    peers.push(peer);
  }
  if (peers.length > PEERS_MAX) {
    node?.fail(`${peers.length} peers; at most ${PEERS_MAX}.`, "Use a manager for larger tenants.");
  }
  return peers;
}

function readPeer(node: DocumentNode, tags: readonly Tag[]): Peer {
  const map = node.map([
    "id",
    "addresses",
    "macs",
    "mode",
    "carrier",
    "staticKey",
    "otherStaticKey",
    "groups",
    "tags",
    "quarantined",
  ]);
  const staticPublic = readStaticPublic(map.need("staticKey"));
  const otherNode = map.get("otherStaticKey");
  return {
    id: readName(map.need("id")),
    addresses: readAddresses(map.need("addresses")),
    macs: (map.get("macs")?.list() ?? []).map(readMac),
    mode: map.get("mode")?.oneOf(MODES) ?? "quick",
    carrier: map.get("carrier")?.oneOf(CARRIERS) ?? "ip",
    staticPublic,
    ...(otherNode === undefined ? {} : { otherPublic: readStaticPublic(otherNode) }),
    groups: readNames(map.get("groups")),
    tags: readTagNames(map.get("tags"), tags),
    ...(map.get("quarantined")?.boolean() === true ? { quarantined: true } : {}),
  };
}

function readStaticPublic(node: DocumentNode): Uint8Array {
  const key = readHex(node, KEY_BYTES);
  if (isLowOrder(key)) {
    node.fail("it is a point of low order.", "Take the public key of the peer's own pair.");
  }
  return key;
}

export function readCarrierSettings(node: DocumentNode | undefined): CarrierSettings {
  if (node === undefined) return CARRIER_DEFAULTS;
  const map = node.map(["ipProtocol", "udpPort"]);
  const ipProtocol = map.get("ipProtocol");
  // 253 and 254 are for experiments (RFC 3692); the others up to 145 are assigned.
  const protocol = ipProtocol?.integer(146, 254) ?? CARRIER_DEFAULTS.ipProtocol;
  return {
    ipProtocol: protocol,
    udpPort: map.get("udpPort")?.integer(1, 65_535) ?? CARRIER_DEFAULTS.udpPort,
  };
}

/**
 * Contracts: the fields of Fig. 6, with the secret and its generation beside them. `id`,
 * `algorithm` and `hash` are short for `sc-id`, `encryption_algo` and `hash_algo`; times may be
 * UNIX seconds, as in the paper, or ISO 8601.
 */
export function readContracts(node: DocumentNode | undefined): Contract[] {
  const contracts: Contract[] = [];
  for (const item of node?.list() ?? []) {
    const contract = readContract(item);
    if (contracts.some(({ scId }) => scId === contract.scId)) {
      item.fail(`the contract ${contract.scId} is listed twice.`, "Use `secrets` for generations.");
    }
    contracts.push(contract);
  }
  return contracts;
}

function readContract(node: DocumentNode): Contract {
  const map = node.map([
    "sc-id",
    "id",
    "encryption_algo",
    "algorithm",
    "hash_algo",
    "hash",
    "protection",
    "quickmode",
    "active",
    "sc-lifetime",
    "lifetime",
    "generation",
    "secret",
    "secrets",
  ]);
  const lifetime = map.need("lifetime").map(["keyregen", "busytime", "idletime"]);
  const entry = {
    "sc-id": either(map, "sc-id", "id").string(),
    encryption_algo: either(map, "encryption_algo", "algorithm").string(),
    hash_algo: either(map, "hash_algo", "hash").string(),
    protection: map.get("protection")?.string() ?? "integrity",
    quickmode: map.get("quickmode")?.boolean() ?? false,
    active: map.get("active")?.oneOf(["true", "false", "expired"]) ?? "true",
    "sc-lifetime": readSeconds(map.need("sc-lifetime")),
    lifetime: {
      keyregen: readSeconds(lifetime.need("keyregen")),
      busytime: lifetime.need("busytime").integer(1, 31_536_000),
      idletime: lifetime.need("idletime").integer(1, 31_536_000),
    },
  };
  const secrets = readGenerations(map);
  try {
    return parseContract(entry, secrets);
  } catch (thrown) {
    if (!(thrown instanceof AbsError)) throw thrown;
    return node.fail(thrown.message, thrown.remedy);
  }
}

export function readGenerations(map: DocumentMap): { generation: number; secret: Uint8Array }[] {
  const list = map.get("secrets");
  if (list !== undefined && map.has("secret")) {
    list.fail('"secret" and "secrets" exclude each other.', "Keep one.");
  }
  const one = (entry: DocumentMap) => ({
    generation: entry.get("generation")?.integer(1, 0xffff_ffff) ?? 1,
    secret: readSecret(entry.need("secret"), PSK_BYTES, CONTRACT_SECRET_BYTES_MAX),
  });
  if (list === undefined) return [one(map)];
  const generations = list.list().map((item) => one(item.map(["generation", "secret"])));
  if (generations.length === 0) list.fail("a contract needs a secret.", "Add one.");
  const numbers = new Set(generations.map(({ generation }) => generation));
  if (numbers.size < generations.length) list.fail("a generation is listed twice.", "Keep one.");
  return generations;
}

export function either(map: DocumentMap, name: string, short: string): DocumentNode {
  const value = map.get(short);
  if (value !== undefined && map.has(name)) {
    value.fail(`"${short}" is short for "${name}", which is there too.`, "Keep one.");
  }
  return value ?? map.need(name);
}

/** UTC seconds. */
function readSeconds(node: DocumentNode): number {
  const text = node.string();
  if (/^\d{4}-\d\d-\d\dT/.test(text)) {
    const millis = Date.parse(text);
    if (!Number.isNaN(millis)) return Math.floor(millis / 1000);
  }
  if (/^\d{1,11}$/.test(text)) return Number(text);
  return node.fail(`"${text}" is not a time.`, "Write UNIX seconds, or 2030-01-31T12:00:00Z.");
}

function readName(node: DocumentNode): string {
  const text = node.string();
  const remedy = "Use up to 64 letters, digits, dots, dashes and underscores.";
  return NAME.test(text) ? text : node.fail(`"${text}" is not a name.`, remedy);
}

/** Names of agents and groups that a policy may use though no peer has them. */
export function readKnown(node: DocumentNode | undefined): KnownNames | undefined {
  if (node === undefined) return undefined;
  const map = node.map(["agents", "groups"]);
  return { agents: readNames(map.get("agents")), groups: readNames(map.get("groups")) };
}

function readNames(node: DocumentNode | undefined): string[] {
  return [...new Set((node?.list() ?? []).map(readName))];
}

function readTag(node: DocumentNode): Uint8Array {
  const bytes = readSecret(node, TAG_BYTES);
  if (isZero(bytes)) node.fail("the zero tag is kept for tenant sessions.", "Draw a fresh one.");
  return bytes;
}

function readTagNames(node: DocumentNode | undefined, tags: readonly Tag[]): TagIndex[] {
  const found = (node?.list() ?? []).map((item) => {
    const name = item.string();
    const index = tags.findIndex((tag) => tag.name === name);
    if (index > 0) return index as TagIndex;
    const known = tags.slice(1).map((tag) => tag.name);
    return item.fail(`there is no tag "${name}".`, `Tags: ${known.join(", ") || "none"}.`);
  });
  return [...new Set(found)];
}

function readMac(node: DocumentNode): string {
  const text = node.string().toLowerCase();
  if (!MAC.test(text)) return node.fail(`"${text}" is not a MAC address.`, "As 02:ab:05:00:00:11.");
  if ((Number.parseInt(text.slice(0, 2), 16) & 1) === 1) {
    return node.fail(`"${text}" is a group address.`, "Give the interface's own MAC address.");
  }
  return text;
}

function readAddresses(node: DocumentNode): IpAddress[] {
  const items = node.list();
  if (items.length === 0) node.fail("no address.", "Name at least one.");
  if (items.length > ADDRESSES_MAX) {
    node.fail(`${items.length} addresses; at most ${ADDRESSES_MAX}.`, "Remove those not used.");
  }
  return items.map((item) => {
    const text = item.string();
    const address = parseAddress(text);
    if (address === undefined) {
      return item.fail(`"${text}" is not an IP address.`, "Write it without a prefix length.");
    }
    if (!isUnicast(address)) item.fail(`"${text}" is not a host's address.`, "Name a unicast one.");
    return address;
  });
}
