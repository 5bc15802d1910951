/**
 * The other ways to carry and to judge: carrier `udp`, quick mode, VLANs, confidential contracts, a
 * TAP inside, and the MTU to the byte. design/wire.md "Carriers", design/agent.md "Modes and
 * stages". What a manager gives (carrier, contracts, mode) is tried with its agents too.
 */
import { afterAll, afterEach, expect, test } from "bun:test";
import { INSIDE_INTERFACE } from "../../src/lab/agents.ts";
import type { Tap } from "../../src/lab/capture.ts";
import { inject } from "../../src/lab/check.ts";
import { waitFor } from "../../src/lab/command.ts";
import {
  ethernet,
  isNeighbourDiscovery,
  isPeerChannel,
  PROTOCOL,
  TCP_FLAG,
  type TransportFields,
  udpPacket,
} from "../../src/lab/frames.ts";
import { PacketSocket } from "../../src/lab/packet-socket.ts";
import { startNginx, startRedis } from "../../src/lab/programs.ts";
import type { Site } from "../../src/lab/site.ts";
import {
  interfacesIn,
  ipBatch,
  namespaceOf,
  VM_INTERFACE,
  type VmPlan,
} from "../../src/lab/topology.ts";
import { barePackets } from "./attack-frames.ts";
import { openSiteBy, WAYS } from "./enrolled-site.ts";
import {
  BARE,
  CLIENT,
  openAgent,
  openSite,
  PORTS,
  SERVER,
  stopwatch,
  tenantOf,
} from "./harness.ts";

const MINUTE_MS = 60_000;
/** Of a test that opens several. */
const SITES_MS = 4 * MINUTE_MS;
const CARRIER_PORT = 6_253;
const INSIDE = BARE ? VM_INTERFACE : INSIDE_INTERFACE;
const done = stopwatch("e2e modes");
let site: Site | undefined;

afterEach(async () => {
  await site?.close();
  site = undefined;
}, MINUTE_MS);
afterAll(done);

async function redisWorks(open: Site, address: string): Promise<void> {
  const redis = ["redis-cli", "-h", address];
  const set = await open.run("client", [...redis, "SET", "key", "value"], { timeoutMs: 20_000 });
  expect(set.stdout.trim()).toBe("OK");
  const get = await open.run("client", [...redis, "GET", "key"], { timeoutMs: 20_000 });
  expect(get.stdout.trim()).toBe("value");
}

/** One ping of `size` bytes of payload; what it printed, both outputs. */
async function ping(open: Site, size: number, more: readonly string[] = []): Promise<string> {
  const command = ["ping", "-n", "-c", "1", "-W", "1", "-s", String(size), ...more];
  const result = await open.run("client", [...command, SERVER.ipv4], { timeoutMs: 20_000 });
  return `${result.stdout}${result.stderr}`;
}

/** IP packets between client and server but the peer channel's, as the switch saw them. */
async function atSwitch(open: Site, work: () => Promise<void>) {
  const tap = open.tapSwitch();
  await work();
  const ours = [CLIENT, SERVER].flatMap((vm) => [vm.ipv4, vm.ipv6]);
  const between = tap.frames().filter((frame) => {
    const isBetween = ours.includes(frame.source ?? "") && ours.includes(frame.destination ?? "");
    return isBetween && !isNeighbourDiscovery(frame) && !isPeerChannel(frame);
  });
  tap.close();
  return between;
}

const DF = ["-M", "do"];
const boundaries = [
  { carrier: "ip", insideMtu: 1_468 },
  { carrier: "udp", insideMtu: 1_460 },
] as const;

