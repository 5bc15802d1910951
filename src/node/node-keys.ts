/**
 * The secret keys of one node, in a file that nobody else may read. docs/ledger.md "Folders". The
 * ledger key signs, the VRF key draws, the session key is the peer channel's and the data plane's,
 * the SSH key the manager channel's. While a key is rotated the file has the next one, or the one
 * before, beside it. Recovery keys are files of the same shape with one key.
 */
import { existsSync, readFileSync } from "node:fs";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { fromHex, toHex } from "../bytes.ts";
import type { NodeKeys } from "../chain/crypto-interface.ts";
import { vrfLibrary } from "../chain/edwards25519.ts";
import { KeyRing } from "../chain/key-ring.ts";
import type { NodeId } from "../chain/ledger-units.ts";
import { nodeIdOf } from "../chain/message-signing.ts";
import { signatureLibrary } from "../chain/secp256k1.ts";
import { AbsError, messageOf } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { KeyPair } from "../session/x25519.ts";
import { ed25519PublicKey } from "../ssh/ed25519.ts";
import { requirePrivate } from "../store/secret-file.ts";

const SECRET_BYTES = 32;
const NODE_ID_BYTES = 16;
const NAMES = ["ledger_secret", "vrf_secret", "session_secret", "ssh_secret"] as const;
/** While keys are rotated. */
const MORE_NAMES = [
  "ledger_secret_next",
  "vrf_secret_next",
  "ledger_secret_old",
  "vrf_secret_old",
  "session_secret_next",
  "ssh_secret_next",
] as const;

/** Hexadecimal, 32 bytes each. */
export type NodeSecrets = Readonly<Record<(typeof NAMES)[number], string>> &
  Partial<Record<(typeof MORE_NAMES)[number], string>> & {
    /** Of the first ledger key, where that is not the present one. */
    readonly node_id?: string;
  };

export type OwnKeys = {
  readonly nodeId: NodeId;
  /** The newest that the manager has certified. */
  readonly ledger: NodeKeys;
  /** These, the next ones and those before. */
  readonly ring: KeyRing;
  readonly session: KeyPair;
  /** That one, and the next. */
  readonly sessions: readonly [KeyPair, ...KeyPair[]];
  /** Ed25519, hexadecimal. */
  readonly sshPub: string;
};

export function drawSecrets(): NodeSecrets {
  return {
    ledger_secret: toHex(drawLedgerSecret()),
    vrf_secret: toHex(kernelRandom(SECRET_BYTES)),
    session_secret: toHex(kernelRandom(SECRET_BYTES)),
    ssh_secret: toHex(kernelRandom(SECRET_BYTES)),
  };
}

/** From 1 to the order less 1: the odds of a second draw are 2^-128. */
export function drawLedgerSecret(): Uint8Array {
  for (;;) {
    const secret = kernelRandom(SECRET_BYTES);
    if (secp256k1.utils.isValidSecretKey(secret)) return secret;
  }
}

export function keysOfSecrets(secrets: NodeSecrets): OwnKeys {
  const ledger = ledgerKeysOf(secrets.ledger_secret, secrets.vrf_secret);
  const others = [
    [secrets.ledger_secret_next, secrets.vrf_secret_next],
    [secrets.ledger_secret_old, secrets.vrf_secret_old],
  ].flatMap(([ledgerSecret, vrfSecret]) => {
    if (ledgerSecret === undefined || vrfSecret === undefined) return [];
    return [ledgerKeysOf(ledgerSecret, vrfSecret)];
  });
  const session = new KeyPair(bytesOf(secrets.session_secret));
  const { session_secret_next: next } = secrets;
  const nodeId = (secrets.node_id as NodeId | undefined) ?? nodeIdOf(ledger.signer.publicKey);
  return {
    ...{ nodeId, ledger, ring: new KeyRing(nodeId, [ledger, ...others]) },
    session,
    sessions: next === undefined ? [session] : [session, new KeyPair(bytesOf(next))],
    sshPub: toHex(ed25519PublicKey(bytesOf(secrets.ssh_secret))),
  };
}

/** @param ledgerSecret hexadecimal, as the other */
export function ledgerKeysOf(ledgerSecret: string, vrfSecret: string): NodeKeys {
  return {
    signer: signatureLibrary().signerOf(bytesOf(ledgerSecret)),
    vrf: vrfLibrary().proverOf(bytesOf(vrfSecret)),
  };
}

function bytesOf(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array(0);
}

/** @throws AbsError NODE_KEYS_INVALID, SECRET_FILE_OPEN; never with the value of a secret */
export function loadKeys(file: string): OwnKeys {
  if (!existsSync(file)) {
    const remedy = "`abs ledger init` makes the folders of a new ledger; name one with --dir.";
    throw new AbsError("NODE_KEYS_ABSENT", `There are no keys at ${file}.`, remedy);
  }
  requirePrivate(file);
  const fail = (what: string, cause?: unknown): never => {
    throw new AbsError("NODE_KEYS_INVALID", `${file}: ${what}.`, "Restore it from a copy.", cause);
  };
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    return fail(cause instanceof SyntaxError ? "it is no JSON" : messageOf(cause), cause);
  }
  const secrets = value as Record<string, unknown>;
  const complaint = NAMES.map((name) => secretFault(name, secrets?.[name])).find(Boolean);
  const more = MORE_NAMES.filter((name) => secrets?.[name] !== undefined);
  const fault = complaint ?? more.map((name) => secretFault(name, secrets[name])).find(Boolean);
  if (fault !== undefined) return fail(fault);
  const { node_id: nodeId } = secrets;
  const isId = typeof nodeId === "string" && fromHex(nodeId)?.length === NODE_ID_BYTES;
  if (nodeId !== undefined && !isId) return fail(`node_id is not ${2 * NODE_ID_BYTES} hex digits`);
  return keysOfSecrets(value as NodeSecrets);
}

/** Never with the value of the secret. */
function secretFault(name: string, secret: unknown): string | undefined {
  const bytes = typeof secret === "string" ? fromHex(secret) : undefined;
  if (bytes?.length !== SECRET_BYTES) return `${name} is not ${2 * SECRET_BYTES} hex digits`;
  const isOnCurve = !name.startsWith("ledger_secret") || secp256k1.utils.isValidSecretKey(bytes);
  return isOnCurve ? undefined : `${name} is no secp256k1 key`;
}
