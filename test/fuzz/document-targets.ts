/**
 * The decoders of text for the decoder fuzzer: provisioning, policy, signatures, expressions, IP
 * addresses, and the files of the state directory. Seeds are the repository's own documents.
 */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { loadContracts } from "../../src/agent/contract-memory.ts";
import { outerFrame } from "../../src/agent/outer-frame.ts";
import { addressOfBytes } from "../../src/agent/own-addresses.ts";
import { parseProvisioning } from "../../src/agent/provisioning.ts";
import { loadSessions, loadStamp } from "../../src/agent/state-dir.ts";
import { fromHex } from "../../src/bytes.ts";
import { compileSignatures } from "../../src/dpi/compile.ts";
import { parseExpression } from "../../src/dpi/expression.ts";
import { parseSignatures } from "../../src/dpi/schema.ts";
import { AbsError } from "../../src/errors.ts";
import { parsePolicy } from "../../src/policy/schema.ts";
import { loadState } from "../../src/takeover/state-file.ts";
import { addressBytes, cidrRange, formatAddress, parseCidr } from "../../src/wire/ip-text.ts";
import {
  anyOf,
  copyOf,
  mutatedDocument,
  mutatedText,
  slip,
  type Tree,
  written,
} from "./document-mutator.ts";
import { type DecoderTarget, refusalOf } from "./fuzz-target.ts";
import type { Prng } from "./prng.ts";

const ROOT = resolve(import.meta.dir, "../..");
const FOLDER = mkdtempSync(join(tmpdir(), "abs-decoders-"));
const TEXT_LIMIT_MS = 250;
const OPEN_FILE = join(ROOT, "README.md");
const SECRET_PATHS = [".", "missing", OPEN_FILE, OPEN_FILE, "a\0b"];

type Fields = Record<string, unknown>;

const read = (path: string): Tree => parse(readFileSync(join(ROOT, path), "utf8"));
const provisionings = ["examples/web.yaml", "examples/db.yaml"].map(read) as Fields[];
const [{ "sc-id": id, secret }] = (provisionings[0] as Fields)["contracts"] as [Fields];
provisionings.push({
  ...provisionings[0],
  ledger: { directory: "ledger", listen: "[fd00::1]:6254", overlap: 60 },
  contracts: [{ id, generation: 2, secret }],
});
const signatures = [
  "examples/app1.json",
  ...readdirSync(join(ROOT, "signatures")).map((name) => `signatures/${name}`),
].map(read);
const wide = {
  version: 1,
  defaults: { exceptions: ["dhcp", "arp"], midstream: { until: "2035-01-01T00:00:00Z" } },
  rules: [
    { id: "a", direction: "in", from: { cidr: ["10.0.0.0/8"] }, action: "deny", refuse: "reject" },
    {
      id: "b",
      direction: "out",
      to: { group: ["x", ["y"]], protocol: ["tcp", 17], port: ["1-9", 443] },
      app: "any",
      action: "allow",
      contract: { protection: "confidential", maxBusySeconds: 600 },
      serverFirst: true,
      return: "identify",
    },
  ],
};
const policies = [wide, ...provisionings.map(({ policy }) => policy)] as Tree[];
const PING = { builtin: "ping" };
const STRANGERS = { id: "a", direction: "out", to: { agent: "nobody" }, action: "allow" };
const expressions = [
  "*3\\x0d\\x0a$4",
  "/^(GET|POST) [^ ]{1,200} HTTP\\/1\\.[01]\\x0d\\x0a/i",
  "/(?:a|b)+?c{2,9}\\bx$/s",
  "/[\\x00-\\x1f][^A-Z\\d]\\w*\\z/",
  ...signatures.flatMap((tree) =>
    [...JSON.stringify(tree).matchAll(/"expr":("(?:[^"\\]|\\.)*")/g)].map((found) =>
      String(JSON.parse(found[1] ?? '""')),
    ),
  ),
];
const addresses = [
  "10.0.0.1",
  "10.1.0.0/16",
  "::",
  "2001:db8::1",
  "fe80::1:2/64",
  "::ffff:10.0.0.1",
];
const stamp = "000102030405060708090a0b";
const session = {
  peer: "db",
  app: "app1",
  role: 0,
  link: "02ab0500001202ab050000110800",
  source: "0a4d000b",
  destination: "0a4d000c",
};
const CHAIN_ID = "ab".repeat(32);
const contractMemory = {
  version: 1,
  chain_id: CHAIN_ID,
  contracts: [
    {
      "sc-id": "a156fe4c-27af-4692-b205-58ad201c5cf9",
      entry: [],
      generations: [{ generation: 1, commitment: "cd".repeat(32), since: 1_700_000_000 }],
    },
  ],
};
const takeover = {
  version: 1,
  vmNamespace: "/proc/1/ns/net",
  outside: { name: "eth0", index: 2, settings: {} },
  inside: { kind: "veth", name: "eth0" },
  configuration: { addresses: [], routes: [], neighbours: [] },
};

/** A quarter as they are; the rest altered. */
function document(prng: Prng, trees: readonly Tree[]): string {
  const tree = anyOf(prng, trees);
  return prng.below(4) === 0 ? written(tree) : mutatedDocument(prng, tree);
}

