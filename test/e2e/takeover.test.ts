/**
 * Taking over an interface, end to end in network namespaces: everything moves and comes back the
 * same; changes are followed; nothing goes around. takeover-recovery.test.ts has the ends that are
 * not clean. No data plane runs here: what passes the agent is other tests' business.
 */

import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Bed, VM_MAC, waitFor } from "./takeover-bed.ts";

setDefaultTimeout(60_000);

let bed: Bed;
beforeEach(() => {
  bed = new Bed();
});
afterEach(async () => {
  await bed.remove();
});

describe.each(["veth", "tap"] as const)("inside %s", (kind) => {
  test("addresses, routes, neighbours, MAC and settings move and come back", async () => {
    const before = {
      all: bed.snapshot(),
      features: bed.features("eth0"),
      settings: bed.settings("eth0"),
    };
    const configuration = bed.configuration("eth0");
    const agent = bed.start({ kind });
    const ready = await agent.event("ready");
    expect(ready["insideMtu"]).toBe(1468);
    expect(ready["interfaces"]).toContain("eth0");
    expect(ready["home"]).toEqual(["abs0", "lo"]);
    expect(bed.configuration("abs0")).toBe(configuration);
    const [link] = JSON.parse(bed.inVm("ip", "-j", "link", "show", "dev", "abs0")) as [
      { mtu: number; address: string; operstate: string },
    ];
    expect(link.mtu).toBe(1468);
    expect(link.address).toBe(VM_MAC);
    expect(bed.settings("abs0")).toBe(before.settings.replaceAll("/mtu:1500", "/mtu:1468"));
    expect(bed.features("abs0")).not.toMatch(/^\s*tx-.*(segmentation|checksum\S*): on/m);
    expect(bed.inPrivate("ethtool", "-k", "eth0")).toMatch(/^generic-receive-offload: off/m);
    expect(bed.inPrivate("ip", "addr")).not.toMatch(/inet/);
    await agent.stop("open");
    bed.settled();
    expect(bed.snapshot()).toBe(before.all);
    expect(bed.features("eth0")).toBe(before.features);
    expect(bed.settings("eth0")).toBe(before.settings);
    expect(bed.clean()).toBe(true);
    waitFor("abs0 to be gone", () => !bed.interfaces().includes("abs0"));
  });
});

