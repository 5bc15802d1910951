/**
 * `abs ledger revoke`: a node that is stolen or broken into is out at once. docs/peer-channel.md
 * "Revocations". It talks to a running master.
 */
import { defineCommand } from "citty";
import { fileIn } from "../node/node-folder.ts";
import { revokeNode } from "../node/revoke-control.ts";
import { isJsonOutput, outputArgument, printResult } from "./options.ts";

export const revokeCommand = defineCommand({
  meta: {
    name: "revoke",
    description:
      "shut a node out for good: peers that hear of it end their connections with it at once, " +
      "and a member loses its vote two heights after the block that records it",
  },
  args: {
    node: { type: "positional", required: true, description: "node id, of `abs ledger members`" },
    dir: { type: "string", required: true, description: "folder of the master, which must run" },
    reason: { type: "string", required: true, description: "why, for whoever reads the ledger" },
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const { is_member: isMember } = await revokeNode(
      fileIn(args.dir, "control"),
      args.node,
      args.reason,
    );
    const result = { node_id: args.node, revoked: true, is_member: isMember };
    const more = isMember ? "; the next block records it" : "; it is no member of the ledger";
    printResult(isJson, result, `${args.node} is revoked${more}`);
  },
});
