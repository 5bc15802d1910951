/**
 * contrib/wireshark/abs.lua in tshark, on the packets of test/vectors: fields, proofs and payloads
 * are theirs, what is malformed is flagged, and no bytes make Lua fail.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { contextOf, sealPacket } from "../../src/session/data-proof.ts";
import { dataHeaderToProve } from "../../src/wire/data-frame.ts";
import { Prng, seed } from "../prng.ts";
import cookie from "../vectors/cookie.json";
import handshake from "../vectors/handshake.json";
import rejectVectors from "../vectors/reject.json";
import {
  bytes,
  DATA_SAMPLES,
  DATA_VECTORS,
  framesOf,
  HANDSHAKE_SAMPLES,
  HERE,
  HINT,
  KEEP_ALIVE,
  keyLog,
  REJECT_SAMPLES,
  SAMPLES,
  THERE,
} from "./abs-frames.ts";
import { dissect, frameOf, tshark, writeFrames } from "./tshark.ts";

const MINUTE_MS = 60_000;
let folder: string;
let keylog: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "abs-wireshark-"));
  keylog = join(folder, "keys");
  writeFileSync(keylog, keyLog(), { mode: 0o600 });
});
afterAll(() => rmSync(folder, { recursive: true }));

function captureOf(name: string, frames: readonly Uint8Array[]): string {
  const file = join(folder, `${name}.pcapng`);
  writeFrames(file, frames);
  return file;
}

const DATA_FIELDS = [
  ...["abs.version", "abs.flag", "abs.protocol", "abs.fragment", "abs.receiver_index"],
  ...["abs.lane", "abs.counter", "abs.proof"],
];
const KEY_FIELDS = [
  ...["abs.proof.ok", "abs.decrypted", "abs.session.algorithm", "abs.session.protection"],
  ...["abs.session.app", "abs.session.peer"],
];

function hex(value: number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}

const DATA_ROWS = DATA_VECTORS.map((vector) => ({
  "abs.version": "1",
  "abs.flag": "5",
  "abs.protocol": String(vector.protocol),
  "abs.fragment": hex(vector.fragment, 4),
  "abs.receiver_index": hex(vector.receiver_index, 8),
  "abs.lane": String(vector.lane),
  "abs.counter": String(vector.counter),
  "abs.proof": vector.packet.slice(32, 64),
}));

test("DATA has its fields on both carriers, and no proof is judged without a key", async () => {
  const frames = [...framesOf(DATA_SAMPLES), ...framesOf(DATA_SAMPLES, "udp")];
  const rows = await dissect(captureOf("data", frames), [...DATA_FIELDS, "abs.proof.ok"]);
  expect(rows).toEqual([...DATA_ROWS, ...DATA_ROWS].map((row) => ({ ...row, "abs.proof.ok": "" })));
}, 60_000);

test("with the key log every proof holds on both carriers, and hidden payloads are opened", async () => {
  const frames = [...framesOf(DATA_SAMPLES), ...framesOf(DATA_SAMPLES, "udp")];
  const rows = await dissect(captureOf("keys", frames), KEY_FIELDS, { keylog });
  const wanted = DATA_VECTORS.map(({ algorithm, protection }) => ({
    "abs.proof.ok": "1",
    "abs.decrypted": protection === "confidential" ? "1" : "",
    "abs.session.algorithm": algorithm,
    "abs.session.protection": protection,
    "abs.session.app": "app 1",
    "abs.session.peer": "db",
  }));
  expect(rows).toEqual([...wanted, ...wanted]);
}, 60_000);

test("what is in DATA is the vectors' payload, byte for byte", async () => {
  const file = captureOf("payload", framesOf(DATA_SAMPLES));
  const { stdout } = await tshark(["-r", file, "-o", `abs.keylog:${keylog}`, "-x"]);
  const dumps = stdout.split(/\n\n(?=Frame |\d)/).join("\n\n");
  for (const { payload, protection } of DATA_VECTORS) {
    if (protection !== "confidential") continue;
    const line = (payload.match(/../g) ?? []).slice(0, 16).join(" ");
    expect(dumps).toContain(line);
  }
  expect(stdout.match(/Decrypted ABS payload \(\d+ bytes\)/g)).toHaveLength(6);
}, 60_000);

test("a keep-alive is told as one, and its proof holds", async () => {
  const file = captureOf("alive", framesOf([KEEP_ALIVE]));
  const rows = await dissect(file, ["abs.keep_alive", "abs.proof.ok", "abs.lane"], { keylog });
  expect(rows).toEqual([{ "abs.keep_alive": "1", "abs.proof.ok": "1", "abs.lane": "15" }]);
}, 60_000);

test("one changed bit, also of what only the proof covers, is a wrong proof", async () => {
  const frames = framesOf(DATA_SAMPLES.slice(0, 1)).flatMap((frame) =>
    // Identification, source, destination; next header, fragment, counter, proof, payload.
    [18, 27, 31, 35, 36, 49, 50, 65, 66, frame.length - 1].map((at) => {
      const changed = frame.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      return changed;
    }),
  );
  const fields = ["abs.proof.ok", "abs.bad.proof"];
  const rows = await dissect(captureOf("changed", frames), fields, { keylog });
  expect(rows).toEqual(frames.map(() => ({ "abs.proof.ok": "0", "abs.bad.proof": "1" })));
}, 60_000);

test("handshake messages and cookies have their fields", async () => {
  const fields = [
    ...["abs.message", "abs.receiver_index", "abs.sender_index", "abs.sc_id", "abs.generation"],
    ...["abs.ephemeral", "abs.static", "abs.sealed", "abs.mac1", "abs.mac2", "abs.has_cookie"],
    ...["abs.nonce", "abs.cookie", "abs.wrapped"],
  ];
  const rows = await dissect(captureOf("handshake", framesOf(HANDSHAKE_SAMPLES)), fields);
  const [vector] = handshake.vectors;
  const initiation = vector?.initiation ?? "";
  const part = (text: string, from: number, size: number) => text.substr(2 * from, 2 * size);
  expect(rows[0]).toEqual({
    ...{ "abs.message": "1", "abs.receiver_index": "0x00000000" },
    ...{ "abs.sender_index": `0x${part(initiation, 8, 4)}`, "abs.generation": "3" },
    "abs.sc_id": vector?.sc_1.sc_id ?? "",
    "abs.ephemeral": part(initiation, 32, 32),
    "abs.static": part(initiation, 64, 48),
    "abs.sealed": part(initiation, 112, 93),
    "abs.mac1": part(initiation, 205, 16),
    "abs.mac2": part(initiation, 221, 16),
    "abs.has_cookie": "1",
    ...{ "abs.nonce": "", "abs.cookie": "", "abs.wrapped": "" },
  });
  const response = vector?.response ?? "";
  expect(rows[1]).toMatchObject({
    "abs.message": "2",
    "abs.sc_id": vector?.sc_2.sc_id ?? "",
    "abs.generation": "7",
    "abs.sealed": part(response, 64, 93),
    "abs.mac1": part(response, 157, 16),
    "abs.static": "",
  });
  const reply = cookie.vectors[0]?.reply ?? "";
  expect(rows[2]).toMatchObject({
    "abs.message": "3",
    "abs.nonce": part(reply, 8, 24),
    "abs.cookie": part(reply, 32, 32),
  });
  expect(rows.slice(3).map((row) => row["abs.wrapped"]?.length)).toEqual([512, 512]);
}, 60_000);

test("a REJECT has its fields, and its proof holds where it is sealed", async () => {
  const frames = framesOf([...REJECT_SAMPLES, HINT]);
  const fields = [
    ...["abs.reject.reason", "abs.reject.protocol", "abs.reject.source_port"],
    ...["abs.reject.destination_port", "abs.proof.ok", "abs.hint.index", "abs.hint.proof"],
  ];
  const rows = await dissect(captureOf("reject", frames), fields, { keylog });
  const sealed = rejectVectors.vectors.filter(({ outer_source }) => outer_source !== undefined);
  const hint = rejectVectors.vectors.at(-1);
  expect(rows).toEqual([
    ...sealed.map((vector) => ({
      "abs.reject.reason": String(vector.reason),
      "abs.reject.protocol": String(vector.protocol),
      "abs.reject.source_port": String(vector.source_port),
      "abs.reject.destination_port": String(vector.destination_port),
      "abs.proof.ok": "1",
      ...{ "abs.hint.index": "", "abs.hint.proof": "" },
    })),
    {
      ...{ "abs.reject.reason": "", "abs.reject.protocol": "", "abs.reject.source_port": "" },
      ...{ "abs.reject.destination_port": "", "abs.proof.ok": "" },
      "abs.hint.index": hex(hint?.unknown_index ?? 0, 8),
      "abs.hint.proof": hint?.proof ?? "",
    },
  ]);
}, 60_000);

const DATA_HEX = Buffer.from(DATA_SAMPLES[0]?.packet ?? "").toString("hex");
const [initiationHex = "", responseHex = "", cookieHex = ""] = HANDSHAKE_SAMPLES.map(({ packet }) =>
  Buffer.from(packet).toString("hex"),
);
const REJECT_HEX = Buffer.from(REJECT_SAMPLES[0]?.packet ?? "").toString("hex");
const HINT_HEX = Buffer.from(HINT.packet).toString("hex");

function changed(text: string, at: number, value: string): string {
  return text.slice(0, 2 * at) + value + text.slice(2 * at + value.length);
}

const MALFORMED = [
  { what: "no common header", packet: "15060000000000", flag: "abs.bad.length" },
  { what: "version 2", packet: changed(DATA_HEX, 0, "25"), flag: "abs.bad.version" },
  { what: "flag 7", packet: changed(DATA_HEX, 0, "17"), flag: "abs.bad.flag" },
  { what: "bare UPDATE", packet: changed(DATA_HEX, 0, "13"), flag: "abs.bad.bare" },
  { what: "DATA of 31 bytes", packet: DATA_HEX.slice(0, 62), flag: "abs.bad.length" },
  { what: "lane 16", packet: changed(DATA_HEX, 8, "10"), flag: "abs.bad.lane" },
  { what: "counter 2^53", packet: changed(DATA_HEX, 9, "20"), flag: "abs.bad.counter" },
  { what: "DATA to index 0", packet: changed(DATA_HEX, 4, "00000000"), flag: "abs.bad.index" },
  { what: "reserved bit", packet: changed(DATA_HEX, 2, "80"), flag: "abs.bad.reserved" },
  { what: "a byte short", packet: initiationHex.slice(0, -2), flag: "abs.bad.length" },
  { what: "a byte long", packet: `${responseHex}00`, flag: "abs.bad.length" },
  { what: "message 6", packet: changed(initiationHex, 1, "06"), flag: "abs.bad.next_header" },
  { what: "fragment", packet: changed(initiationHex, 2, "2000"), flag: "abs.bad.fragment" },
  { what: "sender 0", packet: changed(responseHex, 8, "00000000"), flag: "abs.bad.index" },
  { what: "receiver", packet: changed(initiationHex, 4, "00000001"), flag: "abs.bad.index" },
  { what: "cookie to 0", packet: changed(cookieHex, 4, "00000000"), flag: "abs.bad.index" },
  { what: "short cookie", packet: cookieHex.slice(0, -2), flag: "abs.bad.length" },
  { what: "reason 9", packet: changed(REJECT_HEX, 32, "0009"), flag: "abs.bad.reason" },
  { what: "IPv6 in 48 bytes", packet: changed(REJECT_HEX, 35, "06"), flag: "abs.bad.ip_version" },
  { what: "REJECT on lane 3", packet: changed(REJECT_HEX, 8, "03"), flag: "abs.bad.lane" },
  { what: "long REJECT", packet: `${REJECT_HEX}00`, flag: "abs.bad.length" },
  { what: "hint's reason", packet: changed(HINT_HEX, 8, "0002"), flag: "abs.bad.reason" },
  { what: "hint's reserved", packet: changed(HINT_HEX, 10, "0001"), flag: "abs.bad.reserved" },
  { what: "short hint", packet: HINT_HEX.slice(0, -2), flag: "abs.bad.length" },
];

test(
  "what is malformed is flagged by its own name, and nothing that is well formed",
  async () => {
    const envelope = { source: HERE, destination: THERE };
    const frames = MALFORMED.map(({ packet }) => frameOf(bytes(packet), envelope));
    const flags = [...new Set(MALFORMED.map(({ flag }) => flag))];
    const rows = await dissect(captureOf("malformed", frames), flags);
    const told = rows.map((row, i) => [
      MALFORMED[i]?.what,
      ...flags.filter((flag) => row[flag] !== ""),
    ]);
    expect(told).toEqual(MALFORMED.map(({ what, flag }) => [what, flag]));
    const good = captureOf("good", [...framesOf(SAMPLES), ...framesOf(SAMPLES, "udp")]);
    const errors = '_ws.expert.group == "Malformed" || abs.bad.bare || abs.bad.outer';
    const flagged = await dissect(good, ["frame.number", "abs.flag"], {
      filter: `abs && (${errors})`,
    });
    expect(flagged).toEqual([]);
  },
  MINUTE_MS,
);

/** An ICMP error of a router on the way, which quotes the first bytes of an IP packet. */
function quoting(frame: Uint8Array, quotedBytes: number): Uint8Array {
  const words = Uint8Array.from([3, 1, 0, 0, 0, 0, 0, 0]);
  const error = Buffer.concat([words, frame.subarray(14, 14 + quotedBytes)]);
  const carried = frameOf(error, { source: THERE, destination: HERE });
  carried[23] = 1;
  return carried;
}

