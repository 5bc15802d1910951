/**
 * Digests of what an agent enforces, so that two agents, or an agent and its manager, can say in a
 * line whether they enforce the same; and of each entry, so that an update can say what it changed.
 * Places in files are left out: moving a rule in its file changes nothing. SHA-256, in hex.
 */
import { toHex } from "../bytes.ts";
import { RsaKeyPair } from "../session/rsa-wrap.ts";
import type { Provisioning } from "./provisioning.ts";
import { ownKeysOf } from "./provisioning-fields.ts";

export const PARTS = ["node", "tags", "peers", "contracts", "signatures", "policy"] as const;
export type Part = (typeof PARTS)[number];

/** Digest of a whole part, and of its entries by id. */
export interface PartDigest {
  readonly whole: string;
  /** Secrets are covered by these, which are never printed, and not by `whole`. */
  readonly entries: ReadonlyMap<string, string>;
}

export type PartDigests = Readonly<Record<Part, PartDigest>>;

export function partDigestsOf(provisioning: Provisioning): PartDigests {
  const { node, tenant, tags, peers, carriers, contracts, signatures, policy } = provisioning;
  const nameOf = (tag: number) => tags[tag]?.name ?? "";
  const { staticKey: _, staticSecret: __, otherSecret: ___, ...rest } = node;
  const [key, otherKey] = ownKeysOf(node).map(({ publicKey }) => publicKey);
  const own = { ...rest, tags: node.tags.map(nameOf), key, ...(otherKey && { otherKey }) };
  const others = provisioning.otherTenants;
  const { contracts: held, ...ledger } = provisioning.ledger ?? { contracts };
  return {
    node: partOf(Object.entries({ ...own, tenant, carriers, ledger })),
    tags: partOf(tags.map((tag) => [tag.name, tag.bytes])),
    peers: partOf(peers.map((peer) => [peer.id, { ...peer, tags: peer.tags.map(nameOf) }])),
    contracts: partOf(
      held.map((contract) => [contract.scId, contract]),
      held.map(({ secrets, ...terms }) => [
        terms.scId,
        { ...terms, generations: secrets.map(({ generation, endsAt }) => [generation, endsAt]) },
      ]),
    ),
    signatures: partOf(signatures.map((signature) => [signature.id, signature])),
    policy: partOf([
      ["(defaults)", policy.defaults],
      ["(other tenants)", others],
      ...policy.rules.map((rule): [string, unknown] => [rule.id, rule]),
    ]),
  };
}

/** `shown`: what the digest of the whole covers, where that is less. */
function partOf(
  entries: readonly (readonly [string, unknown])[],
  shown: readonly (readonly [string, unknown])[] = entries,
): PartDigest {
  const digests = new Map(entries.map(([id, value]) => [id, digestOf(value)]));
  return { whole: digestOf(shown.map(([id, value]) => [id, digestOf(value)])), entries: digests };
}

function digestOf(value: unknown): string {
  return new Bun.CryptoHasher("sha256").update(JSON.stringify(value, plain) ?? "").digest("hex");
}

function plain(key: string, value: unknown): unknown {
  if (key === "place") return undefined;
  if (value instanceof Uint8Array) return toHex(value);
  if (value instanceof Uint32Array) return [...value];
  if (value instanceof RsaKeyPair) return toHex(value.der);
  return value === Number.POSITIVE_INFINITY ? "Infinity" : value;
}
