/** Contracts: the sample of Fig. 6, every field that can be wrong, and what policy asks of them. */
import { describe, expect, test } from "bun:test";
import { AbsError } from "../errors.ts";
import {
  type EpochSeconds,
  type PeerIndex,
  type TagIndex,
  TENANT_TAG,
  type WallMillis,
} from "../units.ts";
import {
  type Contract,
  contractFits,
  drawContractSecret,
  parseContract,
  scIdBytesOf,
} from "./contract.ts";
import { ContractBook } from "./contract-book.ts";

/** Figure 6 as printed. */
const FIG_6 = {
  "sc-id": "a156fe4c-27af-4692-b205-58ad201c5cf9",
  encryption_algo: "rsa256",
  hash_algo: "sha256",
  quickmode: "false",
  active: "false",
  "sc-lifetime": 1551225600,
  lifetime: { keyregen: 1546214400, busytime: 600, idletime: 180 },
};
const SECRET = {
  generation: 1,
  secret: drawContractSecret("rsa256", (size) => new Uint8Array(size).fill(1)),
};
const APP = 1 as TagIndex;
const PEER = 0 as PeerIndex;

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof AbsError) return `${thrown.code}: ${thrown.message}`;
  }
  return "";
}

test("Fig. 6 is read, with its string booleans", () => {
  const contract = parseContract(FIG_6, [SECRET]);
  expect(contract).toMatchObject({
    scId: FIG_6["sc-id"],
    algorithm: "rsa256",
    hash: "sha256",
    protection: "integrity",
    quickmode: false,
    state: "false",
    scLifetime: 1551225600 as EpochSeconds,
    keyregen: 1546214400 as EpochSeconds,
    busySeconds: 600,
    idleSeconds: 180,
  });
  expect(contract.scIdBytes.length).toBe(16);
});

test("Fig. 6, whatever its `active` says, is over since 2019: it can carry nothing", () => {
  const book = new ContractBook([parseContract({ ...FIG_6, active: "true" }, [SECRET])]);
  const over = book.keepTime(Date.parse("2026-11-25T00:00:00Z") as WallMillis);
  expect(over.map(({ scId }) => scId)).toEqual([FIG_6["sc-id"]]);
  expect(book.find(scIdBytesOf(FIG_6["sc-id"]) ?? SECRET.secret, 1)).toBe("contract-inactive");
});

test("an rsa256 contract's secret ends in its private key, and others must not", () => {
  const bare = { ...SECRET, secret: SECRET.secret.subarray(0, 32) };
  expect(codeOf(() => parseContract(FIG_6, [bare]))).toContain("a private key after them");
  const spoilt = { ...SECRET, secret: SECRET.secret.subarray(0, 1000) };
  expect(codeOf(() => parseContract(FIG_6, [spoilt]))).toStartWith("RSA_KEY_INVALID");
  const aes = { ...FIG_6, encryption_algo: "aes-128-gcm" };
  expect(codeOf(() => parseContract(aes, [SECRET]))).toContain("must be 32 bytes");
});

describe("booleans and states as strings and as themselves", () => {
  test.each([
    [true, "true", true, "true"],
    ["true", "true", "true", "true"],
    [false, "false", false, "false"],
    ["false", "expired", "expired", "expired"],
  ] as const)("quickmode %p, active %p", (quickmode, _, active, state) => {
    const contract = parseContract({ ...FIG_6, quickmode, active }, [SECRET]);
    expect(contract.quickmode).toBe(String(quickmode) === "true");
    expect(contract.state).toBe(state);
  });
});

describe("refused, naming the field", () => {
  const lifetime = FIG_6.lifetime;
  const cases: readonly [string, unknown][] = [
    ["sc-id", { ...FIG_6, "sc-id": "a156fe4c-27af-1692-b205-58ad201c5cf9" }],
    ["sc-id", { ...FIG_6, "sc-id": "a156fe4c" }],
    ["sc-id", { ...FIG_6, "sc-id": undefined }],
    ["encryption_algo", { ...FIG_6, encryption_algo: "des" }],
    ["hash_algo", { ...FIG_6, hash_algo: "md5" }],
    ["quickmode", { ...FIG_6, quickmode: "yes" }],
    ["active", { ...FIG_6, active: undefined }],
    ["active", { ...FIG_6, active: "never" }],
    ["sc-lifetime", { ...FIG_6, "sc-lifetime": -1 }],
    ["sc-lifetime", { ...FIG_6, "sc-lifetime": "1551225600" }],
    ["lifetime", { ...FIG_6, lifetime: 600 }],
    ["lifetime.busytime", { ...FIG_6, lifetime: { ...lifetime, busytime: 0 } }],
    ["lifetime.idletime", { ...FIG_6, lifetime: { ...lifetime, idletime: 0.5 } }],
    ["lifetime.keyregen", { ...FIG_6, lifetime: { ...lifetime, keyregen: null } }],
    ["protection", { ...FIG_6, protection: "secret" }],
    ["colour", { ...FIG_6, colour: "red" }],
    ["bustime", { ...FIG_6, lifetime: { ...lifetime, bustime: 1 } }],
    ["contract", null],
    ["contract", [FIG_6]],
  ];
  test.each(cases)("%s", (field, entry) => {
    const message = codeOf(() => parseContract(entry, [SECRET]));
    expect(message).toStartWith(`CONTRACT_INVALID: The contract's ${field} `);
  });

  test("a secret of another size, a generation out of range", () => {
    const short = { generation: 1, secret: new Uint8Array(31) };
    expect(codeOf(() => parseContract(FIG_6, [short]))).toContain("secret");
    const wide = { ...SECRET, generation: 2 ** 32 };
    expect(codeOf(() => parseContract(FIG_6, [wide]))).toContain("generation");
  });
});

