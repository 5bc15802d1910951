/**
 * Packets of a compromised VM's root, sent raw out of its inside interface: its kernel would not
 * make them. Its own agent judges and seals them like any other packet of the VM.
 */
import { ethernet } from "../../src/lab/frames.ts";
import { PacketSocket } from "../../src/lab/packet-socket.ts";
import type { Site } from "../../src/lab/site.ts";
import { interfacesIn, namespaceOf, type VmPlan } from "../../src/lab/topology.ts";

/** Packets a pause: more would overrun the agent's receive ring and test only that. */
const BURST = 128;

export async function fromInside(
  site: Site,
  from: VmPlan,
  packets: readonly Uint8Array[],
  to: VmPlan,
): Promise<void> {
  const link = { sourceMac: from.mac, destinationMac: to.mac };
  const frames = packets.map((packet) => ethernet(link, packet));
  await framesFromInside(site, from, frames);
}

/** As fromInside(), for whole frames. */
export async function framesFromInside(
  site: Site,
  from: VmPlan,
  frames: readonly Uint8Array[],
): Promise<void> {
  const namespace = namespaceOf(site.options.prefix, from.name);
  for (const [index, name] of interfacesIn(namespace)) {
    const socket = new PacketSocket(namespace, name);
    for (let i = 0; i < frames.length; i++) {
      socket.send(index, frames[i] ?? new Uint8Array(0));
      if (i % BURST === BURST - 1) await Bun.sleep(2);
    }
    socket.close();
  }
  await Bun.sleep(100);
}
