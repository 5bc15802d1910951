/**
 * One agent's channel, after it has logged in with its own key. docs/manager-channel.md "Update".
 * It asks for its state, and says which version of it it enforces. Frames of other kinds are of a
 * later version, and skipped.
 */
import { type AgentState, stateJson } from "../channel/agent-state.ts";
import { type FlowRow, readFlows } from "../channel/flow-report.ts";
import {
  frameOf,
  type Refused,
  readMessage,
  readRefused,
  refusedJson,
  UPDATE,
} from "../channel/message-reading.ts";
import { type Marks, readHave } from "../channel/state-sections.ts";
import { readViolations, type Violations } from "../channel/violation-report.ts";
import { AbsError } from "../errors.ts";
import { MANAGER_FLAG, type ManagerFrame } from "../wire/manager-frame.ts";
import type { ManagerState } from "./manager-state.ts";
import type { RenewalTalk } from "./renewal-talk.ts";

const BODY_BYTES_MAX = 64 * 1024;
const COUNT_MAX = 2 ** 32 - 1;

export type AgentSessionSeams = {
  readonly send: (frame: ManagerFrame) => void;
  /** The agent cannot put a state in force. */
  readonly refused: (why: Refused) => void;
  readonly renewal: Pick<RenewalTalk, "begin" | "resume" | "take">;
  /** The agent enforces another version. */
  readonly applied: () => void;
  /** The agent has refused packets although it was proven who sent them. */
  readonly violations: (list: readonly Violations[]) => void;
  /** What the agent decided on flows since its last report. */
  readonly flows: (rows: readonly FlowRow[]) => void;
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

  /** Says which version the agent should have, and whether it shall renew its key. */
  announce(version: number): void {
    this.seams.send(frameOf(MANAGER_FLAG.update, UPDATE.changed, { version }));
    this.seams.renewal.begin();
  }

  /** The tenant's ledger may have got further. */
  followLedger(): void {
    this.seams.renewal.resume();
  }

  take(frame: ManagerFrame): void {
    const { flag, type, body } = frame;
    if (flag !== MANAGER_FLAG.update) return;
    const { nodes, now } = this.state;
    nodes.seen(this.nodeId, now());
    if (type === UPDATE.fetch) {
      const read = readMessage(body, BODY_BYTES_MAX, readHave);
      this.#tell("message" in read ? read.message : undefined);
    }
    this.seams.renewal.take(frame);
    if (type === UPDATE.applied) {
      const read = readMessage(body, BODY_BYTES_MAX, (fields) =>
        fields.integer("version", 1, COUNT_MAX),
      );
      if ("message" in read) {
        nodes.seen(this.nodeId, now(), read.message);
        this.seams.applied();
      }
    }
    if (type === UPDATE.violations) {
      const read = readMessage(body, BODY_BYTES_MAX, readViolations);
      if ("message" in read) this.seams.violations(read.message);
    }
    if (type === UPDATE.flows) {
      const read = readMessage(body, BODY_BYTES_MAX, readFlows);
      if ("message" in read) this.seams.flows(read.message);
    }
    if (type === UPDATE.refused) {
      const read = readMessage(body, BODY_BYTES_MAX, readRefused);
      if ("message" in read) this.seams.refused(read.message);
    }
  }

  /** @param have of the state that the agent has; undefined: it takes whole ones only */
  #tell(have: Marks | undefined): void {
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
    this.seams.send(frameOf(MANAGER_FLAG.update, UPDATE.state, stateJson(state, have)));
  }
}
