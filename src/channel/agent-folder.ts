/**
 * The agent's folder after enrolment: its keys, whom it obeys, its certificate, and the
 * provisioning file (docs/provisioning.md) that `abs agent run --config` reads. docs/manager.md
 * "The agent's folder". A state is written beside (StagedFolder), checked, and then takes its
 * place file by file, each whole. The provisioning file decides what the agent starts with, and
 * names policy and signatures by their digests, so that no mixture of two states is ever read;
 * `manager.json`, which says the version, comes after it. What stands there already, byte for byte,
 * is not written again: most states change little.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { toHex } from "../bytes.ts";
import {
  canonicalJson,
  canonicalText,
  type JsonObject,
  withKeptText,
} from "../chain/canonical-json.ts";
import {
  encodeSignedCertificate,
  type SignedCertificate,
  signedCertificateJson,
} from "../chain/identity-certificate.ts";
import { AbsError, messageOf } from "../errors.ts";
import { drawSecrets, loadKeys, type NodeSecrets, type OwnKeys } from "../node/node-keys.ts";
import { KeyPair } from "../session/x25519.ts";
import type { AgentState, NeighbourWords, StateContract, StateTag } from "./agent-state.ts";
import { forgetOtherSets, keepSignatures } from "./appdb-file.ts";
import { readMessage } from "./message-reading.ts";
import { forgetOtherPolicies, keepPolicy } from "./pmdb-file.ts";

export const AGENT_FOLDER = {
  keys: "keys.json",
  manager: "manager.json",
  certificate: "certificate.json",
  appDb: "appdb.sqlite",
  pmdb: "pmdb.sqlite",
  /** With keys and certificate they make this folder one of a node of the ledger. */
  genesis: "genesis.json",
  peers: "peers.json",
  provisioning: "provisioning.json",
} as const;

const MANAGER_FILE_BYTES_MAX = 4096;
/** Where a state is written and checked before it takes the place of the old one. */
export const NEXT_FOLDER = ".next";

export type AgentKeys = { readonly keys: OwnKeys; readonly secrets: NodeSecrets };

export function agentFile(dir: string, name: keyof typeof AGENT_FOLDER): string {
  return join(dir, AGENT_FOLDER[name]);
}

/** Whom the folder's agent obeys. */
export type KnownManager = {
  readonly host: string;
  readonly port: number;
  readonly hostFingerprint: string;
  /** host-statement.ts; 0: the first one. */
  readonly hostSeq?: number;
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
        hostSeq: fields.has("host_seq") ? fields.integer("host_seq", 0, 2 ** 32 - 1) : 0,
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
      replaceWhole(file, secretsText(drawSecrets()));
    });
  }
  const keys = loadKeys(file);
  return { keys, secrets: JSON.parse(readFileSync(file, "utf8")) as NodeSecrets };
}

/** A state that stands beside the files of a folder. */
export type StagedFolder = {
  /** Its provisioning file, where it stands now, and where it will. */
  readonly provisioning: string;
  readonly place: string;
  /** Puts all files in their places. @throws AbsError AGENT_FOLDER_UNWRITABLE */
  readonly settle: () => void;
};

/** Whose state it is. */
export type FolderOwner = { readonly manager: KnownManager; readonly secrets: NodeSecrets };

/** What a state is written with. */
export type WritingWords = FolderOwner & {
  /** Throws when an agent could not start from this provisioning file. */
  readonly check: (provisioning: string) => unknown;
};

/**
 * Takes a state into the folder, or leaves the folder as it was.
 * @throws AbsError AGENT_FOLDER_UNWRITABLE, and what the check throws
 */
export function writeAgentFolder(dir: string, state: AgentState, words: WritingWords): void {
  const staged = stageAgentFolder(dir, state, words);
  words.check(staged.provisioning);
  staged.settle();
}

