/**
 * The packets of test/vectors in frames, and their sessions as a key log: every message there is,
 * under every algorithm and protection. All sessions share one index, so that a reader has to try.
 */
import { SHIM_ALGORITHM } from "../../src/session/data-keys.ts";
import cookie from "../vectors/cookie.json";
import data from "../vectors/data.json";
import handshake from "../vectors/handshake.json";
import reject from "../vectors/reject.json";
import rsa256 from "../vectors/rsa256.json";
import { type Envelope, frameOf } from "./tshark.ts";

type VectorKeys = {
  readonly algorithm: number;
  readonly key: string;
  readonly confidential: boolean;
  readonly quick_proof: string | null;
};

export type Sample = { readonly name: string; readonly packet: Uint8Array } & Envelope;

export const HERE = bytes("0a000001");
export const THERE = bytes("0a000002");

export function bytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

function protectionOf({ confidential, quick_proof }: VectorKeys): string {
  if (quick_proof !== null) return "unauthenticated";
  return confidential ? "confidential" : "integrity";
}

function algorithmOf({ algorithm }: VectorKeys): string {
  const found = Object.entries(SHIM_ALGORITHM).find(([, number]) => number === algorithm);
  return found?.[0] ?? "";
}

/** Those with a payload; the last of all is a keep-alive. */
export const DATA_VECTORS = data.vectors.flatMap((vector) => {
  const { payload, protocol, fragment, identification, lane, counter } = vector;
  if (payload === undefined || protocol === undefined || fragment === undefined) return [];
  if (identification === undefined || lane === undefined || counter === undefined) return [];
  const terms = { algorithm: algorithmOf(vector.keys), protection: protectionOf(vector.keys) };
  const header = { protocol, fragment, identification, lane, counter };
  return [{ ...vector, ...header, ...terms, payload }];
});

export const DATA_SAMPLES: readonly Sample[] = DATA_VECTORS.map((vector) => ({
  name: `DATA ${vector.algorithm} ${vector.protection}`,
  packet: bytes(vector.packet),
  source: bytes(vector.source),
  destination: bytes(vector.destination),
  identification: vector.identification,
}));

const ENDS = { source: HERE, destination: THERE };
export const KEEP_ALIVE: Sample = {
  name: "keep-alive",
  packet: bytes(data.vectors.at(-1)?.packet ?? ""),
  ...ENDS,
};

export const REJECT_SAMPLES: readonly Sample[] = reject.vectors.flatMap((vector, i) => {
  if (vector.outer_source === undefined || vector.outer_destination === undefined) return [];
  const ends = {
    source: bytes(vector.outer_source),
    destination: bytes(vector.outer_destination),
  };
  return [{ name: `REJECT ${i}`, packet: bytes(vector.packet), ...ends }];
});

export const HINT: Sample = {
  name: "hint",
  packet: bytes(reject.vectors.at(-1)?.packet ?? ""),
  ...ENDS,
};

const [first] = handshake.vectors;
const [rsa] = rsa256.vectors;
const [reply] = cookie.vectors;

export const HANDSHAKE_SAMPLES: readonly Sample[] = [
  { name: "Initiation", packet: bytes(first?.initiation ?? ""), ...ENDS },
  { name: "Response", packet: bytes(first?.response ?? ""), ...ENDS },
  { name: "Cookie reply", packet: bytes(reply?.reply ?? ""), ...ENDS },
  { name: "Initiation (rsa256)", packet: bytes(rsa?.initiation ?? ""), ...ENDS },
  { name: "Response (rsa256)", packet: bytes(rsa?.response ?? ""), ...ENDS },
];

export const SAMPLES = [...DATA_SAMPLES, KEEP_ALIVE, ...REJECT_SAMPLES, HINT, ...HANDSHAKE_SAMPLES];

export function framesOf(samples: readonly Sample[], carrier: "ip" | "udp" = "ip"): Uint8Array[] {
  return samples.map((sample) => frameOf(sample.packet, { ...sample, carrier }));
}

/** Lines that a reader must pass over are in it as well. */
export function keyLog(): string {
  const lines = DATA_VECTORS.map(({ keys, algorithm, protection, receiver_index }) => {
    const proof = keys.quick_proof === null ? "" : `,${keys.quick_proof}`;
    const index = receiver_index.toString(16).padStart(8, "0");
    const direction = `in=${index},${algorithm},${protection},${keys.key}${proof}`;
    return `ABS_SESSION_1 1795712987.629 ${direction} under=a/1,b/2 peer=db app=app%201 new=field`;
  });
  const others = [
    "",
    "# a comment",
    "ABS_SESSION_2 0 in=89abcdef,aes-128-gcm,integrity,00",
    "ABS_SESSION_1 0 in=89abcdef,rot13,integrity,00112233445566778899aabbccddeeff",
    "ABS_SESSION_1 0 in=89abcdef,aes-256-gcm,integrity,00112233445566778899aabbccddeeff",
    "ABS_SESSION_1 0 in=89abcdef,aes-128-gcm,integrity,0011223344556677889",
    "ABS_SESSION_1 0 in=%,%d,%s,%% out=(.-)",
    `ABS_SESSION_1 0 in=${"f".repeat(4000)}`,
  ];
  return [...others, ...lines, ...lines].map((line) => `${line}\n`).join("");
}