test.each(boundaries)(
  "MTU to the byte, carrier $carrier",
  async ({ carrier, insideMtu }) => {
    const agents = [openAgent(CLIENT, { carrier }), openAgent(SERVER, { carrier })];
    site = await openSite("modes", [tenantOf(agents)]);
    const open = site;
    const mtu = BARE ? 1_500 : insideMtu;
    const fits = mtu - 28;
    const seen = await atSwitch(open, async () => {
      expect(await ping(open, fits, DF)).toContain("1 received");
      // The kernel knows the inside MTU, so a larger packet does not even reach the agent.
      expect(await ping(open, fits + 1, DF)).toContain(`mtu=${mtu}`);
      expect(await ping(open, fits + 1)).toContain("1 received");
      expect(await ping(open, fits - 1, DF)).toContain("1 received");
    });
    const longest = Math.max(...seen.map((frame) => frame.bytes.length));
    expect(longest).toBe(14 + 1_500);
    if (BARE) return;
    const carried = (frame: (typeof seen)[number]) =>
      carrier === "ip"
        ? frame.protocol === PROTOCOL.abs
        : frame.protocol === PROTOCOL.udp && frame.destinationPort === CARRIER_PORT;
    expect(seen.every(carried)).toBe(true);
    // A kernel that believes in 1500 gets its answer from the agent.
    await ipBatch(
      ["-n", namespaceOf(open.options.prefix, "client")],
      [`link set ${INSIDE} mtu 1500`],
    );
    expect(await ping(open, fits + 1, DF)).toContain(`mtu = ${insideMtu}`);
    expect(await ping(open, fits, DF)).toContain("1 received");
    expect(await ping(open, 1_472)).toContain("1 received");
  },
  MINUTE_MS,
);

test(
  "the MSS of a SYN is clamped to what fits",
  async () => {
    site = await openSite("modes", [tenantOf([openAgent(CLIENT), openAgent(SERVER)])]);
    await site.keep(startRedis(site.host("server"), PORTS.redis));
    await ipBatch(
      ["-n", namespaceOf(site.options.prefix, "client")],
      [`link set ${INSIDE} mtu 1500`],
    );
    const tap = site.tapVm("server");
    await redisWorks(site, SERVER.ipv4);
    await redisWorks(site, SERVER.ipv6);
    const segments = tap.frames().filter((frame) => ((frame.tcpFlags ?? 0) & TCP_FLAG.syn) !== 0);
    const arrived = segments.filter((frame) => frame.direction === "received");
    tap.close();
    const sizes = arrived.map((frame) => mssOf(frame.ipPayload ?? new Uint8Array(0)));
    expect(new Set(sizes)).toEqual(new Set(BARE ? [1_460, 1_440] : [1_428, 1_408]));
  },
  MINUTE_MS,
);

/** The maximum segment size of a SYN, RFC 9293 §3.7.1; 0 when it has none. */
function mssOf(segment: Uint8Array): number {
  const view = new DataView(segment.buffer, segment.byteOffset, segment.byteLength);
  const end = (view.getUint8(12) >>> 4) * 4;
  for (let i = 20; i + 1 < end; ) {
    const kind = view.getUint8(i);
    if (kind === 2) return view.getUint16(i + 2, false);
    i += kind === 1 ? 1 : view.getUint8(i + 1);
  }
  return 0;
}

test.each(WAYS)(
  "%s agents, carrier udp: Redis and 20 MB of HTTP, IPv4 and IPv6",
  async (way) => {
    const carrier = "udp";
    const agents = [openAgent(CLIENT, { carrier }), openAgent(SERVER, { carrier })];
    site = await openSiteBy(way, "modes", tenantOf(agents));
    const open = site;
    await open.keep(startRedis(open.host("server"), PORTS.redis));
    const seen = await atSwitch(open, async () => {
      await redisWorks(open, SERVER.ipv4);
      await redisWorks(open, SERVER.ipv6);
    });
    if (!BARE) {
      expect(seen.every((frame) => frame.destinationPort === CARRIER_PORT)).toBe(true);
      expect(seen.every((frame) => (frame.sourcePort ?? 0) >= 49_152)).toBe(true);
    }
    const nginx = await open.keep(startNginx(open.host("server"), PORTS.http));
    await Bun.write(`${nginx.directory}/files/file`, new Uint8Array(20 << 20));
    for (const address of [SERVER.ipv4, `[${SERVER.ipv6}]`]) {
      const url = `http://${address}:${PORTS.http}/file`;
      const curl = ["curl", "-sS", "-g", "-o", "/dev/null", "-w", "%{size_download}", url];
      const result = await open.run("client", curl, { timeoutMs: 30_000 });
      expect(result.stdout).toBe(String(20 << 20));
    }
  },
  SITES_MS,
);

