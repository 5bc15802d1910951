/**
 * What an agent enforces is read and compiled by a child process that stays small, while this one
 * goes on; src/agent/preparation.ts, src/agent/child-frames.ts.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FrameReader, frameOf } from "../src/agent/child-frames.ts";
import { compileProvisioning } from "../src/agent/compiled.ts";
import { generateContractSecret, generateKeyPair, generateTag } from "../src/agent/keys.ts";
import { partDigestsOf } from "../src/agent/part-digests.ts";
import { positionsOf } from "../src/agent/positions.ts";
import { prepare } from "../src/agent/preparation.ts";
import { loadProvisioning } from "../src/agent/provisioning.ts";
import { nearestMiss } from "../src/dpi/nearest-miss.ts";
import type { AbsError } from "../src/errors.ts";
import type { AlgorithmName } from "../src/session/contract.ts";
import { Prng } from "./prng.ts";

const CHILD_BYTES_MAX = 200 * 1024 * 1024;
const MAIN = join(import.meta.dir, "../src/cli/main.ts");
const CHILD = [process.execPath, MAIN, "agent", "read-provisioning"];
/** As in a VM: the built program parses nothing at its start, which takes memory too. */
const BUILT = [join(import.meta.dir, "../dist/abs"), "agent", "read-provisioning"];
const folder = mkdtempSync(join(tmpdir(), "abs-prepare-"));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;

/** A provisioning file whose signatures are in a file of their own. */
function provisioningFile(
  signatures: readonly object[],
  rules: readonly object[] = [],
  algorithm: AlgorithmName = "aes-128-gcm",
): string {
  const path = join(folder, `${files++}.json`);
  const list = `${path}.signatures.json`;
  const { scId, secret } = generateContractSecret(algorithm);
  const file = {
    version: 1,
    node: { id: "web", staticKey: generateKeyPair().secretKey, mode: "full", tags: ["app1"] },
    tenant: { name: "t", tag: generateTag() },
    tags: [{ name: "app1", tag: generateTag() }],
    peers: [{ id: "db", addresses: ["10.0.0.2"], staticKey: generateKeyPair().publicKey }],
    contracts: [
      {
        id: scId,
        algorithm,
        hash: "sha256",
        "sc-lifetime": 4_000_000_000,
        lifetime: { keyregen: 4_000_000_000, busytime: 600, idletime: 180 },
        secret,
      },
    ],
    signatures: [{ file: list }],
    policy: { version: 1, rules },
  };
  writeFileSync(list, JSON.stringify(signatures), { mode: 0o600 });
  writeFileSync(path, JSON.stringify(file, null, 1), { mode: 0o600 });
  return path;
}

function signature(i: number, expr: string): object {
  const fields = { sig_id: `s${i}`, app_name: "app1", version: i + 1, status: "enabled" };
  return { ...fields, proto_type: "tcp", contents: [{ offset: i % 32, depth: 200, expr }] };
}

const asked = (file: string) => ({ file, positions: undefined, inForce: [] });

test("key pairs of contracts and of the node work as those read here", async () => {
  const { provisioning } = await prepare(asked(provisioningFile([], [], "rsa256")), CHILD);
  const rsa = provisioning.contracts[0]?.secrets[0]?.rsa;
  const secret = new Uint8Array(32).fill(7);
  expect(rsa?.unwrap(rsa.wrap(secret))).toEqual(secret);
  expect(provisioning.node.staticKey.publicKey).toHaveLength(32);
});

test("another private key of an rsa256 contract is a change, though all else is the same", () => {
  const path = provisioningFile([], [], "rsa256");
  const digestsNow = () => partDigestsOf(loadProvisioning(path)).contracts;
  const before = digestsNow();
  const file = JSON.parse(readFileSync(path, "utf8"));
  const other = generateContractSecret("rsa256").secret;
  const [contract] = file.contracts;
  // The first 32 bytes are the pre-shared key.
  contract.secret = contract.secret.slice(0, 64) + other.slice(64);
  writeFileSync(path, JSON.stringify(file), { mode: 0o600 });
  expect([...digestsNow().entries.keys()]).toEqual([...before.entries.keys()]);
  expect(digestsNow().entries).not.toEqual(before.entries);
  expect(digestsNow().whole).toBe(before.whole);
});

test("the child gives what reading and compiling here gives", async () => {
  const list = [signature(0, "/^GET [a-z]+/i"), signature(1, "\\x00\\xff"), signature(2, "/a|b/")];
  const rule = { id: "r", direction: "out", app: "app1", action: "allow" };
  const file = provisioningFile(list, [rule]);
  const here = loadProvisioning(file);
  const { contents: _, ...compiled } = compileProvisioning(here).signatures;
  const { provisioning, policy, signatures, digests } = await prepare(asked(file), CHILD);
  expect(provisioning).toEqual(here);
  expect(policy).toEqual(compileProvisioning(here).policy);
  expect(signatures).toEqual({ ...compiled, contents: [] });
  expect(digests).toEqual(partDigestsOf(here));
  const payload = new TextEncoder().encode("GET 123");
  const address = { version: 4, words: [0, 0, 0, 1] } as const;
  const ports = { sourcePort: 1, destinationPort: 2 };
  const ends = { source: address, destination: address, ...ports };
  const flow = { protocol: 6, ...ends, payload, payloadLength: payload.length };
  expect(nearestMiss(provisioning.signatures, flow)).toEqual(nearestMiss(here.signatures, flow));
});

