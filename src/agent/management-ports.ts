/**
 * Local ports of the agent's own connections, which its data plane knows by them
 * (peer-passage.ts). All are above what kernels choose from by themselves (ip_local_port_range ends
 * at 60,999); each kind has its own, as both would tell the data plane of the same number.
 */

export type PortRange = { readonly low: number; readonly high: number };

export const LEDGER_PORTS: PortRange = { low: 61_000, high: 65_279 };
export const MANAGER_PORTS: PortRange = { low: 65_280, high: 65_535 };

/** A random one: the last use of a port may still be in TIME-WAIT. */
export function randomPort({ low, high }: PortRange): number {
  return low + Math.floor(Math.random() * (high - low + 1));
}
