/**
 * `abs ledger recover master-term|redraw`: what the recovery key is for. docs/ledger.md "Recovery"
 * is the runbook. Both say what they would do and do nothing without `--yes`; both write a line of
 * audit before they do it, and every node of the ledger reports it.
 */
import { join } from "node:path";
import { defineCommand } from "citty";
import type { Term } from "../chain/ledger-units.ts";
import { signForRecovery } from "../chain/redraw-plan.ts";
import { AbsError } from "../errors.ts";
import { askStatus } from "../node/control-server.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";
import {
  AUDIT_FILE,
  auditedRedraws,
  auditedTerm,
  auditRecovery,
  loadRecovery,
  makeHeir,
  REDRAW_REFUSED,
  readLedger,
  requireEmpty,
} from "../node/ledger-heir.ts";
import { fileIn, loadGenesis } from "../node/node-folder.ts";
import {
  askPlan,
  forceRedraw,
  readRedraw,
  releaseMembers,
  type ShownPlan,
  surveyMembers,
} from "../node/redraw-control.ts";
import { notes } from "./notes.ts";
import {
  isJsonOutput,
  optionError,
  outputArgument,
  placeOf,
  printResult,
  wholeNumberOf,
} from "./options.ts";

const TERM_MAX = 2 ** 32 - 1;
const SECONDS_MAX = 3600;
const POLL_MS = 100;
/** After the answers are here: the members wait so long for what becomes of them. */
const HOLD_MS = 60_000;
const SURVEYS_MAX = 3;

const recoveryArgument = {
  type: "string",
  required: true,
  description: "folder with the recovery key, as `abs ledger init` wrote it",
} as const;
const auditArgument = {
  type: "string",
  description: `file that a line of audit goes to; ${AUDIT_FILE} beside the recovery key if absent`,
} as const;
const yesArgument = {
  type: "boolean",
  default: false,
  description: "do it; without this it only says what it would do",
} as const;

/** Without --yes nothing was done, and that is an exit code. */
function requireYes(isSure: boolean, plan: readonly string[]): void {
  for (const line of plan) notes.warn(line);
  if (isSure) return;
  throw new AbsError(
    "RECOVERY_UNCONFIRMED",
    "Nothing was done.",
    "Read the lines above; if they are what you want, repeat the command with --yes.",
  );
}

const masterTermCommand = defineCommand({
  meta: {
    name: "master-term",
    description:
      "replace a master key that is lost or stolen: make the folder of a new master and sign its " +
      "term with the recovery key. Start it by `abs ledger master run --dir INTO`: it asks all " +
      "members what they hold, waits for n - f answers, carries on what was prepared, and its " +
      "first block records the term. From the moment a member hears of the term, the old master " +
      "is nobody there; what it had proposed and not sealed may have to be proposed again. No " +
      "member needs to be stopped or changed.",
  },
  args: {
    recovery: recoveryArgument,
    from: {
      type: "string",
      required: true,
      description: "folder of any node: its genesis file, peers and chain are read",
    },
    into: { type: "string", required: true, description: "folder of the new master, made here" },
    master: {
      type: "string",
      required: true,
      description: "HOST:PORT of the new master's peer channel",
    },
    term: {
      type: "string",
      description: "its number, if neither the chain nor the audit knows of a later one",
    },
    audit: auditArgument,
    yes: yesArgument,
    output: outputArgument,
  },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const place = placeOf("--master", args.master);
    requireEmpty(args.into);
    const { genesis, term: known, hasChain } = readLedger(args.from);
    const { chainId } = genesis;
    const { recoveryPub, tenant } = genesis.genesis.file;
    const recovery = loadRecovery(args.recovery, recoveryPub);
    const audit = args.audit ?? join(args.recovery, AUDIT_FILE);
    const lowest = 1 + Math.max(known, auditedTerm(audit, chainId));
    const term =
      args.term === undefined ? lowest : wholeNumberOf("--term", args.term, lowest, TERM_MAX);
    requireYes(args.yes, [
      `Tenant ${tenant}, chain ${chainId}.`,
      `Term ${term} will be the reign of a new key at ${args.master}.`,
      "The present master is deposed for good, whether it is lost or not.",
      ...(hasChain ? [] : [`${args.from} has no chain: a later term may be recorded elsewhere.`]),
    ]);
    const what = { action: "master-term", chain_id: chainId, term, master: args.master };
    auditRecovery(audit, what);
    const heir = makeHeir({
      ...{ from: args.from, recovery, place, into: args.into, term: term as Term },
    });
    const result = { ...what, node_id: heir.nodeId, master_pub: heir.masterPub, into: args.into };
    const text = [
      `term    ${term}`,
      `master  ${heir.nodeId}  ${args.into}`,
      `audit   ${audit}`,
      `Start it with \`abs ledger master run --dir ${args.into}\`.`,
      "Lock the recovery key away again.",
    ].join("\n");
    printResult(isJson, result, text);
  },
});