/** Paths in place of secrets, policy and signatures are rare by chance. */
function provisioningText(prng: Prng): string {
  const tree = copyOf(anyOf(prng, provisionings)) as Record<string, Fields & Fields[]>;
  const file = anyOf(prng, SECRET_PATHS);
  if (prng.below(3) === 0) return written(tree);
  const way = prng.below(20);
  if (way < 4) (tree["tenant"] as Fields)["tag"] = { file };
  else if (way < 8) tree["policy"] = { file } as never;
  else if (way < 11) tree["signatures"]?.push({ file });
  else if (way < 13) tree["signatures"]?.push(anyOf(prng, signatures) as never);
  else if (way < 15) tree["signatures"]?.push(PING as never, PING as never);
  else if (way < 17) (tree["policy"] as Fields)["rules"] = [STRANGERS];
  return document(prng, [tree]);
}

function text(prng: Prng, seeds: readonly string[]): string {
  let word = anyOf(prng, seeds);
  for (let changes = prng.below(4); changes > 0; changes--) word = slip(prng, word);
  return prng.below(20) === 0 ? word.repeat(1 + prng.below(3000)) : word;
}

function expressionText(prng: Prng): string {
  if (prng.below(20) > 0) return text(prng, expressions);
  const pair = anyOf(prng, ["()", "[]", "(?:)", "{}", "\\\\", "(a|", "a{9}", "(a){2}"]);
  const [open, close] = [pair.slice(0, -1), pair.slice(-1)];
  return `/a${open.repeat(prng.below(200))}b${close.repeat(prng.below(200))}/`;
}

function runIpText(word: string): string | undefined {
  const cidr = parseCidr(word);
  if (cidr === undefined) return "no-cidr";
  cidrRange(cidr);
  const again = parseCidr(`${formatAddress(cidr)}/${cidr.prefixBits}`);
  if (JSON.stringify(again) !== JSON.stringify(cidr)) throw new Error("it reads back otherwise");
  const bytes = addressOfBytes(addressBytes(cidr));
  if (bytes.words.join() !== cidr.words.join()) throw new Error("its bytes read back otherwise");
  return undefined;
}

/** Sessions of the run before become frames at once. */
function runSessions(content: string): string | undefined {
  writeFileSync(join(FOLDER, "sessions.json"), content);
  const sessions = loadSessions(FOLDER);
  for (const entry of sessions) {
    const [link, source, destination] = [entry.link, entry.source, entry.destination].map(fromHex);
    if (!link || !source || !destination) throw new Error("an entry is not hex");
    const ends = { link, source, destination };
    outerFrame({ ...ends, carrier: "udp", protocol: 253, port: 6253 }, new Uint8Array(40));
    formatAddress(addressOfBytes(source));
  }
  return sessions.length > 0 ? undefined : "no-session";
}

export function documentTargets(): readonly DecoderTarget[] {
  const limitMs = TEXT_LIMIT_MS;
  const target = (
    name: string,
    share: number,
    reasons: readonly string[],
    make: (prng: Prng) => string,
    run: (input: string) => string | undefined,
  ): DecoderTarget => ({ name, share, reasons, limitMs, make, run });
  const file = (name: string, load: (folder: string) => unknown) => (content: string) => {
    writeFileSync(join(FOLDER, name), content);
    return refusalOf(() => load(FOLDER));
  };
  return [
    target(
      "provisioning",
      30,
      [
        ...["PROVISIONING_INVALID", "PROVISIONING_UNREADABLE", "SECRET_FILE_OPEN"],
        ...["POLICY_UNREADABLE", "POLICY_INVALID", "SIGNATURE_UNREADABLE", "SIGNATURE_INVALID"],
      ],
      provisioningText,
      (input) => refusalOf(() => parseProvisioning(input, join(ROOT, "examples/web.yaml"))),
    ),
    target(
      "policy",
      7,
      ["POLICY_INVALID"],
      (prng) => document(prng, policies),
      (input) => refusalOf(() => parsePolicy(input, "policy.yaml")),
    ),
    target(
      "signatures",
      8,
      ["SIGNATURE_INVALID"],
      (prng) => document(prng, signatures),
      (input) => refusalOf(() => compileSignatures(parseSignatures(input, "s.json"), () => 1)),
    ),
    target("expression", 4, ["refused"], expressionText, (input) =>
      "reason" in parseExpression(input) ? "refused" : undefined,
    ),
    target("ip-text", 2, ["no-cidr"], (prng) => text(prng, addresses), runIpText),
    target(
      "stamp",
      1,
      ["STATE_CORRUPT"],
      (prng) => (prng.below(2) === 0 ? stamp : mutatedText(prng, stamp)),
      file("stamp", loadStamp),
    ),
    target("sessions.json", 2, ["no-session"], (prng) => document(prng, [[session]]), runSessions),
    target(
      "contracts.json",
      2,
      ["no-contracts"],
      (prng) => document(prng, [contractMemory]),
      file("contracts.json", (folder) => {
        const found = loadContracts(join(folder, "contracts.json"), CHAIN_ID);
        if (found === undefined) throw new AbsError("no-contracts", "");
      }),
    ),
    target(
      "takeover.json",
      2,
      ["TAKEOVER_STATE"],
      (prng) => document(prng, [takeover]),
      file("takeover.json", loadState),
    ),
  ];
}

export { FOLDER as FUZZ_FOLDER };
