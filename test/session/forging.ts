/**
 * Messages as an attacker, or a compromised agent of the tenant, would make them: every field can
 * be set, and the macs are right unless asked otherwise. Used by the refusal table and the fuzzer.
 */

import { ascii, concat } from "../../src/bytes.ts";
import type { Contract, ContractUse } from "../../src/session/contract.ts";
import { openCookie } from "../../src/session/cookies.ts";
import {
  type HandshakePlan,
  type Identity,
  readInitiation,
  suiteOf,
  type WrittenHandshake,
  writeInitiation,
  writeResponse,
} from "../../src/session/key-agreement.ts";
import { mac1KeyOf, writeMacs } from "../../src/session/mac.ts";
import { HandshakeState, IK_PSK0_PSK2 } from "../../src/session/noise.ts";
import type { SessionsConfig, SessionsOutput } from "../../src/session/session-api.ts";
import { Sessions } from "../../src/session/sessions.ts";
import { stampOf } from "../../src/session/stamps.ts";
import { KeyPair } from "../../src/session/x25519.ts";
import type { Micros, Role, WallMillis } from "../../src/units.ts";
import { decodeCookieReply } from "../../src/wire/cookie-reply.ts";
import {
  decodeHandshake,
  encodeHandshake,
  encodeHandshakeClear,
  encodeHandshakePayload,
  INITIATION,
} from "../../src/wire/handshake-message.ts";
import { Prng } from "../prng.ts";
import { configOf, contractOf, SECRET_A, SECRET_B, TAGS, TENANT_A } from "./setup.ts";
import { START_WALL } from "./simulated-network.ts";

export const ADDRESS_A = new Uint8Array([10, 0, 0, 1]);
export const KEYS_A = new KeyPair(SECRET_A);
export const KEYS_B = new KeyPair(SECRET_B);

export function useOf(contract: Contract): ContractUse {
  const [generation] = contract.secrets;
  if (generation === undefined) throw new Error("the contract has a secret");
  return { contract, generation };
}

export type Forgery = {
  readonly keys?: KeyPair;
  readonly tenantTag?: Uint8Array;
  readonly plan?: Partial<HandshakePlan>;
  readonly receiver?: Uint8Array;
  readonly mac1Receiver?: Uint8Array;
  readonly cookie?: Uint8Array | undefined;
};

let stampWall = START_WALL;

function planOf(changes: Partial<HandshakePlan>): HandshakePlan {
  stampWall += 1;
  return {
    receiverIndex: 0,
    senderIndex: 0x01234567,
    use: useOf(contractOf()),
    role: 0,
    first: false,
    applicationTag: TAGS[1]?.bytes ?? new Uint8Array(16),
    stamp: stampOf(stampWall as WallMillis),
    ephemeralSecret: new Uint8Array(32).fill(0xe1),
    wrappedSecret: new Uint8Array(32).fill(0xf1),
    ...changes,
  };
}

/** An initiation from A to B, with whatever is to be wrong about it. */
export function forgeInitiation(forgery: Forgery = {}): Uint8Array {
  const identity: Identity = {
    keys: forgery.keys ?? KEYS_A,
    tenantTag: forgery.tenantTag ?? TENANT_A,
  };
  const receiver = forgery.receiver ?? KEYS_B.publicKey;
  const written = writeInitiation(identity, receiver, planOf(forgery.plan ?? {}));
  if (written === undefined) throw new Error("the receiver's key is a point of low order");
  writeMacs(written.form, written.message, {
    mac1Key: mac1KeyOf(forgery.mac1Receiver ?? receiver),
    cookie: forgery.cookie,
  });
  return written.message;
}

