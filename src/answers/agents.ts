/** Answers about agents: those that are enrolled, and those that were revoked. */
import { type Static, Type } from "typebox";
import {
  count,
  hex,
  list,
  maybeSaid,
  moment,
  nodeId,
  said,
  tenantName,
  texts,
  word,
} from "./answer-values.ts";

const state = word(["enrolled", "revoked"], "revoked: for good");
const mode = word(["quick", "full"], "how packets between VMs are judged: docs/policy.md");
const stage = word(["observe", "warn", "enforce"], "what becomes of a packet that is refused");

export const agentRow = Type.Object({
  tenant: tenantName,
  name: said("name of the agent"),
  mode,
  stage,
  addresses: said("of its VM, with commas between"),
  groups: said("with commas between; `-`: none"),
  state,
  version: said("version of the tenant's state that it enforces, a slash, the newest one"),
  last_seen: moment("when it was connected last"),
  node: nodeId,
});
export type AgentRow = Static<typeof agentRow>;

export const agentRows = list(agentRow, "by tenant and name");

export const agentDescription = Type.Object({
  node: nodeId,
  tenant: tenantName,
  name: said("name of the agent"),
  state,
  mode,
  stage,
  groups: texts("its groups"),
  tags: texts("applications that it may claim"),
  addresses: texts("of its VM"),
  macs: texts("of its VM"),
  carrier: word(["ip", "udp"], "what its tagged packets travel in"),
  peer_port: count("TCP port of its ledger node"),
  trust_level: count("0 to 100"),
  vcpu: count("virtual processors"),
  ram_mib: count("MiB of memory"),
  capabilities: texts("what its version of the program can do"),
  enrolled: moment("when it enrolled"),
  last_seen: moment("when it was connected last"),
  certificate_until: moment("end of its certificate"),
  ledger_pub: hex("secp256k1 key, compressed"),
  session_pub: hex("X25519 key"),
  ssh_pub: hex("Ed25519 key of its manager channel"),
  vrf_pub: hex("key of its VRF"),
  enforces: count("version of the tenant's state that it enforces"),
  version: count("the newest version of the tenant's state"),
  revoked: Type.Optional(moment("when it was revoked")),
  reason: maybeSaid("why it was revoked"),
});
export type AgentDescription = Static<typeof agentDescription>;

export const agentsChanged = Type.Object({ changed: count("how many agents were meant") });
export const agentRevoked = Type.Object({ revoked: nodeId });
