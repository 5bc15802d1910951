/** Answers about tenants, and invitations into them. docs/manager.md. */
import { type Static, Type } from "typebox";
import {
  count,
  flag,
  hex,
  list,
  moment,
  nodeId,
  said,
  tenantName,
  texts,
  word,
} from "./answer-values.ts";

const chainId = hex("id of its ledger's chain");
const peerPort = count("TCP port of its ledger's master");
const recoverySecret = hex("key that can replace its ledger's master: lock it away");

export const tenantMade = Type.Object({
  tenant: tenantName,
  chain_id: chainId,
  peer_port: peerPort,
  contracts: texts("ids of its first contracts"),
  recovery_secret: recoverySecret,
});

const tenantRow = Type.Object({
  name: tenantName,
  agents: count("that are enrolled"),
  contracts: count("that it has"),
  version: count("the newest version of its state"),
  height: Type.Union([count("height"), Type.Null()], {
    description: "of its ledger; null: its master is not running",
  }),
  recovery_kept: flag("whether the manager still keeps its recovery key"),
  peer_port: peerPort,
  chain_id: chainId,
});
export type TenantRow = Static<typeof tenantRow>;

export const tenantRows = list(tenantRow, "by name");

export const recoveryKey = Type.Union([
  Type.Object({ recovery_secret: recoverySecret }),
  Type.Object({ forgotten: tenantName }),
]);

export const invitationMade = Type.Object({
  tenant: tenantName,
  name: said("of the agent that it lets in"),
  token: said("for `abs agent run --enroll`: shown once, kept nowhere"),
  expires_at: count("seconds since 1970"),
});

export const invitationRows = list(
  Type.Object({
    tenant: tenantName,
    name: said("of the agent that is invited"),
    expires: moment("until when its token is good"),
    state: word(["open", "used", "expired"], "used: an agent came with it"),
    node: Type.Union([nodeId, Type.Null()], { description: "who came; null: nobody yet" }),
  }),
  "newest first",
);

export const invitationsWithdrawn = Type.Object({ withdrawn: count("how many there were") });
