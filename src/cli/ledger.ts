/** `abs ledger …`: the ledger of Security Contracts, docs/ledger.md; each group has a file. */
import { defineCommand } from "citty";
import { contractCommand, proposeCommand } from "./ledger-contract.ts";
import { initCommand } from "./ledger-init.ts";
import { evidenceCommand, proofCommand, stakeCommand } from "./ledger-inspect.ts";
import {
  blocksCommand,
  contractsCommand,
  exportCommand,
  membersCommand,
  showCommand,
  signaturesCommand,
  statusCommand,
} from "./ledger-read.ts";
import { recoverCommand } from "./ledger-recover.ts";
import { revokeCommand } from "./ledger-revoke.ts";
import { runCommandOf } from "./ledger-run.ts";
import { verifyCommand } from "./ledger-verify.ts";

const masterCommand = defineCommand({
  meta: { name: "master", description: "where blocks begin and are sealed" },
  subCommands: {
    run: runCommandOf("master", "propose blocks and seal them. Events go to standard output."),
  },
});

export const ledgerCommand = defineCommand({
  meta: { name: "ledger", description: "the ledger of Security Contracts" },
  subCommands: {
    init: initCommand,
    master: masterCommand,
    status: statusCommand,
    blocks: blocksCommand,
    show: showCommand,
    contracts: contractsCommand,
    signatures: signaturesCommand,
    members: membersCommand,
    stake: stakeCommand,
    proof: proofCommand,
    evidence: evidenceCommand,
    export: exportCommand,
    verify: verifyCommand,
    propose: proposeCommand,
    contract: contractCommand,
    revoke: revokeCommand,
    recover: recoverCommand,
  },
});
