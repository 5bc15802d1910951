/**
 * `abs capture`: packets that a running agent sends and receives on its outside port, as pcapng
 * for Wireshark; with --keylog also the keys of sessions made meanwhile. docs/wireshark.md.
 * The agent does the work; this writes whole blocks only, so that a file is never torn.
 */
import { closeSync, fchmodSync, openSync, writeSync } from "node:fs";
import { defineCommand } from "citty";
import { CAPTURE_KINDS } from "../agent/capture-filter.ts";
import { endCapture, readCapture } from "../agent/status-server.ts";
import {
  BLOCK_BYTES_MAX,
  BLOCK_BYTES_MIN,
  BLOCK_SECRETS,
  BLOCK_STATISTICS,
  droppedOf,
  secretsOf,
} from "../capture/pcapng-blocks.ts";
import { AbsError, messageOf } from "../errors.ts";
import { keepMemoryPrivate } from "../native/private-memory.ts";
import { notes } from "./notes.ts";
import { wholeNumberOf } from "./options.ts";

const LIMIT_MAX = 1_000_000_000;
const STANDARD_OUTPUT = 1;
const BLOCK_PACKET = 6;

export const captureCommand = defineCommand({
  meta: {
    name: "capture",
    description:
      "packets that a running agent sends and receives outside, as pcapng for Wireshark\n\n" +
      "  abs capture --write abs.pcapng --seconds 60\n" +
      "  abs capture --write - --kind handshake | tshark -r -\n" +
      "  abs capture --write abs.pcapng --keylog abs.keys --packets 1000",
  },
  args: {
    write: { type: "string", required: true, description: "file to write; - for standard output" },
    keylog: {
      type: "string",
      description:
        "new file for keys of sessions made meanwhile; the agent needs --allow-keylog for it",
    },
    seconds: { type: "string", description: "end after so long" },
    packets: { type: "string", description: "end after so many packets" },
    host: { type: "string", description: "only packets from or to this IP address" },
    direction: { type: "string", description: "only packets that come in, or go out" },
    kind: { type: "string", description: `only these, of ${CAPTURE_KINDS.join(", ")}` },
    state: { type: "string", default: "/run/abs", description: "state folder of the agent" },
  },
  async run({ args }) {
    const { host, direction, kind, keylog, state } = args;
    for (const name of ["seconds", "packets"] as const) {
      const text = args[name];
      if (text !== undefined) wholeNumberOf(`--${name}`, text, 1, LIMIT_MAX);
    }
    const { seconds, packets } = args;
    const words = { host, direction, kind, seconds, packets, keylog: keylog && "1" };
    if (keylog !== undefined) keepMemoryPrivate();
    const stream = await readCapture(state, definedOf(words));
    await writeCapture(stream, { file: args.write, keylog, state });
  },
});

function definedOf(words: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const pairs = Object.entries(words);
  return Object.fromEntries(
    pairs.filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
}

type Places = {
  readonly file: string;
  readonly keylog: string | undefined;
  readonly state: string;
};

async function writeCapture(stream: AsyncIterable<Uint8Array>, places: Places): Promise<void> {
  const { file, keylog, state } = places;
  // First what can be refused: an older capture stays then.
  const keys = keylog === undefined ? undefined : openKeyLog(keylog);
  const packets = file === "-" ? STANDARD_OUTPUT : open(file, "w");
  const end = () => void endCapture(state).catch(() => process.exit(1));
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, end);
  const counts = { packets: 0, sessions: 0, lost: 0 };
  for await (const block of blocksOf(stream)) {
    const type = new DataView(block.buffer, block.byteOffset).getUint32(0, true);
    if (type === BLOCK_SECRETS) {
      const lines = secretsOf(block);
      counts.sessions += lines.split("\n").length - 1;
      if (keys !== undefined) writeAll(keys, Buffer.from(lines));
      continue;
    }
    if (type === BLOCK_STATISTICS) counts.lost = droppedOf(block);
    if (type === BLOCK_PACKET) counts.packets++;
    writeAll(packets, block);
  }
  if (packets !== STANDARD_OUTPUT) closeSync(packets);
  if (keys !== undefined) closeSync(keys);
  const ofKeys = keylog === undefined ? "" : `, keys of ${counts.sessions} sessions in ${keylog}`;
  notes.info(`${counts.packets} packets captured${ofKeys}.`);
  if (counts.lost > 0) notes.warn(`${counts.lost} more were lost: writing is too slow.`);
}

/** @throws AbsError CAPTURE_CUT */
async function* untilCut(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (cause) {
    const remedy = "What was captured by then has been written. `abs agent status` tells more.";
    throw new AbsError("CAPTURE_CUT", "The agent ended, and the capture with it.", remedy, cause);
  }
}

/**
 * Whole blocks; what was begun when a stream breaks is left out.
 * @throws AbsError CAPTURE_BROKEN, CAPTURE_CUT
 */
async function* blocksOf(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest = new Uint8Array(0);
  for await (const part of untilCut(stream)) {
    const bytes = new Uint8Array(Buffer.concat([rest, part]));
    const view = new DataView(bytes.buffer);
    let at = 0;
    while (at + BLOCK_BYTES_MIN <= bytes.length) {
      const length = view.getUint32(at + 4, true);
      if (length < BLOCK_BYTES_MIN || length > BLOCK_BYTES_MAX) {
        throw new AbsError("CAPTURE_BROKEN", "What the agent sent is no capture.", "");
      }
      if (at + length > bytes.length) break;
      yield bytes.subarray(at, at + length);
      at += length;
    }
    rest = bytes.slice(at);
  }
}

/** Of this user alone, and new: whoever has an older file open shall not read it. */
function openKeyLog(path: string): number {
  const file = open(path, "wx");
  fchmodSync(file, 0o600);
  return file;
}

function open(path: string, flags: "w" | "wx"): number {
  try {
    return openSync(path, flags, 0o600);
  } catch (cause) {
    const what = `${path} cannot be written: ${messageOf(cause)}.`;
    const remedy = "Name another file; that of --keylog must not exist yet.";
    throw new AbsError("CAPTURE_WRITE", what, remedy, cause);
  }
}

/** @throws AbsError CAPTURE_WRITE: the disk is full, or whoever read our output has had enough */
function writeAll(file: number, bytes: Uint8Array): void {
  try {
    let done = 0;
    while (done < bytes.length) done += writeSync(file, bytes, done, bytes.length - done);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EPIPE") process.exit(0);
    const what = `The capture cannot be written: ${messageOf(cause)}.`;
    throw new AbsError("CAPTURE_WRITE", what, "Make room, or name another file.", cause);
  }
}
