/** Commands about the switches at which quarantined VMs are dropped. docs/manager.md "Switches". */
import { Type } from "typebox";
import { switchAdded, switchLogin, switchRemoved, switchRows } from "../answers/switches.ts";
import { AbsError } from "../errors.ts";
import { parsePlace, type SwitchPlace } from "../switch/switch-place.ts";
import { adminCommand } from "./admin-command.ts";
import { named, reference, text } from "./command-schemas.ts";
import { tableText } from "./command-values.ts";
import type { SwitchEntry } from "./switches.ts";

const switchName = reference("of the switch");
const file = (description: string) => Type.Optional(text(description));

const add = adminCommand({
  name: "switch add",
  description: "one that drops quarantined VMs: by OpenFlow 1.3, or by its controller's REST API",
  role: "administrator",
  words: ["name"],
  http: { method: "POST", path: "/switches" },
  input: {
    name: named("what it is called here"),
    at: text(
      "tcp:HOST:PORT, tls:HOST:PORT, unix:PATH, ptcp:PORT[:HOST], ptls:PORT[:HOST], \
ryu+http://HOST:PORT or onos+http://HOST:PORT",
    ),
    datapath: Type.Optional(
      Type.String({
        ...{ title: "datapath id", pattern: "^(0x)?[0-9a-fA-F]{1,16}$" },
        ...{ description: "that it must have", "x-remedy": "Write up to 16 hexadecimal digits." },
      }),
    ),
    certificate: file("the manager's, for TLS; PEM file on its machine"),
    key: file("of the certificate; PEM file on its machine"),
    ca: file("who signs the other end's certificate; PEM file on its machine"),
  },
  answer: switchAdded,
  run({ name, at, datapath, certificate, key, ca }, { state, switches }) {
    const digits = datapath?.replace("0x", "").toLowerCase().padStart(16, "0");
    const place = parsePlace(at);
    const tls = {
      ...(certificate === undefined ? {} : { certificate }),
      ...(key === undefined ? {} : { key }),
      ...(ca === undefined ? {} : { ca }),
    };
    const entry: SwitchEntry = { name, place: at, datapath: digits, tls };
    mustBeWhole(entry, place);
    state.transaction(() => state.switches.add(entry, state.now()));
    switches.call(entry);
    return { value: { name, at }, text: `${name} at ${at}` };
  },
});

/** @throws AbsError SWITCH_TLS, SWITCH_DATAPATH */
function mustBeWhole({ datapath, tls }: SwitchEntry, place: SwitchPlace): void {
  const needsFiles = (place.kind === "call" || place.kind === "wait") && place.tls;
  if (needsFiles && Object.keys(tls).length < 3) {
    const what = "TLS to a switch needs certificates on both sides.";
    throw new AbsError("SWITCH_TLS", what, "Give --certificate, --key and --ca.");
  }
  if (place.kind !== "rest") return;
  if (datapath === undefined) {
    const what = "A controller has many switches.";
    throw new AbsError("SWITCH_DATAPATH", what, "Give --datapath, the switch's datapath id.");
  }
  if (place.controller === "ryu" && BigInt(`0x${datapath}`) > Number.MAX_SAFE_INTEGER) {
    const what =
      "The datapath id is above 2^53, which JSON does not carry whole to this controller.";
    throw new AbsError("SWITCH_DATAPATH", what, "Set a smaller one, or speak OpenFlow with it.");
  }
}

const login = adminCommand({
  name: "switch login",
  description: "user and password of a controller's REST API; the password on standard input",
  role: "administrator",
  words: ["name"],
  standardInput: { property: "password" },
  http: { method: "PUT", path: "/switches/{name}/login" },
  input: {
    name: switchName,
    user: text("who the manager is there"),
    password: Type.String({
      ...{ title: "password", description: "what it logs in with", format: "password" },
      ...{ writeOnly: true, minLength: 1, maxLength: 1024 },
    }),
  },
  answer: switchLogin,
  run({ name, user, password }, { state, switches }) {
    const entry = state.switches.need(name);
    state.transaction(() => state.switches.setLogin(name, user, password));
    switches.call(entry);
    return { value: { name, user }, text: `${name} as ${user}` };
  },
});

const list = adminCommand({
  name: "switch list",
  description: "all, and whether their rules are as they should be",
  role: "viewer",
  http: { method: "GET", path: "/switches" },
  input: {},
  answer: switchRows,
  run(_input, { state, switches }) {
    const rows = state.switches.list().map(({ name, place, datapath }) => {
      const status = switches.status(name);
      return {
        ...{ name, at: place, state: status?.state ?? "not-connected", rules: status?.rules ?? 0 },
        ...{ datapath: status?.datapath || datapath || "", why: status?.why ?? "" },
      };
    });
    return { value: rows, text: tableText(rows) };
  },
});

const remove = adminCommand({
  name: "switch remove",
  description: "it is told no more; our rules are taken from it",
  role: "administrator",
  words: ["name"],
  http: { method: "DELETE", path: "/switches/{name}" },
  input: { name: switchName },
  answer: switchRemoved,
  async run({ name }, { state, switches }) {
    state.switches.need(name);
    state.transaction(() => state.switches.remove(name));
    const isClean = await switches.leave(name);
    const note = isClean ? undefined : "It was not reached: rules there end by their time-out.";
    return { value: { removed: name, cleared: isClean }, text: `${name} is removed`, note };
  },
});

export const SWITCH_COMMANDS = [add, login, list, remove];
