/** An agent of a manager, as `abs agent run` follows it, without a data plane. */
import { readFileSync } from "node:fs";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { agentFile, ensureKeys, keepManager, loadManager } from "../../src/channel/agent-folder.ts";
import { AgentIdentity } from "../../src/channel/agent-identity.ts";
import type { AgentMachine } from "../../src/channel/enrolment-messages.ts";
import type { EnrolmentToken } from "../../src/channel/enrolment-token.ts";
import { ManagerLink, type ManagerLinkOptions } from "../../src/channel/manager-link.ts";
import { takeState } from "../../src/channel/state-taking.ts";
import { enrolFolder } from "./enrolled-folder.ts";

/** Follows the manager of an enrolled folder. */
export function followManager(
  dir: string,
  plane: Pick<ManagerLinkOptions, "sessionKeyDrawn"> = {},
): ManagerLink {
  const identity = AgentIdentity.in(dir, ensureKeys(dir).secrets);
  const manager = loadManager(dir);
  const link: ManagerLink = new ManagerLink({
    ...{ manager, version: manager.version, identity, ...plane },
    notice: () => {},
    // By the host key that it was met under last.
    apply: (state) =>
      takeState(dir, state, {
        ...{ manager: link.manager, secrets: identity.secrets, check: loadProvisioning },
      }),
    hostKeyMoved: (moved) => keepManager(dir, moved),
  });
  return link;
}

export class FollowedAgent {
  readonly #link: ManagerLink;

  private constructor(
    readonly name: string,
    private readonly dir: string,
  ) {
    this.#link = followManager(dir);
  }

  static async enrol(words: {
    readonly name: string;
    readonly dir: string;
    readonly token: EnrolmentToken;
    readonly machine: AgentMachine;
  }): Promise<FollowedAgent> {
    const { name, dir, token, machine } = words;
    await enrolFolder(dir, token, machine);
    return new FollowedAgent(name, dir);
  }

  get isConnected(): boolean {
    return this.#link.status.state === "connected";
  }

  get hostFingerprint(): string {
    return loadManager(this.dir).hostFingerprint;
  }

  /** No others are drawn. */
  get hasOneKey(): boolean {
    const kept = JSON.parse(readFileSync(agentFile(this.dir, "keys"), "utf8"));
    return kept.ssh_secret_next === undefined && kept.ledger_secret_next === undefined;
  }

  stop(): Promise<void> {
    return this.#link.stop();
  }
}
