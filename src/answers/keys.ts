/** Answers about agents' keys, and the host key of the manager. */
import { type Static, Type } from "typebox";
import {
  count,
  fingerprint,
  list,
  moment,
  nodeId,
  said,
  tenantName,
  word,
} from "./answer-values.ts";

const steps = ["-", "waits for the agent", "certified", "waits for the ledger"] as const;

const keyRow = Type.Object({
  tenant: tenantName,
  name: said("name of the agent"),
  renewals: count("number of its certificate: how often it was renewed"),
  ssh_key: fingerprint("of its key of the manager channel"),
  since: moment("begin of its certificate"),
  until: moment("end of its certificate"),
  ssh_since: moment("since when it has its key of the manager channel"),
  ledger_since: moment("since when it has its key of the ledger"),
  session_since: moment("since when it has its key of sessions"),
  session_keys: count("2: the session key before the present one is good too; else 1"),
  renewal: word(steps, "how far the renewal under way is; `-`: there is none"),
  node: nodeId,
});
export type KeyRow = Static<typeof keyRow>;

export const keyRows = list(keyRow, "by tenant and name");

const keysAsked = Type.Object({
  asked: list(nodeId, "agents whose renewal begins by this"),
  under_way: count("how many agents were meant, those with a renewal under way as well"),
});

const hostKeyRotated = Type.Object({
  host_key: fingerprint("of the manager's new host key"),
  known_hosts: said("line for the known_hosts file of administrators"),
});

export const keysRotated = Type.Union([keysAsked, hostKeyRotated], {
  description: "of agents' keys; with `host`, of the manager's host key",
});
