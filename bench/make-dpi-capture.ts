/**
 * Makes build/bench/dpi.pcap for `abs bench dpi` from a directory of captures:
 *   build/bun bench/make-dpi-capture.ts [DIRECTORY [FILE [MEGABYTES [FLOWS]]]]
 */
import { makeCapture } from "../src/bench/dpi-capture.ts";

const [captures, file, megabytes, flows] = process.argv.slice(2);
const made = makeCapture({
  captures: captures ?? process.env["ABS_CAPTURES"] ?? "../shared/captures",
  file: file ?? "build/bench/dpi.pcap",
  bytesMin: Number(megabytes ?? 500) * 1e6,
  flowsMin: Number(flows ?? 100_000),
});
console.log(JSON.stringify(made));
