/**
 * `abs ledger propose FILE` and `abs ledger contract create|activate|deactivate|expire|regenerate`:
 * what the master shall put into the next block. docs/ledger.md "Contracts". They talk to a running
 * master and wait until the block is sealed. Secrets are printed once and kept nowhere.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { defineCommand } from "citty";
import { toHex } from "../bytes.ts";
import { type JsonObject, parseJsonText } from "../chain/canonical-json.ts";
import {
  CONTRACT_ALGORITHMS,
  CONTRACT_HASHES,
  CONTRACT_PROTECTIONS,
  type ContractEntry,
  contractJson,
} from "../chain/contract-entry.ts";
import type { ScId } from "../chain/ledger-units.ts";
import { recordJson } from "../chain/record-schema.ts";
import { secretCommitment } from "../chain/secret-commitment.ts";
import { AbsError, messageOf } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import type { CommitteeReach } from "../node/committee-reach.ts";
import { askContract, askStatus, type Proposal, propose } from "../node/control-server.ts";
import { epochNow } from "../node/ledger-runner.ts";
import { fileIn } from "../node/node-folder.ts";
import { drawContractSecret } from "../session/contract.ts";
import type { EpochSeconds } from "../units.ts";
import { dirArgument } from "./ledger-read.ts";
import {
  isJsonOutput,
  optionError,
  outputArgument,
  printResult,
  wholeNumberOf,
} from "./options.ts";

const SECONDS_MAX = 2 ** 31;
const POLL_MS = 50;
const waitArgument = {
  type: "string",
  default: "30",
  description: "seconds to wait until it is sealed; 0 does not wait",
} as const;
const idArgument = { type: "positional", required: true, description: "sc-id" } as const;

function oneOf<T extends string>(name: string, text: string, words: readonly T[]): T {
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw optionError(`--${name} ${text} is not known.`, `Use ${words.join(", ")}.`);
}

/** Proposes, then waits until the contract is as `isDone` wants it. */
async function proposeAndWait(
  socket: string,
  proposal: Proposal,
  wait: { readonly scId: ScId; readonly seconds: number; readonly seq: number },
): Promise<boolean> {
  await propose(socket, proposal);
  const endMs = performance.now() + wait.seconds * 1000;
  while (performance.now() < endMs) {
    const found = await askContract(socket, wait.scId);
    // An expired one is gone from the contracts in force.
    if (found === undefined ? wait.seq > 0 : found.seq >= wait.seq) return true;
    await Bun.sleep(POLL_MS);
  }
  if (wait.seconds === 0) return false;
  throw await notSealed(socket, wait.seconds);
}

/** Says what the master knows of the reason. It stays proposed: a later block may hold it. */
async function notSealed(socket: string, seconds: number): Promise<AbsError> {
  const { committee, quorum, reachable } = (await askStatus(socket)) as CommitteeReach;
  const isShort = reachable < quorum;
  const why = isShort
    ? `${quorum} of ${committee} validators must agree, and the master hears ${reachable}`
    : `the master hears ${reachable} of ${committee} validators, and ${quorum} must agree`;
  return new AbsError(
    "NOT_SEALED",
    `It was proposed, but no block with it was sealed in ${seconds} s: ${why}.`,
    isShort
      ? "It stays proposed: bring validators back; `abs ledger status` shows who is missing."
      : "It stays proposed; the master's events say why a leader refuses (`ledger-no-quorum`: " +
          "clock, roots, …), or who was slow.",
  );
}

export const proposeCommand = defineCommand({
  meta: {
    name: "propose",
    description: 'propose what a file holds: {"contracts":[…],"records":[…]}, docs/ledger.md',
  },
  args: {
    file: { type: "positional", required: true, description: "JSON file" },
    dir: { ...dirArgument, description: "folder of the master, which must run" },
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(args.file);
    } catch (cause) {
      const what = `${args.file} cannot be read: ${messageOf(cause)}.`;
      throw new AbsError("PROPOSAL_UNREADABLE", what, "Check the path.", cause);
    }
    const json = parseJsonText(bytes);
    if ("fault" in json) {
      throw new AbsError("PROPOSAL_REFUSED", `${args.file}: ${json.fault}.`, "See docs/ledger.md.");
    }
    await propose(fileIn(args.dir, "control"), json.value as unknown as Proposal);
    printResult(isJson, { proposed: true }, "proposed");
  },
});