describe("changes are followed", () => {
  test("addresses and routes added and removed inside, and they come back outside", async () => {
    const agent = bed.start();
    await agent.event("following");
    let from = agent.events.length;
    bed.batch("addr add 10.9.0.44/24 dev abs0");
    expect((await agent.event("addresses", from))["addresses"]).toContain("0a09002c");
    from = agent.events.length;
    bed.batch("addr add fd09::44/64 dev abs0 nodad");
    const six = (await agent.event("addresses", from))["addresses"];
    expect(six).toContain("fd090000000000000000000000000044");
    from = agent.events.length;
    bed.batch("addr del 10.9.0.3/24 dev abs0");
    expect((await agent.event("addresses", from))["addresses"]).not.toContain("0a090003");
    bed.batch(`
      route add 10.99.0.0/16 via 10.9.0.1
      route add default via 10.9.0.1 metric 100
    `);
    const stateFile = `${bed.stateDir}/takeover.json`;
    waitFor("the route to be on disk", () => readFileSync(stateFile, "utf8").includes("0a630000"));
    const changed = bed.configuration("abs0");
    agent.kill();
    waitFor("the interface to be back", () => bed.clean());
    expect(bed.configuration("eth0")).toBe(changed);
  });

  test("carrier of the outside", async () => {
    const agent = bed.start();
    await agent.event("following");
    let from = agent.events.length;
    bed.inSwitch("ip", "link", "set", "port", "down");
    expect((await agent.event("link", from))["carrier"]).toBe(false);
    expect(bed.inVm("ip", "link", "show", "abs0")).toContain("state DORMANT");
    from = agent.events.length;
    bed.inSwitch("ip", "link", "set", "port", "up");
    expect((await agent.event("link", from))["carrier"]).toBe(true);
    waitFor("abs0 to run", () => bed.inVm("ip", "link", "show", "abs0").includes("state UP"));
  });

  test("MTU of the outside; one that is too small, or too large inside, is refused", async () => {
    const agent = bed.start();
    await agent.event("following");
    let from = agent.events.length;
    bed.inPrivate("ip", "link", "set", "eth0", "mtu", "1400");
    const link = await agent.event("link", from);
    expect([link["outsideMtu"], link["insideMtu"]]).toEqual([1400, 1368]);
    expect(bed.inVm("ip", "link", "show", "abs0")).toContain("mtu 1368");
    from = agent.events.length;
    bed.inPrivate("ip", "link", "set", "eth0", "mtu", "1300");
    expect((await agent.event("refused", from))["sentence"]).toContain("1280 are needed");
    waitFor("it to be undone", () =>
      bed.inPrivate("ip", "link", "show", "eth0").includes("mtu 1400"),
    );
    from = agent.events.length;
    bed.inVm("ip", "link", "set", "abs0", "mtu", "1500");
    expect((await agent.event("refused", from))["sentence"]).toContain("1368 again");
    from = agent.events.length;
    bed.inVm("ip", "link", "set", "abs0", "mtu", "1300");
    expect((await agent.event("link", from))["insideMtu"]).toBe(1300);
  });

  test("MAC, name, offloads and private addresses are undone and told", async () => {
    const agent = bed.start();
    await agent.event("following");
    const undone = [
      {
        words: "MAC address",
        change: ["ip", "link", "set", "abs0", "address", "02:00:00:00:00:07"],
      },
      { words: "renamed", change: ["ip", "link", "set", "abs0", "name", "abs9"] },
      { words: "would break packets", change: ["ethtool", "-K", "abs0", "tx", "on", "tso", "on"] },
    ];
    for (const { words, change } of undone) {
      const from = agent.events.length;
      bed.inVm(...change);
      expect((await agent.event("refused", from))["sentence"]).toContain(words);
    }
    expect(bed.inVm("ip", "link", "show", "abs0")).toContain(VM_MAC);
    const from = agent.events.length;
    bed.inPrivate("ip", "addr", "add", "10.9.0.2/24", "dev", "eth0");
    expect((await agent.event("refused", from))["sentence"]).toContain("must not have addresses");
    expect(bed.inPrivate("ip", "addr")).not.toContain("inet");
  });

  test("an interface that is removed is told as lost", async () => {
    const agent = bed.start();
    await agent.event("following");
    bed.inVm("ip", "link", "del", "abs0");
    expect((await agent.event("lost"))["code"]).toBe("INSIDE_GONE");
  });
});

