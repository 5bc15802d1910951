/**
 * One agent's channel, after it has logged in with its own key. docs/manager-channel.md "Update".
 * It asks for its state, and says which version of it it enforces. Frames of other kinds are of a
 * later version, and skipped.
 */
import { type AgentState, stateJson } from "../channel/agent-state.ts";
import {
  frameOf,
  type Refused,
  readMessage,
  readRefused,
  refusedJson,
  UPDATE,
} from "../channel/message-reading.ts";
import { AbsError } from "../errors.ts";
import { MANAGER_FLAG, type ManagerFrame } from "../wire/manager-frame.ts";
import type { ManagerState } from "./manager-state.ts";

const BODY_BYTES_MAX = 64 * 1024;
const COUNT_MAX = 2 ** 32 - 1;

export type AgentSessionSeams = {
  readonly send: (frame: ManagerFrame) => void;
  /** The agent cannot put a state in force. */
  readonly refused: (why: Refused) => void;
};

export class AgentSession {
  constructor(
    private readonly state: ManagerState,
    readonly nodeId: string,
    readonly tenant: string,
    private readonly seams: AgentSessionSeams,
  ) {
    state.nodes.seen(nodeId, state.now());
  }

  /** Says which version the agent should have. */
  announce(version: number): void {
    this.seams.send(frameOf(MANAGER_FLAG.update, UPDATE.changed, { version }));
  }

  take({ flag, type, body }: ManagerFrame): void {
    if (flag !== MANAGER_FLAG.update) return;
    const { nodes, now } = this.state;
    nodes.seen(this.nodeId, now());
    if (type === UPDATE.fetch) this.#tell();
    if (type === UPDATE.applied) {
      const read = readMessage(body, BODY_BYTES_MAX, (fields) =>
        fields.integer("version", 1, COUNT_MAX),
      );
      if ("message" in read) nodes.enforces(this.nodeId, read.message);
    }
    if (type === UPDATE.refused) {
      const read = readMessage(body, BODY_BYTES_MAX, readRefused);
      if ("message" in read) this.seams.refused(read.message);
    }
  }

  #tell(): void {
    const node = this.state.nodes.find(this.nodeId);
    if (node === undefined) return;
    let state: AgentState;
    try {
      state = this.state.stateFor(node);
    } catch (thrown) {
      if (!(thrown instanceof AbsError)) throw thrown;
      const { code, message: what, remedy } = thrown;
      const refused = refusedJson({ code, what, remedy });
      this.seams.send(frameOf(MANAGER_FLAG.update, UPDATE.refused, refused));
      return;
    }
    this.seams.send(frameOf(MANAGER_FLAG.update, UPDATE.state, stateJson(state)));
  }
}
