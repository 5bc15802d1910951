/**
 * The agent's side of an update, by its own key: it fetches its whole state and writes its folder.
 * docs/manager-channel.md "Update". An update is the newest state, never a difference: who was away
 * misses nothing, and the same twice is the same.
 */
import { SshClient } from "../ssh/ssh-client.ts";
import { MANAGER_FLAG, managementTag } from "../wire/manager-frame.ts";
import { ensureKeys, loadManager, type WritingWords, writeAgentFolder } from "./agent-folder.ts";
import { type AgentState, readState } from "./agent-state.ts";
import { ChannelTalk } from "./channel-talk.ts";
import { checkState } from "./enrolment-client.ts";
import { frameOf, UPDATE } from "./message-reading.ts";

/** @throws AbsError of the folder, of the connection, or with the manager's refusal */
export async function fetchState(dir: string, check: WritingWords["check"]): Promise<AgentState> {
  const manager = loadManager(dir);
  const { keys, secrets } = ensureKeys(dir);
  const client = await SshClient.connect({
    ...manager,
    ...{ user: "agent", seed: Uint8Array.fromHex(secrets.ssh_secret) },
  });
  try {
    const talk = new ChannelTalk(await client.subsystem(), managementTag(manager.managerKey));
    talk.send(frameOf(MANAGER_FLAG.update, UPDATE.fetch, {}));
    const state = await talk.next(MANAGER_FLAG.update, UPDATE.state, readState);
    checkState(state, { managerKey: manager.managerKey, keys });
    writeAgentFolder(dir, state, { manager, secrets, check });
    return state;
  } finally {
    client.close();
  }
}
