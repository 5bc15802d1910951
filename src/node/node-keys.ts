/**
 * The secret keys of one node, in a file that nobody else may read. docs/ledger.md "Folders". The
 * ledger key signs, the VRF key draws, the session key is the peer channel's and the data plane's,
 * the SSH key the manager channel's. Recovery keys are files of the same shape with one key.
 */
import { existsSync, readFileSync } from "node:fs";
import { ed25519 } from "@noble/curves/ed25519.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { fromHex, toHex } from "../bytes.ts";
import type { NodeKeys } from "../chain/crypto-interface.ts";
import { EcvrfProver } from "../chain/ecvrf.ts";
import type { NodeId } from "../chain/ledger-units.ts";
import { nodeIdOf } from "../chain/message-signing.ts";
import { signatureLibrary } from "../chain/secp256k1.ts";
import { AbsError, messageOf } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { KeyPair } from "../session/x25519.ts";
import { requirePrivate } from "../store/secret-file.ts";

const SECRET_BYTES = 32;
const NAMES = ["ledger_secret", "vrf_secret", "session_secret", "ssh_secret"] as const;

/** Hexadecimal, 32 bytes each. */
export type NodeSecrets = Readonly<Record<(typeof NAMES)[number], string>>;

export type OwnKeys = {
  readonly nodeId: NodeId;
  readonly ledger: NodeKeys;
  readonly session: KeyPair;
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
function drawLedgerSecret(): Uint8Array {
  for (;;) {
    const secret = kernelRandom(SECRET_BYTES);
    if (secp256k1.utils.isValidSecretKey(secret)) return secret;
  }
}

export function keysOfSecrets(secrets: NodeSecrets): OwnKeys {
  const bytes = (name: (typeof NAMES)[number]): Uint8Array =>
    fromHex(secrets[name]) ?? new Uint8Array(0);
  const signer = signatureLibrary().signerOf(bytes("ledger_secret"));
  return {
    nodeId: nodeIdOf(signer.publicKey),
    ledger: { signer, vrf: new EcvrfProver(bytes("vrf_secret")) },
    session: new KeyPair(bytes("session_secret")),
    sshPub: toHex(ed25519.getPublicKey(bytes("ssh_secret"))),
  };
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
  for (const name of NAMES) {
    const secret = secrets?.[name];
    const bytes = typeof secret === "string" ? fromHex(secret) : undefined;
    if (bytes?.length !== SECRET_BYTES)
      return fail(`${name} is not ${2 * SECRET_BYTES} hex digits`);
    const isOnCurve = name !== "ledger_secret" || secp256k1.utils.isValidSecretKey(bytes);
    if (!isOnCurve) return fail("ledger_secret is no secp256k1 key");
  }
  return keysOfSecrets(value as NodeSecrets);
}