/** Writes a state beside the files of the folder. @throws AbsError AGENT_FOLDER_UNWRITABLE */
export function stageAgentFolder(
  dir: string,
  state: AgentState,
  { manager, secrets }: FolderOwner,
): StagedFolder {
  const known = managerJson(manager, state.version);
  const peers = [state.ledger.master, ...state.neighbours.map(({ certificate }) => certificate)];
  const [appDb, pmdb] = [agentFile(dir, "appDb"), agentFile(dir, "pmdb")];
  const kept = writing(dir, () => ({
    set: keepSignatures(appDb, state.signatures),
    policy: keepPolicy(pmdb, state.policy),
  }));
  const digests = { set: kept.set.digest, policy: kept.policy.digest };
  // In the order in which they take their places.
  const files: readonly (readonly [string, Uint8Array])[] = [
    ...[
      [AGENT_FOLDER.certificate, encodeSignedCertificate(state.own.certificate)] as const,
      [AGENT_FOLDER.genesis, state.ledger.genesis] as const,
      [AGENT_FOLDER.peers, canonicalJson(peers.map(keptCertificateJson))] as const,
    ].filter(([name, content]) => !isInPlace(join(dir, name), content)),
    [AGENT_FOLDER.provisioning, canonicalJson(provisioningOf(state, secrets, digests))],
    [AGENT_FOLDER.manager, canonicalJson(known)],
  ];
  const next = join(dir, NEXT_FOLDER);
  writing(dir, () => {
    rmSync(next, { recursive: true, force: true });
    mkdirSync(next, { mode: 0o700 });
    for (const [name, content] of files) writeNew(join(next, name), content);
    linkStores(next);
  });
  const settle = (): void => {
    writing(dir, () => {
      for (const [name] of files) renameSync(join(next, name), join(dir, name));
      rmSync(next, { recursive: true });
      if (!kept.set.isAlone) forgetOtherSets(appDb, digests.set);
      if (!kept.policy.isAlone) forgetOtherPolicies(pmdb, digests.policy);
    });
  };
  const place = agentFile(dir, "provisioning");
  return { provisioning: agentFile(next, "provisioning"), place, settle };
}

/** Most of what a state has stands there already, from the one before. */
function isInPlace(file: string, content: Uint8Array): boolean {
  try {
    return readFileSync(file).equals(content);
  } catch {
    return false; // what is wrong with it, writing will say
  }
}

/** Of certificates and neighbours, which are the same objects in many states. */
const keptJson = new WeakMap<object, JsonObject>();

function jsonOnce<T extends object>(words: T, make: (words: T) => JsonObject): JsonObject {
  const known = keptJson.get(words);
  if (known !== undefined) return known;
  const json = withKeptText(make(words));
  keptJson.set(words, json);
  return json;
}

function keptCertificateJson(signed: SignedCertificate): JsonObject {
  return jsonOnce(signed, signedCertificateJson);
}

function managerJson(manager: KnownManager, version: number): JsonObject {
  const { host, port, hostFingerprint, hostSeq = 0, managerKey } = manager;
  return {
    ...{ host, port, host_key: hostFingerprint, manager_key: managerKey.toHex(), version },
    ...(hostSeq === 0 ? {} : { host_seq: hostSeq }),
  };
}

/** The manager shows another host key from now on. @throws AbsError AGENT_FOLDER_UNWRITABLE */
export function keepManager(dir: string, manager: KnownManager): void {
  const file = agentFile(dir, "manager");
  const { version } = loadManager(dir);
  writing(dir, () => replaceWhole(file, canonicalText(managerJson(manager, version))));
}

/** AppDB and PMdb stay where they are, and have the old and the new meanwhile. */
export function linkStores(next: string): void {
  for (const name of ["appDb", "pmdb"] as const) {
    symlinkSync(join("..", AGENT_FOLDER[name]), agentFile(next, name));
  }
}

