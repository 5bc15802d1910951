/** What the SCD and the secrets held here make of a contract, and what is told of it. */
import { beforeEach, describe, expect, test } from "bun:test";
import type { ContractEntry, ContractScope } from "../chain/contract-entry.ts";
import type { Hash, ScId } from "../chain/ledger-units.ts";
import { secretCommitment } from "../chain/secret-commitment.ts";
import type { GenerationCommitment, ScdContract } from "../node/scd-watch.ts";
import type { AbsEvent } from "../observe/event-record.ts";
import { drawContractSecret, scIdBytesOf } from "../session/contract.ts";
import type { EpochSeconds } from "../units.ts";
import { ContractSource } from "./contract-source.ts";
import type { Provisioning } from "./provisioning.ts";
import type { LedgerSettings } from "./provisioning-ledger.ts";

const SC = "a156fe4c-27af-4692-b205-58ad201c5cf9" as string as ScId;
const OVERLAP = 100;
const NAMES = {
  node: { id: "web", groups: ["front"] },
  peers: [
    { id: "db", groups: ["data"] },
    { id: "cache", groups: [] },
  ],
  tags: [{ name: "" }, { name: "app1" }, { name: "ping" }],
} as unknown as Provisioning;

let events: AbsEvent[] = [];
beforeEach(() => {
  events = [];
});

function secretOf(generation: number): Uint8Array {
  return new Uint8Array(32).fill(generation);
}

function sourceOf(...generations: readonly number[]): ContractSource {
  const secrets = generations.map((generation) => ({ generation, secret: secretOf(generation) }));
  return new ContractSource(settingsOf(secrets), NAMES, (event) => void events.push(event));
}

function settingsOf(secrets: LedgerSettings["contracts"][number]["secrets"]): LedgerSettings {
  const scIdBytes = scIdBytesOf(SC) ?? new Uint8Array(0);
  const contracts = [{ scId: SC as string, scIdBytes, secrets }];
  return { directory: "", listen: undefined, overlapSeconds: OVERLAP, contracts };
}

function scdOf(newest: number, change: Partial<ContractEntry> = {}): ScdContract {
  const generations: GenerationCommitment[] = Array.from({ length: newest }, (_, i) => ({
    generation: i + 1,
    commitment: secretCommitment(SC, i + 1, secretOf(i + 1)),
    since: (1000 * (i + 1)) as EpochSeconds,
  }));
  const entry: ContractEntry = {
    ...{ scId: SC, encryptionAlgo: "aes-256-gcm", hashAlgo: "sha512", quickmode: false },
    ...{ active: true, scLifetime: 9e9 as EpochSeconds, keyregen: 8e9 as EpochSeconds },
    ...{ busySeconds: 60, idleSeconds: 30, protection: "confidential", generation: newest },
    secretCommitment: generations.at(-1)?.commitment ?? ("" as Hash),
    scope: { agents: [], applications: [], groups: [] },
    seq: newest - 1,
    ...change,
  };
  return { scId: SC, entry, generations };
}

test("terms are the ledger's, the secret is ours", () => {
  const [contract] = sourceOf(1).take([scdOf(1)]);
  expect(contract).toMatchObject({
    ...{ scId: SC, algorithm: "aes-256-gcm", hash: "sha512", protection: "confidential" },
    ...{ quickmode: false, state: "true", scLifetime: 9e9, busySeconds: 60, idleSeconds: 30 },
    secrets: [{ generation: 1, secret: secretOf(1) }],
  });
  expect(contract?.secrets[0]?.endsAt).toBeUndefined();
  expect(events).toEqual([{ event: "contract-active", scId: SC, generation: 1 }]);
});

const gone = { scId: SC as string, entry: undefined, generations: [] };
const unused = [
  ["not in the SCD", [1], gone, "not-in-ledger"],
  ["no secret of the ledger's generations", [3], scdOf(2), "no-secret"],
  [
    "a scope without us",
    [1],
    scdOf(1, { scope: { agents: ["db"], applications: [], groups: ["data"] } }),
    "out-of-scope",
  ],
] as const;
test.each(unused)("unused: %s", (_, generations, scd, reason) => {
  const source = sourceOf(...generations);
  expect(source.take([scd])).toEqual([]);
  expect(events).toEqual([{ event: "contract-unused", scId: SC, reason }]);
  expect(source.statuses).toMatchObject([{ scId: SC, state: "unused", reason }]);
});

