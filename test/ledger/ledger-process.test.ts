/**
 * Ledger processes joined by real peer channels in one program: folders of `initLedger`, Noise,
 * timers, control sockets; only the disk is memory. Real processes are ledger-network.test.ts's.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromHex } from "../../src/bytes.ts";
import { contractJson } from "../../src/chain/contract-entry.ts";
import {
  decodeSignedCertificate,
  encodeSignedCertificate,
  signCertificate,
} from "../../src/chain/identity-certificate.ts";
import { encodeMessage } from "../../src/chain/message-codec.ts";
import type { LedgerMessage } from "../../src/chain/message-types.ts";
import { kernelRandom } from "../../src/native/kernel-random.ts";
import { askStatus, propose } from "../../src/node/control-server.ts";
import { type FirstMember, initLedger, MASTER_FOLDER } from "../../src/node/ledger-init.ts";
import { LedgerProcess, type ProcessOptions } from "../../src/node/ledger-process.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { fileIn, loadCertificate } from "../../src/node/node-folder.ts";
import { drawSecrets, keysOfSecrets, loadKeys, type OwnKeys } from "../../src/node/node-keys.ts";
import { onlyKey, peerNoise } from "../../src/node/peer-noise-ik.ts";
import { EventLog } from "../../src/observe/event-log.ts";
import { PeerChannel } from "../../src/peer/peer-channel.ts";
import { contractOf } from "../chain/chain-builder.ts";
import { freePorts } from "../free-port.ts";
import { Prng } from "../prng.ts";
import { MemoryJournal } from "./memory-journal.ts";

setDefaultTimeout(60_000);

const NAMES = ["web1", "web2", "app1", "db1"];
const dir = mkdtempSync(join(tmpdir(), "abs-ledger-"));
const events = new EventLog(join(dir, "events"), { role: "validator" });
const journals = new Map<string, MemoryJournal>();
const running = new Map<string, LedgerProcess>();

function member(name: string, port: number): FirstMember {
  return { name, host: "127.0.0.1", port, vcpu: 2, ramMib: 4096, securityScore: 50 };
}

async function start(name: string): Promise<LedgerProcess> {
  const options: ProcessOptions = {
    role: name === MASTER_FOLDER ? "master" : "validator",
    dir: join(dir, name),
    listen: undefined,
    events,
    openJournal: ({ genesis }) => {
      const journal = journals.get(name) ?? new MemoryJournal(genesis);
      journals.set(name, journal);
      return { journal, contents: journal.contents() };
    },
  };
  const process = await LedgerProcess.start(options);
  running.set(name, process);
  return process;
}

beforeAll(async () => {
  const ports = await freePorts(5);
  initLedger({
    dir,
    tenant: "test",
    master: { host: "127.0.0.1", port: ports[4] ?? 0 },
    members: NAMES.map((name, i) => member(name, ports[i] ?? 0)),
    timestamp: epochNow(),
  });
  for (const name of [...NAMES, MASTER_FOLDER]) await start(name);
});

afterAll(() => {
  for (const process of running.values()) process.stop();
  events.close();
  rmSync(dir, { recursive: true });
});

function heightOf(name: string): number {
  return running.get(name)?.runner.participant.chain.height ?? -1;
}

async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error("it did not come true in 20 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function contractFromNow(number: number) {
  const now = epochNow();
  const scLifetime = (now + 100_000) as typeof now;
  return contractJson(contractOf(number, { scLifetime, keyregen: (now + 50_000) as typeof now }));
}

const control = (name: string): string => fileIn(join(dir, name), "control");

test("four validators and a master agree on what is proposed by the control socket", async () => {
  for (let number = 1; number <= 3; number++) {
    await propose(control(MASTER_FOLDER), { contracts: [contractFromNow(number)], records: [] });
    await until(() => [...running.keys()].every((name) => heightOf(name) >= number));
  }
  const hashes = new Set(
    [...running.values()].map(({ runner }) => runner.participant.chain.blockHash),
  );
  expect(hashes.size).toBe(1);
  const status = await askStatus(control("web1"));
  expect(status).toMatchObject({ role: "validator", height: 3, tenant: "test", bad_frames: 0 });
});

test("what no block may hold is refused with its reason", async () => {
  const contract = { ...contractFromNow(9), generation: 1.5 };
  expect(propose(control(MASTER_FOLDER), { contracts: [contract], records: [] })).rejects.toThrow(
    "json-number",
  );
  const other = { ...contractFromNow(9), hash_algo: "md5" };
  expect(propose(control(MASTER_FOLDER), { contracts: [other], records: [] })).rejects.toThrow(
    "hash_algo",
  );
  expect(propose(control("web1"), { contracts: [], records: [] })).rejects.toThrow(
    "only the master",
  );
});

/** The master's signature lets it in, so all it says is read. */
function newcomer(): { readonly channel: PeerChannel; readonly keys: OwnKeys } {
  const keys = keysOfSecrets(drawSecrets());
  const master = loadKeys(fileIn(join(dir, MASTER_FOLDER), "keys"));
  const { certificate } = loadCertificate(join(dir, MASTER_FOLDER));
  const own = {
    ...certificate,
    ...{ nodeId: keys.nodeId, ledgerPub: keys.ledger.signer.publicKey, roles: ["validator"] },
    sessionPub: Buffer.from(keys.session.publicKey).toString("hex"),
    vrfPub: keys.ledger.vrf.publicKey,
  };
  const signed = signCertificate(own, master.ledger.signer);
  const channel = new PeerChannel({
    // Before every id, so that it is the one who calls.
    ...{ self: "", listen: { host: "127.0.0.1", port: 0 }, random: kernelRandom },
    noise: peerNoise(certificate.chainId, onlyKey(keys.session)),
    realm: new Uint8Array(32),
    certificate: encodeSignedCertificate(signed),
    authenticate: (bytes) => {
      const read = decodeSignedCertificate(bytes);
      return "signed" in read ? read.signed.certificate.nodeId : undefined;
    },
    onFrame: () => {},
    onNotice: () => {},
  });
  return { channel, keys };
}

