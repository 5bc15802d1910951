/**
 * Secrets at rest: every secret in the manager's database is sealed by XChaCha20-Poly1305 under one
 * data key, and bound to the place it is kept at, so that none can be moved to another row. The
 * data key is in a file of its own, to be kept and backed up apart from the database.
 * docs/manager.md "Data key".
 */
import { existsSync, writeFileSync } from "node:fs";
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ascii, concat, fromHex, toHex } from "../bytes.ts";
import { AbsError, messageOf } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { readPrivate } from "./private-file.ts";

const KEY_BYTES = 32;
const NONCE_BYTES = 24;

export class Sealer {
  constructor(private readonly key: Uint8Array) {}

  /** @param place table and key of the row, as `contract_secret/SC-ID/1` */
  seal(place: string, secret: Uint8Array): Uint8Array {
    const nonce = kernelRandom(NONCE_BYTES);
    return concat(nonce, xchacha20poly1305(this.key, nonce, ascii(place)).encrypt(secret));
  }

  /** @throws AbsError DATA_KEY_WRONG when it was sealed under another key or for another place */
  open(place: string, sealed: Uint8Array): Uint8Array {
    const nonce = sealed.subarray(0, NONCE_BYTES);
    try {
      const cipher = xchacha20poly1305(this.key, nonce, ascii(place));
      return cipher.decrypt(sealed.subarray(NONCE_BYTES));
    } catch (cause) {
      throw new AbsError(
        "DATA_KEY_WRONG",
        `The secret of ${place} does not open with this data key.`,
        "Give the data key that belongs to this database: --data-key FILE.",
        cause,
      );
    }
  }
}

/** Draws one unless it is there. */
export function makeDataKey(file: string): void {
  if (existsSync(file)) return;
  try {
    writeFileSync(file, `${toHex(kernelRandom(KEY_BYTES))}\n`, { mode: 0o600, flag: "wx" });
  } catch (cause) {
    const what = `${file} cannot be written: ${messageOf(cause)}.`;
    throw new AbsError("DATA_KEY_UNWRITABLE", what, "Name another with --data-key FILE.", cause);
  }
}

/** @throws AbsError DATA_KEY_INVALID, SECRET_FILE_OPEN */
export function loadSealer(file: string): Sealer {
  const key = fromHex(readPrivate(file).trim());
  if (key?.length === KEY_BYTES) return new Sealer(key);
  throw new AbsError(
    "DATA_KEY_INVALID",
    `${file} does not hold ${2 * KEY_BYTES} hex digits.`,
    "Restore it from its backup: without it no secret of the manager can be read.",
  );
}
