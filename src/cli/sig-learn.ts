/**
 * `abs sig learn`: proposes signatures from flows of captures and measures them against other
 * flows. The proposal goes to --write or, with the evidence, to standard output.
 */
import { writeFileSync } from "node:fs";
import { defineCommand } from "citty";
import { formatTable } from "../bench/table.ts";
import { openShim } from "../dataplane/shim.ts";
import { AbsError, messageOf } from "../errors.ts";
import { type FlowSample, labelRecord, readFlowSamples } from "../sig/flow-samples.ts";
import { Labels } from "../sig/labels.ts";
import { type LearnResult, learn, type Proposal } from "../sig/learn.ts";
import { protocolNumber } from "../store/network-values.ts";
import { outputArgument, print } from "./sig-output.ts";

export const sigLearnCommand = defineCommand({
  meta: {
    name: "learn",
    description:
      "propose a signature. Examples: `abs sig learn --app app1 app1.pcap --against rest.pcap`; " +
      "`abs sig learn --app app1 all.pcap --flow tcp:8080 --write app1.json`; " +
      "`abs sig learn --app mysql *.pcap --labels labels.csv`",
  },
  args: {
    file: { type: "positional", required: true, description: "captures of the application" },
    app: { type: "string", required: true, description: "its name" },
    against: { type: "string", description: "captures it must not match, separated by commas" },
    labels: { type: "string", description: "CSV that says which flows are the application's" },
    flow: { type: "string", description: "only these flows of FILE: tcp, udp:53, :8080" },
    write: { type: "string", description: "file for the signatures, as JSON" },
    ...outputArgument,
  },
  run({ args }) {
    const { flows, others } = chosenFlows(args);
    if (flows.length === 0) {
      const message = `No flow of ${args._.join(", ")} is to be learned from.`;
      throw new AbsError("LEARN_FLOWS", message, "Check --flow, --labels and --app.");
    }
    const result = learn(openShim(), args.app, flows, others);
    const signatures = result.proposals.map(({ signature }) => signature);
    const json = `${JSON.stringify(signatures, null, 2)}\n`;
    if (args.write !== undefined) writeTo(args.write, json);
    const text = resultText(result);
    print(args.output, result, () => (args.write === undefined ? `${text}\n${json}` : text));
  },
});

interface Choice {
  readonly _: readonly string[];
  readonly app: string;
  readonly against?: string | undefined;
  readonly labels?: string | undefined;
  readonly flow?: string | undefined;
}

function chosenFlows(choice: Choice): { flows: FlowSample[]; others: FlowSample[] } {
  const isWanted = flowFilter(choice.flow);
  const given = readFlowSamples(choice._);
  const against = (choice.against ?? "").split(",").filter((file) => file !== "");
  const others = readFlowSamples(against);
  if (choice.labels === undefined) {
    const rest = given.filter((flow) => !isWanted(flow));
    return { flows: given.filter(isWanted), others: [...others, ...rest] };
  }
  const labels = new Labels(choice.labels);
  const labelled = given.map((flow) => ({ flow, app: labels.take(labelRecord(flow))?.app }));
  const mine = labelled.filter(({ flow, app }) => app === choice.app && isWanted(flow));
  const theirs = labelled.filter(({ app }) => app !== undefined && app !== choice.app);
  return {
    flows: mine.map(({ flow }) => flow),
    others: [...others, ...theirs.map(({ flow }) => flow)],
  };
}

function flowFilter(text: string | undefined): (flow: FlowSample) => boolean {
  if (text === undefined) return () => true;
  const [word = "", portText] = text.split(":");
  const protocol = word === "" ? undefined : protocolNumber(word);
  const port = portText === undefined ? undefined : Number(portText);
  const isPort = port === undefined || (Number.isInteger(port) && port >= 0 && port <= 0xffff);
  if ((word !== "" && protocol === undefined) || !isPort) {
    const remedy = "Write tcp, udp:53 or :8080; the port is the responder's.";
    throw new AbsError("OPTION_INVALID", `--flow ${text} is not known.`, remedy);
  }
  return ({ numbers }) =>
    (protocol === undefined || numbers.transportProtocol === protocol) &&
    (port === undefined || numbers.destinationPort === port);
}

function writeTo(path: string, json: string): void {
  try {
    writeFileSync(path, json);
  } catch (cause) {
    const message = `${path} cannot be written: ${messageOf(cause)}.`;
    throw new AbsError("LEARN_WRITE", message, "Name another file with --write.", cause);
  }
}

function resultText(result: LearnResult): string {
  const { flows, matched, against, false_matches } = result;
  const counts =
    `${result.app}: ${matched} of ${flows} flows matched, ` +
    `${false_matches} of ${against} others\n`;
  return [...result.proposals.map(proposalText), counts].join("\n");
}

function proposalText({ signature, ...proposal }: Proposal): string {
  const [least, most] = proposal.lengths;
  const head =
    `${signature["sig_id"]}: ${proposal.flows} flows, ${proposal.direction} of ${least} to ` +
    `${most} bytes${proposal.prefix === "" ? "" : `, all begin "${proposal.prefix}"`}\n`;
  const rows = proposal.evidence.map(({ position, value, others, chosen }) => [
    `byte ${position}`,
    `0x${value.toString(16).padStart(2, "0")}`,
    String(others),
    chosen ? "asked for" : "",
  ]);
  return head + formatTable(["shared", "value", "others that have it", ""], rows);
}
