/**
 * The agent's standing connection to its manager. docs/manager-channel.md "Update". It hears that
 * something changed, fetches the newest state, has it applied, and reports which version is in
 * force. A manager that is away is called again, with pauses that grow; nothing of the agent waits
 * for it. What cannot be applied is reported, and the version before stays.
 */
import { AbsError, messageOf } from "../errors.ts";
import type { OwnKeys } from "../node/node-keys.ts";
import { SshClient } from "../ssh/ssh-client.ts";
import { MANAGER_FLAG, managementTag } from "../wire/manager-frame.ts";
import type { KnownManager } from "./agent-folder.ts";
import { type AgentState, readState } from "./agent-state.ts";
import { ChannelTalk } from "./channel-talk.ts";
import { checkState } from "./enrolment-client.ts";
import { frameOf, refusedJson, UPDATE } from "./message-reading.ts";

const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 30_000;

export type ManagerLinkOptions = {
  readonly manager: KnownManager;
  readonly keys: OwnKeys;
  readonly sshSeed: Uint8Array;
  /** In force now; 0: none. */
  readonly version: number;
  /** Puts it in force; an AbsError says why it cannot be. */
  readonly apply: (state: AgentState) => Promise<void> | void;
  readonly notice: (event: string, fields: Readonly<Record<string, unknown>>) => void;
};

export class ManagerLink {
  #version: number;
  #client: SshClient | undefined;
  #isOver = false;
  #wake: (() => void) | undefined;
  readonly #done: Promise<void>;

  constructor(private readonly options: ManagerLinkOptions) {
    this.#version = options.version;
    this.#done = this.#run();
  }

  get version(): number {
    return this.#version;
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    this.#client?.close();
    this.#wake?.();
    await this.#done;
  }

  async #run(): Promise<void> {
    let pauseMs = PAUSE_MS_MIN;
    while (!this.#isOver) {
      try {
        await this.#follow(() => {
          pauseMs = PAUSE_MS_MIN;
        });
      } catch (thrown) {
        if (!this.#isOver) this.#complain(thrown);
      }
      if (this.#isOver) return;
      // A quarter more or less, so that a thousand agents do not come back as one.
      await this.#sleep(pauseMs * (0.75 + Math.random() / 2));
      pauseMs = Math.min(PAUSE_MS_MAX, pauseMs * 2);
    }
  }

  /** One connection, until it ends by an error. */
  async #follow(connected: () => void): Promise<never> {
    const { manager, sshSeed } = this.options;
    const client = await SshClient.connect({ ...manager, user: "agent", seed: sshSeed });
    this.#client = client;
    try {
      const talk = new ChannelTalk(await client.subsystem(), managementTag(manager.managerKey));
      connected();
      this.options.notice("manager-connected", { host: manager.host, port: manager.port });
      for (;;) {
        const wanted = await talk.announced();
        if (wanted !== this.#version) await this.#take(talk);
        else talk.send(frameOf(MANAGER_FLAG.update, UPDATE.applied, { version: wanted }));
      }
    } finally {
      client.close();
      this.#client = undefined;
    }
  }

  async #take(talk: ChannelTalk): Promise<void> {
    const flag = MANAGER_FLAG.update;
    const { manager, keys, apply, notice } = this.options;
    talk.send(frameOf(flag, UPDATE.fetch, {}));
    const state = await talk.next(flag, UPDATE.state, readState);
    const { version } = state;
    try {
      checkState(state, { managerKey: manager.managerKey, keys });
      await apply(state);
    } catch (thrown) {
      if (!(thrown instanceof AbsError)) throw thrown;
      const { code, message: what, remedy } = thrown;
      talk.send(frameOf(flag, UPDATE.refused, refusedJson({ code, what, remedy })));
      notice("update-refused", { version, code, reason: what });
      return;
    }
    this.#version = version;
    talk.send(frameOf(flag, UPDATE.applied, { version }));
    notice("update-applied", { version });
  }

  #complain(thrown: unknown): void {
    const code = thrown instanceof AbsError ? thrown.code : "INTERNAL";
    this.options.notice("manager-lost", { code, reason: messageOf(thrown) });
  }

  async #sleep(forMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, forMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
