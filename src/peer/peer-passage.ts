/**
 * How the peer channel's connections get through where an agent's data plane lies between it and
 * the network: each call is announced before it is made, and so is who may call. design/agent.md
 * "Egress" 2, management flows. src/agent joins it to the data plane.
 */

export interface PeerPassage {
  /** The local port to call `host` and `port` from; undefined: there is no way out now. */
  open(host: string, port: number): Promise<number | undefined>;
  /** A connection from that local port is over, or never came to be. */
  close(localPort: number): void;
  /** Calls come in at this port… */
  listen(port: number): void;
  /** …from these hosts only. */
  meet(hosts: readonly string[]): void;
}