describe("contractFits", () => {
  const contract = parseContract(FIG_6, [SECRET]);
  const quick: Contract = { ...contract, quickmode: true };
  const cases = [
    ["no rule", contract, APP, undefined, true],
    ["an unauthenticated contract for an application", quick, APP, undefined, false],
    ["an unauthenticated contract for the tenant", quick, TENANT_TAG, undefined, true],
    ["its id", contract, APP, { scId: contract.scId }, true],
    ["another id", contract, APP, { scId: "b" }, false],
    ["its protection", contract, APP, { protection: "integrity" as const }, true],
    ["another protection", contract, APP, { protection: "confidential" as const }, false],
    ["long enough", contract, APP, { maxBusySeconds: 600 }, true],
    ["too long", contract, APP, { maxBusySeconds: 599 }, false],
  ] as const;
  test.each(cases)("%s", (_, candidate, tag, rule, fits) => {
    expect(contractFits(candidate, { peer: PEER, tag }, rule)).toBe(fits);
  });
});

describe("scope", () => {
  const contract = parseContract(FIG_6, [SECRET]);
  const all = undefined;
  const cases = [
    ["everyone", all, all, [true, true, true]],
    ["this peer", new Set([PEER]), all, [true, true, true]],
    ["another peer", new Set([1 as PeerIndex]), all, [false, false, false]],
    // The tenant's own traffic is of no application.
    ["one application", all, new Set([APP]), [false, true, false]],
    ["one application of another peer", new Set([1 as PeerIndex]), new Set([APP]), [false, false]],
  ] as const;
  test.each(cases)("%s", (_, peers, tags, fits) => {
    const scoped = { ...contract, scope: { peers, tags } };
    fits.forEach((fit, tag) => {
      const carried = { peer: PEER, tag: tag as TagIndex };
      expect(contractFits(scoped, carried, undefined)).toBe(fit);
    });
  });
});

describe("ContractBook", () => {
  const wall = (seconds: number) => (seconds * 1000) as WallMillis;
  const active = { ...parseContract({ ...FIG_6, active: true }, [SECRET]) };
  const wish = { peer: PEER, tag: APP, rule: undefined, announced: undefined };

  test("a contract expires once, and stays so when the clock is set back", () => {
    const book = new ContractBook([active]);
    expect(book.keepTime(wall(1551225599))).toEqual([]);
    expect(book.choose(wish, () => 0)?.contract).toBe(active);
    expect(book.keepTime(wall(1551225600))).toEqual([active]);
    expect(book.keepTime(wall(1551225601))).toEqual([]);
    book.keepTime(wall(1500000000));
    expect(book.choose(wish, () => 0)).toBeUndefined();
    expect(book.find(active.scIdBytes, 1)).toBe("contract-inactive");
    book.replace([active]);
    expect(book.find(active.scIdBytes, 1)).toBe("contract-inactive");
  });

  test("generations: the newest that both hold and that is not over", () => {
    const secrets = [
      { ...SECRET, endsAt: 1500000100 as EpochSeconds },
      { ...SECRET, generation: 2 },
      { ...SECRET, generation: 3 },
    ];
    const book = new ContractBook([{ ...active, secrets }]);
    book.keepTime(wall(1500000000));
    const chosen = (newest: number | undefined) =>
      book.choose(
        {
          ...wish,
          announced: newest === undefined ? undefined : new Map([[active.scId, newest]]),
        },
        () => 0,
      )?.generation.generation;
    expect([undefined, 1, 2, 7, 0].map(chosen)).toEqual([3, 1, 2, 3, undefined]);
    expect(book.find(active.scIdBytes, 1)).toMatchObject({ generation: { generation: 1 } });
    book.keepTime(wall(1500000100));
    expect(chosen(1)).toBeUndefined();
    expect(book.find(active.scIdBytes, 1)).toBe("contract-unknown");
  });

  test("generations: the older one is for peers that have not proven the newest", () => {
    const secrets = [
      { ...SECRET, endsAt: 1500000100 as EpochSeconds },
      { ...SECRET, generation: 2 },
    ];
    const book = new ContractBook([{ ...active, secrets }]);
    book.keepTime(wall(1500000000));
    const chosen = (proven: number, takesOlder: boolean) => {
      const held = { proven: new Map([[active.scId, proven]]), takesOlder: () => takesOlder };
      return book.choose({ ...wish, ...held }, () => 0)?.generation.generation;
    };
    expect([chosen(1, false), chosen(1, true), chosen(2, true)]).toEqual([2, 1, 2]);
    // It has less than 30 s left.
    book.keepTime(wall(1500000075));
    expect(chosen(1, true)).toBe(2);
    const use = book.find(active.scIdBytes, 1);
    expect(typeof use !== "string" && book.isNewest(use)).toBe(false);
  });

  test("a contract near its end is named only when there is no other", () => {
    const other = { ...active, scId: "b", scLifetime: 1600000000 as EpochSeconds };
    const book = new ContractBook([active, other]);
    book.keepTime(wall(1551225580));
    for (const pick of [0, 1]) expect(book.choose(wish, () => pick)?.contract).not.toBe(active);
    book.replace([active]);
    expect(book.choose(wish, () => 0)?.contract).toBe(active);
  });
});
