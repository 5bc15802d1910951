/** An SSH server with an echoing role, and OpenSSH's own programs, on loopback. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "../../src/bytes.ts";
import { kernelRandom } from "../../src/native/kernel-random.ts";
import { FrameChannel } from "../../src/ssh/frame-channel.ts";
import { SshClient } from "../../src/ssh/ssh-client.ts";
import {
  fingerprintOf,
  privateKeyText,
  publicLineOf,
  SSH_SEED_BYTES,
  sshPublicKey,
} from "../../src/ssh/ssh-keys.ts";
import type { SshLogin, SshRefusal } from "../../src/ssh/ssh-login.ts";
import { SshServer } from "../../src/ssh/ssh-server.ts";
import { SSH_LIMITS, type SshLimits } from "../../src/ssh/ssh-settings.ts";
import { type ManagerFrame, managementTag } from "../../src/wire/manager-frame.ts";

export const TAG = managementTag(new Uint8Array(33).fill(2));

export type Site = {
  readonly server: SshServer<string>;
  readonly dir: string;
  readonly hostSeed: Uint8Array;
  readonly agentSeed: Uint8Array;
  /** Of all agents; the first is `agentSeed`. */
  readonly agentSeeds: readonly Uint8Array[];
  readonly adminSeed: Uint8Array;
  readonly refusals: SshRefusal[];
  /** Commands that were executed, as words. */
  readonly commands: string[][];
  /** Why channels of the subsystem ended. */
  readonly ended: string[];
  /** What the server's role does with a frame instead of sending it back. */
  onFrame: ((frame: ManagerFrame, channel: FrameChannel) => void) | undefined;
  readonly close: () => Promise<void>;
};

export type ClientWords = {
  readonly user?: string;
  readonly seed?: Uint8Array;
  readonly hostFingerprint?: string;
};

export function drawSeed(): Uint8Array {
  return kernelRandom(SSH_SEED_BYTES);
}

export async function openSite(limits: Partial<SshLimits> = {}, agents = 1): Promise<Site> {
  const dir = mkdtempSync(join(tmpdir(), "abs-ssh-"));
  const [hostSeed, agentSeed, adminSeed] = [drawSeed(), drawSeed(), drawSeed()];
  const agentSeeds = [agentSeed, ...Array.from({ length: agents - 1 }, drawSeed)];
  const logins = new Map<string, SshLogin<string>>([
    ...agentSeeds.map((seed, i) => {
      const name = i === 0 ? "agent" : `agent ${i}`;
      return [`agent ${keyHex(seed)}`, loginOf(name, "subsystem")] as const;
    }),
    [`admin ${keyHex(adminSeed)}`, loginOf("admin", "exec")],
  ]);
  const site: { onFrame: Site["onFrame"] } = { onFrame: undefined };
  const [refusals, commands, ended]: [SshRefusal[], string[][], string[]] = [[], [], []];
  const server = await SshServer.start<string>({
    hostKey: { seed: hostSeed, statement: "a line before it" },
    ...{ host: "127.0.0.1", port: 0, limits },
    handlers: {
      find: (user, publicKey) => logins.get(`${user} ${toHex(publicKey)}`),
      subsystem: ({ stream }) => {
        const channel = new FrameChannel(stream, { tag: TAG, ...SSH_LIMITS, ...limits });
        channel.open({
          frame: (frame) => {
            if (site.onFrame === undefined) channel.send(frame);
            else site.onFrame(frame, channel);
          },
          ended: (why) => ended.push(why),
        });
      },
      execute: async (words) => {
        commands.push([...words]);
        if (words[0] === "wait") await new Promise(() => {}); // for ever
        const output = words[0] === "big" ? "x".repeat(Number(words[1])) : `${words.join("|")}\n`;
        return { code: words.includes("fail") ? 3 : 0, output, complaint: "to stderr\n" };
      },
      refused: (refusal) => refusals.push(refusal),
    },
  });
  const close = async (): Promise<void> => {
    await server.close();
    rmSync(dir, { recursive: true });
  };
  const words = {
    server,
    dir,
    hostSeed,
    agentSeed,
    agentSeeds,
    adminSeed,
    refusals,
    commands,
    ended,
    close,
  };
  return Object.assign(site, words);
}

function loginOf(name: string, grants: "subsystem" | "exec"): SshLogin<string> {
  return { principal: name, name, grants, connectionsMax: 2 };
}

function keyHex(seed: Uint8Array): string {
  return toHex(sshPublicKey(seed));
}

export function clientOf(site: Site, words: ClientWords = {}): Promise<SshClient> {
  return SshClient.connect({
    ...{ host: "127.0.0.1", port: site.server.port },
    user: words.user ?? "agent",
    seed: words.seed ?? site.agentSeed,
    hostFingerprint: words.hostFingerprint ?? fingerprintOf(sshPublicKey(site.hostSeed)),
  });
}

/** The private key as a file that `ssh` takes. */
export function keyFile(site: Pick<Site, "dir">, name: string, seed: Uint8Array): string {
  const file = join(site.dir, name);
  writeFileSync(file, privateKeyText(seed, name), { mode: 0o600 });
  chmodSync(file, 0o600);
  return file;
}

export type Ran = { readonly code: number; readonly output: string; readonly complaint: string };

/** OpenSSH's client against the site; `hostSeed` is whose key it is told to expect. */
export async function openSsh(
  site: Site,
  words: { user?: string; key: string; hostSeed?: Uint8Array },
  args: readonly string[],
  input?: Uint8Array<ArrayBuffer>,
): Promise<Ran> {
  const known = join(site.dir, `known-${toHex(drawSeed()).slice(0, 8)}`);
  const line = publicLineOf(sshPublicKey(words.hostSeed ?? site.hostSeed), "");
  writeFileSync(known, `[127.0.0.1]:${site.server.port} ${line}\n`);
  const options = [
    ...["-F", "none", "-p", `${site.server.port}`, "-i", words.key, "-o", "BatchMode=yes"],
    ...["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "ConnectTimeout=20"],
    ...["-o", `UserKnownHostsFile=${known}`, "-o", "GlobalKnownHostsFile=none"],
    ...["-o", "StrictHostKeyChecking=yes", "-l", words.user ?? "admin"],
  ];
  return run(["ssh", ...options, ...args], input);
}

export async function run(
  command: readonly string[],
  input?: Uint8Array<ArrayBuffer> | string,
): Promise<Ran> {
  const child = Bun.spawn([...command], {
    stdin: input === undefined ? "ignore" : Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, complaint, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, output, complaint };
}