/** The frame's IP packet in two fragments. */
function fragmentsOf(frame: Uint8Array): Uint8Array[] {
  const [head, text] = [frame.subarray(0, 34), frame.subarray(34)];
  return [
    { part: text.subarray(0, 40), field: 0x2000 },
    { part: text.subarray(40), field: 40 / 8 },
  ].map(({ part, field }) => {
    const whole = Buffer.concat([head, part]);
    whole.writeUInt16BE(20 + part.length, 16);
    whole.writeUInt16BE(field, 20);
    return whole;
  });
}

test("what is quoted or put together from fragments is not judged, and nonsense inside is told", async () => {
  const [frame = new Uint8Array(0)] = framesOf(DATA_SAMPLES.slice(0, 1));
  const quoted = [quoting(frame, 28), quoting(frame, 60)];
  const short = new Uint8Array(7);
  const inside = [false, true].map((isHidden) => sealedFrame({ protocol: 6 }, short, isHidden));
  const fields = ["abs.cut", "abs.bad.outer", "abs.bad.inner", "abs.proof.ok", "abs.flag"];
  const file = captureOf("rare", [...quoted, ...fragmentsOf(frame), ...inside]);
  const rows = await dissect(file, fields, { keylog });
  const none = Object.fromEntries(fields.map((field) => [field, ""]));
  expect(rows).toEqual([
    ...quoted.map(() => ({ ...none, "abs.cut": "1", "abs.flag": "5" })),
    none,
    { ...none, "abs.bad.outer": "1", "abs.flag": "5" },
    ...inside.map(() => ({ ...none, "abs.bad.inner": "1", "abs.proof.ok": "1", "abs.flag": "5" })),
  ]);
}, 60_000);

