/**
 * How large a fleet is and where everybody is: tenants, names, addresses, processes, files.
 * docs/fleet.md. The addresses are of a network of its own
 * (private-network.ts), so each agent has one, as its VM would.
 */
import { readFileSync } from "node:fs";
import { AbsError } from "../errors.ts";

export const MANAGER_PLACE = { host: "10.127.0.1", port: 7022 } as const;
/** All of it is this machine, in the fleet's own network. */
export const FLEET_NETWORK = "10.64.0.0/10";
/** Agents of one tenant have neighbouring addresses; the manager is above all of them. */
const TENANT_ADDRESSES = 4096;
const TENANTS_MAX = 1000;
const FIRST_ADDRESS = 0x0a400000;
const PEER_PORT = 6254;

/** Open files of a member's ledger node beside its connections: database, journal, sockets. */
const MEMBER_FILES = 12;
const PROCESS_FILES = 200;
const PROCESSES_MIN = 2;
const PROCESSES_MAX = 16;

export type FleetSize = {
  readonly agents: number;
  readonly tenantAgents: number;
  /** Of each tenant, the ones that run a node of its ledger. */
  readonly tenantMembers: number;
};

/** One agent to be. */
export type FleetSeat = {
  /** Counts from 0. */
  readonly number: number;
  readonly tenant: string;
  readonly name: string;
  readonly address: string;
  readonly peerPort: number;
  /** The member of its tenant that gives it headers; undefined: it is a member. */
  readonly source: string | undefined;
};

export class FleetPlan {
  readonly tenants: readonly string[];
  readonly seats: readonly FleetSeat[];

  /** @throws AbsError FLEET_OPTION */
  constructor(readonly size: FleetSize) {
    const { agents, tenantAgents, tenantMembers } = size;
    if (tenantMembers > tenantAgents) {
      const what = `A tenant of ${tenantAgents} agents has no ${tenantMembers} members.`;
      throw new AbsError("FLEET_OPTION", what, "Lower --tenant-members.");
    }
    const count = Math.ceil(agents / tenantAgents);
    if (count > TENANTS_MAX || tenantAgents >= TENANT_ADDRESSES) {
      const what = `${count} tenants of ${tenantAgents} agents are more than there are addresses.`;
      const remedy = `At most ${TENANTS_MAX}, of less than ${TENANT_ADDRESSES} agents each.`;
      throw new AbsError("FLEET_OPTION", what, remedy);
    }
    this.tenants = Array.from({ length: count }, (_, i) => `t${i + 1}`);
    this.seats = Array.from({ length: agents }, (_, number) => this.#seatOf(number));
  }

  #seatOf(number: number): FleetSeat {
    const { tenantAgents, tenantMembers } = this.size;
    const tenant = Math.floor(number / tenantAgents);
    const place = number % tenantAgents;
    const address = FIRST_ADDRESS + tenant * TENANT_ADDRESSES + place + 1;
    return {
      ...{ number, tenant: `t${tenant + 1}`, name: `a${place + 1}`, peerPort: PEER_PORT },
      address: [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join("."),
      source: place < tenantMembers ? undefined : `a${(place % tenantMembers) + 1}`,
    };
  }

  /** Processes for the agents, so that each has files enough. @throws AbsError FLEET_FILES */
  processes(filesMax: number = openFilesMax()): number {
    const { agents, tenantAgents } = this.size;
    const members = this.seats.filter(({ source }) => source === undefined).length;
    // A member meets everybody of its tenant and the master; the others meet one member.
    const ofMember = MEMBER_FILES + tenantAgents;
    const wanted = members * ofMember + 3 * agents;
    const ofManager = PROCESS_FILES + 2 * agents + members + MEMBER_FILES * this.tenants.length;
    const processes = Math.max(PROCESSES_MIN, Math.ceil(wanted / (filesMax - PROCESS_FILES)));
    if (filesMax > PROCESS_FILES && processes <= PROCESSES_MAX && ofManager <= filesMax) {
      return processes;
    }
    const needed = Math.max(ofManager, PROCESS_FILES + Math.ceil(wanted / PROCESSES_MAX));
    throw new AbsError(
      "FLEET_FILES",
      `${agents} agents need ${needed} open files a process; ${filesMax} are allowed here.`,
      `Raise the limit in this shell first: \`ulimit -n ${needed}\` (it may need root).`,
    );
  }
}

/** Of this process, and of those it starts. */
function openFilesMax(): number {
  const text = readFileSync("/proc/self/limits", "utf8");
  const word = /^Max open files\s+(\S+)/m.exec(text)?.[1] ?? "0";
  return word === "unlimited" ? Number.POSITIVE_INFINITY : Number(word);
}
