/** Commands about the manager itself and its administrators. docs/manager.md "Commands". */
import {
  administratorAdded,
  administratorRemoved,
  administratorRows,
  auditRows,
  managerStatus,
} from "../answers/administration.ts";
import { toHex } from "../bytes.ts";
import { fingerprintOf, parsePublicLine, publicLineOf } from "../ssh/ssh-keys.ts";
import { adminCommand } from "./admin-command.ts";
import { ADMIN_ROLES } from "./administrators.ts";
import { choice, named, reference, text, whole } from "./command-schemas.ts";
import { optionWrong, tableText, timeText } from "./command-values.ts";

const status = adminCommand({
  name: "status",
  description: "what the manager is and has; the host key to give to administrators",
  role: "viewer",
  http: { method: "GET", path: "/status" },
  input: {},
  answer: managerStatus,
  run(_input, { state, counts }) {
    const { place, keys } = state.manager;
    const hostKey = state.manager.hostKey.publicKey;
    const agents = state.nodes.enrolled().length;
    const value = {
      ...{ address: place.host, port: place.port, host_key: fingerprintOf(hostKey) },
      known_hosts: `[${place.host}]:${place.port} ${publicLineOf(hostKey, "")}`,
      manager_key: keys.ledger.signer.publicKey,
      ...{ tenants: state.tenants.list().length, agents },
      ...{ connections: counts().loggedIn, strangers: counts().strangers },
    };
    const lines = Object.entries(value).map(([name, field]) => `${name.padEnd(13)}${field}`);
    return { value, text: lines.join("\n") };
  },
});

const adminAdd = adminCommand({
  name: "admin add",
  description: "an administrator and the Ed25519 key to log in with",
  role: "administrator",
  words: ["name"],
  http: { method: "POST", path: "/administrators" },
  input: {
    name: named("what the records call it"),
    ssh_key: text("line of an id_ed25519.pub"),
    role: choice(ADMIN_ROLES, { fallback: "administrator" }),
  },
  answer: administratorAdded,
  run({ name, ssh_key, role }, { state }) {
    const line = parsePublicLine(ssh_key);
    if (line === undefined) {
      const remedy = "Give the line of a .pub file: ssh-ed25519 AAAA…; `ssh-keygen -t ed25519`.";
      throw optionWrong("--ssh-key is no Ed25519 key.", remedy);
    }
    const sshPub = toHex(line.publicKey);
    state.administrators.add({ name, role, sshPub, now: state.now() });
    const fingerprint = fingerprintOf(line.publicKey);
    return { value: { name, role, fingerprint }, text: `${name} (${role}) ${fingerprint}` };
  },
});

const adminList = adminCommand({
  name: "admin list",
  description: "all administrators",
  role: "viewer",
  http: { method: "GET", path: "/administrators" },
  input: {},
  answer: administratorRows,
  run(_input, { state }) {
    const rows = state.administrators.list().map(({ name, role, sshPub }) => ({
      ...{ name, role, fingerprint: fingerprintOf(Uint8Array.fromHex(sshPub)) },
    }));
    return { value: rows, text: tableText(rows) };
  },
});

const adminRemove = adminCommand({
  name: "admin remove",
  description: "its key lets nobody in any more",
  role: "administrator",
  words: ["name"],
  http: { method: "DELETE", path: "/administrators/{name}" },
  input: { name: reference("of the administrator") },
  answer: administratorRemoved,
  run(input, { state, cutAdministrator }) {
    const { name } = state.administrators.remove(input.name);
    cutAdministrator(name);
    return { value: { removed: name }, text: `${name} is removed` };
  },
});

const audit = adminCommand({
  name: "audit",
  description: "who changed what, newest first",
  role: "viewer",
  http: { method: "GET", path: "/audit" },
  input: { count: whole(1, 100_000, "how many", 50) },
  answer: auditRows,
  run({ count }, { state }) {
    const rows = state.audit.list(count).map(({ at, ...entry }) => ({
      ...{ at: timeText(at), ...entry },
    }));
    return { value: rows, text: tableText(rows) };
  },
});

export const ADMINISTRATION_COMMANDS = [status, adminAdd, adminList, adminRemove, audit];
