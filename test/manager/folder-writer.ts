/**
 * Writes newer and newer states into an agent's folder until it is killed: folder-kills.test.ts.
 * Arguments: the folder, and the file of a state. Of each version the policy names an agent that
 * only the provisioning file of that version knows.
 */
import { readFileSync } from "node:fs";
import { ensureKeys, loadManager, stageAgentFolder } from "../../src/channel/agent-folder.ts";
import { readState } from "../../src/channel/agent-state.ts";
import { readMessage } from "../../src/channel/message-reading.ts";

const [dir = "", file = ""] = process.argv.slice(2);
const read = readMessage(readFileSync(file), 4 * 1024 * 1024, readState);
if ("complaint" in read) throw new Error(read.complaint);
const manager = loadManager(dir);
const { secrets } = ensureKeys(dir);
for (let version = manager.version + 1; ; version++) {
  const name = `v${version}`;
  const rules = `rules: [{ id: in, direction: in, from: { agent: ${name} }, action: allow }]`;
  const known = { agents: [name], groups: [] };
  const state = { ...read.message, version, known, policy: `version: 1\n${rules}\n` };
  stageAgentFolder(dir, state, { manager, secrets }).settle();
  if (version === manager.version + 1) process.stdout.write("writing\n");
}
