/** Small decisions of the take-over that need no kernel: offloads, MTU, names, the state file. */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AbsError } from "../errors.ts";
import type { AddressRecord } from "./addresses.ts";
import { errnoName, isErrno, SystemCallError } from "./libc.ts";
import { checkName, type Link } from "./links.ts";
import { leavesWorkUndone, mergesPackets } from "./offloads.ts";
import { carriedInterfaces, insideMtuOf } from "./preflight.ts";
import {
  type Configuration,
  loadState,
  lockStateDir,
  removeState,
  saveState,
  type TakeoverState,
} from "./state-file.ts";

const address = (family: number): AddressRecord => ({
  family,
  prefixLength: 24,
  scope: 0,
  flags: 0,
  labelTail: undefined,
  validSeconds: 1,
  preferredSeconds: 1,
  attributes: [],
});
const configuration = (...families: number[]): Configuration => ({
  readAtSeconds: 0,
  addresses: families.map(address),
  routes: [],
  neighbours: [],
});

describe("offloads", () => {
  test.each([
    "tx-checksum-ip-generic",
    "tx-checksum-ipv4",
    "tx-checksum-sctp",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-udp-segmentation",
    "tx-generic-segmentation",
    "tx-gso-list",
    "tx-gso-partial",
  ])("inside, %s leaves work undone", (name) => {
    expect(leavesWorkUndone(name)).toBe(true);
    expect(mergesPackets(name)).toBe(false);
  });

  test.each(["rx-gro", "rx-gro-hw", "rx-lro", "rx-gro-list"])("outside, %s merges", (name) => {
    expect(mergesPackets(name)).toBe(true);
    expect(leavesWorkUndone(name)).toBe(false);
  });

  test.each(["rx-checksum", "tx-scatter-gather", "highdma", "rx-vlan-hw-parse", "tx-lockless"])(
    "%s stays as it is",
    (name) => {
      expect(leavesWorkUndone(name) || mergesPackets(name)).toBe(false);
    },
  );
});

describe("the inside MTU", () => {
  const cases = [
    { outside: 1500, reduction: 32, families: [2, 10], inside: 1468 },
    { outside: 1500, reduction: 40, families: [2], inside: 1460 },
    { outside: 1312, reduction: 32, families: [10], inside: 1280 },
    { outside: 1311, reduction: 32, families: [10], inside: undefined },
    { outside: 1311, reduction: 32, families: [2], inside: 1279 },
    { outside: 608, reduction: 32, families: [2], inside: 576 },
    { outside: 607, reduction: 32, families: [2], inside: undefined },
  ];
  test.each(cases)("of $outside less $reduction", ({ outside, reduction, families, inside }) => {
    const find = () => insideMtuOf(outside, reduction, configuration(...families));
    if (inside === undefined) expect(find).toThrow(AbsError);
    else expect(find()).toBe(inside);
  });
});

describe("interfaces on top of the outside one", () => {
  const plain: Link = {
    index: 2,
    name: "abst-none0",
    kind: "",
    hardwareType: 1,
    mac: "020000000902",
    mtu: 1500,
    up: true,
    loopback: false,
    promiscuous: false,
    carrier: true,
    dormant: false,
    alias: "",
    qdisc: "",
    master: undefined,
    below: undefined,
    belowIsElsewhere: false,
  };
  const cases = [
    { name: "a VLAN", other: { kind: "vlan", below: 2 }, carried: true },
    { name: "a macvlan", other: { kind: "macvlan", below: 2 }, carried: true },
    { name: "the other end of a veth", other: { kind: "veth", below: 2 }, carried: false },
    { name: "a VLAN of another interface", other: { kind: "vlan", below: 3 }, carried: false },
    {
      name: "something on an interface of another namespace",
      other: { kind: "ipvlan", below: 2, belowIsElsewhere: true },
      carried: false,
    },
  ];
  test.each(cases)("$name", ({ other, carried }) => {
    const rider: Link = { ...plain, index: 9, name: "rider", ...other };
    expect(carriedInterfaces(plain, [plain, rider])).toEqual(carried ? ["rider"] : []);
  });
});

test.each(["", "a name", "a/b", "a:1", "sixteen-letters-", ".", ".."])("%p is no name", (name) => {
  expect(() => checkName(name)).toThrow("is not an interface name");
});

test("errno numbers have their manual's names", () => {
  expect([1, 11, 17, 105, 9999].map(errnoName)).toEqual([
    "EPERM",
    "EAGAIN",
    "EEXIST",
    "ENOBUFS",
    "errno 9999",
  ]);
  const refusal = new SystemCallError("setns", 1);
  expect(isErrno(refusal, "EPERM")).toBe(true);
  expect(isErrno(refusal, "EEXIST")).toBe(false);
  expect(refusal.remedy).toContain("CAP_SYS_ADMIN");
});

describe("the state file", () => {
  const folder = mkdtempSync(join(tmpdir(), "abs-state-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const state: TakeoverState = {
    version: 1,
    bootId: "boot",
    phase: "taking",
    onStop: "closed",
    vmNamespace: "4:1",
    privateNamespace: "4:2",
    outside: {
      name: "eth0",
      index: 2,
      mac: "020000000902",
      mtu: 1500,
      up: true,
      promiscuous: false,
      offloads: ["rx-gro"],
      settings: { "ipv6/conf/accept_ra": "1" },
    },
    inside: { kind: "veth", name: "abs0" },
    configuration: { readAtSeconds: 1, addresses: [], routes: [], neighbours: [] },
  };

  test("is read as it was saved, and gone when removed", () => {
    expect(loadState(folder)).toBeUndefined();
    saveState(folder, state);
    expect(loadState(folder)).toEqual(state);
    removeState(folder);
    expect(loadState(folder)).toBeUndefined();
  });

  test.each(["", "{", "{}", '{"version":2}'])("%p is refused, and not removed", (text) => {
    writeFileSync(join(folder, "takeover.json"), text);
    expect(() => loadState(folder)).toThrow("cannot be read");
    expect(() => loadState(folder)).toThrow("cannot be read");
    rmSync(join(folder, "takeover.json"));
  });

  test("one process at a time acts on it", () => {
    const first = lockStateDir(folder, 0);
    expect(first).toBeDefined();
    expect(lockStateDir(folder, 0)).toBeUndefined();
  });
});
