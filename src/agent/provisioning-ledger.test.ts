/** The provisioning file with a ledger: what it may hold then, and what is refused. */
import { expect, test } from "bun:test";
import { AbsError } from "../errors.ts";
import { generateContractSecret, generateKeyPair, generateTag } from "./keys.ts";
import { parseProvisioning } from "./provisioning.ts";

const SC = generateContractSecret();
const OTHER = generateContractSecret();
const PEER = { id: "db", addresses: ["10.0.0.12"], staticKey: generateKeyPair().publicKey };

function read(change: Record<string, unknown>) {
  const file = {
    version: 1,
    node: { id: "web", staticKey: generateKeyPair().secretKey },
    tenant: { name: "t", tag: generateTag() },
    peers: [PEER],
    ledger: { directory: "ledger/web" },
    contracts: [{ "sc-id": SC.scId, secret: SC.secret }],
    policy: { version: 1, rules: [] },
    ...change,
  };
  return parseProvisioning(JSON.stringify(file), "/etc/abs/web.yaml");
}

test("defaults", () => {
  const { ledger, contracts } = read({});
  expect(contracts).toEqual([]);
  expect(ledger).toMatchObject({
    ...{ directory: "/etc/abs/ledger/web", listen: undefined, overlapSeconds: 86_400 },
    contracts: [{ scId: SC.scId, secrets: [{ generation: 1 }] }],
  });
});

test("all keys; generations ascend", () => {
  const { ledger } = read({
    ledger: { directory: "/var/l", listen: "[fd00::1]:7000", overlap: 60 },
    contracts: [
      {
        id: SC.scId.toUpperCase(),
        secrets: [
          { generation: 5, secret: SC.secret },
          { generation: 2, secret: OTHER.secret },
        ],
      },
    ],
  });
  expect(ledger).toMatchObject({
    ...{ directory: "/var/l", listen: { host: "fd00::1", port: 7000 }, overlapSeconds: 60 },
    contracts: [{ scId: SC.scId, secrets: [{ generation: 2 }, { generation: 5 }] }],
  });
});

const rule = (contract: object) => ({
  policy: { version: 1, rules: [{ id: "r", direction: "out", action: "allow", contract }] },
});
const refused: readonly (readonly [string, Record<string, unknown>, string])[] = [
  ["no directory", { ledger: {} }, "directory"],
  ["an unknown key", { ledger: { directory: "d", port: 1 } }, "port"],
  ["a name to listen at", { ledger: { directory: "d", listen: "web:1" } }, "ADDRESS:PORT"],
  ["no port", { ledger: { directory: "d", listen: "10.0.0.1" } }, "ADDRESS:PORT"],
  ["port 0", { ledger: { directory: "d", listen: "10.0.0.1:0" } }, "ADDRESS:PORT"],
  ["too large a port", { ledger: { directory: "d", listen: "10.0.0.1:65536" } }, "ADDRESS:PORT"],
  ["too short an overlap", { ledger: { directory: "d", overlap: 29 } }, "overlap"],
  ["terms", { contracts: [{ id: SC.scId, secret: SC.secret, active: true }] }, "active"],
  ["no secret", { contracts: [{ id: SC.scId }] }, "secret"],
  ["no UUID", { contracts: [{ id: "a", secret: SC.secret }] }, "UUID"],
  [
    "one twice",
    {
      contracts: [
        { id: SC.scId, secret: SC.secret },
        { id: SC.scId, secret: SC.secret },
      ],
    },
    "twice",
  ],
  ["peers without a contract", { contracts: [] }, "no contract"],
  ["a rule's contract that is not here", rule({ scId: OTHER.scId }), "rule"],
];
test.each(refused)("refused: %s", (_, change, words) => {
  let thrown: unknown;
  try {
    read(change);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(AbsError);
  expect((thrown as AbsError).code).toBe("PROVISIONING_INVALID");
  expect((thrown as AbsError).message).toContain(words);
  expect((thrown as AbsError).message).not.toContain(SC.secret);
});

test("a rule may ask for protection, which only the ledger knows", () => {
  expect(read(rule({ protection: "confidential" })).policy.rules.length).toBe(1);
});
