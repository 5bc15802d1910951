/**
 * Lets the ledger node's connections through the agent's own data plane, which holds them for
 * management flows (dataplane/management-flows.ts): a call is announced, and made when the worker
 * knows of it.
 */
import { COMMAND, MANAGEMENT, MANAGEMENT_CHANGE } from "../dataplane/control-records.ts";
import { type IpAddress, parseAddress } from "../wire/ip-text.ts";
import type { PeerFlow } from "./ledger-messages.ts";
import type { WorkerLink } from "./worker-link.ts";

type Change = {
  readonly change: (typeof MANAGEMENT_CHANGE)[keyof typeof MANAGEMENT_CHANGE];
  readonly localPort?: number;
  readonly address?: IpAddress;
  readonly port?: number;
};

/** A connection that ended here has segments on their way yet, and the peer's last ones. */
const LINGER_MS = 60_000;

export class DataPlanePassage {
  /** Those of connections, and when one that is over is forgotten. */
  readonly #localPorts = new Map<number, ReturnType<typeof setTimeout> | undefined>();

  constructor(readonly worker: Pick<WorkerLink, "sendBytes" | "carryOut">) {}

  /** False where the worker does not answer, or there is no such address. */
  async open({ localPort, host, port }: PeerFlow): Promise<boolean> {
    const address = parseAddress(host);
    if (address === undefined) return false;
    clearTimeout(this.#localPorts.get(localPort));
    this.#localPorts.set(localPort, undefined);
    const record = recordOf({ change: MANAGEMENT_CHANGE.open, localPort, address, port });
    try {
      await this.worker.carryOut(COMMAND.management, record);
      return true;
    } catch {
      this.close(localPort); // the agent ends when its worker is gone; a busy one is asked again
      return false;
    }
  }

  close(localPort: number): void {
    clearTimeout(this.#localPorts.get(localPort));
    const timer = setTimeout(() => {
      this.#localPorts.delete(localPort);
      this.#send({ change: MANAGEMENT_CHANGE.close, localPort });
    }, LINGER_MS);
    timer.unref();
    this.#localPorts.set(localPort, timer);
  }

  /** These may call at `port`, and nobody else. */
  admit(port: number, hosts: readonly string[]): void {
    for (const host of hosts) {
      const address = parseAddress(host);
      if (address !== undefined) this.#send({ change: MANAGEMENT_CHANGE.caller, address });
    }
    this.#send({ change: MANAGEMENT_CHANGE.listen, port });
  }

  /** The node is gone, and its sockets with it. */
  closeAll(): void {
    for (const localPort of [...this.#localPorts.keys()]) this.close(localPort);
    this.#send({ change: MANAGEMENT_CHANGE.listen, port: 0 });
  }

  #send(change: Change): void {
    this.worker.sendBytes(COMMAND.management, recordOf(change));
  }
}

function recordOf({ change, localPort = 0, address, port = 0 }: Change): Uint8Array {
  const bytes = new Uint8Array(MANAGEMENT.sizeBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(MANAGEMENT.change, change, true);
  view.setUint32(MANAGEMENT.localPort, localPort, true);
  view.setUint32(MANAGEMENT.ipVersion, address?.version ?? 0, true);
  address?.words.forEach((word, i) => {
    view.setUint32(MANAGEMENT.address + 4 * i, word, true);
  });
  view.setUint32(MANAGEMENT.port, port, true);
  return bytes;
}
