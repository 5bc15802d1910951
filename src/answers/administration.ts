/** Answers about the manager itself, its administrators, and the audit log. */
import { type Static, Type } from "typebox";
import { adminRole, count, fingerprint, hex, list, moment, said } from "./answer-values.ts";

const administratorName = said("name of the administrator");

export const managerStatus = Type.Object({
  address: said("of the manager, as agents and administrators call it"),
  port: count("TCP port of the manager's channel"),
  host_key: fingerprint("of the manager's host key"),
  known_hosts: said("line for the known_hosts file of administrators"),
  manager_key: hex("secp256k1 key, compressed, that the manager signs with"),
  tenants: count("how many there are"),
  agents: count("how many are enrolled"),
  connections: count("how many are logged in now"),
  strangers: count("how many connections are not logged in yet"),
});

const administrator = Type.Object({
  name: administratorName,
  role: adminRole,
  fingerprint: fingerprint("of the Ed25519 key that logs in"),
});

export const administratorAdded = administrator;
export const administratorRows = list(administrator, "by name");
export const administratorRemoved = Type.Object({ removed: administratorName });

const auditRow = Type.Object({
  at: moment("when it was done"),
  who: said("who did it: an administrator, an account, a token, or the manager"),
  address: said("from where; empty: the manager did it by itself"),
  command: said("the command, `log in` or `enrol`"),
  outcome: said("`done`; `enrolled` and a node id; or the code of what went wrong"),
});
export type AuditRow = Static<typeof auditRow>;

export const auditRows = list(auditRow, "newest first");
