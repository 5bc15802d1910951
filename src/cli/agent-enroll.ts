/**
 * `abs agent enroll TOKEN`: from nothing to a folder that the agent starts from; `abs agent sync`:
 * what the manager has changed since. docs/manager.md "Enrolment". Run again after an interruption,
 * it goes on with the keys it has.
 */

import { availableParallelism, networkInterfaces, totalmem } from "node:os";
import { defineCommand } from "citty";
import { loadProvisioning } from "../agent/provisioning.ts";
import { agentFile, ensureKeys, loadManager } from "../channel/agent-folder.ts";
import type { AgentState } from "../channel/agent-state.ts";
import { enrol } from "../channel/enrolment-client.ts";
import type { AgentMachine } from "../channel/enrolment-messages.ts";
import { decodeToken, fingerprintOfDigest } from "../channel/enrolment-token.ts";
import { takeState } from "../channel/state-taking.ts";
import { fetchState } from "../channel/update-client.ts";
import { AbsError } from "../errors.ts";
import { keepMemoryPrivate } from "../native/private-memory.ts";
import { lockFolder } from "../node/folder-lock.ts";
import { fileIn } from "../node/node-folder.ts";
import { formatAddress, parseAddress } from "../wire/ip-text.ts";
import {
  isJsonOutput,
  optionError,
  outputArgument,
  printResult,
  wholeNumberOf,
} from "./options.ts";

const DIR_DEFAULT = "/var/lib/abs/agent";
const PEER_PORT_DEFAULT = "6254";
const MIB = 1024 * 1024;
const TOKEN_CHARACTERS_MAX = 4096;

/** `-`: from standard input, so that it is in no list of processes. */
async function tokenText(word: string): Promise<string> {
  if (word !== "-") return word;
  const text = await Bun.stdin.text();
  return text.slice(0, TOKEN_CHARACTERS_MAX);
}

function addressesOf(text: string | undefined, localAddress: string): string[] {
  const words = text === undefined ? [localAddress] : text.split(",");
  const usual = words.map((word) => {
    const address = parseAddress(word.trim());
    if (address !== undefined) return formatAddress(address);
    throw optionError(`--address ${word} is no IP address.`, "Write 10.0.0.1 or 10.0.0.1,fd00::1.");
  });
  return [...new Set(usual)].sort();
}

/** Of this machine's interfaces that have one of the addresses; that of loopback is none. */
function macsOf(addresses: readonly string[]): string[] {
  const entries = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const found = entries.filter(({ address, internal }) => {
    const parsed = parseAddress(address);
    return !internal && parsed !== undefined && addresses.includes(formatAddress(parsed));
  });
  return [...new Set(found.map(({ mac }) => mac.toLowerCase()))].sort();
}

/** Two must not write it. @throws AbsError AGENT_RUNNING */
function lockAgentFolder(dir: string): () => void {
  try {
    return lockFolder(fileIn(dir, "lock"));
  } catch (cause) {
    const what = `An agent runs with ${dir}, or another command writes it.`;
    const remedy = "A running agent follows its manager by itself: `abs agent status` shows it.";
    throw new AbsError("AGENT_RUNNING", what, remedy, cause);
  }
}

const dirArgument = {
  type: "string",
  default: DIR_DEFAULT,
  description: "folder of this agent",
} as const;

export const enrolmentArguments = {
  dir: dirArgument,
  address: {
    type: "string",
    description:
      "addresses of this VM, with commas; otherwise those of the interface that `agent run` " +
      "takes over, or for `agent enroll` the one that reaches the manager",
  },
  carrier: {
    type: "string",
    default: "ip",
    description: "how packets of peers travel to it: ip or udp",
  },
  "peer-port": {
    type: "string",
    default: PEER_PORT_DEFAULT,
    description: "TCP port of its peer channel",
  },
} as const;

export type EnrolmentWords = {
  /** `-`: on standard input. */
  readonly token: string;
  readonly dir: string;
  readonly address?: string | undefined;
  readonly carrier: string;
  readonly "peer-port": string;
};

/** From nothing to a folder that an agent starts from. @throws AbsError */
export async function enrolFolder(words: EnrolmentWords): Promise<AgentState> {
  const { dir, carrier } = words;
  if (carrier !== "ip" && carrier !== "udp") {
    throw optionError(`--carrier ${carrier} is not known.`, "Use ip or udp.");
  }
  const peerPort = wholeNumberOf("--peer-port", words["peer-port"], 1, 65_535);
  const token = decodeToken(await tokenText(words.token));
  if (words.address !== undefined) addressesOf(words.address, "");
  const { keys, secrets } = ensureKeys(dir);
  const unlock = lockAgentFolder(dir);
  try {
    const machine = (localAddress: string): AgentMachine => {
      const addresses = addressesOf(words.address, localAddress);
      return {
        ...{ addresses, macs: macsOf(addresses), carrier, peerPort, vcpu: availableParallelism() },
        ramMib: Math.max(1, Math.floor(totalmem() / MIB)),
        capabilities: [],
      };
    };
    const sshSeed = Uint8Array.fromHex(secrets.ssh_secret);
    const state = await enrol({ token, keys, sshSeed, machine });
    const manager = { ...token, hostFingerprint: fingerprintOfDigest(token.hostDigest) };
    await takeState(dir, state, { manager, secrets, check: loadProvisioning });
    return state;
  } finally {
    unlock();
  }
}

export const syncCommand = defineCommand({
  meta: {
    name: "sync",
    description:
      "fetch from the manager what changed since, and write it into the folder of an agent that " +
      "does not run; a running one does so by itself",
  },
  args: {
    dir: dirArgument,
    output: outputArgument,
  },
  async run({ args }) {
    keepMemoryPrivate();
    const isJson = isJsonOutput(args.output);
    const before = loadManager(args.dir).version;
    lockAgentFolder(args.dir);
    const state = await fetchState(args.dir, loadProvisioning);
    const config = agentFile(args.dir, "provisioning");
    const result = { version: state.version, before, neighbours: state.neighbours.length, config };
    const text =
      before === state.version
        ? `Version ${before} is the newest.`
        : `Version ${state.version} is written (${before} before).\n${config}`;
    printResult(isJson, result, text);
  },
});

export const enrollCommand = defineCommand({
  meta: {
    name: "enroll",
    description:
      "join a tenant with a token of `abs manager invite`: makes keys, proves them, and gets all " +
      "that `abs agent run` needs",
  },
  args: {
    token: { type: "positional", required: true, description: "the token, or - to read it" },
    ...enrolmentArguments,
    output: outputArgument,
  },
  async run({ args }) {
    keepMemoryPrivate();
    const isJson = isJsonOutput(args.output);
    const { own, tenant, neighbours, contracts } = await enrolFolder(args);
    const file = agentFile(args.dir, "provisioning");
    const { nodeId, addresses } = own.certificate.certificate;
    const result = {
      ...{ node: nodeId, tenant: tenant.name, name: own.name, mode: own.mode, stage: own.stage },
      ...{ addresses, neighbours: neighbours.length, contracts: contracts.length, config: file },
    };
    const text = `${own.name} of ${tenant.name} is enrolled: ${neighbours.length} neighbours, ${
      contracts.length
    } contracts, mode ${own.mode}, stage ${own.stage}.\n${file}`;
    printResult(isJson, result, text);
  },
});