describe("nothing goes around the agent", () => {
  const listeners = [
    { family: "IPv4", host: "0.0.0.0", address: "10.9.0.2" },
    { family: "IPv6", host: "::", address: "fd09::2" },
  ] as const;

  /** Starts a UDP listener in the VM that prints what it gets. */
  function listen(host: string): Bun.Subprocess<"ignore", "pipe", "inherit"> {
    const script = `
      const socket = await Bun.udpSocket({ hostname: ${JSON.stringify(host)}, port: 7777, socket: {
        data: (_, bytes) => console.log(bytes.toString()),
      } });
      console.log("listening");
    `;
    const enter = ["nsenter", `--net=/run/netns/${bed.vm}`];
    return Bun.spawn([...enter, process.execPath, "-e", script], {
      stdout: "pipe",
      stderr: "inherit",
    });
  }

  /** Sends a packet from the switch straight to the VM's MAC address, asking no neighbour. */
  function send(address: string): void {
    const family = address.includes(":") ? "-6" : "-4";
    bed.inSwitch("ip", family, "neigh", "replace", address, "lladdr", VM_MAC, "dev", "port");
    const script = `
      const socket = await Bun.udpSocket({ ${address.includes(":") ? 'hostname: "::",' : ""} });
      for (let i = 0; i < 5; i++) socket.send("bypass", 7777, ${JSON.stringify(address)});
      socket.close();
    `;
    bed.inSwitch(process.execPath, "-e", script);
  }

  test.each(listeners)("inwards, $family", async ({ host, address }) => {
    const listener = listen(host);
    let heard = "";
    void (async () => {
      for await (const chunk of listener.stdout) heard += new TextDecoder().decode(chunk);
    })();
    try {
      while (!heard.includes("listening")) await Bun.sleep(5);
      send(address);
      while (!heard.includes("bypass")) await Bun.sleep(5); // without an agent it arrives
      heard = "";
      const agent = bed.start();
      await agent.event("following");
      send(address);
      const seen = Number(bed.inPrivate("cat", "/sys/class/net/eth0/statistics/rx_packets"));
      await Bun.sleep(200);
      expect(seen).toBeGreaterThan(0);
      expect(heard).toBe("");
      // Nor does anything in the private namespace answer.
      const ping = ["ping", "-c", "1", "-W", "1", address];
      expect(() => bed.inSwitch(...ping)).toThrow();
    } finally {
      listener.kill();
      await listener.exited;
    }
  });

  test("outwards: the outside interface is not there to be used", async () => {
    const agent = bed.start();
    await agent.event("following");
    expect(() => bed.inVm("ping", "-I", "eth0", "-c", "1", "-W", "1", "10.9.0.1")).toThrow();
    const received = (): number =>
      Number(bed.inSwitch("sh", "-c", "cat /proc/net/dev | awk '/port:/ {print $3}'"));
    const before = received();
    for (const address of ["10.9.0.1", "fd09::1"]) {
      expect(() => bed.inVm("ping", "-c", "2", "-i", "0.2", "-W", "1", address)).toThrow();
    }
    expect(received()).toBe(before);
  });
});

describe("refused before anything is changed", () => {
  async function refusal(options: Parameters<Bed["start"]>[0]): Promise<unknown> {
    const before = bed.configuration("eth0");
    const agent = bed.start(options);
    const error = await agent.event("error");
    await agent.process.exited;
    expect(bed.configuration("eth0")).toBe(before);
    expect(bed.clean()).toBe(true);
    return error["code"];
  }

  test("an interface that is not there, a loopback, a bridge, a part of one", async () => {
    expect(await refusal({ outside: "eth7" })).toBe("OUTSIDE_MISSING");
    expect(await refusal({ outside: "lo" })).toBe("OUTSIDE_REFUSED");
    bed.batch("link add br0 type bridge");
    expect(await refusal({ outside: "br0" })).toBe("OUTSIDE_REFUSED");
    bed.batch("link add v0 type veth peer name v1");
    bed.batch("link set v0 master br0");
    expect(await refusal({ outside: "v0" })).toBe("OUTSIDE_REFUSED");
  });

  test("an MTU that is too small, a name that is none", async () => {
    bed.batch("link set eth0 mtu 1300");
    expect(await refusal({})).toBe("MTU_TOO_SMALL");
    bed.batch("link set eth0 mtu 1500");
    expect(await refusal({ name: "a name" })).toBe("INTERFACE_NAME");
  });

  test.each([
    { how: "ends", guard: ["/bin/true"] },
    { how: "fails when told to go", guard: ["/bin/sh", "-c", "read go; exit 1", "sh"] },
  ])("a guard that $how", async ({ guard }) => {
    expect(await refusal({ guard })).toBe("GUARD_FAILED");
  });

  test("a second agent with the same state directory", async () => {
    const first = bed.start();
    await first.event("following");
    const second = bed.start();
    expect((await second.event("error"))["code"]).toBe("STATE_BUSY");
    await first.stop("open");
  });

  test("no right to make the private namespace", async () => {
    const agent = bed.start({}, false, [
      "setpriv",
      "--bounding-set=-sys_admin",
      "--inh-caps=-sys_admin",
    ]);
    const error = await agent.event("error");
    expect(String(error["message"])).toContain("EPERM");
  });

  test("an inside name that is taken: the take-over is undone", async () => {
    const before = bed.configuration("eth0");
    bed.batch("link add abs0 type veth peer name other");
    const agent = bed.start();
    expect((await agent.event("error"))["code"]).toBe("INSIDE_EXISTS");
    await agent.process.exited;
    expect(bed.configuration("eth0")).toBe(before);
    expect(bed.clean()).toBe(true);
  });
});

