/**
 * Fuzzes both ends of the manager channel as they are put together: frame channels on streams that
 * are cut anywhere, the manager's side of an enrolment and of an agent's channel on real tables,
 * the agent's side against a lying manager. What is altered begins as a talk that works. Run:
 *     [SEED=n] [CHANNEL_SECONDS=n] bun test/fuzz/manager-channel-fuzz.ts
 * Exit code 1 and a message when anything but an AbsError is thrown, a round takes longer than its
 * limit or does not end, too few get through, a frame is larger than what came, or memory grows.
 */
import { heapSize } from "bun:jsc";
import { Duplex } from "node:stream";
import { canonicalJson } from "../../src/chain/canonical-json.ts";
import { readState } from "../../src/channel/agent-state.ts";
import { ChannelTalk } from "../../src/channel/channel-talk.ts";
import { checkState, isOverKeys } from "../../src/channel/enrolment-client.ts";
import { readChallenge } from "../../src/channel/enrolment-messages.ts";
import { decodeToken, encodeToken } from "../../src/channel/enrolment-token.ts";
import { ENROLMENT, UPDATE } from "../../src/channel/message-reading.ts";
import { KEY_KINDS, offerJson } from "../../src/channel/renewal-messages.ts";
import { AbsError } from "../../src/errors.ts";
import { AgentSession } from "../../src/manager/agent-session.ts";
import { RenewalTalk } from "../../src/manager/renewal-talk.ts";
import { ledgerKeysOf } from "../../src/node/node-keys.ts";
import { FrameChannel } from "../../src/ssh/frame-channel.ts";
import type { EpochSeconds } from "../../src/units.ts";
import {
  encodeManagerFrame,
  MANAGER_FLAG,
  type ManagerFrame,
} from "../../src/wire/manager-frame.ts";
import { altered, ChannelSite, spoilt } from "./channel-site.ts";
import { anyOf, mutatedText } from "./document-mutator.ts";
import { Prng, seedOfRun } from "./prng.ts";

const SECONDS = Number(process.env["CHANNEL_SECONDS"] ?? 20);
const WARM_UP_SHARE = 0.5;
const HEAP_GROWTH_BYTES_MAX = 4_000_000;
/** A round with a dozen signatures, on a busy machine. */
const LIMIT_MS = 2000;
const GOOD_SHARE_MIN = 0.1;
const FAULTS_SHOWN = 5;
const SAMPLE_MS = 500;
const COLLECTIONS = 4;
const DRIPPED_BYTES = 1 << 20;

const site = new ChannelSite();
const kept = site.newAgent();
const { answer: welcome, nodeId: keptId = "" } = site.enrol(kept, "kept", (frame) => frame);
const nextKeys = {
  sshSeed: new Uint8Array(32).fill(5),
  ledger: ledgerKeysOf("06".repeat(32), "07".repeat(32)),
};
const limits = { waitingBytesMax: 1 << 20, stallMs: 60_000 };

/** One end of a stream; what is written to it is counted. */
class Line extends Duplex {
  writtenBytes = 0;

  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: string, taken: () => void): void {
    this.writtenBytes += chunk.length;
    taken();
  }

  /** In pieces, cut anywhere; then it ends. */
  feed(prng: Prng, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const end = at + 1 + prng.below(prng.below(4) === 0 ? 3 : 4000);
      this.push(bytes.slice(at, end));
      at = end;
    }
    this.push(null);
  }
}

function streamOf(prng: Prng, frames: readonly ManagerFrame[]): Uint8Array {
  const bytes = frames.map((one) => encodeManagerFrame(altered(prng, one), site.tag));
  const stream = new Uint8Array(Buffer.concat(bytes));
  return prng.below(4) === 0 ? spoilt(prng, stream) : stream;
}

/** True: it got through. */
type Round = (prng: Prng) => boolean | Promise<boolean>;