test("a peer that is let in and says anything at all is counted, and changes nothing", async () => {
  const { channel, keys } = newcomer();
  const target = running.get("web2") as LedgerProcess;
  const { certificate } = loadCertificate(join(dir, "web2"));
  const key = fromHex(certificate.sessionPub) ?? new Uint8Array(0);
  const { nodeId, peerPort: port } = certificate;
  channel.meet([{ nodeId, key, host: "127.0.0.1", port }]);
  await until(() => channel.status()[0]?.isConnected === true);
  const random = new Prng(4);
  const words = encodeMessage({
    ...{ kind: "HEADERS_REQ", chainId: certificate.chainId, term: 1, height: 1, attempt: 0 },
    ...{ view: 0, signer: keys.nodeId, nonce: "00".repeat(32), count: 64 },
  } as unknown as LedgerMessage);
  let sent = 0;
  for (let i = 0; i < 2000; i++) {
    const body = i % 3 === 0 ? crypto.getRandomValues(new Uint8Array(i)) : words.slice();
    if (i % 3 === 1) body[random.below(body.length)] = random.below(256);
    const type = i % 3 === 2 ? 36 : i % 64;
    channel.send(nodeId, { flag: i % 7 === 0 ? i % 256 : 1, type, body });
    sent++;
  }
  channel.send(nodeId, { flag: 1, type: 1, body: new Uint8Array(1024 * 1024) });
  const badFrames = (): number => target.status()["bad_frames"] as number;
  await until(() => badFrames() > sent / 2);
  expect(channel.status()[0]?.isConnected).toBe(true);
  channel.close();
  await propose(control(MASTER_FOLDER), { contracts: [contractFromNow(20)], records: [] });
  await until(() => [...running.keys()].every((name) => heightOf(name) >= 4));
});

test("a folder that is in use is refused, and another role's too", async () => {
  expect(start("web1")).rejects.toThrow("Another process");
  const options = { dir: join(dir, MASTER_FOLDER), role: "validator", events, listen: undefined };
  const openJournal = () => {
    throw new Error("not opened");
  };
  expect(
    LedgerProcess.start({ ...options, openJournal } as unknown as ProcessOptions),
  ).rejects.toThrow("master's folder");
});

test("a disk that fails ends the node before it has sent what it could not keep", async () => {
  const name = NAMES[0] ?? "";
  const process = running.get(name);
  const journal = journals.get(name);
  if (process === undefined || journal === undefined) throw new Error("not running");
  journal.failure = new Error("no space left on device");
  const before = heightOf(MASTER_FOLDER);
  await propose(control(MASTER_FOLDER), { contracts: [contractFromNow(4)], records: [] });
  expect(process.ended).rejects.toThrow("no space left on device");
  // The other three are a quorum of four.
  const others = [...running.keys()].filter((other) => other !== name);
  await until(() => others.every((other) => heightOf(other) > before));
  expect(journal.blocks.size).toBe(before);
});
