/** The OpenFlow client against the real ovs-vswitchd: rules come, go, and come back. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { FlowMatch } from "../../src/switch/flow-match.ts";
import { CookieRange, type DropRule } from "../../src/switch/flow-table.ts";
import { hexOfMac, ipHex } from "../../src/switch/match-text.ts";
import { SwitchKeeper } from "../../src/switch/switch-keeper.ts";
import { OvsBed, type Vm } from "./ovs-bed.ts";

const COOKIES = new CookieRange(0x1234);
const OTHER_RULE = "cookie=0x77,priority=65500,udp,tp_dst=9999,actions=drop";
let bed: OvsBed;
let keeper: SwitchKeeper;
let a: Vm;
let b: Vm;
let wanted: DropRule[] = [];
const told: string[] = [];

beforeAll(async () => {
  bed = await OvsBed.open(3);
  [a, b] = bed.vms as [Vm, Vm];
  await bed.ofctl("add-flow", OTHER_RULE);
  keeper = new SwitchKeeper({
    place: { kind: "path", path: bed.management },
    ...{ tls: undefined, access: { login: undefined, ca: undefined }, datapathId: undefined },
    ...{ cookies: COOKIES, wanted: () => wanted },
    connected: () => told.push("connected"),
    lost: () => told.push("lost"),
    failed: (why) => told.push(why),
  });
}, 60_000);

afterAll(async () => {
  keeper?.stop();
  await bed?.close();
});

async function want(...matches: FlowMatch[]): Promise<void> {
  wanted = matches.map((match, i) => ({ cookie: COOKIES.of(i + 1), match, seconds: 3600 }));
  await keeper.settled(5000);
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 10));
}

async function ours(): Promise<string[]> {
  return (await bed.rules()).filter((rule) => !/cookie=0x77|actions=NORMAL/.test(rule));
}

test("a rule of every kind is as it was asked for, and the others are untouched", async () => {
  await until(() => keeper.status.state === "as-wanted");
  const before = await bed.rules();
  await want(
    { inPort: 3 },
    { ethSource: hexOfMac(a.mac) },
    { ethType: 0x0800, ipv4Source: ipHex(a.address) },
    { ethType: 0x0806, arpSource: ipHex(a.address) },
    { ethType: 0x86dd, ipv6Source: ipHex("fd00::1") },
  );
  const drops = (await ours()).map((rule) => rule.replace(/cookie=\w+, /, ""));
  const common = "hard_timeout=3600, send_flow_rem priority=65500,";
  expect(drops.sort()).toEqual([
    `${common}arp,arp_spa=${a.address} actions=drop`,
    `${common}dl_src=${a.mac} actions=drop`,
    `${common}in_port=3 actions=drop`,
    `${common}ip,nw_src=${a.address} actions=drop`,
    `${common}ipv6,ipv6_src=fd00::1 actions=drop`,
  ]);
  await want();
  expect(await bed.rules()).toEqual(before);
  expect(keeper.status).toMatchObject({ state: "as-wanted", rules: 0 });
});

test("what somebody removes comes back, what is ours and not wanted goes", async () => {
  await want({ ethSource: hexOfMac(a.mac) });
  expect(await bed.pings(a, b)).toBe(false);
  await bed.ofctl("del-flows", `dl_src=${a.mac}`);
  while ((await ours()).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  const stray = `cookie=0x${COOKIES.of(99).toString(16)},priority=7,in_port=1,actions=output:2`;
  await bed.ofctl("add-flow", stray);
  await keeper.settled(5000);
  expect((await ours()).length).toBe(1);
  await want();
  expect(await bed.pings(a, b)).toBe(true);
});

test("a restart of the switch: lost, called again, and as it should be", async () => {
  await want({ ethSource: hexOfMac(a.mac) });
  await bed.stop();
  await until(() => keeper.status.state === "not-connected");
  await bed.start();
  await bed.untilUp();
  await until(() => keeper.status.state === "as-wanted");
  expect((await ours()).length).toBe(1);
  expect(told.filter((word) => word === "lost")).toHaveLength(1);
  await want();
}, 60_000);
