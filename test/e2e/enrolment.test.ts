/**
 * From nothing to two VMs that talk: a manager in a VM of its own, two VMs that enrol with a token
 * each over the network they will use, and agents that start from what enrolment wrote.
 * docs/manager.md "From nothing to two agents".
 */
import { afterAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { LabAgent } from "../../src/lab/agents.ts";
import { mustRun, startBackground, waitFor } from "../../src/lab/command.ts";
import { PROTOCOL } from "../../src/lab/frames.ts";
import type { Site } from "../../src/lab/site.ts";
import { namespaceOf, VM_INTERFACE, type VmPlan } from "../../src/lab/topology.ts";
import { ABS, CLIENT, openAgent, openSite, SERVER, stopwatch, tenantOf } from "./harness.ts";

const MANAGER: VmPlan = { ...CLIENT, name: "manager", ipv4: "10.78.0.90", ipv6: "fd78:ab5::90" };
const OURS = [CLIENT.ipv4, SERVER.ipv4];
const PEER_PORT = 6254;
const MINUTE_MS = 60_000;
const done = stopwatch("e2e enrolment");
afterAll(done);

async function abs(site: Site, vm: string, ...words: string[]): Promise<string> {
  const result = await mustRun(site.inside(vm, [...ABS, ...words]));
  return result.stdout.trim();
}

test(
  "two VMs enrol, their agents start, and what they say to each other is under proof",
  async () => {
    const vms = [CLIENT, SERVER, { ...MANAGER, mac: "02:ab:0e:00:00:90" }];
    const tenant = tenantOf(vms.map((vm) => openAgent(vm)));
    const site = await openSite("enrol", [tenant], { agents: "none" });
    const { prefix, directory } = site.options;
    // A wire takes whole checksums only; a veth would leave them to a NIC.
    await mustRun(site.inside("manager", ["ethtool", "-K", VM_INTERFACE, "tx", "off"]));
    const folder = `${directory}/manager`;
    const serve = ["manager", "serve", "--dir", folder, "--address", `${MANAGER.ipv4}:7022`];
    const manager = startBackground(site.inside("manager", [...ABS, ...serve]), {
      logFile: `${directory}/manager.log`,
    });
    const agents: LabAgent[] = [];
    try {
      const isUp = () => manager.output().includes("manager-started") || undefined;
      await waitFor("the manager", isUp, MINUTE_MS);
      const ask = (...words: string[]) =>
        abs(site, "manager", "manager", ...words, "--dir", folder);
      await ask("tenant", "add", "t1");
      for (const { name } of [CLIENT, SERVER]) {
        const token = await ask("invite", "--tenant", "t1", "--name", name);
        await abs(site, name, "agent", "enroll", token, "--dir", `${directory}/${name}`);
      }
      // The first has heard of nobody yet.
      await abs(site, CLIENT.name, "agent", "sync", "--dir", `${directory}/${CLIENT.name}`);
      for (const { name } of [CLIENT, SERVER]) {
        const launched = LabAgent.start({
          ...{ vm: name, namespace: namespaceOf(prefix, name), abs: ABS },
          directory: `${directory}/${name}`,
          provisioning: JSON.parse(readFileSync(`${directory}/${name}/provisioning.json`, "utf8")),
        });
        agents.push(launched);
        await launched.ready();
      }
      const ping = (count: number) => {
        const words = ["ping", "-n", "-c", `${count}`, "-i", "0.2", "-W", "2", SERVER.ipv4];
        return site.run(CLIENT.name, words, { timeoutMs: 20_000 });
      };
      // The contracts come with the ledger's blocks.
      const answers = async () => ((await ping(1)).code === 0 ? true : undefined);
      await waitFor("the first answer", answers, MINUTE_MS);
      const members = async () => {
        const folder = `${directory}/${CLIENT.name}`;
        const words = ["ledger", "members", "--dir", folder, "--output", "json"];
        const rows = JSON.parse(await abs(site, CLIENT.name, ...words)) as { weight: number }[];
        return rows.length === 2 && rows.every(({ weight }) => weight > 0) ? rows : undefined;
      };
      await waitFor("both agents in the committee", members, MINUTE_MS);
      const tap = site.tapSwitch();
      const said = await ping(3);
      expect(said.stdout).toContain("3 packets transmitted, 3 received");
      // Beside it is the peer channel of the two ledger nodes, which has its own encryption.
      const seen = tap.frames().filter(({ source, destination, sourcePort, destinationPort }) => {
        const isOurs = [source, destination].every((one) => OURS.includes(one ?? ""));
        return isOurs && sourcePort !== PEER_PORT && destinationPort !== PEER_PORT;
      });
      tap.close();
      expect(seen.length).toBeGreaterThan(5);
      expect([...new Set(seen.map(({ protocol }) => protocol))]).toEqual([PROTOCOL.abs]);
    } finally {
      for (const agent of agents) await agent.stop();
      await manager.stop();
      await site.close();
    }
  },
  3 * MINUTE_MS,
);
