/**
 * `abs agent enroll TOKEN`: from nothing to a folder that the agent starts from; `abs agent sync`:
 * what the manager has changed since. docs/manager.md "Enrolment". Run again after an interruption,
 * it goes on with the keys it has.
 */
import { availableParallelism, totalmem } from "node:os";
import { defineCommand } from "citty";
import { loadProvisioning } from "../agent/provisioning.ts";
import { agentFile, ensureKeys, loadManager, writeAgentFolder } from "../channel/agent-folder.ts";
import { enrol } from "../channel/enrolment-client.ts";
import type { AgentMachine } from "../channel/enrolment-messages.ts";
import { decodeToken, fingerprintOfDigest } from "../channel/enrolment-token.ts";
import { fetchState } from "../channel/update-client.ts";
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

export const syncCommand = defineCommand({
  meta: {
    name: "sync",
    description:
      "fetch from the manager what changed since, and write it into the agent's folder; a " +
      "running agent takes it up when it is told to reload",
  },
  args: {
    dir: { type: "string", default: DIR_DEFAULT, description: "folder of this agent" },
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const before = loadManager(args.dir).version;
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
      "that `abs agent run --config DIR/provisioning.json` needs",
  },
  args: {
    token: { type: "positional", required: true, description: "the token, or - to read it" },
    dir: { type: "string", default: DIR_DEFAULT, description: "folder of this agent" },
    address: {
      type: "string",
      description: "addresses of this VM, with commas; otherwise the one that reaches the manager",
    },
    carrier: { type: "string", default: "ip", description: "how packets to it travel: ip or udp" },
    "peer-port": {
      type: "string",
      default: PEER_PORT_DEFAULT,
      description: "TCP port of its peer channel",
    },
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const { carrier } = args;
    if (carrier !== "ip" && carrier !== "udp") {
      throw optionError(`--carrier ${carrier} is not known.`, "Use ip or udp.");
    }
    const peerPort = wholeNumberOf("--peer-port", args["peer-port"], 1, 65_535);
    const token = decodeToken(await tokenText(args.token));
    if (args.address !== undefined) addressesOf(args.address, "");
    const { keys, secrets } = ensureKeys(args.dir);
    const machine = (localAddress: string): AgentMachine => ({
      addresses: addressesOf(args.address, localAddress),
      ...{ carrier, peerPort, vcpu: availableParallelism() },
      ramMib: Math.max(1, Math.floor(totalmem() / MIB)),
      capabilities: [],
    });
    const sshSeed = Uint8Array.fromHex(secrets.ssh_secret);
    const state = await enrol({ token, keys, sshSeed, machine });
    const hostFingerprint = fingerprintOfDigest(token.hostDigest);
    const manager = { ...token, hostFingerprint };
    writeAgentFolder(args.dir, state, { manager, secrets, check: loadProvisioning });
    const file = agentFile(args.dir, "provisioning");
    const { own, tenant, neighbours, contracts } = state;
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
