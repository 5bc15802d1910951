/** The REST adapters against stand-ins for Ryu and ONOS: rules come, stay and go. */
import { afterAll, expect, test } from "bun:test";
import { CookieRange, type DropRule } from "../../src/switch/flow-table.ts";
import { SwitchKeeper } from "../../src/switch/switch-keeper.ts";
import { OnosStub, RyuStub, type StubFlow } from "./controller-stubs.ts";

const COOKIES = new CookieRange(0x51);
const MATCHES = [
  { inPort: 3 },
  { ethSource: "02ab0f000001" },
  { ethType: 0x0800, ipv4Source: "0a4f0001" },
  { ethType: 0x0806, arpSource: "0a4f0001" },
  { ethType: 0x86dd, ipv6Source: "fd000000000000000000000000000001" },
];
const ryu = new RyuStub(0x1234);
const onos = new OnosStub("of:0000000000001234");
const keepers: SwitchKeeper[] = [];

afterAll(async () => {
  for (const keeper of keepers) keeper.stop();
  await ryu.stop();
  await onos.stop();
});

type Stub = { flows: StubFlow[]; readonly url: string; stop(): Promise<void> };
const controllers = [
  { name: "ryu" as const, stub: ryu as Stub, other: { cookie: 7, priority: 65_500, match: {} } },
  { name: "onos" as const, stub: onos as Stub, other: { id: "1", appId: "org.other" } },
];

function keeperOf(name: "ryu" | "onos", stub: Stub, told: string[], wanted: () => DropRule[]) {
  const keeper = new SwitchKeeper({
    place: { kind: "rest", controller: name, url: stub.url },
    ...{ tls: undefined, datapathId: 0x1234n, cookies: COOKIES, wanted },
    access: { login: { user: "onos", password: "rocks" }, ca: undefined },
    connected: () => told.push("connected"),
    lost: () => told.push("lost"),
    failed: (why) => told.push(why),
  });
  keepers.push(keeper);
  return keeper;
}

test.each(controllers)(
  "$name: rules come, stay, are mended and go",
  async ({ name, stub, other }) => {
    stub.flows.push(other);
    let wanted: DropRule[] = MATCHES.map((match) => ({
      cookie: COOKIES.of(1),
      match,
      seconds: 600,
    }));
    const told: string[] = [];
    const keeper = keeperOf(name, stub, told, () => wanted);
    await keeper.settled(5000);
    expect(keeper.status).toMatchObject({ state: "as-wanted", rules: MATCHES.length });
    expect(stub.flows).toHaveLength(1 + MATCHES.length);
    // The same again changes nothing: what the controller prints is understood.
    const before = JSON.stringify(stub.flows);
    await keeper.settled(5000);
    expect(JSON.stringify(stub.flows)).toBe(before);
    stub.flows.splice(2, 1);
    await keeper.settled(5000);
    expect(stub.flows).toHaveLength(1 + MATCHES.length);
    wanted = [];
    await keeper.settled(5000);
    expect(stub.flows).toEqual([other]);
    expect(told).toEqual(["connected"]);
  },
);

test("ryu is told what its document says, field by field", async () => {
  ryu.flows = [];
  const rule = { cookie: COOKIES.of(9), match: { ethType: 0x0800, ipv4Source: "0a4f0001" } };
  const keeper = keeperOf("ryu", ryu, [], () => [{ ...rule, seconds: 59.2 }]);
  await keeper.settled(5000);
  expect(ryu.flows).toMatchObject([
    {
      ...{ cookie: Number(COOKIES.of(9)), priority: 65_500, hard_timeout: 60, table_id: 0 },
      ...{ actions: [], match: { dl_type: 0x0800, nw_src: "10.79.0.1" } },
    },
  ]);
});

const wrong = [
  { name: "no JSON", answer: () => new Response("<html>") },
  { name: "another datapath", answer: () => Response.json({ 99: [] }) },
  { name: "401", answer: () => new Response("", { status: 401 }) },
  { name: "a redirection", answer: () => Response.redirect("http://127.0.0.1:9/") },
  { name: "no end", answer: () => new Response(new Uint8Array(9 * 1024 * 1024)) },
  { name: "a list of nothing", answer: () => Response.json({ 4660: "none" }) },
];
test.each(wrong)("a controller that answers wrong is told of once: $name", async ({ answer }) => {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
  const stub = { flows: [], url: `http://127.0.0.1:${server.port}`, stop: async () => {} };
  const told: string[] = [];
  const keeper = keeperOf("ryu", stub, told, () => []);
  await keeper.settled(5000);
  await keeper.settled(5000);
  expect(keeper.status.state).toBe("not-connected");
  expect(told).toEqual(["lost"]);
  keeper.stop();
  await server.stop(true);
});
