/**
 * The agent's side of an update, by its own key: it fetches its whole state and writes its folder.
 * docs/manager-channel.md "Update". An update is the newest state, never a difference: who was away
 * misses nothing, and the same twice is the same.
 */
import type { IdentityCertificate } from "../chain/identity-certificate.ts";
import { SshClient } from "../ssh/ssh-client.ts";
import { MANAGER_FLAG, managementTag } from "../wire/manager-frame.ts";
import { ensureKeys, loadManager, type WritingWords } from "./agent-folder.ts";
import { AgentIdentity } from "./agent-identity.ts";
import { type AgentState, readState } from "./agent-state.ts";
import { ChannelTalk } from "./channel-talk.ts";
import { checkState } from "./enrolment-client.ts";
import { HostMeeting } from "./host-meeting.ts";
import { frameOf, UPDATE } from "./message-reading.ts";
import { takeState } from "./state-taking.ts";

/** @throws AbsError of the folder, of the connection, or with the manager's refusal */
export async function fetchState(dir: string, check: WritingWords["check"]): Promise<AgentState> {
  const manager = loadManager(dir);
  const identity = AgentIdentity.in(dir, ensureKeys(dir).secrets);
  const meeting = new HostMeeting(manager, manager);
  const client = await SshClient.connect({
    ...{ host: manager.host, port: manager.port, ...meeting.words },
    ...{ user: "agent", seed: identity.seed },
  });
  const met = { ...manager, ...meeting.found };
  try {
    const talk = new ChannelTalk(await client.subsystem(), managementTag(manager.managerKey));
    talk.send(frameOf(MANAGER_FLAG.update, UPDATE.fetch, {}));
    const state = await talk.next(MANAGER_FLAG.update, UPDATE.state, readState);
    const isOurs = (mine: IdentityCertificate) => identity.isOver(mine);
    checkState(state, { managerKey: manager.managerKey, isOurs });
    await takeState(dir, state, { manager: met, secrets: identity.secrets, check });
    identity.settle(state.own);
    return state;
  } finally {
    client.close();
  }
}