const frames: Round = async (prng) => {
  const line = new Line();
  const channel = new FrameChannel(line, { tag: site.tag, bodyBytesMax: 1 << 16, ...limits });
  const sent = Array.from({ length: prng.below(6) }, () => ({
    ...{ flag: prng.below(256), type: prng.below(256) },
    body: new Uint8Array(prng.below(prng.below(4) === 0 ? 65_536 : 300)).fill(prng.below(256)),
  }));
  const stream = new Uint8Array(
    Buffer.concat(sent.map((one) => encodeManagerFrame(one, site.tag))),
  );
  const came = prng.below(2) === 0 ? spoilt(prng, stream) : stream;
  let [bodyBytes, count] = [0, 0];
  await new Promise<void>((ended) => {
    const frame = ({ body }: ManagerFrame): void => {
      bodyBytes += body.length;
      count++;
    };
    channel.open({ frame, ended: () => ended() });
    line.feed(prng, came);
  });
  if (bodyBytes > came.length) throw new Error(`${bodyBytes} bytes of ${came.length}`);
  if (came === stream && count !== sent.length) throw new Error(`${count} of ${sent.length}`);
  return count === sent.length;
};

const enrolment: Round = (prng) => {
  const { nodeId } = site.enrol(site.newAgent(), anyOf(prng, ["a", "b"]), (frame) =>
    altered(prng, frame),
  );
  if (nodeId !== undefined) site.forget(nodeId);
  return nodeId !== undefined;
};

const session: Round = (prng) => {
  let answers = 0;
  const send = (): void => void answers++;
  const parts = { state: site.state, crypto: site.crypto, agreed: () => void answers++ };
  const areKeysCounted = () => true;
  let challenge: string | undefined;
  const tell = ({ type, body }: ManagerFrame): void => {
    if (type !== UPDATE.renew) return send();
    challenge = JSON.parse(Buffer.from(body).toString()).session_pub;
  };
  const renewal = new RenewalTalk(keptId, { ...parts, send: tell, areKeysCounted });
  const heard = { refused: send, applied: () => {}, violations: send, flows: send };
  const seams = { send, ...heard, renewal };
  const agent = new AgentSession(site.state, keptId, "t1", seams);
  const flag = MANAGER_FLAG.update;
  const refusal = { code: "X", what: "it is wrong", remedy: "mend it" };
  site.state.renewals.ask(keptId, KEY_KINDS, site.state.now());
  renewal.begin();
  const words = { managerKey: site.managerKey.toHex(), nodeId: keptId, challenge };
  const offer = offerJson(nextKeys, words, kept.keys.ledger.signer);
  for (let i = prng.below(5); i >= 0; i--) {
    const held = {
      session_pub: "07".repeat(32),
      count: 1 + prng.below(9),
      reason: "policy-denied",
    };
    const [type, value] = anyOf(prng, [
      [UPDATE.violations, { peers: [held] }],
      [UPDATE.fetch, {}],
      [UPDATE.fetch, { have: { neighbours: "ab".repeat(32), policy: "cd".repeat(32) } }],
      [UPDATE.applied, { version: 1 + prng.below(9) }],
      [UPDATE.refused, refusal],
      [UPDATE.offer, offer],
      [UPDATE.agreed, { new_signature: "ab".repeat(64), old_signature: "cd".repeat(64) }],
    ] as const);
    agent.take(altered(prng, { flag, type, body: canonicalJson(value) }));
  }
  return answers > 0;
};

/** The agent's side, of a manager that says what it likes and then goes. */
const talk: Round = async (prng) => {
  const line = new Line();
  const agent = new ChannelTalk(line, site.tag);
  const flag = MANAGER_FLAG.enrolment;
  const challenge = { nonce: "ab".repeat(32), session_pub: "cd".repeat(32) };
  const said: ManagerFrame[] = [
    { flag, type: ENROLMENT.challenge, body: canonicalJson(challenge) },
    { flag, type: ENROLMENT.welcome, body: welcome?.body ?? new Uint8Array(0) },
  ];
  const announced = canonicalJson({ version: 3 });
  const announcement = { flag: MANAGER_FLAG.update, type: UPDATE.changed, body: announced };
  for (let i = prng.below(80); i > 60; i--) said.splice(prng.below(3), 0, announcement);
  line.feed(prng, streamOf(prng, said));
  await agent.next(flag, ENROLMENT.challenge, readChallenge);
  const state = await agent.next(flag, ENROLMENT.welcome, readState);
  checkState(state, { managerKey: site.managerKey, isOurs: (mine) => isOverKeys(mine, kept.keys) });
  return true;
};