test.each(WAYS)(
  "%s agents, confidential: the payload cannot be read on the switch; integrity: it can",
  async (way) => {
    for (const protection of ["confidential", "integrity"] as const) {
      const agents = [openAgent(CLIENT), openAgent(SERVER)];
      site = await openSiteBy(way, "modes", tenantOf(agents, { contracts: [{ protection }] }));
      const open = site;
      await open.keep(startRedis(open.host("server"), PORTS.redis));
      const secret = "a-word-that-is-not-for-everybody";
      const seen = await atSwitch(open, async () => {
        const command = ["redis-cli", "-h", SERVER.ipv4, "SET", "key", secret];
        const result = await open.run("client", command, { timeoutMs: 20_000 });
        expect(result.stdout.trim()).toBe("OK");
      });
      const readable = seen.some((frame) => Buffer.from(frame.bytes).includes(secret));
      expect(readable).toBe(BARE || protection === "integrity");
      await open.close();
    }
  },
  SITES_MS,
);

const algorithms = [
  { algorithm: "aes-256-gcm", hash: "sha512" },
  { algorithm: "chacha20-poly1305", hash: "blake2s" },
  { algorithm: "chacha20-poly1305", hash: "blake2b" },
];
test.each(WAYS)(
  "%s agents, each algorithm and hash of the contracts carries Redis",
  async (way) => {
    // A manager hands terms on as they are: one of them is enough.
    for (const contract of way === "enrolled" ? algorithms.slice(-1) : algorithms) {
      const agents = [openAgent(CLIENT), openAgent(SERVER)];
      site = await openSiteBy(way, "modes", tenantOf(agents, { contracts: [contract] }));
      await site.keep(startRedis(site.host("server"), PORTS.redis));
      await redisWorks(site, SERVER.ipv4);
      await site.close();
    }
  },
  SITES_MS,
);

test.each(WAYS)(
  "%s agents, quick mode: the tenant is enough, any payload passes, bare packets do not",
  async (way) => {
    const rules = ["in", "out"].map((direction) => ({
      id: `any-${direction}`,
      direction,
      action: "allow",
    }));
    const quick = { mode: "quick", policy: { rules } } as const;
    const tenant = tenantOf([openAgent(CLIENT, quick), openAgent(SERVER, quick)]);
    site = await openSiteBy(way, "modes", tenant);
    // A port that no signature names.
    await site.keep(startRedis(site.host("server"), 9_999));
    const redis = ["redis-cli", "-h", SERVER.ipv4, "-p", "9999", "PING"];
    const result = await site.run("client", redis, { timeoutMs: 20_000 });
    expect(result.stdout.trim()).toBe("PONG");
    expect(await ping(site, 56)).toContain("1 received");
    if (BARE) return;
    const tap = site.tapVm("server");
    inject(site, "server", barePackets(CLIENT, 20_020));
    const events = site.agent("server").events;
    const untagged = () => events.all().find((event) => event.reason === "untagged");
    await waitFor("the bare packets to be refused", untagged, 20_000);
    expect(tap.frames().filter((frame) => frame.sourcePort === 20_020)).toEqual([]);
  },
  SITES_MS,
);

