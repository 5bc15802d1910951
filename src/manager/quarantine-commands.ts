/** Commands about quarantine: by hand what authenticated evidence does. docs/manager.md. */
import { Type } from "typebox";
import {
  type QuarantineRow,
  quarantineBegun,
  quarantineReleased,
  quarantineRows,
  quarantineTerms,
} from "../answers/quarantines.ts";
import { AbsError } from "../errors.ts";
import { RULES_MAX } from "../switch/flow-table.ts";
import { hexOfMac, ipHex, ipText } from "../switch/match-text.ts";
import type { EpochSeconds } from "../units.ts";
import { adminCommand, type CommandContext } from "./admin-command.ts";
import { agentOf } from "./agent-commands.ts";
import {
  duration,
  durationSeconds,
  flag,
  named,
  reference,
  tenantName,
  text,
  whole,
} from "./command-schemas.ts";
import { optionWrong, tableText, timeText } from "./command-values.ts";
import { matchesOf } from "./quarantine-rules.ts";
import type { Quarantine, QuarantinedHost, SwitchPort } from "./quarantines.ts";

const FOREVER = "ever";
const ADDRESSES_MAX = 16;
const PORTS_MAX = 16;
const WINDOW_SECONDS_MAX = 86_400;
/** So many rules of ours a switch may have, at the most. */
const QUARANTINES_MAX = 500;

const host = {
  agent: Type.Optional(reference("its VM; name or node id: its addresses and MACs are known")),
  tenant: Type.Optional(named("name of the tenant, if several have the agent")),
  address: Type.Optional(
    Type.Array(reference("IPv4 or IPv6"), {
      ...{ maxItems: ADDRESSES_MAX, description: "of a VM; more than the agent's own" },
    }),
  ),
  mac: Type.Optional(reference("its MAC, 02:00:00:00:00:01")),
  port: Type.Optional(
    Type.Array(reference("SWITCH:NUMBER"), {
      ...{ maxItems: PORTS_MAX, description: "the OpenFlow port that it hangs on: SWITCH:NUMBER" },
    }),
  ),
};

type HostWords = {
  readonly agent?: string;
  readonly tenant?: string;
  readonly address?: readonly string[];
  readonly mac?: string;
  readonly port?: readonly string[];
};

/** @throws AbsError COMMAND_USAGE, AGENT_ABSENT, SWITCH_ABSENT */
function hostOf(words: HostWords, context: CommandContext): QuarantinedHost {
  const { agent, tenant, address = [], mac, port = [] } = words;
  const node = agent === undefined ? undefined : agentOf(agent, tenant, context);
  const given = address.map((one) => {
    const hex = ipHex(one);
    if (hex === undefined) throw optionWrong(`${one} is no address.`, "Write 10.0.0.1 or fd00::1.");
    return ipText(hex);
  });
  if (mac !== undefined && hexOfMac(mac) === undefined) {
    throw optionWrong(`${mac} is no MAC.`, "Write 02:00:00:00:00:01.");
  }
  const ports = port.map((one) => portOf(one, context));
  const addresses = [...new Set([...(node?.addresses ?? []), ...given])].sort();
  const lower = mac === undefined ? [] : [mac.toLowerCase()];
  const macs = [...new Set([...(node?.macs ?? []), ...lower])].sort();
  const [name] = [node?.name ?? [], addresses, macs, port].flat();
  if (name === undefined) {
    throw optionWrong("Nobody is named.", "Give --agent, --address, --mac or --port.");
  }
  const who = { tenant: node?.tenant, nodeId: node?.nodeId, name };
  return { ...who, addresses, macs, ports };
}

function portOf(words: string, { state }: CommandContext): SwitchPort {
  const read = /^(.+):(\d{1,10})$/.exec(words);
  const port = Number(read?.[2]);
  // Above are the reserved ports, LOCAL and NORMAL among them (1.3.5 §4.5).
  if (read === null || port < 1 || port >= 0xffffff00) {
    throw optionWrong(`${words} is no port of a switch.`, "Write SWITCH:NUMBER, as in br0:3.");
  }
  return { switchName: state.switches.need(read[1] ?? "").name, port };
}

/** Quarantine must not cut the manager off, nor grow beyond what a switch takes. */
function mustBePossible(one: QuarantinedHost, { state }: CommandContext): void {
  const own = ipHex(state.manager.place.host);
  if (own !== undefined && one.addresses.some((address) => ipHex(address) === own)) {
    const what = `${state.manager.place.host} is the manager's own address.`;
    throw new AbsError("QUARANTINE_OF_MANAGER", what, "Name the VM that is meant.");
  }
  const active = state.quarantines.active();
  const count = [...active, one].flatMap((each) => matchesOf(each, "")).length;
  if (active.length < QUARANTINES_MAX && count <= RULES_MAX) return;
  const what = `${active.length} quarantines hold; a switch takes no more rules of ours.`;
  throw new AbsError("QUARANTINE_FULL", what, "`abs manager quarantine release` ends some.");
}

function describe(one: Quarantine): QuarantineRow {
  return {
    ...{ number: one.number, host: one.name },
    ...(one.tenant === undefined ? {} : { tenant: one.tenant }),
    ...{ addresses: one.addresses, macs: one.macs },
    ...{ ports: one.ports.map(({ switchName, port }) => `${switchName}:${port}`) },
    ...{ reason: one.reason, by: one.author, since: timeText(one.madeAt) },
    until: one.endsAt === undefined ? "released" : timeText(one.endsAt),
  };
}