/** The provisioning file's content: terms of the contracts come from the ledger. */
export function provisioningOf(
  state: AgentState,
  secrets: NodeSecrets,
  /** Digests of its signatures in AppDB and its policy in PMdb. */
  kept: { readonly set: string; readonly policy: string },
): JsonObject {
  const { own } = state;
  const { certificate } = own.certificate;
  return {
    version: 1,
    node: {
      ...{ id: own.name, ...staticKeysOf(own, secrets), mode: own.mode, stage: own.stage },
      ...{ groups: own.groups, tags: own.tags },
      ...{ carrier: certificate.carrier, addresses: certificate.addresses },
    },
    tenant: tagOf(state.tenant),
    tags: state.tags.map(tagOf),
    peers: state.neighbours.map((one) => jsonOnce(one, peerOf)),
    carriers: { ipProtocol: state.ipProtocol, udpPort: state.udpPort },
    ledger: { directory: "." },
    contracts: state.contracts.map(contractOf),
    known: { agents: state.known.agents, groups: state.known.groups },
    signatures: [{ appdb: AGENT_FOLDER.appDb, set: kept.set }],
    policy: { pmdb: AGENT_FOLDER.pmdb, policy: kept.policy },
  };
}

/** It begins with the one that all peers know, and answers for the next as soon as it is drawn. */
function staticKeysOf(
  { certificate: { certificate }, sessionOld }: AgentState["own"],
  { session_secret: present, session_secret_next: next }: NodeSecrets,
): { readonly staticKey: string; readonly otherStaticKey?: string } {
  if (next === undefined) return { staticKey: present };
  const isNext = sessionOld === undefined && certificate.sessionPub === publicOf(next);
  return isNext ? { staticKey: next } : { staticKey: present, otherStaticKey: next };
}

function publicOf(secret: string): string {
  return toHex(new KeyPair(Uint8Array.fromHex(secret)).publicKey);
}

function tagOf({ name, tag }: StateTag): JsonObject {
  return { name, tag: tag.toHex() };
}

function peerOf(words: NeighbourWords): JsonObject {
  const { name, mode, groups, tags, macs, sessionOld } = words;
  const { addresses, carrier, sessionPub } = words.certificate.certificate;
  const known = { id: name, addresses, macs, mode, carrier, staticKey: sessionPub, groups, tags };
  return {
    ...known,
    ...(sessionOld === undefined ? {} : { otherStaticKey: sessionOld }),
    ...(words.isQuarantined ? { quarantined: true } : {}),
  };
}

function contractOf({ entry, secrets }: StateContract): JsonObject {
  return {
    "sc-id": entry.scId,
    secrets: secrets.map(({ generation, secret }) => ({ generation, secret: secret.toHex() })),
  };
}

/** The folder's key file has these from now on. @throws AbsError AGENT_FOLDER_UNWRITABLE */
export function keepSecrets(dir: string, secrets: NodeSecrets): void {
  writing(dir, () => replaceWhole(agentFile(dir, "keys"), secretsText(secrets)));
}

function secretsText(secrets: NodeSecrets): string {
  return `${JSON.stringify(secrets, null, 2)}\n`;
}

/** The file as it was, or the new one whole. */
function replaceWhole(file: string, content: string): void {
  const fresh = `${file}.new`;
  rmSync(fresh, { force: true });
  writeNew(fresh, content);
  renameSync(fresh, file);
  syncFolder(dirname(file));
}

/** A name that was changed stays so, whatever takes the power away. */
function syncFolder(dir: string): void {
  const folder = openSync(dir, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** A new file that nobody else may read, on the disk when this returns. */
export function writeNew(file: string, content: string | Uint8Array): void {
  writeFileSync(file, content, { mode: 0o600, flag: "wx", flush: true });
}

/** @throws AbsError AGENT_FOLDER_UNWRITABLE for what the system refuses */
export function writing<T>(dir: string, write: () => T): T {
  try {
    return write();
  } catch (cause) {
    if (cause instanceof AbsError) throw cause;
    throw new AbsError(
      "AGENT_FOLDER_UNWRITABLE",
      `${dir} cannot be written: ${messageOf(cause)}.`,
      "Name a folder of yours with --dir, on a disk with room; then run it again.",
      cause,
    );
  }
}
