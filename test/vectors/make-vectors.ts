/**
 * The test vectors published beside docs/wire.md, from fixed keys. Run to write them anew:
 *     bun test/vectors/make-vectors.ts
 * vectors.test.ts recomputes them, so a change of the wire shows as a change of these files.
 */
import { readFileSync } from "node:fs";
import { ascii, fromHex, toHex } from "../../src/bytes.ts";
import {
  type Contract,
  type ContractUse,
  type GenerationSecret,
  parseContract,
} from "../../src/session/contract.ts";
import { CookieIssuer } from "../../src/session/cookies.ts";
import { type DirectionKeys, SHIM_ALGORITHM } from "../../src/session/data-keys.ts";
import {
  contextOf,
  keepAlivePacket,
  rejectPacket,
  sealPacket,
} from "../../src/session/data-proof.ts";
import {
  type HandshakePlan,
  readInitiation,
  readResponse,
  sessionKeys,
  writeInitiation,
  writeResponse,
} from "../../src/session/key-agreement.ts";
import { mac1KeyOf, writeMacs } from "../../src/session/mac.ts";
import { RsaKeyPair } from "../../src/session/rsa-wrap.ts";
import { KeyPair } from "../../src/session/x25519.ts";
import type { Micros } from "../../src/units.ts";
import { dataHeaderToProve } from "../../src/wire/data-frame.ts";
import { decodeHandshake, type HandshakeForm } from "../../src/wire/handshake-message.ts";
import { encodeUnknownIndexHint } from "../../src/wire/reject-message.ts";

type JsonObject = { readonly [name: string]: Json };
type Json = string | number | boolean | null | readonly Json[] | JsonObject;

/** Bytes that count up from `first`. */
function counting(first: number, sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => (first + i) & 0xff);
}

const INITIATOR = new KeyPair(counting(0x01, 32));
const RESPONDER = new KeyPair(counting(0x41, 32));
const TENANT_TAG = ascii("tenant of vector");
const APPLICATION_TAG = ascii("app of the vector");
const INITIATOR_STAMP = counting(0x40, 12);
const RESPONDER_STAMP = counting(0x60, 12);

const SC_1 = "a156fe4c-27af-4692-b205-58ad201c5cf9";
const SC_2 = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

function contractOf(
  scId: string,
  suite: readonly [string, string, string],
  secret: GenerationSecret,
): Contract {
  const [algorithm, hash, protection] = suite;
  return parseContract(
    {
      "sc-id": scId,
      encryption_algo: algorithm,
      hash_algo: hash,
      protection,
      quickmode: false,
      active: true,
      "sc-lifetime": 2_000_000_000,
      lifetime: { keyregen: 1_900_000_000, busytime: 600, idletime: 180 },
    },
    [secret],
  );
}

function useOf(scId: string, suite: readonly [string, string, string], first: number): ContractUse {
  const generation = { generation: first, secret: counting(first, 32) };
  return { contract: contractOf(scId, suite, generation), generation };
}

function keysJson(keys: DirectionKeys): Json {
  return {
    algorithm: keys.algorithm,
    key: toHex(keys.key),
    confidential: keys.confidential,
    quick_proof: keys.quickProof === undefined ? null : toHex(keys.quickProof),
  };
}

function useJson({ contract, generation }: ContractUse): Json {
  return {
    sc_id: contract.scId,
    encryption_algo: contract.algorithm,
    hash_algo: contract.hash,
    protection: contract.protection,
    generation: generation.generation,
    secret: toHex(generation.secret),
  };
}

function decoded(form: HandshakeForm, bytes: Uint8Array) {
  const message = decodeHandshake(form, bytes);
  if (typeof message === "string") throw new Error(`vector does not decode: ${message}`);
  return message;
}

function planOf(changes: Partial<HandshakePlan> & Pick<HandshakePlan, "use">): HandshakePlan {
  return {
    receiverIndex: 0,
    senderIndex: 0x01234567,
    role: 0,
    first: true,
    applicationTag: APPLICATION_TAG.subarray(0, 16),
    stamp: INITIATOR_STAMP,
    ephemeralSecret: counting(0x81, 32),
    wrappedSecret: new Uint8Array(32),
    ...changes,
  };
}

type Wrapped = readonly [Partial<HandshakePlan>, Partial<HandshakePlan>];
const PLAIN: Wrapped = [{}, {}];