const token: Round = (prng) => {
  const word = encodeToken({
    ...{ host: anyOf(prng, ["10.0.0.9", "manager.example"]), port: 7022 },
    ...{ expiresAt: 2_000_000_000 as EpochSeconds, seed: new Uint8Array(32).fill(3) },
    ...{ managerKey: site.managerKey, hostDigest: new Uint8Array(32).fill(7) },
  });
  const text = prng.below(2) === 0 ? word : mutatedText(prng, word);
  return decodeToken(text).port === 7022;
};

const rounds: Readonly<Record<string, Round>> = { frames, enrolment, session, talk, token };
const counts = new Map(Object.keys(rounds).map((name) => [name, { all: 0, good: 0, slowMs: 0 }]));
const faults: string[] = [];

async function play(name: string, round: Round, prng: Prng): Promise<void> {
  const count = counts.get(name) ?? { all: 0, good: 0, slowMs: 0 };
  const { seed } = prng;
  const start = performance.now();
  try {
    if (await round(prng)) count.good++;
  } catch (thrown) {
    const stack = thrown instanceof Error ? thrown.stack : String(thrown);
    if (!(thrown instanceof AbsError)) faults.push(`${name} (SEED=${seed}): ${stack}`);
  }
  const tookMs = performance.now() - start;
  count.all++;
  count.slowMs = Math.max(count.slowMs, tookMs);
  if (tookMs > LIMIT_MS) faults.push(`${name} (SEED=${seed}) took ${tookMs} ms`);
}

/** The least heap in bytes of several moments of it: the collector frees some things in bursts. */
async function playFor(seconds: number, prng: Prng): Promise<number> {
  const end = performance.now() + seconds * 1000;
  let least = Number.POSITIVE_INFINITY;
  while (performance.now() < end && faults.length < FAULTS_SHOWN) {
    const sampleMs = performance.now() + SAMPLE_MS;
    while (performance.now() < sampleMs) {
      for (const [name, round] of Object.entries(rounds)) {
        await play(name, round, new Prng(prng.next()));
      }
    }
    least = Math.min(least, await restingHeap());
  }
  return least;
}

/** What finalizers hold is given back between two turns of the event loop. */
async function restingHeap(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < COLLECTIONS; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    Bun.gc(true);
    least = Math.min(least, heapSize());
  }
  return least;
}

/** A body that comes byte by byte costs what it is long, not an object a byte. */
async function drip(): Promise<void> {
  const line = new Line();
  const channel = new FrameChannel(line, { tag: site.tag, bodyBytesMax: DRIPPED_BYTES, ...limits });
  channel.open({ frame: () => {}, ended: () => {} });
  const body = new Uint8Array(DRIPPED_BYTES);
  const stream = encodeManagerFrame({ flag: 1, type: 1, body }, site.tag).subarray(0, -1);
  const before = await restingHeap();
  for (let i = 0; i < stream.length; i++) {
    line.push(stream.slice(i, i + 1));
    while (line.readableLength > 1000) await new Promise((resolve) => setImmediate(resolve));
  }
  const grown = (await restingHeap()) - before;
  channel.close();
  if (grown > 6 * DRIPPED_BYTES) faults.push(`a dripped body of 1 MiB holds ${grown} bytes`);
}

const seed = seedOfRun();
console.log(`SEED=${seed}, ${SECONDS} s for the manager channel`);
const prng = new Prng(seed);
await drip();
const before = await playFor(SECONDS * WARM_UP_SHARE, prng);
const growth = (await playFor(SECONDS * (1 - WARM_UP_SHARE), prng)) - before;
for (const [name, { all, good, slowMs }] of counts) {
  console.log(`${name}: ${all} rounds, ${good} got through, the slowest ${slowMs.toFixed(0)} ms`);
  if (good < all * GOOD_SHARE_MIN) faults.push(`${name}: only ${good} of ${all} got through`);
  if (good === all) faults.push(`${name}: nothing was altered`);
}
if (growth > HEAP_GROWTH_BYTES_MAX) faults.push(`our objects grew by ${growth} bytes`);
for (const fault of faults.slice(0, FAULTS_SHOWN)) console.log(`  FAULT ${fault}`);
site.close();
process.exit(faults.length > 0 ? 1 : 0);
