/** What the tests of matching share: a flow's numbers. */
import type { FlowNumbers } from "../../src/dpi/matcher.ts";

/** A TCP flow from 10.1.0.1:40000 to 10.1.0.2:80, but for `change`. */
export function anyFlow(change: Partial<FlowNumbers>): FlowNumbers {
  return {
    ipVersion: 4,
    transportProtocol: 6,
    source0: 0,
    source1: 0,
    source2: 0,
    source3: 0x0a010001,
    sourcePort: 40_000,
    destination0: 0,
    destination1: 0,
    destination2: 0,
    destination3: 0x0a010002,
    destinationPort: 80,
    ...change,
  };
}
