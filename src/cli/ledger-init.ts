/**
 * `abs ledger init`: a new tenant's ledger. docs/ledger.md "Folders". It draws all keys, so run it
 * where the master will be, carry each member's folder to its machine, and lock the recovery key
 * away.
 */
import { defineCommand } from "citty";
import { DEFAULT_PARAMS } from "../chain/genesis.ts";
import {
  type FirstMember,
  initLedger,
  MASTER_FOLDER,
  RECOVERY_FOLDER,
} from "../node/ledger-init.ts";
import { epochNow } from "../node/ledger-runner.ts";
import {
  isJsonOutput,
  optionError,
  outputArgument,
  placeOf,
  printResult,
  wholeNumberOf,
} from "./options.ts";

const NAME = /^[a-z0-9][a-z0-9._-]{0,31}$/i;
const RAM_MIB_MAX = 64 * 1024 * 1024;

/** `NAME=HOST:PORT[,vcpu=N][,ram=MIB][,score=N]`. @throws AbsError OPTION_INVALID */
export function parseMember(text: string): FirstMember {
  const [head = "", ...rest] = text.split(",");
  const [name = "", place = ""] = head.split("=");
  if (!NAME.test(name) || [MASTER_FOLDER, RECOVERY_FOLDER].includes(name)) {
    throw optionError(
      `The member ${text} has no name that can be a folder's.`,
      "Write NAME=HOST:PORT, the name of letters, digits, dots and hyphens.",
    );
  }
  const words = new Map([
    ["vcpu", "1"],
    ["ram", "1024"],
    ["score", "50"],
  ]);
  for (const word of rest) {
    const [key = "", value = ""] = word.split("=");
    if (!words.has(key)) {
      throw optionError(
        `The member ${name} has ${word}.`,
        "Known are vcpu=, ram= (MiB) and score=.",
      );
    }
    words.set(key, value);
  }
  const number = (key: string, low: number, high: number): number =>
    wholeNumberOf(`${key} of ${name}`, words.get(key) ?? "", low, high);
  return {
    name,
    ...placeOf(`member ${name}`, place),
    vcpu: number("vcpu", 1, 4096),
    ramMib: number("ram", 1, RAM_MIB_MAX),
    securityScore: number("score", 0, 100),
  };
}

export const initCommand = defineCommand({
  meta: {
    name: "init",
    description:
      "make a new ledger: keys, certificates and genesis file, one folder a node. Members follow " +
      "as words, NAME=HOST:PORT[,vcpu=N][,ram=MIB][,score=0..100]: web1=10.0.0.1:6254,vcpu=4",
  },
  args: {
    dir: { type: "string", required: true, description: "folder for the folders; made if need be" },
    tenant: { type: "string", required: true, description: "the tenant's name, for ever" },
    master: { type: "string", required: true, description: "HOST:PORT of the master" },
    committee: {
      type: "string",
      default: String(DEFAULT_PARAMS.committeeMax),
      description: "at most so many agree on a block, 1 to 20",
    },
    output: outputArgument,
  },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const members = args._.map(parseMember);
    const names = new Set(members.map(({ name }) => name));
    if (members.length === 0 || names.size !== members.length) {
      throw optionError(
        members.length === 0 ? "No member is named." : "Two members have one name.",
        "Name each as NAME=HOST:PORT after the options; four bear one that lies or is down.",
      );
    }
    if (args.tenant.length === 0 || args.tenant.length > 64) {
      throw optionError("--tenant must have 1 to 64 characters.", "Choose a shorter name.");
    }
    const committeeMax = wholeNumberOf("--committee", args.committee, 1, 20);
    const made = initLedger({
      dir: args.dir,
      tenant: args.tenant,
      master: placeOf("--master", args.master),
      members,
      timestamp: epochNow(),
      params: { ...DEFAULT_PARAMS, committeeMax },
    });
    const result = {
      chain_id: made.chainId,
      master: made.master,
      members: made.members.map(({ name, nodeId }) => ({ name, node_id: nodeId })),
    };
    const lines = [
      `chain   ${made.chainId}`,
      `master  ${made.master}  ${args.dir}/${MASTER_FOLDER}`,
      ...made.members.map(({ name, nodeId }) => `member  ${nodeId}  ${args.dir}/${name}`),
      `Lock ${args.dir}/${RECOVERY_FOLDER} away: whoever has it can replace the master.`,
    ];
    printResult(isJson, result, lines.join("\n"));
  },
});