test(
  `2,000 mutated frames make no error of Lua (SEED=${seed})`,
  async () => {
    const prng = new Prng(seed);
    const whole = [...framesOf(SAMPLES), ...framesOf(SAMPLES, "udp")];
    const frames = Array.from({ length: 2_000 }, () =>
      prng.oneIn(4) ? sealedNonsense(prng) : mutated(whole[prng.below(whole.length)], prng),
    );
    const file = captureOf("mutated", frames);
    const { stdout, stderr, code } = await tshark(["-r", file, "-V", "-o", `abs.keylog:${keylog}`]);
    expect(code).toBe(0);
    const errors = `${stdout}${stderr}`.match(/^.*(Lua Error|abs\.lua:\d).*$/gm) ?? [];
    expect(errors.slice(0, 3)).toEqual([]);
    expect(stdout.match(/^Frame \d+: /gm)).toHaveLength(2_000);
    expect(stdout.match(/^Application-Based Security/gm)?.length).toBeGreaterThan(1_000);
    expect(stdout.match(/Proof holds: True/g)?.length).toBeGreaterThan(300);
  },
  2 * MINUTE_MS,
);

/** Who has the keys may still send what no dissector of the inner protocol likes. */
function sealedNonsense(prng: Prng): Uint8Array {
  const payload = Uint8Array.from({ length: prng.below(120) }, () => prng.below(256));
  const header = {
    protocol: prng.oneIn(2) ? ([1, 6, 17, 41, 44, 58][prng.below(6)] ?? 0) : prng.below(256),
    fragment: prng.oneIn(4) ? prng.below(0x10000) : 0,
    ...{ lane: prng.below(16), counter: prng.u32() },
  };
  return sealedFrame(header, payload, prng.oneIn(2));
}