test("errors come with code, place and remedy; so does a child that is none", async () => {
  const errorOf = async (file: string, child: readonly string[]) =>
    await prepare(asked(file), child).catch((error: AbsError) => error);
  const broken = provisioningFile([signature(0, "/(/")]);
  expect(await errorOf(broken, CHILD)).toMatchObject({
    code: "SIGNATURE_INVALID",
    message: expect.stringContaining(`${broken}.signatures.json:1:`),
  });
  const good = provisioningFile([]);
  expect(await errorOf(`${good}.none`, CHILD)).toMatchObject({ code: "PROVISIONING_UNREADABLE" });
  expect(await errorOf(good, ["/bin/false"])).toMatchObject({
    code: "NOT_PREPARED",
    message: expect.stringContaining("ended with 1"),
  });
  expect(await errorOf(good, ["/bin/echo", "hello"])).toMatchObject({ code: "NOT_PREPARED" });
});

test("positions of before are kept, and signatures speak of the tags at them", async () => {
  const file = provisioningFile([signature(0, "APP1")]);
  const before = positionsOf(loadProvisioning(file));
  const positions = {
    peers: [{ id: "old", isGone: true }, { id: "x", isGone: false }, ...before.peers],
    tags: [before.tags[0] ?? "", "11".repeat(16), before.tags[1] ?? ""],
  };
  const { provisioning, signatures } = await prepare({ ...asked(file), positions }, CHILD);
  expect(provisioning.peers.map(({ id }) => id)).toEqual(["old", "x", "db"]);
  expect(provisioning.peers[1]?.addresses).toEqual([]);
  expect(provisioning.tags.map(({ name }) => name)).toEqual(["", "", "app1"]);
  expect(provisioning.node.tags).toEqual([2 as never]);
  expect([...signatures.snapshot.tag]).toEqual([2]);
});

test("ten thousand signatures: a small child, and this thread stays free", async () => {
  const list = Array.from({ length: 10_000 }, (_, i) => {
    const word = Buffer.from(`${i}:${(i * 7919) % 10_007}`)
      .toString("base64")
      .replace(/=+$/, "");
    return signature(i, i % 10 === 0 ? `/${word}[0-9]{1,4}x/` : word);
  });
  const file = provisioningFile(list);
  const child = join(folder, "child.sh");
  const exec = `exec ${BUILT.map((word) => `'${word}'`).join(" ")}`;
  writeFileSync(child, `#!/bin/sh\necho $$ > ${folder}/pid\n${exec}\n`, { mode: 0o755 });
  let last = performance.now();
  let longestMs = 0;
  let turns = 0;
  let peakBytes = 0;
  const clock = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - last);
    turns++;
    peakBytes = Math.max(peakBytes, peakOf(join(folder, "pid")));
    last = performance.now();
  }, 5);
  const { signatures } = await prepare(asked(file), [child]);
  clearInterval(clock);
  expect(signatures.signatures).toHaveLength(10_000);
  console.log(`  longest turn ${longestMs.toFixed(0)} ms, child ${(peakBytes / 2 ** 20) | 0} MiB`);
  expect(turns).toBeGreaterThan(10);
  expect(peakBytes).toBeGreaterThan(0);
  expect(peakBytes).toBeLessThan(CHILD_BYTES_MAX);
});

/** Of the process itself: resourceUsage() counts its parent before its exec. */
function peakOf(pidFile: string): number {
  try {
    const status = readFileSync(`/proc/${readFileSync(pidFile, "utf8").trim()}/status`, "utf8");
    return 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
  } catch {
    return 0; // not yet, or no more
  }
}

test("frames are found whatever pieces they arrive in", () => {
  const seed = Number(process.env["SEED"] ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  const prng = new Prng(seed);
  const bodies = Array.from({ length: 200 }, () =>
    new Uint8Array(prng.below(40)).fill(prng.below(256)),
  );
  const stream = Buffer.concat(bodies.map(frameOf));
  const reader = new FrameReader();
  const found: Uint8Array[] = [];
  for (let at = 0; at < stream.length; ) {
    const piece = stream.subarray(at, at + prng.below(30));
    at += piece.length;
    reader.add(new Uint8Array(piece));
    for (let body = reader.next(); body !== undefined; body = reader.next()) found.push(body);
  }
  expect(found, `SEED=${seed}`).toEqual(bodies);
});