/** An initiation from A to B that is right but for its session token. */
export function forgeToken(token: Uint8Array, cookie: Uint8Array): Uint8Array {
  const plan = planOf({});
  const { contract, generation } = plan.use;
  const { receiverIndex, senderIndex, role, first, applicationTag, stamp } = plan;
  const clear = {
    receiverIndex,
    senderIndex,
    scId: contract.scIdBytes,
    generation: generation.generation,
  };
  const prologue = concat(ascii("abs 1"), TENANT_A, encodeHandshakeClear(INITIATION, clear));
  const noise = new HandshakeState({
    pattern: IK_PSK0_PSK2,
    suite: suiteOf(contract),
    initiator: true,
    prologue,
    localStatic: KEYS_A,
    remoteStatic: KEYS_B.publicKey,
  });
  noise.addPsk(generation.secret);
  const payload = { role, first, tenantTag: TENANT_A, applicationTag, stamp, token };
  const written = noise.write(encodeHandshakePayload(payload), plan.ephemeralSecret);
  if (written === undefined) throw new Error("B's key is a point of low order");
  const none = new Uint8Array(16);
  const sealed = { ...clear, noise: written, wrapped: new Uint8Array(0), mac1: none, mac2: none };
  const message = encodeHandshake(INITIATION, sealed);
  writeMacs(INITIATION, message, { mac1Key: mac1KeyOf(KEYS_B.publicKey), cookie });
  return message;
}

/** B's response to an initiation of A, made outside B's machine. */
export function forgeResponse(
  initiation: Uint8Array,
  forgery: Forgery = {},
  use = useOf(contractOf()),
): Uint8Array {
  const identity: Identity = { keys: KEYS_B, tenantTag: TENANT_A };
  const message = decodeHandshake(INITIATION, initiation);
  if (typeof message === "string") throw new Error(`not an initiation: ${message}`);
  const read = readInitiation(identity, message, use);
  if (typeof read === "string") throw new Error(`the initiation does not open: ${read}`);
  const answering = { keys: KEYS_B, tenantTag: forgery.tenantTag ?? TENANT_A };
  const plan = { receiverIndex: message.senderIndex, role: 1 as Role, ...forgery.plan };
  const written: WrittenHandshake | undefined = writeResponse(answering, read.noise, planOf(plan));
  if (written === undefined) throw new Error("the initiator's key is a point of low order");
  writeMacs(written.form, written.message, {
    mac1Key: mac1KeyOf(forgery.mac1Receiver ?? KEYS_A.publicKey),
    cookie: undefined,
  });
  return written.message;
}

/** One agent alone, at START_WALL, with the machine's outputs in hand. */
export function machineOf(
  name: "a" | "b",
  changes: Partial<SessionsConfig> = {},
  seed = 1,
): Sessions {
  const prng = new Prng(seed);
  const secrets: [Uint8Array, Uint8Array] =
    name === "a" ? [SECRET_A, SECRET_B] : [SECRET_B, SECRET_A];
  const sessions = new Sessions({
    ...configOf(...secrets, [contractOf()]),
    random: (size) => Uint8Array.from({ length: size }, () => prng.below(256)),
    ...changes,
  });
  sessions.step({ type: "time", now: 1_000_000 as Micros, wall: START_WALL as WallMillis });
  return sessions;
}

export type Handing = { readonly underLoad?: boolean; readonly mac1Checked?: boolean };

export function hand(
  sessions: Sessions,
  message: Uint8Array,
  options: Handing = {},
): SessionsOutput[] {
  return sessions.step({
    type: "handshake",
    message,
    sourceAddress: ADDRESS_A,
    underLoad: options.underLoad ?? false,
    ...(options.mac1Checked === undefined ? {} : { mac1Checked: options.mac1Checked }),
  });
}

/** The messages among the outputs. */
export function sentBy(outputs: readonly SessionsOutput[]): Uint8Array[] {
  return outputs.flatMap((output) => (output.type === "send" ? [output.message] : []));
}

/** The cookie that B gives A. */
export function cookieFrom(b: Sessions): Uint8Array {
  const cookie = askCookie(b);
  if (cookie === undefined) throw new Error("B gave no cookie");
  return cookie;
}

/** As `cookieFrom`; undefined while B's cookie replies are at their rate limit. */
export function askCookie(b: Sessions): Uint8Array | undefined {
  const initiation = forgeInitiation();
  const [reply] = sentBy(hand(b, initiation, { underLoad: true }));
  if (reply === undefined) return undefined;
  const decoded = decodeCookieReply(reply);
  if (typeof decoded === "string") throw new Error(`not a cookie reply: ${decoded}`);
  const mac1 = initiation.subarray(INITIATION.mac1, INITIATION.mac2);
  const cookie = openCookie(decoded, KEYS_B.publicKey, mac1);
  if (cookie === undefined) throw new Error("the cookie does not open");
  return cookie;
}
