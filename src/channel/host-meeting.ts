/**
 * Whether who answers is the manager: by the host key that is known, or by a newer one that the
 * manager's own key vouches for. docs/manager-channel.md "Host key".
 */
import type { SshClientOptions } from "../ssh/ssh-client.ts";
import { fingerprintOf } from "../ssh/ssh-keys.ts";
import type { KnownManager } from "./agent-folder.ts";
import { vouchedSeq } from "./host-statement.ts";

/** The host key that is known. */
export type HostPin = Pick<KnownManager, "hostFingerprint" | "hostSeq">;

export class HostMeeting {
  #found: HostPin;

  constructor(
    private readonly manager: Pick<KnownManager, "managerKey">,
    private readonly known: HostPin,
  ) {
    this.#found = known;
  }

  /** What was met; what was known, if that was it. */
  get found(): HostPin {
    return this.#found;
  }

  get words(): Pick<SshClientOptions, "hostFingerprint" | "vouches"> {
    return {
      hostFingerprint: this.known.hostFingerprint,
      vouches: (greeting, hostPub) => {
        const { managerKey } = this.manager;
        const seq = vouchedSeq(greeting, { managerKey, hostPub });
        // An older key may be stolen: a word that is true for ever does not bring it back.
        if (seq === undefined || seq <= (this.known.hostSeq ?? 0)) return false;
        this.#found = { hostFingerprint: fingerprintOf(hostPub), hostSeq: seq };
        return true;
      },
    };
  }
}
