/**
 * What the decoder fuzzer feeds: the decoders of src/wire, and whole session machines in several
 * states, with messages that are right but for what was made wrong on purpose, and then altered.
 * `seedCorpus` gives one valid message of each format.
 */
import type { ContractUse } from "../../src/session/contract.ts";
import {
  keepAlivePacket,
  openPacket,
  openReject,
  rejectPacket,
} from "../../src/session/data-proof.ts";
import { RsaKeyPair } from "../../src/session/rsa-wrap.ts";
import type { SessionsConfig } from "../../src/session/session-api.ts";
import type { Sessions } from "../../src/session/sessions.ts";
import { stampOf } from "../../src/session/stamps.ts";
import { KeyPair } from "../../src/session/x25519.ts";
import type { Role, TagIndex, WallMillis } from "../../src/units.ts";
import { decodeCookieReply, encodeCookieReply } from "../../src/wire/cookie-reply.ts";
import {
  decodeHandshake,
  decodeHandshakePayload,
  encodeHandshakePayload,
  INITIATION,
  RESPONSE,
  RSA_INITIATION,
  RSA_RESPONSE,
} from "../../src/wire/handshake-message.ts";
import { readCommonHeader } from "../../src/wire/header.ts";
import { decodeReject, encodeUnknownIndexHint } from "../../src/wire/reject-message.ts";
import {
  type Forgery,
  forgeInitiation,
  forgeResponse,
  forgeToken,
  KEYS_A,
  machineOf,
  useOf,
} from "../session/forging.ts";
import {
  contractOf,
  rsaContract,
  SECOND_SC_ID,
  secretOf,
  TAGS,
  TENANT_A,
  TENANT_B,
} from "../session/setup.ts";
import { START_WALL } from "../session/simulated-network.ts";
import type { Prng } from "./prng.ts";

const APP1 = 1 as TagIndex;
const ROUTE = { source: new Uint8Array([10, 0, 0, 1]), destination: new Uint8Array([10, 0, 0, 2]) };
const DIRECTION = {
  algorithm: 1 as const,
  key: new Uint8Array(16).fill(7),
  confidential: false,
  quickProof: undefined,
};
const CONTEXT = { addresses: new Uint8Array(12), originalLength: 20, identification: 0 };
const REJECT = {
  receiverIndex: 0x1001,
  counter: 3,
  reason: 2,
  protocol: 6,
  sourcePort: 1024,
  destinationPort: 80,
};

/** One valid message of each format, by name. */
export function seedCorpus(): Readonly<Record<string, Uint8Array>> {
  const initiation = forgeInitiation();
  const rsa = rsaContract(RsaKeyPair.generate());
  const [v4, v6] = [new Uint8Array(4).fill(10), new Uint8Array(16).fill(10)];
  const token = new Uint8Array(32);
  const [applicationTag, stamp] = [new Uint8Array(16), new Uint8Array(12)];
  return {
    initiation,
    response: forgeResponse(initiation),
    payload: encodeHandshakePayload({
      role: 1,
      first: true,
      tenantTag: TENANT_A,
      applicationTag,
      stamp,
      token,
    }),
    cookie: encodeCookieReply({
      receiverIndex: 0x2002,
      nonce: new Uint8Array(24),
      sealed: new Uint8Array(32),
    }),
    rejectV4: rejectPacket(DIRECTION, { ...REJECT, source: v4, destination: v4 }, ROUTE),
    rejectV6: rejectPacket(DIRECTION, { ...REJECT, source: v6, destination: v6 }, ROUTE),
    hint: encodeUnknownIndexHint({ kind: "hint", unknownIndex: 5, proof: new Uint8Array(16) }),
    keepAlive: keepAlivePacket(DIRECTION, 0x1001, 4, ROUTE),
    rsaInitiation: forgeInitiation({ plan: { use: useOf(rsa) } }),
    rsaResponse: forgeResponse(initiation, { plan: { use: useOf(rsa) } }),
  };
}

/** Decoders by name: each returns a value, a fault (a string), or undefined. */
export const decoders: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  header: readCommonHeader,
  initiation: (bytes) => decodeHandshake(INITIATION, bytes),
  response: (bytes) => decodeHandshake(RESPONSE, bytes),
  payload: decodeHandshakePayload,
  cookie: decodeCookieReply,
  reject: decodeReject,
  sealedReject: (bytes) => openReject(DIRECTION, bytes, ROUTE) ?? "proof",
  data: (bytes) => openPacket(DIRECTION, bytes, CONTEXT) ?? "proof",
  rsaInitiation: (bytes) => decodeHandshake(RSA_INITIATION, bytes),
  rsaResponse: (bytes) => decodeHandshake(RSA_RESPONSE, bytes),
};