const redrawCommand = defineCommand({
  meta: {
    name: "redraw",
    description:
      "agree on the open height with the members that are left, when more of its committee are " +
      "gone than it can bear (n <= 3: one; 4 to 6: two): ask everybody what he holds, name a " +
      "committee of those who answer, carry on the highest hash that one of them has prepared, " +
      "and sign with master and recovery key. One height only: before it, propose to revoke who " +
      "will not come back, which holds two heights later, and redraw those two. With --yes those " +
      "who answer vote no more until it is done or given up. It refuses where those who do not " +
      "answer could have agreed on a block that nobody else holds; --may-fork goes on anyhow.",
  },
  args: {
    dir: { type: "string", required: true, description: "folder of the master, which must run" },
    recovery: recoveryArgument,
    committee: {
      type: "string",
      description: "node ids with commas between; otherwise all members that answer",
    },
    ask: { type: "string", default: "3", description: "seconds to wait for answers" },
    wait: { type: "string", default: "30", description: "seconds to wait until it is sealed" },
    "may-fork": {
      type: "boolean",
      default: false,
      description: "go on where it could contradict a block that members agreed on",
    },
    audit: auditArgument,
    yes: yesArgument,
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const askSeconds = wholeNumberOf("--ask", args.ask, 1, SECONDS_MAX);
    const waitSeconds = wholeNumberOf("--wait", args.wait, 0, SECONDS_MAX);
    const genesis = loadGenesis(args.dir, createLedgerCrypto());
    const recovery = loadRecovery(args.recovery, genesis.genesis.file.recoveryPub);
    const socket = fileIn(args.dir, "control");
    const audit = args.audit ?? join(args.recovery, AUDIT_FILE);
    const { chainId } = genesis;
    const asking = { socket, chainId, audit, committee: namesOf(args.committee), askSeconds };
    if (!args.yes) requireYes(false, planLines(await makePlan(asking, false)));
    try {
      const plan = await makePlan(asking, true);
      const { dangers, words, what } = plan;
      requireYes(true, planLines(plan));
      if (dangers.length > 0 && !args["may-fork"]) throw unsafe();
      auditRecovery(audit, { ...what, dangers });
      const signature = signForRecovery(recovery.ledger.signer, words);
      await forceRedraw(socket, words, signature, args["may-fork"]).catch((thrown) => {
        // Where the master does not answer nobody knows whether it did.
        if (thrown instanceof AbsError && thrown.code === "REDRAW_REFUSED") {
          auditRecovery(audit, { ...what, action: REDRAW_REFUSED });
        }
        throw thrown;
      });
      const { height } = words;
      const sealed = await isSealed(socket, height, waitSeconds);
      printResult(
        isJson,
        { ...what, dangers, sealed },
        `height ${height} ${sealed ? "is sealed" : "is open"}`,
      );
      if (!sealed && waitSeconds > 0) throw notSealed(height, waitSeconds);
    } catch (thrown) {
      // Of a redraw that was made nothing is given back: the master sees to that.
      await releaseMembers(socket).catch(() => undefined);
      throw thrown;
    }
  },
});

type Asking = {
  readonly socket: string;
  readonly chainId: string;
  readonly audit: string;
  readonly committee: readonly string[];
  readonly askSeconds: number;
};

