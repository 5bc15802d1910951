/**
 * The agent's folder after enrolment: its keys, whom it obeys, its certificate, and the
 * provisioning file (docs/provisioning.md) that `abs agent run --config` reads. docs/manager.md
 * "The agent's folder". Each file is replaced whole, the provisioning file last: an interrupted
 * write leaves what was there.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalJson,
  canonicalText,
  type JsonObject,
  type JsonValue,
} from "../chain/canonical-json.ts";
import { encodeSignedCertificate, signedCertificateJson } from "../chain/identity-certificate.ts";
import { AbsError, messageOf } from "../errors.ts";
import { drawSecrets, loadKeys, type NodeSecrets, type OwnKeys } from "../node/node-keys.ts";
import type { AgentState, NeighbourWords, StateContract, StateTag } from "./agent-state.ts";
import { readMessage } from "./message-reading.ts";

export const AGENT_FOLDER = {
  keys: "keys.json",
  manager: "manager.json",
  certificate: "certificate.json",
  policy: "policy.yaml",
  /** With keys and certificate they make this folder one of a node of the ledger. */
  genesis: "genesis.json",
  peers: "peers.json",
  provisioning: "provisioning.json",
} as const;

const MANAGER_FILE_BYTES_MAX = 4096;
/** Where a state is written and checked before it takes the place of the old one. */
const NEXT_FOLDER = ".next";

export type AgentKeys = { readonly keys: OwnKeys; readonly secrets: NodeSecrets };

export function agentFile(dir: string, name: keyof typeof AGENT_FOLDER): string {
  return join(dir, AGENT_FOLDER[name]);
}

/** Whom the folder's agent obeys. */
export type KnownManager = {
  readonly host: string;
  readonly port: number;
  readonly hostFingerprint: string;
  /** Public secp256k1 key, 33 bytes. */
  readonly managerKey: Uint8Array;
};

/** @throws AbsError AGENT_NOT_ENROLLED */
export function loadManager(dir: string): KnownManager & { readonly version: number } {
  const file = agentFile(dir, "manager");
  const read = existsSync(file)
    ? readMessage(readFileSync(file), MANAGER_FILE_BYTES_MAX, (fields) => ({
        ...{ host: fields.text("host", 255), port: fields.integer("port", 1, 65_535) },
        hostFingerprint: fields.text("host_key", 64),
        managerKey: Uint8Array.fromHex(fields.hex("manager_key", 33)),
        version: fields.integer("version", 1, 2 ** 32 - 1),
      }))
    : { complaint: "it is not there" };
  if ("message" in read) return read.message;
  const what = `${file} does not say who the manager is: ${read.complaint}.`;
  throw new AbsError("AGENT_NOT_ENROLLED", what, "`abs agent enroll TOKEN --dir DIR` writes it.");
}

/** The keys of the folder, drawn once: before anything is said to anybody. */
export function ensureKeys(dir: string): AgentKeys {
  const file = agentFile(dir, "keys");
  if (!existsSync(file)) {
    writing(dir, () => {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      const fresh = `${file}.new`;
      rmSync(fresh, { force: true });
      write(fresh, `${JSON.stringify(drawSecrets(), null, 2)}\n`);
      renameSync(fresh, file);
    });
  }
  const keys = loadKeys(file);
  return { keys, secrets: JSON.parse(readFileSync(file, "utf8")) as NodeSecrets };
}

/** What a state is written with. */
export type WritingWords = {
  readonly manager: KnownManager;
  readonly secrets: NodeSecrets;
  /** Throws when an agent could not start from this provisioning file. */
  readonly check: (provisioning: string) => unknown;
};

/**
 * Takes a state into the folder, or leaves the folder as it was.
 * @throws AbsError AGENT_FOLDER_UNWRITABLE, and what the check throws
 */
export function writeAgentFolder(dir: string, state: AgentState, words: WritingWords): void {
  const { manager, secrets, check } = words;
  const known = {
    ...{ host: manager.host, port: manager.port, host_key: manager.hostFingerprint },
    ...{ manager_key: manager.managerKey.toHex(), version: state.version },
  };
  const peers = [state.ledger.master, ...state.neighbours.map(({ certificate }) => certificate)];
  // In the order in which they take their places: the provisioning file last.
  const files: readonly (readonly [keyof typeof AGENT_FOLDER, string | Uint8Array])[] = [
    ["manager", canonicalText(known)],
    ["certificate", encodeSignedCertificate(state.own.certificate)],
    ["genesis", state.ledger.genesis],
    ["peers", canonicalJson(peers.map(signedCertificateJson))],
    ["policy", state.policy],
    ["provisioning", canonicalJson(provisioningOf(state, secrets))],
  ];
  const next = join(dir, NEXT_FOLDER);
  writing(dir, () => {
    rmSync(next, { recursive: true, force: true });
    mkdirSync(next, { mode: 0o700 });
    for (const [name, content] of files) write(agentFile(next, name), content);
  });
  check(agentFile(next, "provisioning"));
  writing(dir, () => {
    for (const [name] of files) renameSync(agentFile(next, name), agentFile(dir, name));
    rmSync(next, { recursive: true });
  });
}

/** The provisioning file's content: terms of the contracts come from the ledger. */
export function provisioningOf(state: AgentState, secrets: NodeSecrets): JsonObject {
  const { own } = state;
  const { certificate } = own.certificate;
  return {
    version: 1,
    node: {
      ...{ id: own.name, staticKey: secrets.session_secret, mode: own.mode, stage: own.stage },
      ...{ groups: own.groups, tags: own.tags },
      ...{ carrier: certificate.carrier, addresses: certificate.addresses },
    },
    tenant: tagOf(state.tenant),
    tags: state.tags.map(tagOf),
    peers: state.neighbours.map(peerOf),
    carriers: { ipProtocol: state.ipProtocol, udpPort: state.udpPort },
    ledger: { directory: "." },
    contracts: state.contracts.map(contractOf),
    known: { agents: state.known.agents, groups: state.known.groups },
    signatures: JSON.parse(state.signatures) as JsonValue,
    policy: { file: AGENT_FOLDER.policy },
  };
}

function tagOf({ name, tag }: StateTag): JsonObject {
  return { name, tag: tag.toHex() };
}

function peerOf({ name, mode, groups, tags, certificate }: NeighbourWords): JsonObject {
  const { addresses, carrier, sessionPub } = certificate.certificate;
  return { id: name, addresses, mode, carrier, staticKey: sessionPub, groups, tags };
}

function contractOf({ entry, secrets }: StateContract): JsonObject {
  return {
    "sc-id": entry.scId,
    secrets: secrets.map(({ generation, secret }) => ({ generation, secret: secret.toHex() })),
  };
}

/** A new file that nobody else may read, on the disk when this returns. */
function write(file: string, content: string | Uint8Array): void {
  writeFileSync(file, content, { mode: 0o600, flag: "wx", flush: true });
}

function writing(dir: string, write: () => void): void {
  try {
    write();
  } catch (cause) {
    throw new AbsError(
      "AGENT_FOLDER_UNWRITABLE",
      `${dir} cannot be written: ${messageOf(cause)}.`,
      "Name a folder of yours with --dir, on a disk with room; then run it again.",
      cause,
    );
  }
}
