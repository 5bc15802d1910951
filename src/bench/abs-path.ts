/**
 * The path through `abs` of `abs bench e2e`: an agent in each machine, in full mode and stage
 * enforce, with an integrity contract and a numeric signature for everything that is measured.
 * The agents and their provisioning are those of the lab (src/lab): one format, one way to start.
 */
import { join } from "node:path";
import { LabAgent } from "../lab/agents.ts";
import { Tenant } from "../lab/tenant.ts";
import type { VmPlan } from "../lab/topology.ts";
import {
  ADDRESS,
  type BenchNetwork,
  MACHINES,
  type Machine,
  removeBenchDirectory,
  WIRE,
} from "./bench-network.ts";
import type { Path, Tools } from "./paths.ts";

const APP = "bench";
const GROUP = "bench";

const VMS: Readonly<Record<Machine, VmPlan>> = {
  a: { name: "a", ipv4: ADDRESS.a, ipv6: "fd99:ab5::1", mac: "02:ab:05:99:00:01" },
  b: { name: "b", ipv4: ADDRESS.b, ipv6: "fd99:ab5::2", mac: "02:ab:05:99:00:02" },
};

const RULES = [
  { id: "bench-in", direction: "in", from: { group: GROUP }, app: APP, action: "allow" },
  { id: "bench-out", direction: "out", action: "allow" },
];

function makeTenant(): Tenant {
  return new Tenant({
    name: "bench",
    apps: [APP],
    signatures: [
      { app_name: APP, description: "all TCP", proto_type: "tcp", contents: [] },
      { app_name: APP, description: "all UDP", proto_type: "udp", contents: [] },
    ],
    contracts: [{ protection: "integrity", algorithm: "aes-128-gcm" }],
    agents: MACHINES.map((machine) => ({
      vm: VMS[machine],
      groups: [GROUP],
      apps: [APP],
      policy: { rules: RULES },
    })),
  });
}

export class AbsPath implements Path {
  readonly name = "abs";
  #agents: LabAgent[] = [];

  constructor(
    readonly network: BenchNetwork,
    readonly tools: Tools,
  ) {}

  async start(): Promise<void> {
    const { network, tools } = this;
    for (const machine of MACHINES) await network.add(machine);
    await network.pair("a", WIRE, "b", WIRE);
    for (const machine of MACHINES) {
      await network.ip(machine, `link set ${WIRE} address ${VMS[machine].mac}`);
      await network.address(machine, WIRE, ADDRESS[machine]);
    }
    const tenant = makeTenant();
    for (const machine of MACHINES) {
      const agent = LabAgent.start({
        vm: machine,
        namespace: network.name(machine),
        abs: tools.abs,
        directory: this.#directory(machine),
        provisioning: tenant.provisioningOf(machine),
        inside: "veth",
        onStop: "open",
      });
      this.#agents.push(agent);
    }
    for (const agent of this.#agents) await agent.ready();
  }

  /** Process numbers of both agents. */
  agentPids(): number[] {
    return this.#agents.map((agent) => agent.pid);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.stop()));
    await this.network.removeAll();
    for (const machine of MACHINES) removeBenchDirectory(this.#directory(machine));
    this.#agents = [];
  }

  #directory(machine: Machine): string {
    return join(this.tools.directory, `agent-${machine}`);
  }
}
