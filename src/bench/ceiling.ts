/**
 * The ceiling of `abs bench dataplane`: DPDK's own testpmd in macswap mode on a null port, which
 * receives, exchanges two addresses and sends, and does nothing else.
 */
import type { Children } from "./children.ts";
import { median } from "./machine.ts";

const SECONDS = 4;
const ARGUMENTS = [
  ...["--no-huge", "--no-pci", "-m", "256", "-l", "0-1", "--no-telemetry", "--no-shconf"],
  ...["--vdev=net_null0,size=64", "--"],
  ...["--forward-mode=macswap", "--port-topology=loop", "--auto-start", "--nb-cores=1"],
  ...["--burst=64", "--total-num-mbufs=16384", "--stats-period=1"],
];

/** Million packets a second. */
export async function measureCeiling(children: Children): Promise<number> {
  const testpmd = children.start(["dpdk-testpmd", ...ARGUMENTS]);
  await Bun.sleep((SECONDS + 1) * 1000);
  const output = await testpmd.stop();
  // The first reports still hold the start; the figure of each is that of its second.
  const rates = [...output.matchAll(/Tx-pps:\s+(\d+)/g)].map((match) => Number(match[1]) / 1e6);
  return median(rates.slice(-SECONDS + 1).filter((rate) => rate > 0));
}
