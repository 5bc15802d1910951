/** Provisioning files that are read, and those refused: permissions, secrets, cross references. */
import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import { formatAddress } from "../wire/ip-text.ts";
import { generateContractSecret, generateKeyPair, generateTag } from "./keys.ts";
import { loadProvisioning, parseProvisioning, tagIndexOf } from "./provisioning.ts";

const WEB = generateKeyPair();
const DB = generateKeyPair();
const SC = generateContractSecret();
const SECRET = /[0-9a-f]{32}/;

type Fields = Record<string, unknown>;

const CONTRACT: Fields = {
  "sc-id": SC.scId,
  secret: SC.secret,
  encryption_algo: "aes-128-gcm",
  hash_algo: "sha256",
  active: "true",
  "sc-lifetime": 4_102_444_800,
  lifetime: { keyregen: "2098-01-01T00:00:00Z", busytime: 600, idletime: 180 },
};
const PEER: Fields = {
  id: "db",
  addresses: ["10.0.0.12", "fd00::12"],
  macs: ["02:AB:05:00:00:12"],
  mode: "full",
  carrier: "udp",
  staticKey: DB.publicKey,
  groups: ["data"],
  tags: ["ping"],
};
const FILE: Fields = {
  version: 1,
  node: { id: "web", staticKey: WEB.secretKey, mode: "full", tags: ["app1"], vlans: [7] },
  tenant: { name: "tenant-a", tag: generateTag() },
  tags: [
    { name: "app1", tag: generateTag() },
    { name: "ping", tag: generateTag() },
  ],
  peers: [PEER],
  contracts: [CONTRACT],
  signatures: [{ builtin: "ping" }],
  policy: { version: 1, rules: [{ id: "out", direction: "out", app: "app1", action: "allow" }] },
  otherTenants: ["10.9.0.0/16"],
};

function read(change: Fields) {
  return parseProvisioning(JSON.stringify({ ...FILE, ...change }, null, 1), "p.yaml");
}

test("a whole file", () => {
  const file = read({});
  expect(file.node.id).toBe("web");
  expect(toHex(file.node.staticKey.publicKey)).toBe(WEB.publicKey);
  expect(file.tags.map(({ name }) => name)).toEqual(["", "app1", "ping"]);
  expect([...(file.tags[0]?.bytes ?? [])]).toEqual(new Array(16).fill(0));
  expect(file.node.tags).toEqual([tagIndexOf(file.tags, "app1")] as never);
  const [peer] = file.peers;
  expect(peer?.addresses.map(formatAddress)).toEqual(["10.0.0.12", "fd00::12"]);
  expect(peer?.macs).toEqual(["02:ab:05:00:00:12"]);
  expect([peer?.mode, peer?.carrier, peer?.tags]).toEqual(["full", "udp", [2]] as never);
  expect(file.contracts[0]?.secrets).toHaveLength(1);
  expect(file.carriers).toEqual({ ipProtocol: 253, udpPort: 6253 });
  expect(file.signatures.map(({ app }) => app)).toEqual(["ping", "ping"]);
  expect(file.policy.rules).toHaveLength(1);
  expect(tagIndexOf(file.tags, "redis")).toBe(0);
});

test("the digest follows what gives indexes their meaning, and nothing else", () => {
  const digest = read({}).digest;
  expect(digest).toMatch(/^[0-9a-f]{64}$/);
  expect(read({ policy: { version: 1 } }).digest).toBe(digest);
  const tags = [...(FILE["tags"] as Fields[])].reverse();
  expect(read({ tags }).digest).not.toBe(digest);
  const node = { ...(FILE["node"] as Fields), id: "another" };
  expect(read({ node }).digest).not.toBe(digest);
  expect(read({ peers: [{ ...PEER, addresses: ["10.0.0.13"] }] }).digest).not.toBe(digest);
});

test("short names of a contract's fields, and several generations", () => {
  const { "sc-id": id, encryption_algo: algorithm, hash_algo: hash, secret: _, ...rest } = CONTRACT;
  const secrets = [
    { generation: 2, secret: SC.secret },
    { generation: 1, secret: SC.secret },
  ];
  const [contract] = read({ contracts: [{ ...rest, id, algorithm, hash, secrets }] }).contracts;
  expect(contract?.scId).toBe(SC.scId);
  expect(contract?.secrets.map(({ generation }) => generation)).toEqual([1, 2]);
});