function handshake(sc1: ContractUse, sc2: ContractUse, wrapped: Wrapped = PLAIN): JsonObject {
  const initiator = { keys: INITIATOR, tenantTag: TENANT_TAG };
  const responder = { keys: RESPONDER, tenantTag: TENANT_TAG };
  const sent = writeInitiation(initiator, RESPONDER.publicKey, planOf({ use: sc1, ...wrapped[0] }));
  if (sent === undefined) throw new Error("vector: initiation");
  writeMacs(sent.form, sent.message, {
    mac1Key: mac1KeyOf(RESPONDER.publicKey),
    cookie: counting(0x70, 16),
  });
  const read = readInitiation(responder, decoded(sent.form, sent.message), sc1);
  if (typeof read === "string") throw new Error("vector: initiation does not open");
  const answer = writeResponse(
    responder,
    read.noise,
    planOf({
      use: sc2,
      receiverIndex: 0x01234567,
      senderIndex: 0x89abcdef,
      role: 1,
      first: false,
      stamp: RESPONDER_STAMP,
      ephemeralSecret: counting(0xc1, 32),
      ...wrapped[1],
    }),
  );
  if (answer === undefined) throw new Error("vector: response");
  const mac1Key = mac1KeyOf(INITIATOR.publicKey);
  writeMacs(answer.form, answer.message, { mac1Key, cookie: undefined });
  const opened = readResponse(sent.noise, decoded(answer.form, answer.message), sc2);
  if (typeof opened === "string") throw new Error("vector: response does not open");
  const keys = sessionKeys(
    opened.noise,
    { use: sc1, token: sent.token },
    { use: sc2, token: answer.token },
  );
  return {
    initiator_static_secret: toHex(counting(0x01, 32)),
    initiator_ephemeral_secret: toHex(counting(0x81, 32)),
    responder_static_secret: toHex(counting(0x41, 32)),
    responder_ephemeral_secret: toHex(counting(0xc1, 32)),
    sc_1: useJson(sc1),
    sc_2: useJson(sc2),
    tenant_tag: toHex(TENANT_TAG),
    application_tag: toHex(APPLICATION_TAG.subarray(0, 16)),
    initiator_stamp: toHex(INITIATOR_STAMP),
    responder_stamp: toHex(RESPONDER_STAMP),
    cookie: toHex(counting(0x70, 16)),
    initiation: toHex(sent.message),
    initiator_token: toHex(sent.token),
    response: toHex(answer.message),
    responder_token: toHex(answer.token),
    handshake_hash: toHex(opened.noise.handshakeHash),
    initiator_split_key: toHex(opened.noise.split().initiator),
    responder_split_key: toHex(opened.noise.split().responder),
    initiator_keys: keysJson(keys.initiator),
    responder_keys: keysJson(keys.responder),
  };
}

function handshakes(): Json {
  const suites = [
    [
      ["aes-128-gcm", "sha256", "integrity"],
      ["aes-128-gcm", "sha256", "integrity"],
    ],
    [
      ["aes-256-gcm", "sha512", "confidential"],
      ["chacha20-poly1305", "blake2s", "integrity"],
    ],
    [
      ["chacha20-poly1305", "blake2b", "integrity"],
      ["aes-128-gcm", "sha256", "confidential"],
    ],
    [
      ["chacha20-poly1305", "blake2s", "integrity"],
      ["aes-256-gcm", "sha512", "integrity"],
    ],
  ] as const;
  return suites.map(([first, second]) => handshake(useOf(SC_1, first, 3), useOf(SC_2, second, 7)));
}

/**
 * RSA-OAEP is randomised: the key pair and what it made of the two secrets stand in the published
 * file, and all else follows from them.
 */
function rsaHandshake(): Json {
  const path = `${import.meta.dir}/rsa256.json`;
  const [published] = JSON.parse(readFileSync(path, "utf8")).vectors as Record<string, string>[];
  const given = (name: string) => fromHex(published?.[name] ?? "") ?? new Uint8Array(0);
  const rsa = RsaKeyPair.fromDer(given("rsa_private_key"));
  const secrets = [counting(0x11, 32), counting(0x31, 32)] as const;
  const useWith = (scId: string, number: number, wrapped: Uint8Array): ContractUse => {
    const { contract, generation } = useOf(scId, ["aes-256-gcm", "sha256", "integrity"], number);
    const fixed: RsaKeyPair = Object.assign(Object.create(rsa), {
      wrap: () => wrapped,
      unwrap: (block: Uint8Array) => rsa.unwrap(block),
    });
    return {
      contract: { ...contract, algorithm: "rsa256" },
      generation: { ...generation, rsa: fixed },
    };
  };
  const [first, second] = [given("wrapped_by_initiator"), given("wrapped_by_responder")];
  return [
    {
      rsa_private_key: toHex(rsa.der),
      initiator_wrapped_secret: toHex(secrets[0]),
      wrapped_by_initiator: toHex(first),
      responder_wrapped_secret: toHex(secrets[1]),
      wrapped_by_responder: toHex(second),
      ...handshake(useWith(SC_1, 3, first), useWith(SC_2, 7, second), [
        { wrappedSecret: secrets[0] },
        { wrappedSecret: secrets[1] },
      ]),
    },
  ];
}

const ADDRESSES = {
  v4: { source: new Uint8Array([10, 0, 0, 1]), destination: new Uint8Array([10, 0, 0, 2]) },
  v6: { source: counting(0x20, 16), destination: counting(0x30, 16) },
};