function sealedFrame(
  words: { readonly protocol: number; fragment?: number; lane?: number; counter?: number },
  payload: Uint8Array,
  confidential: boolean,
): Uint8Array {
  const ends = { source: HERE, destination: THERE };
  const fixed = { fragment: 0, lane: 0, counter: 1, receiverIndex: 0x89abcdef };
  const context = contextOf(ends, payload.length);
  const header = dataHeaderToProve({ ...fixed, ...words, ...context });
  const key = bytes(DATA_VECTORS[0]?.keys.key ?? "");
  const keys = { algorithm: 1, key, confidential, quickProof: undefined } as const;
  return frameOf(sealPacket(keys, header, payload), ends);
}

/** Changes bits and bytes behind the link header, and sometimes the length. */
function mutated(frame: Uint8Array | undefined, prng: Prng): Uint8Array {
  const copy = Uint8Array.from(frame ?? []);
  const from = prng.oneIn(4) ? 14 : 34;
  for (let i = prng.below(6); i >= 0; i--) {
    const at = from + prng.below(prng.oneIn(2) ? 40 : copy.length - from);
    if (at < copy.length)
      copy[at] = prng.oneIn(3) ? ([0, 1, 127, 255][prng.below(4)] ?? 0) : prng.below(256);
  }
  if (!prng.oneIn(3)) return copy;
  const end = 14 + prng.below(copy.length - 14);
  const cut = copy.slice(0, end);
  // Of half of them the IP header says so, too: they are short rather than cut off.
  if (cut[12] === 0x08 && prng.oneIn(2) && end > 34) {
    new DataView(cut.buffer).setUint16(16, end - 14, false);
  }
  return cut;
}