const REFUSED: readonly { name: string; change: Fields; message: string }[] = [
  { name: "an unknown key", change: { peer: [] }, message: 'unknown key "peer"' },
  { name: "another version", change: { version: 2 }, message: "version: unknown version" },
  { name: "no policy", change: { policy: undefined }, message: '"policy" is missing' },
  {
    name: "a node without a key",
    change: { node: { id: "web" } },
    message: '"staticKey" is missing',
  },
  {
    name: "a key one digit short",
    change: { node: { id: "web", staticKey: WEB.secretKey.slice(1) } },
    message: "node.staticKey: it is not 64 hex digits",
  },
  {
    name: "a key of zeros",
    change: { node: { id: "web", staticKey: "0".repeat(64) } },
    message: "the key is all zeros",
  },
  {
    name: "an MTU too small for IPv6",
    change: { node: { id: "web", staticKey: WEB.secretKey, mtu: 1319 } },
    message: "1319 is out of range",
  },
  {
    name: "VLAN 4095",
    change: { node: { id: "web", staticKey: WEB.secretKey, vlans: [4095] } },
    message: "4095 is out of range",
  },
  {
    name: "an own tag that is not issued",
    change: { node: { id: "web", staticKey: WEB.secretKey, tags: ["app2"] } },
    message: 'there is no tag "app2"',
  },
  {
    name: "a zero tenant tag",
    change: { tenant: { name: "t", tag: "0".repeat(32) } },
    message: "the zero tag",
  },
  {
    name: "an application called any",
    change: { tags: [{ name: "any", tag: generateTag() }] },
    message: "stands for every",
  },
  {
    name: "a tag listed twice",
    change: {
      tags: [
        { name: "a", tag: generateTag() },
        { name: "a", tag: generateTag() },
      ],
    },
    message: 'the tag "a" is listed twice',
  },
  {
    name: "two tags of one value",
    change: { tags: ["a", "b"].map((name) => ({ name, tag: "1".repeat(32) })) },
    message: "another tag has the same value",
  },
  {
    name: "a peer's tag that is not issued",
    change: { peers: [{ ...PEER, tags: ["x"] }] },
    message: 'no tag "x"',
  },
  {
    name: "a peer without addresses",
    change: { peers: [{ ...PEER, addresses: [] }] },
    message: "no address",
  },
  {
    name: "a peer's prefix",
    change: { peers: [{ ...PEER, addresses: ["10.0.0.0/8"] }] },
    message: "is not an IP address",
  },
  {
    name: "a multicast peer",
    change: { peers: [{ ...PEER, addresses: ["ff02::1"] }] },
    message: "is not a host's address",
  },
  {
    name: "a loopback peer",
    change: { peers: [{ ...PEER, addresses: ["127.0.0.1"] }] },
    message: "is not a host's address",
  },
  {
    name: "a MAC that is none",
    change: { peers: [{ ...PEER, macs: ["02:ab"] }] },
    message: "is not a MAC address",
  },
  {
    name: "a group MAC",
    change: { peers: [{ ...PEER, macs: ["03:00:00:00:00:01"] }] },
    message: "is a group address",
  },
  {
    name: "a peer's low-order key",
    change: { peers: [{ ...PEER, staticKey: "0".repeat(64) }] },
    message: "low order",
  },
  {
    name: "a peer with the own id",
    change: { peers: [{ ...PEER, id: "web" }] },
    message: "the id web belongs to this node",
  },
  {
    name: "a peer with the own key",
    change: { peers: [{ ...PEER, staticKey: WEB.publicKey }] },
    message: "belongs to this node",
  },
  {
    name: "a peer whose other key is the own one",
    change: { peers: [{ ...PEER, otherStaticKey: WEB.publicKey }] },
    message: "belongs to this node",
  },
  {
    name: "a peer whose other key is its first",
    change: { peers: [{ ...PEER, otherStaticKey: DB.publicKey }] },
    message: 'belongs to "db" already',
  },
  {
    name: "another key that is the same",
    change: {
      node: { id: "web", staticKey: WEB.secretKey, otherStaticKey: WEB.secretKey },
    },
    message: "node.otherStaticKey: it is the same as staticKey",
  },
  {
    name: "an address of two peers",
    change: {
      peers: [PEER, { ...PEER, id: "db2", staticKey: generateKeyPair().publicKey, macs: [] }],
    },
    message: 'the address 10.0.0.12 belongs to "db" already',
  },
  {
    name: "peers without a contract",
    change: { contracts: [] },
    message: "there are peers but no contract",
  },
  {
    name: "a contract's id that is none",
    change: { contracts: [{ ...CONTRACT, "sc-id": "1" }] },
    message: "sc-id",
  },
  {
    name: "rsa256 without its private key",
    change: { contracts: [{ ...CONTRACT, encryption_algo: "rsa256" }] },
    message: "a private key after them",
  },
  {
    name: "an unknown hash",
    change: { contracts: [{ ...CONTRACT, hash_algo: "md5" }] },
    message: "hash_algo",
  },
  {
    name: "both names of a field",
    change: { contracts: [{ ...CONTRACT, hash: "sha256" }] },
    message: '"hash" is short for "hash_algo"',
  },
  {
    name: "a contract without a secret",
    change: { contracts: [{ ...CONTRACT, secret: undefined }] },
    message: '"secret" is missing',
  },
  {
    name: "a contract listed twice",
    change: { contracts: [CONTRACT, CONTRACT] },
    message: "is listed twice",
  },
  {
    name: "a lifetime that is no time",
    change: { contracts: [{ ...CONTRACT, "sc-lifetime": "later" }] },
    message: '"later" is not a time',
  },
  {
    name: "an unknown built-in signature",
    change: { signatures: [{ builtin: "x" }] },
    message: 'no signature of "x"',
  },
  {
    name: "a built-in of Object",
    change: { signatures: [{ builtin: "constructor" }] },
    message: 'no signature of "constructor"',
  },
  {
    name: "a signature's own mistake",
    change: { signatures: [{ sig_id: "s", app_name: "a", version: 1, status: "on" }] },
    message: "signatures[0].status",
  },
  {
    name: "a carrier protocol that is assigned",
    change: { carriers: { ipProtocol: 6 } },
    message: "6 is out of range",
  },
  {
    name: "another tenant that is no CIDR",
    change: { otherTenants: ["x"] },
    message: '"x" is not a CIDR',
  },
  {
    name: "a rule about an application without a tag",
    change: {
      policy: { version: 1, rules: [{ id: "r", direction: "in", app: "x", action: "allow" }] },
    },
    message: 'no tag is issued for the application "x"',
  },
  {
    name: "a rule that no contract meets",
    change: {
      policy: {
        version: 1,
        rules: [
          { id: "r", direction: "in", action: "allow", contract: { protection: "confidential" } },
        ],
      },
    },
    message: 'no contract meets what rule "r"',
  },
  {
    name: "an application under an unauthenticated contract",
    change: {
      contracts: [{ ...CONTRACT, quickmode: true }],
      policy: {
        version: 1,
        rules: [
          { id: "r", direction: "in", app: "app1", action: "allow", contract: { scId: SC.scId } },
        ],
      },
    },
    message: 'no contract meets what rule "r"',
  },
];