function directionKeysOf(changes: Partial<DirectionKeys>): DirectionKeys {
  const algorithm = changes.algorithm ?? 1;
  const key = counting(0x50, algorithm === 1 ? 16 : 32);
  return { algorithm, key, confidential: false, quickProof: undefined, ...changes };
}

function dataPacket(keys: DirectionKeys, version: "v4" | "v6", payload: Uint8Array): Json {
  const route = ADDRESSES[version];
  const header = {
    protocol: 6,
    fragment: version === "v4" ? 0x4000 : 0,
    receiverIndex: 0x89abcdef,
    lane: 3,
    counter: 0x01_0203_0405,
  };
  const context = {
    ...contextOf(route, payload.length),
    identification: version === "v4" ? 0x1234 : 0,
  };
  const toProve = dataHeaderToProve({ ...header, ...context });
  return {
    keys: keysJson(keys),
    source: toHex(route.source),
    destination: toHex(route.destination),
    protocol: header.protocol,
    fragment: header.fragment,
    identification: context.identification,
    original_length: context.originalLength,
    receiver_index: header.receiverIndex,
    lane: header.lane,
    counter: header.counter,
    header_to_prove: toHex(toProve),
    payload: toHex(payload),
    packet: toHex(sealPacket(keys, toProve, payload)),
  };
}

function dataPackets(): Json {
  const rows: Json[] = [];
  for (const algorithm of Object.values(SHIM_ALGORITHM)) {
    for (const confidential of [false, true]) {
      const keys = directionKeysOf({ algorithm, confidential });
      rows.push(
        dataPacket(keys, "v4", counting(0x00, 40)),
        dataPacket(keys, "v6", counting(9, 33)),
      );
    }
  }
  const quick = directionKeysOf({ quickProof: counting(0xd0, 16) });
  rows.push(dataPacket(quick, "v4", counting(0x00, 40)));
  rows.push({
    keys: keysJson(directionKeysOf({})),
    source: toHex(ADDRESSES.v4.source),
    destination: toHex(ADDRESSES.v4.destination),
    keep_alive_counter: 5,
    receiver_index: 0x89abcdef,
    packet: toHex(keepAlivePacket(directionKeysOf({}), 0x89abcdef, 5, ADDRESSES.v4)),
  });
  return rows;
}

function cookies(): Json {
  const sizes = [...Array(8).keys()];
  const randoms = sizes.map((i) => counting(0x10 * i, 32));
  const issuer = new CookieIssuer(
    (sizeBytes) => (randoms.shift() ?? counting(0, 32)).subarray(0, sizeBytes),
    0 as Micros,
  );
  const question = (address: Uint8Array) => ({
    ...{ receiverIndex: 0x01234567, mac1: counting(0x90, 16), address },
  });
  return Object.values(ADDRESSES).map(({ source }) => ({
    issuer_static_public: toHex(RESPONDER.publicKey),
    secret: toHex(counting(0, 32)),
    source_address: toHex(source),
    mac1: toHex(counting(0x90, 16)),
    receiver_index: 0x01234567,
    reply: toHex(issuer.reply(RESPONDER.publicKey, question(source))),
  }));
}

function rejects(): Json {
  const sealed = (["v4", "v6"] as const).map((version): Json => {
    const { source, destination } = ADDRESSES[version];
    const keys = directionKeysOf({ confidential: version === "v6" });
    const reject = {
      receiverIndex: 0x89abcdef,
      counter: 9,
      reason: 3,
      protocol: 6,
      sourcePort: 40_000,
      destinationPort: 6379,
      source,
      destination,
    };
    const route = { source: destination, destination: source };
    return {
      keys: keysJson(keys),
      outer_source: toHex(route.source),
      outer_destination: toHex(route.destination),
      receiver_index: reject.receiverIndex,
      counter: reject.counter,
      reason: reject.reason,
      protocol: reject.protocol,
      source_port: reject.sourcePort,
      destination_port: reject.destinationPort,
      packet: toHex(rejectPacket(keys, reject, route)),
    };
  });
  const hint = { kind: "hint", unknownIndex: 0x89abcdef, proof: counting(0xa0, 16) } as const;
  const row = {
    unknown_index: hint.unknownIndex,
    proof: toHex(hint.proof),
    packet: toHex(encodeUnknownIndexHint(hint)),
  };
  return [...sealed, row];
}

/** File name and content of every published vector. */
export function makeVectors(): Readonly<Record<string, Json>> {
  return {
    "handshake.json": handshakes(),
    "data.json": dataPackets(),
    "cookie.json": cookies(),
    "reject.json": rejects(),
    "rsa256.json": rsaHandshake(),
  };
}

if (import.meta.main) {
  for (const [name, vectors] of Object.entries(makeVectors())) {
    const path = `${import.meta.dir}/${name}`;
    await Bun.write(path, `${JSON.stringify({ document: "docs/wire.md", vectors }, null, 2)}\n`);
  }
}