/**
 * What the answers say. `isFrozen`: the members promise to wait, as before a redraw; else they are
 * only asked, and the plan is what it would be.
 */
async function makePlan(asking: Asking, isFrozen: boolean) {
  const { socket, chainId, audit, committee, askSeconds } = asking;
  let plan: ShownPlan;
  let turns = 0;
  do {
    await surveyMembers(socket, isFrozen ? askSeconds * 1000 + HOLD_MS : undefined);
    await Bun.sleep(askSeconds * 1000);
    plan = await askPlan(socket, committee);
    // Members that were further than the master knew: the next survey is above them.
  } while (plan.isBehind && ++turns < SURVEYS_MAX);
  const words = readRedraw(plan.message);
  if (words?.chainId !== chainId) {
    throw new AbsError("REDRAW_REFUSED", "The plan is not this chain's.", "Check --dir.");
  }
  const { answered, silent } = plan;
  const { height, attempt, term } = words;
  const what = {
    ...{ action: "redraw", chain_id: chainId, term, height, attempt, committee: words.committee },
    ...{ carried_hash: words.carriedHash ?? null, answered, silent },
  };
  const audited = auditedRedraws(audit, { chainId, height });
  const others = audited.filter((other) => !plan.redrawn.includes(other));
  const dangers = [...plan.dangers, ...others.map((other) => dangerOf(height, other))];
  return { words, what, dangers };
}

function dangerOf(height: number, attempt: number): string {
  return (
    `The audit has a redraw of height ${height}, attempt ${attempt}, that this master does not ` +
    "know. Had its committee agreed on a block, the chain WOULD FORK here: wait for those it named."
  );
}

function unsafe(): AbsError {
  return new AbsError(
    "REDRAW_UNSAFE",
    "Nothing was done: the redraw could contradict a block that was agreed on.",
    "Wait until more members answer. If they are gone for good, and you accept that the chain " +
      "may fork as the lines above say, repeat the command with --may-fork.",
  );
}

/** Node ids of --committee. @throws AbsError OPTION_INVALID */
function namesOf(text: string | undefined): string[] {
  const names = text?.split(",") ?? [];
  const wrong = names.find((name) => !/^[0-9a-f]{32}$/.test(name));
  if (wrong === undefined) return names;
  throw optionError(
    `--committee has ${wrong}.`,
    "Write node ids as `abs ledger members` has them.",
  );
}

function planLines({ what, dangers }: Awaited<ReturnType<typeof makePlan>>): string[] {
  const { height, attempt, committee, answered, silent } = what;
  return [
    `Height ${height}, attempt ${attempt}: agreed by ${committee.length} named, not drawn.`,
    `They are ${committee.join(", ")}.`,
    what.carried_hash === null
      ? "None of those who answered has prepared a block: a new one will be proposed."
      : `Block ${what.carried_hash} was prepared by one of them, and is what they will agree on.`,
    `Of the draw's committee ${answered.length} answered, ${silent.length} did not${
      silent.length === 0 ? "" : `: ${silent.join(", ")}`
    }.`,
    ...dangers.map((danger) => `DANGER. ${danger}`),
  ];
}

async function isSealed(socket: string, height: number, seconds: number): Promise<boolean> {
  const endMs = performance.now() + seconds * 1000;
  do {
    const status = await askStatus(socket);
    if (Number(status["height"]) >= height) return true;
    await Bun.sleep(POLL_MS);
  } while (performance.now() < endMs);
  return false;
}

function notSealed(height: number, seconds: number): AbsError {
  return new AbsError(
    "NOT_SEALED",
    `The redraw is on its way, but height ${height} was not sealed in ${seconds} s.`,
    "Look at `abs ledger status`: more than two thirds of those you named must be reachable.",
  );
}

export const recoverCommand = defineCommand({
  meta: {
    name: "recover",
    description:
      "what the recovery key is for, when the ledger cannot help itself: a master key that is " +
      "lost (master-term), a committee that has lost its quorum (redraw). Loud and audited.",
  },
  subCommands: { "master-term": masterTermCommand, redraw: redrawCommand },
});