test(
  "VLAN: tagged datagrams keep their tag and carry the field; others are dropped",
  async () => {
    const vlans = [100];
    const agents = [
      openAgent(CLIENT, { vlans, moreAddresses: ["10.79.0.11"] }),
      openAgent(SERVER, { vlans, moreAddresses: ["10.79.0.12"] }),
    ];
    site = await openSite("modes", [tenantOf(agents)]);
    const open = site;
    const [bridge, client, server] = [open.tapSwitch(), open.tapVm("client"), open.tapVm("server")];
    const there = { source: "10.79.0.11", destination: "10.79.0.12" };
    const back = { source: there.destination, destination: there.source };
    const arrived = (tap: Tap, source: string) =>
      tap.frames().filter((frame) => frame.direction === "received" && frame.source === source);
    sendTagged(open, CLIENT, SERVER, [100], {
      ...there,
      sourcePort: 20_000,
      destinationPort: 7_002,
    });
    const request = await waitFor("the datagram", () => arrived(server, there.source)[0], 20_000);
    expect(request).toMatchObject({ vlans: [100], sourcePort: 20_000, destinationPort: 7_002 });
    sendTagged(open, SERVER, CLIENT, [100], {
      ...back,
      sourcePort: 7_002,
      destinationPort: 20_000,
    });
    const reply = await waitFor("the answer", () => arrived(client, back.source)[0], 20_000);
    expect(reply).toMatchObject({ vlans: [100], sourcePort: 7_002, destinationPort: 20_000 });
    const seen = bridge.frames().filter((frame) => frame.destination?.startsWith("10.79.0."));
    expect(seen.length).toBeGreaterThan(0);
    for (const frame of seen) {
      expect(frame.vlans).toEqual([100]);
      if (!BARE) expect(frame.protocol).toBe(PROTOCOL.abs);
    }
    if (BARE) return;
    // VLAN hopping: an unexpected tag, and a second one.
    const hop = { ...there, sourcePort: 20_001, destinationPort: 7_002 };
    sendTagged(open, CLIENT, SERVER, [200], hop);
    sendTagged(open, CLIENT, SERVER, [100, 100], hop);
    const reasons = () =>
      open
        .agent("client")
        .events.all()
        .map((event) => event.reason);
    const both = ["vlan-unexpected", "vlan-double"];
    await waitFor("both drops", () => both.every((word) => reasons().includes(word)) || undefined);
    expect(arrived(server, there.source).some((frame) => frame.sourcePort === 20_001)).toBe(false);
  },
  MINUTE_MS,
);

/**
 * Sends a tagged datagram out of a VM's interface as its kernel would. Raw, because not every
 * kernel has VLAN interfaces.
 */
function sendTagged(
  open: Site,
  from: VmPlan,
  to: VmPlan,
  vlans: readonly number[],
  flow: TransportFields,
): void {
  const namespace = namespaceOf(open.options.prefix, from.name);
  const packet = udpPacket(flow, new TextEncoder().encode("tagged"));
  const link = { sourceMac: from.mac, destinationMac: to.mac, vlans };
  const socket = new PacketSocket(namespace, INSIDE);
  const index = [...interfacesIn(namespace)].find(([, name]) => name === INSIDE)?.[0] ?? 0;
  socket.send(index, ethernet(link, packet));
  socket.close();
}

test(
  "a TAP as the inside carries Redis and 20 MB of HTTP",
  async () => {
    const agents = [openAgent(CLIENT), openAgent(SERVER)];
    site = await openSite("modes", [tenantOf(agents)], { inside: "tap" });
    const open = site;
    await open.keep(startRedis(open.host("server"), PORTS.redis));
    await redisWorks(open, SERVER.ipv4);
    await redisWorks(open, SERVER.ipv6);
    const nginx = await open.keep(startNginx(open.host("server"), PORTS.http));
    await Bun.write(`${nginx.directory}/files/file`, new Uint8Array(20 << 20));
    const url = `http://${SERVER.ipv4}:${PORTS.http}/file`;
    const curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", url];
    const result = await open.run("client", curl, { timeoutMs: 30_000 });
    expect(result.stdout).toBe(String(20 << 20));
  },
  MINUTE_MS,
);