const add = adminCommand({
  name: "quarantine add",
  description: "a VM's traffic is dropped, at its peers and at the switches, for a time",
  role: "operator",
  http: { method: "POST", path: "/quarantines" },
  input: {
    ...host,
    reason: text("why, for the record", "by an administrator"),
    for: Type.String({
      ...{ title: "duration", default: "1h", pattern: "^(0*[1-9][0-9]{0,6}[smhd]|ever)$" },
      description: "90s, 15m, 24h, 7d, or ever: until it is released",
      "x-remedy": "Write 90s, 15m, 24h, 7d, or ever.",
    }),
  },
  answer: quarantineBegun,
  async run(input, context) {
    const { state, switches, who } = context;
    const found = hostOf(input as HostWords, context);
    mustBePossible(found, context);
    const now = state.now();
    const endsAt =
      input.for === FOREVER ? undefined : ((now + durationSeconds(input.for)) as EpochSeconds);
    const one = state.transaction(() => {
      if (found.tenant !== undefined) state.tenants.countUp(found.tenant);
      return state.quarantines.add(found, { reason: input.reason, author: who }, { now, endsAt });
    });
    const told = await switches.began(one);
    return { value: { ...describe(one), switches: told }, text: saidOf(one, told) };
  },
});

function saidOf(one: Quarantine, told: Readonly<Record<string, string>>): string {
  const states = Object.entries(told).map(([name, state]) => `  switch ${name}: ${state}`);
  const until = describe(one).until;
  return [`quarantine ${one.number}: ${one.name} until ${until}`, ...states].join("\n");
}

const list = adminCommand({
  name: "quarantine list",
  description: "who is in quarantine, why, and until when",
  role: "viewer",
  http: { method: "GET", path: "/quarantines" },
  input: { all: Type.Optional(flag("those that are over as well, newest first")) },
  answer: quarantineRows,
  run({ all = false }, { state }) {
    const found = all ? state.quarantines.history() : state.quarantines.active();
    const rows = found.map((one) => {
      const why = one.overWhy === undefined ? {} : { why: one.overWhy };
      return { ...describe(one), ...(all ? { over: timeText(one.overAt), ...why } : {}) };
    });
    const shown = rows.map(({ number, host, addresses, reason, by, until, ...more }) => ({
      ...{ number, host, addresses: addresses.join(" ") || "-", reason, by, until },
      ...(all ? { over: more.over, why: more.why } : {}),
    }));
    return { value: rows, text: tableText(shown) };
  },
});

const release = adminCommand({
  name: "quarantine release",
  description: "ends one before its time",
  role: "operator",
  words: ["number"],
  http: { method: "POST", path: "/quarantines/{number}/release" },
  input: {
    number: whole(1, 2 ** 31, "of the quarantine"),
    reason: text("why, for the record", "by an administrator"),
  },
  answer: quarantineReleased,
  async run({ number, reason }, { state, switches, who }) {
    const one = state.quarantines.need(number);
    const why = `released by ${who}: ${reason}`;
    state.transaction(() => {
      state.quarantines.end(number, why, state.now());
      if (one.tenant !== undefined) state.tenants.countUp(one.tenant);
    });
    const told = await switches.over(one, why);
    const text = [`${one.name} is released`];
    for (const [name, state] of Object.entries(told)) text.push(`  switch ${name}: ${state}`);
    return { value: { released: number, switches: told }, text: text.join("\n") };
  },
});

const FOR = "how long a VM stays in quarantine";

const terms = adminCommand({
  name: "quarantine terms",
  description: "when evidence brings a VM into quarantine",
  role: "viewer",
  http: { method: "GET", path: "/tenants/{tenant}/quarantine" },
  input: { tenant: tenantName },
  answer: quarantineTerms,
  run({ tenant }, { state }) {
    state.tenants.need(tenant);
    const { violations, windowSeconds, seconds, reporters } = state.quarantines.terms(tenant);
    const value = { violations, window_seconds: windowSeconds, seconds, reporters };
    return { value, text: tableText([value]) };
  },
});

const set = adminCommand({
  name: "quarantine set",
  description: "after so many refused packets with a proof within a time; 0: by hand only",
  role: "operator",
  http: { method: "PUT", path: "/tenants/{tenant}/quarantine" },
  input: {
    tenant: tenantName,
    violations: whole(0, 1_000_000, "refused packets, each with the proof of who sent it"),
    window: duration("within so long", "60s"),
    for: duration(FOR, "10m"),
    reporters: whole(1, 64, "agents that must have refused some", 1),
  },
  answer: quarantineTerms,
  run({ tenant, violations, window, for: lasting, reporters }, { state }) {
    state.tenants.need(tenant);
    const windowSeconds = Math.min(WINDOW_SECONDS_MAX, durationSeconds(window));
    const seconds = durationSeconds(lasting);
    const found = { violations, windowSeconds, seconds, reporters };
    state.transaction(() => state.quarantines.setTerms(tenant, found));
    const value = { violations, window_seconds: windowSeconds, seconds, reporters };
    return { value, text: tableText([value]) };
  },
});

export const QUARANTINE_COMMANDS = [add, list, release, terms, set];
