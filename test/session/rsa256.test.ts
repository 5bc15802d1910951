/**
 * Contracts of `rsa256`, the algorithm of Fig. 6: handshakes of types 4 and 5 between two agents,
 * mixed with other contracts, and forged. docs/wire.md "rsa256".
 */
import { expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { mac1KeyOf, writeMacs } from "../../src/session/mac.ts";
import { RsaKeyPair } from "../../src/session/rsa-wrap.ts";
import { RSA_INITIATION } from "../../src/wire/handshake-message.ts";
import { seed } from "../prng.ts";
import { forgeInitiation, hand, KEYS_B, machineOf, useOf } from "./forging.ts";
import { APP1, contractOf, PEER, pairOf, rsaContract, SECOND_SC_ID } from "./setup.ts";

const RSA = RsaKeyPair.generate();
const RSA_CONTRACT = rsaContract(RSA);
const AES_CONTRACT = contractOf({ "sc-id": SECOND_SC_ID });

test("both sides name an rsa256 contract: types 4 and 5, and packets under AES-256-GCM", () => {
  const { network, a, b } = pairOf(seed, { contracts: [RSA_CONTRACT] });
  a.send(PEER, APP1, 0, 1);
  network.run(0.2);
  b.send(PEER, APP1, 1, 2);
  network.run(0.2);
  expect([b.delivered, a.delivered]).toEqual([[1], [2]]);
  const sizes = network.handshakes.map(({ message }) => message.length);
  expect(sizes).toEqual([493, 64, 493, 445]);
  expect(network.handshakes.map(({ message }) => message[1])).toEqual([4, 3, 4, 5]);
  const [install] = a.outputsOf("install");
  expect([install?.out.algorithm, install?.in.algorithm]).toEqual([2, 2]);
});

test("each side chooses its own: the four pairs of kinds all come about", () => {
  const kinds = new Set<string>();
  for (let i = 0; i < 60 && kinds.size < 4; i++) {
    const pair = pairOf(seed + i, { contracts: [RSA_CONTRACT, AES_CONTRACT] });
    pair.a.send(PEER, APP1, 0, 1);
    pair.network.run(0.2);
    expect(pair.b.delivered).toEqual([1]);
    const types = pair.network.handshakes.map(({ message }) => message[1] ?? 0);
    kinds.add(
      types
        .filter((type) => type !== 3)
        .slice(-2)
        .join(),
    );
  }
  expect([...kinds].sort()).toEqual(["1,2", "1,5", "4,2", "4,5"]);
});

/** Why B, which holds `contract`, refuses an initiation that names RSA_CONTRACT. */
function refusalsOf(change: (message: Uint8Array) => Uint8Array, contract = RSA_CONTRACT) {
  const b = machineOf("b", { contracts: [contract] });
  hand(b, change(forgeInitiation({ plan: { use: useOf(RSA_CONTRACT) } })));
  return [...b.refusals].filter(([, count]) => count > 0);
}

function withMac(message: Uint8Array): Uint8Array {
  writeMacs(RSA_INITIATION, message, {
    mac1Key: mac1KeyOf(KEYS_B.publicKey),
    cookie: undefined,
  });
  return message;
}

test("unaltered, it is asked for a cookie, as every first one", () => {
  expect(refusalsOf((message) => message)).toEqual([["cookie-required", 1]]);
});

const forgeries = {
  "a bit of what is wrapped": (message: Uint8Array) => {
    message[RSA_INITIATION.noiseEnd + 7] = (message[RSA_INITIATION.noiseEnd + 7] ?? 0) ^ 1;
    return withMac(message);
  },
  "something else wrapped": (message: Uint8Array) => {
    message.set(RSA.wrap(new Uint8Array(32)), RSA_INITIATION.noiseEnd);
    return withMac(message);
  },
};
test.each(Object.entries(forgeries))("%s altered: forged, before RSA is used", (_, change) => {
  expect(refusalsOf(change)).toEqual([["forged", 1]]);
});

test("a receiver with another key pair takes nothing", () => {
  const other = rsaContract(RsaKeyPair.generate());
  expect(refusalsOf((message) => message, other)).toEqual([["forged", 1]]);
});

test("the kinds are not taken for one another", () => {
  const plain = contractOf();
  expect(refusalsOf((message) => message, plain)).toEqual([["forged", 1]]);
});

test("a key that is not RSA of 2,048 bits is refused without being shown", () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const short = privateKey.export({ format: "der", type: "pkcs8" });
  for (const der of [new Uint8Array(0), RSA.der.subarray(1), new Uint8Array(short)]) {
    expect(() => RsaKeyPair.fromDer(der)).toThrow("cannot be used");
  }
  expect(RsaKeyPair.fromDer(RSA.der).unwrap(RSA.wrap(new Uint8Array(32).fill(9)))).toEqual(
    new Uint8Array(32).fill(9),
  );
  expect(RSA.unwrap(new Uint8Array(256))).toBeUndefined();
  expect(RSA.unwrap(new Uint8Array(1))).toBeUndefined();
});