test("a secret that is not the ledger's is not used, and an event says so", () => {
  const source = new ContractSource(
    settingsOf([{ generation: 1, secret: secretOf(7) }]),
    NAMES,
    (event) => void events.push(event),
  );
  expect(source.take([scdOf(1)])).toEqual([]);
  expect(events).toEqual([
    { event: "contract-secret-wrong", scId: SC, generation: 1 },
    { event: "contract-unused", scId: SC, reason: "no-secret" },
  ]);
});

test("rsa256: the private key is part of what the ledger committed to", () => {
  const secret = drawContractSecret("rsa256", () => secretOf(1));
  const held = [{ generation: 1, secret }];
  const source = new ContractSource(settingsOf(held), NAMES, (event) => void events.push(event));
  const commitment = secretCommitment(SC, 1, secret);
  const scd = scdOf(1, { encryptionAlgo: "rsa256", secretCommitment: commitment });
  const generations = [{ generation: 1, commitment, since: 1000 as EpochSeconds }];
  const [contract] = source.take([{ ...scd, generations }]);
  expect(contract?.secrets[0]?.secret).toEqual(secretOf(1));
  expect(contract?.secrets[0]?.rsa?.der).toEqual(secret.slice(32));
  // A ledger that committed to 32 bytes alone gives nothing to wrap keys with.
  expect(sourceOf(1).take([scdOf(1, { encryptionAlgo: "rsa256" })])).toEqual([]);
});

describe("generations", () => {
  test("one that the ledger has not got yet waits", () => {
    const source = sourceOf(1, 2);
    const held = (scd: ScdContract) =>
      source.take([scd])[0]?.secrets.map(({ generation, endsAt }) => [generation, endsAt]);
    expect(held(scdOf(1))).toEqual([[1, undefined]]);
    // The old one ends after the overlap, counted from the block that brought the new one.
    const ends = 2000 + OVERLAP;
    expect(held(scdOf(2))).toEqual([
      [1, ends],
      [2, undefined],
    ]);
    expect(events.map(({ event, generation }) => [event, generation])).toEqual([
      ["contract-active", 1],
      ["contract-active", 2],
    ]);
  });

  test("one whose secret is missing: the old one goes on, and is told once", () => {
    const source = sourceOf(1);
    source.take([scdOf(2)]);
    const [contract] = source.take([scdOf(2)]);
    const endsAt = (2000 + OVERLAP) as EpochSeconds;
    expect(contract?.secrets).toEqual([{ generation: 1, secret: secretOf(1), endsAt }]);
    expect(events).toEqual([
      { event: "contract-active", scId: SC, generation: 1 },
      { event: "contract-secret-missing", scId: SC, generation: 2, using: 1, endsAt },
    ]);
    // It is brought later.
    const secrets = [1, 2].map((generation) => ({ generation, secret: secretOf(generation) }));
    const [then] = source.replace(settingsOf(secrets), NAMES);
    expect(then?.secrets.map(({ generation }) => generation)).toEqual([1, 2]);
    expect(events.at(-1)).toEqual({ event: "contract-active", scId: SC, generation: 2 });
  });
});

test("what changes is told; what stays is not", () => {
  const source = sourceOf(1);
  for (const active of [true, true, false, false, true]) source.take([scdOf(1, { active })]);
  source.take([gone]);
  expect(events.map(({ event }) => event)).toEqual([
    "contract-active",
    "contract-inactive",
    "contract-active",
    "contract-unused",
  ]);
  const [inactive] = source.take([scdOf(1, { active: false })]);
  expect(inactive?.state).toBe("false");
});

test("an unauthenticated contract is warned of", () => {
  sourceOf(1).take([scdOf(1, { quickmode: true })]);
  expect(events.map(({ event }) => event)).toEqual(["contract-active", "warning"]);
});

const scopes: readonly (readonly [string, Partial<ContractScope>, object | undefined])[] = [
  ["everyone", {}, undefined],
  ["agents", { agents: ["db", "web"] }, { peers: new Set([0]), tags: undefined }],
  ["a group and an agent", { agents: ["web"], groups: ["data"] }, { peers: new Set([0]) }],
  ["our group alone", { groups: ["front"] }, { peers: new Set() }],
  ["applications", { applications: ["ping"] }, { peers: undefined, tags: new Set([2]) }],
];
test.each(scopes)("scope: %s", (_, change, wanted) => {
  const scope = { agents: [], applications: [], groups: [], ...change };
  const [contract] = sourceOf(1).take([scdOf(1, { scope })]);
  if (wanted === undefined) expect(contract?.scope).toBeUndefined();
  else expect(contract?.scope).toMatchObject(wanted);
});