const create = defineCommand({
  meta: {
    name: "create",
    description: "a new contract with a fresh secret, which is printed and kept nowhere else",
  },
  args: {
    dir: { ...dirArgument, description: "folder of the master, which must run" },
    algorithm: { type: "string", default: "aes-128-gcm", description: "encryption_algo" },
    hash: { type: "string", default: "sha256", description: "hash_algo" },
    protection: { type: "string", default: "integrity", description: "or confidential" },
    quickmode: { type: "boolean", default: false, description: "for quick mode" },
    lifetime: { type: "string", default: "31536000", description: "seconds until it is over" },
    keyregen: { type: "string", default: "2592000", description: "seconds until its next secret" },
    busytime: { type: "string", default: "3600", description: "seconds of a busy session" },
    idletime: { type: "string", default: "300", description: "seconds of an idle session" },
    wait: waitArgument,
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const seconds = (name: "lifetime" | "keyregen" | "busytime" | "idletime" | "wait", low = 1) =>
      wholeNumberOf(`--${name}`, args[name], low, SECONDS_MAX);
    const scId = randomUUID() as string as ScId;
    const encryptionAlgo = oneOf("algorithm", args.algorithm, CONTRACT_ALGORITHMS);
    const secret = drawContractSecret(encryptionAlgo, kernelRandom);
    const now = epochNow();
    const contract: ContractEntry = {
      scId,
      encryptionAlgo,
      hashAlgo: oneOf("hash", args.hash, CONTRACT_HASHES),
      quickmode: args.quickmode,
      active: true,
      scLifetime: (now + seconds("lifetime")) as EpochSeconds,
      keyregen: (now + Math.min(seconds("keyregen"), seconds("lifetime"))) as EpochSeconds,
      busySeconds: seconds("busytime"),
      idleSeconds: seconds("idletime"),
      protection: oneOf("protection", args.protection, CONTRACT_PROTECTIONS),
      generation: 1,
      secretCommitment: secretCommitment(scId, 1, secret),
      scope: { agents: [], applications: [], groups: [] },
      seq: 0,
    };
    const proposal = { contracts: [contractJson(contract)], records: [] };
    const wait = { scId, seconds: seconds("wait", 0), seq: 0 };
    const sealed = await proposeAndWait(fileIn(args.dir, "control"), proposal, wait);
    const result = { ...contractJson(contract), secret: toHex(secret), sealed };
    printResult(isJson, result, `sc-id   ${scId}\nsecret  ${toHex(secret)}`);
  },
});

type Change = Partial<
  Pick<ContractEntry, "active" | "generation" | "secretCommitment" | "keyregen">
>;

/** SC_UPDATE of a contract as the master has it now. */
async function update(
  args: { readonly id: string; readonly dir: string; readonly wait: string; output: string },
  changeOf: (contract: ContractEntry) => Change & { readonly shown?: JsonObject },
): Promise<void> {
  const isJson = isJsonOutput(args.output);
  const seconds = wholeNumberOf("--wait", args.wait, 0, SECONDS_MAX);
  const socket = fileIn(args.dir, "control");
  const contract = await askContract(socket, args.id);
  if (contract === undefined) {
    const what = `The ledger has no contract ${args.id} in force.`;
    throw new AbsError("CONTRACT_ABSENT", what, "`abs ledger contracts` lists those it has.");
  }
  const { shown = {}, ...change } = changeOf(contract);
  const next = { ...contract, ...change, seq: contract.seq + 1 };
  const { scId, seq, active, generation, secretCommitment, keyregen } = next;
  const record = recordJson({
    ...{ kind: "SC_UPDATE", scId, seq, active, generation, secretCommitment, keyregen },
  });
  const wait = { scId, seconds, seq };
  const sealed = await proposeAndWait(socket, { contracts: [], records: [record] }, wait);
  const text = Object.entries({ "sc-id": scId, active, generation, ...shown })
    .map(([name, value]) => `${name.padEnd(10)}  ${value}`)
    .join("\n");
  printResult(isJson, { "sc-id": scId, seq, active, generation, ...shown, sealed }, text);
}

function changing(name: string, description: string, active: ContractEntry["active"]) {
  return defineCommand({
    meta: { name, description },
    args: { id: idArgument, dir: dirArgument, wait: waitArgument, output: outputArgument },
    run: ({ args }) => update(args, () => ({ active })),
  });
}

const regenerate = defineCommand({
  meta: { name: "regenerate", description: "the next generation, with a fresh secret" },
  args: {
    id: idArgument,
    dir: dirArgument,
    keyregen: { type: "string", default: "2592000", description: "seconds until its next secret" },
    wait: waitArgument,
    output: outputArgument,
  },
  run: ({ args }) =>
    update(args, ({ scId, generation, scLifetime, encryptionAlgo }) => {
      const secret = drawContractSecret(encryptionAlgo, kernelRandom);
      const ahead = epochNow() + wholeNumberOf("--keyregen", args.keyregen, 1, SECONDS_MAX);
      return {
        generation: generation + 1,
        secretCommitment: secretCommitment(scId, generation + 1, secret),
        keyregen: Math.min(ahead, scLifetime) as EpochSeconds,
        shown: { secret: toHex(secret) },
      };
    }),
});

export const contractCommand = defineCommand({
  meta: { name: "contract", description: "make and change Security Contracts" },
  subCommands: {
    create,
    activate: changing("activate", "sessions may use it again", true),
    deactivate: changing("deactivate", "no new session uses it", false),
    expire: changing("expire", "it is over for good", "expired"),
    regenerate,
  },
});