test("an rsa256 contract, its private key in the secret", () => {
  const drawn = generateContractSecret("rsa256");
  const { contracts } = read({
    contracts: [{ ...CONTRACT, encryption_algo: "rsa256", secret: drawn.secret }],
  });
  expect(contracts[0]?.secrets[0]?.secret.length).toBe(32);
  expect(contracts[0]?.secrets[0]?.rsa?.der.length).toBe(drawn.secret.length / 2 - 32);
});

test.each([...REFUSED])("refused: $name", ({ change, message }) => {
  try {
    read(change);
  } catch (thrown) {
    if (!(thrown instanceof AbsError)) throw thrown;
    expect(thrown.message).toMatch(/p\.yaml:\d+:\d+: /);
    expect(thrown.message).toContain(message);
    expect(thrown.remedy).not.toBe("");
    expect(`${thrown.message}${thrown.remedy}`.replace(SC.scId, "")).not.toContain(SC.secret);
    return;
  }
  throw new Error("it was read");
});

test("files: permissions, secrets and parts in files of their own", () => {
  const folder = mkdtempSync(join(tmpdir(), "abs-provisioning-"));
  const write = (name: string, text: string, mode = 0o600) => {
    writeFileSync(join(folder, name), text);
    chmodSync(join(folder, name), mode);
    return join(folder, name);
  };
  write("key.hex", `${WEB.secretKey}\n`);
  write("policy.yaml", "version: 1", 0o644);
  write("sig.json", '[{"sig_id":"s","app_name":"a","version":1,"status":"enabled"}]', 0o644);
  const text = JSON.stringify({
    ...FILE,
    node: { id: "web", staticKey: { file: "key.hex" } },
    policy: { file: "policy.yaml" },
    signatures: [{ file: "sig.json" }],
  });
  const file = write("web.json", text);
  const provisioning = loadProvisioning(file);
  expect(toHex(provisioning.node.staticKey.publicKey)).toBe(WEB.publicKey);
  expect(provisioning.signatures).toHaveLength(1);

  for (const mode of [0o640, 0o604, 0o620, 0o601]) {
    chmodSync(file, mode);
    expect(() => loadProvisioning(file)).toThrow("opens it to other users");
  }
  try {
    loadProvisioning(file);
  } catch (thrown) {
    expect(thrown instanceof AbsError ? thrown.remedy : "").toBe(`Run: chmod 600 '${file}'`);
  }
  chmodSync(file, 0o600);
  chmodSync(join(folder, "key.hex"), 0o644);
  expect(() => loadProvisioning(file)).toThrow("key.hex holds secrets");
  expect(() => loadProvisioning(join(folder, "none.yaml"))).toThrow("cannot be read");
  const folderAsKey = { ...FILE, node: { id: "web", staticKey: { file: "." } } };
  expect(() => parseProvisioning(JSON.stringify(folderAsKey), file)).toThrow("cannot be read");
  rmSync(folder, { recursive: true });
});

test("keys are drawn anew and fit together", () => {
  const pair = generateKeyPair();
  expect(pair.secretKey).not.toBe(WEB.secretKey);
  expect(pair.publicKey).toMatch(/^[0-9a-f]{64}$/);
  expect(generateTag()).toMatch(SECRET);
});
