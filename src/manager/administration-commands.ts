/** Commands about the manager itself and its administrators. docs/manager.md "Commands". */
import { toHex } from "../bytes.ts";
import { fingerprintOf, parsePublicLine, publicLineOf, sshPublicKey } from "../ssh/ssh-keys.ts";
import type { AdminCommand } from "./admin-command.ts";
import { ADMIN_ROLES } from "./administrators.ts";
import { nameOf, oneOf, optionWrong, tableText, timeText, wholeNumber } from "./command-values.ts";

const status: AdminCommand = {
  name: "status",
  description: "what the manager is and has; the host key to give to administrators",
  role: "viewer",
  words: [],
  options: {},
  run(_words, { state, counts }) {
    const { place, hostSeed, keys } = state.manager;
    const hostKey = sshPublicKey(hostSeed);
    const agents = state.nodes.list().filter((node) => node.state === "enrolled").length;
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
};

const adminAdd: AdminCommand = {
  name: "admin add",
  description: "an administrator and the Ed25519 key to log in with",
  role: "administrator",
  words: ["name"],
  options: {
    "ssh-key": { type: "string", required: true, description: "line of an id_ed25519.pub" },
    role: { type: "string", default: "administrator", description: ADMIN_ROLES.join(", ") },
  },
  run(words, { state }) {
    const line = parsePublicLine(words.text("ssh-key") ?? "");
    if (line === undefined) {
      const remedy = "Give the line of a .pub file: ssh-ed25519 AAAA…; `ssh-keygen -t ed25519`.";
      throw optionWrong("--ssh-key is no Ed25519 key.", remedy);
    }
    const name = nameOf("administrator", words.rest[0] ?? "");
    const role = oneOf("--role", words.text("role") ?? "", ADMIN_ROLES);
    const sshPub = toHex(line.publicKey);
    state.administrators.add({ name, role, sshPub, now: state.now() });
    const fingerprint = fingerprintOf(line.publicKey);
    return { value: { name, role, fingerprint }, text: `${name} (${role}) ${fingerprint}` };
  },
};

const adminList: AdminCommand = {
  name: "admin list",
  description: "all administrators",
  role: "viewer",
  words: [],
  options: {},
  run(_words, { state }) {
    const rows = state.administrators.list().map(({ name, role, sshPub }) => ({
      ...{ name, role, fingerprint: fingerprintOf(Uint8Array.fromHex(sshPub)) },
    }));
    return { value: rows, text: tableText(rows) };
  },
};

const adminRemove: AdminCommand = {
  name: "admin remove",
  description: "its key lets nobody in any more",
  role: "administrator",
  words: ["name"],
  options: {},
  run(words, { state, cutAdministrator }) {
    const { name } = state.administrators.remove(words.rest[0] ?? "");
    cutAdministrator(name);
    return { value: { removed: name }, text: `${name} is removed` };
  },
};

const audit: AdminCommand = {
  name: "audit",
  description: "who changed what, newest first",
  role: "viewer",
  words: [],
  options: { count: { type: "string", default: "50", description: "how many" } },
  run(words, { state }) {
    const count = wholeNumber("--count", words.text("count") ?? "", 1, 100_000);
    const rows = state.audit.list(count).map(({ at, ...entry }) => ({
      ...{ at: timeText(at), ...entry },
    }));
    return { value: rows, text: tableText(rows) };
  },
};

export const ADMINISTRATION_COMMANDS = [status, adminAdd, adminList, adminRemove, audit];