/** Responders in different states: each can refuse for reasons that the others cannot. */
export function responders(): readonly Sessions[] {
  const second = contractOf({ "sc-id": SECOND_SC_ID, active: "false" });
  const contracts = [contractOf({}, [secretOf(1)]), second];
  const peer = { id: "a", staticPublic: KEYS_A.publicKey, entitledTags: [APP1] };
  const variants: readonly Partial<SessionsConfig>[] = [
    { contracts },
    { contracts, hasAllowedFlow: () => true },
    { contracts, limits: { sessions: 1 } },
    { contracts, peers: [{ ...peer, announced: new Map() }] },
    { contracts, contractRule: () => ({ protection: "confidential" }) },
  ];
  return variants.map((changes, i) => machineOf("b", changes, i + 1));
}

export function initiators(): readonly Sessions[] {
  const contracts = [
    contractOf(),
    contractOf({ "sc-id": SECOND_SC_ID, protection: "confidential" }),
  ];
  const contractRule = () => ({ protection: "integrity" as const });
  return [machineOf("a", {}, 11), machineOf("a", { contracts, contractRule }, 12)];
}

const stranger = new KeyPair(new Uint8Array(32).fill(0x55));
const UNKNOWN_SC_ID = "c156fe4c-27af-4692-b205-58ad201c5cf9";

function pick<T>(prng: Prng, first: T, ...others: readonly T[]): T {
  // Half of the time what is right, so that one wrong thing at a time is common.
  if (prng.below(100) < 70) return first;
  return others[prng.below(others.length)] ?? first;
}

function anyUse(prng: Prng): ContractUse {
  return pick(
    prng,
    useOf(contractOf()),
    useOf(contractOf({ "sc-id": SECOND_SC_ID })),
    useOf(contractOf({ "sc-id": UNKNOWN_SC_ID })),
    useOf(contractOf({}, [secretOf(1, 2)])),
    useOf(contractOf({}, [secretOf(9)])),
    useOf(contractOf({ hash_algo: "blake2s" })),
  );
}

/** What a compromised agent of the tenant, or a stranger with some of its secrets, would send. */
export function anyForgery(prng: Prng, cookie: Uint8Array | undefined, wall: number): Forgery {
  return {
    keys: pick(prng, KEYS_A, stranger),
    tenantTag: pick(prng, TENANT_A, TENANT_B),
    cookie: pick(prng, cookie, undefined, new Uint8Array(16).fill(3)),
    plan: {
      use: anyUse(prng),
      role: pick<number>(prng, 0, 1, 2, 0x40) as Role,
      first: prng.below(4) === 0,
      applicationTag: pick(
        prng,
        TAGS[1]?.bytes ?? TENANT_A,
        TAGS[2]?.bytes ?? TENANT_A,
        TAGS[0]?.bytes ?? TENANT_A,
        new Uint8Array(16).fill(7),
      ),
      stamp: stampOf(pick(prng, wall, START_WALL - 1000) as WallMillis),
      senderIndex: pick(prng, 0x01234567, 1, 0xffffffff),
      ephemeralSecret: new Uint8Array(32).fill(1 + prng.below(200)),
    },
  };
}

export function anyInitiation(
  prng: Prng,
  cookie: Uint8Array | undefined,
  wall: number,
): Uint8Array {
  if (prng.below(20) === 0 && cookie !== undefined) {
    return forgeToken(new Uint8Array(32).fill(prng.below(256)), cookie);
  }
  return forgeInitiation(anyForgery(prng, cookie, wall));
}

/** An answer to an initiation of A, by somebody who may hold B's key and its contracts. */
export function anyResponse(prng: Prng, initiation: Uint8Array, wall: number): Uint8Array {
  const { plan, tenantTag } = anyForgery(prng, undefined, wall);
  const changes = { ...plan, role: pick<number>(prng, 1, 0, 3) as Role };
  return forgeResponse(initiation, { tenantTag: tenantTag ?? TENANT_A, plan: changes });
}
