/**
 * The other end of a command: logs in as an administrator and has its words executed. Beside the
 * manager it uses the folder: the key of `local`, the host key, and where the manager listens.
 * docs/manager.md "Commands".
 */
import { existsSync, readFileSync } from "node:fs";
import { AbsError } from "../errors.ts";
import { SshClient, type SshClientOptions } from "../ssh/ssh-client.ts";
import { fingerprintOf, parsePublicLine, seedOfPrivateKey } from "../ssh/ssh-keys.ts";
import type { ExecResult } from "../ssh/ssh-login.ts";
import { inFolder } from "./manager-folder.ts";
import { readPrivate } from "./private-file.ts";

/** A manager on another machine. */
export type RemoteManager = {
  readonly host: string;
  readonly port: number;
  readonly keyFile: string;
  /** `SHA256:…`, from `abs manager status` on its machine. */
  readonly hostFingerprint: string;
};

/** @throws AbsError of the connection, of the files */
export async function askManager(
  manager: { readonly dir: string } | RemoteManager,
  words: readonly string[],
  input?: Uint8Array,
): Promise<ExecResult> {
  const client = await logIn(manager);
  try {
    return await client.execute(words, input);
  } finally {
    client.close();
  }
}

/** For many commands. @throws AbsError of the connection, of the files */
export function logIn(manager: { readonly dir: string } | RemoteManager): Promise<SshClient> {
  return SshClient.connect({ user: "admin", ...optionsOf(manager) });
}

function optionsOf(
  manager: { readonly dir: string } | RemoteManager,
): Omit<SshClientOptions, "user"> {
  if ("keyFile" in manager) {
    const { host, port, keyFile, hostFingerprint } = manager;
    return { host, port, seed: seedIn(keyFile), hostFingerprint };
  }
  const { dir } = manager;
  const listening = inFolder(dir, "listening");
  const hostKey = inFolder(dir, "hostKey");
  if (!existsSync(listening) || !existsSync(hostKey)) {
    throw new AbsError(
      "MANAGER_NOT_RUNNING",
      `No manager runs with the folder ${dir}.`,
      "Start it with `abs manager serve`, name its folder with --dir, or another machine's " +
        "manager with --manager HOST:PORT --key FILE --host-key SHA256:….",
    );
  }
  const { host, port } = JSON.parse(readFileSync(listening, "utf8")) as SshClientOptions;
  const line = parsePublicLine(readFileSync(hostKey, "utf8"));
  if (line === undefined) {
    const remedy = "Restore it: `ssh-keyscan` would show it, if you trust the network.";
    throw new AbsError("HOST_KEY_UNREADABLE", `${hostKey} is no Ed25519 key.`, remedy);
  }
  const seed = seedIn(inFolder(dir, "adminKey"));
  return { host, port, seed, hostFingerprint: fingerprintOf(line.publicKey) };
}

function seedIn(file: string): Uint8Array {
  const seed = seedOfPrivateKey(readPrivate(file));
  if (seed !== undefined) return seed;
  throw new AbsError(
    "ADMIN_KEY_INVALID",
    `${file} is no Ed25519 private key without a passphrase.`,
    "Make one with `ssh-keygen -t ed25519`; for a key with a passphrase use `ssh` itself.",
  );
}