describe("what else an interface may carry", () => {
  test("a leased address goes on with what is left of its lease, and is told", async () => {
    bed.batch(`
      addr add 10.9.8.2/24 dev eth0 valid_lft 600 preferred_lft 300
      addr add fd0a::2/64 dev eth0 nodad valid_lft 600 preferred_lft 300
    `);
    const agent = bed.start();
    await agent.event("following");
    expect((await agent.event("warning"))["sentence"]).toContain("is leased for");
    const expectLeases = (name: string): void => {
      const text = bed.inVm("ip", "-j", "addr", "show", "dev", name);
      type Info = { dynamic?: boolean; valid_life_time: number };
      const [link] = JSON.parse(text) as [{ addr_info: Info[] }];
      const leased = link.addr_info.filter((info) => info.dynamic === true);
      expect(leased.length).toBe(2);
      for (const { valid_life_time } of leased) expect(valid_life_time).toBeWithin(580, 601);
    };
    expectLeases("abs0");
    await agent.stop("open");
    expectLeases("eth0");
  });

  test("the inside interface may have the outside's name", async () => {
    const before = bed.snapshot();
    for (const kind of ["veth", "tap"] as const) {
      const agent = bed.start({ kind, name: "eth0" }, true);
      await agent.event("following");
      expect(bed.interfaces()).toEqual(["eth0", "lo"]);
      expect(bed.inVm("ip", "link", "show", "eth0")).toContain("mtu 1468");
      agent.kill();
      waitFor("the interface to be back", () => bed.clean());
      bed.settled();
      expect(bed.snapshot()).toBe(before);
    }
  });

  test("a route of another interface that lives from one of the addresses is kept", async () => {
    bed.batch(`
      link add side type veth peer name edis
      link set side up
      link set edis up
      route add 10.55.0.0/16 dev side src 10.9.0.2
    `);
    const route = (): string => bed.inVm("ip", "route", "show", "10.55.0.0/16");
    const before = route();
    const agent = bed.start();
    await agent.event("following");
    expect(agent.events.some((e) => String(e["sentence"]).includes("other interfaces"))).toBe(true);
    expect(route()).toBe(before);
    await agent.stop("open");
    expect(route()).toBe(before);
  });

  test("an interface that was down is down again", async () => {
    bed.batch("link set eth0 down");
    const before = bed.configuration("eth0");
    const agent = bed.start();
    await agent.event("following");
    await agent.stop("open");
    expect(bed.configuration("eth0")).toBe(before);
    expect(bed.inVm("ip", "link", "show", "eth0")).toContain("state DOWN");
  });

  test("SSH sessions are told", async () => {
    const enter = ["nsenter", `--net=/run/netns/${bed.vm}`];
    const listen = `Bun.listen({ hostname: "::", port: 22, socket: { data() {} } });`;
    const connect = `await Bun.connect({ hostname: "10.9.0.2", port: 22, socket: { data() {} } });
      console.log("connected");`;
    const server = Bun.spawn([...enter, process.execPath, "-e", listen], { stderr: "inherit" });
    waitFor("the server", () => bed.inVm("cat", "/proc/net/tcp6").includes(":0016 "));
    const far = ["nsenter", `--net=/run/netns/${bed.switch}`];
    const client = Bun.spawn([...far, process.execPath, "-e", connect], { stdout: "pipe" });
    try {
      await client.stdout.getReader().read();
      const agent = bed.start();
      const told = (): boolean =>
        agent.events.some((event) => String(event["sentence"]).includes("1 SSH session"));
      await agent.event("warning");
      expect(told()).toBe(true);
    } finally {
      client.kill();
      server.kill();
    }
  });
});
