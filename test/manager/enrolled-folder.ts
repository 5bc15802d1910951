/** An agent's folder as an enrolment leaves it. */
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { ensureKeys, writeAgentFolder } from "../../src/channel/agent-folder.ts";
import type { AgentState } from "../../src/channel/agent-state.ts";
import { enrol } from "../../src/channel/enrolment-client.ts";
import type { AgentMachine } from "../../src/channel/enrolment-messages.ts";
import { type EnrolmentToken, fingerprintOfDigest } from "../../src/channel/enrolment-token.ts";

export async function enrolFolder(
  dir: string,
  token: EnrolmentToken,
  machine: AgentMachine,
): Promise<AgentState> {
  const { keys, secrets } = ensureKeys(dir);
  const sshSeed = Uint8Array.fromHex(secrets.ssh_secret);
  const state = await enrol({ token, keys, sshSeed, machine: () => machine });
  const manager = { ...token, hostFingerprint: fingerprintOfDigest(token.hostDigest) };
  writeAgentFolder(dir, state, { manager, secrets, check: loadProvisioning });
  return state;
}
