/**
 * Punts for the decoder fuzzer: what the worker hands over of the network's frames, read by the
 * agent's own punt reader and session driver over a real session machine. None may make it throw.
 */
import { parseProvisioning, policyNames } from "../../src/agent/provisioning.ts";
import { PuntReader } from "../../src/agent/punt-reader.ts";
import { Routes } from "../../src/agent/routes.ts";
import { SessionDriver } from "../../src/agent/session-driver.ts";
import { PUNT } from "../../src/dataplane/control-records.ts";
import { newRing, RecordRing } from "../../src/dataplane/record-ring.ts";
import { compileSignatures } from "../../src/dpi/compile.ts";
import { compilePolicy } from "../../src/policy/compile.ts";
import type { Micros, WallMillis } from "../../src/units.ts";
import { machineOf } from "../session/forging.ts";
import { START_WALL } from "../session/simulated-network.ts";
import { mutate } from "./decoder-mutator.ts";
import { seedCorpus } from "./decoder-targets.ts";
import { anyOf } from "./document-mutator.ts";
import type { DecoderTarget } from "./fuzz-target.ts";
import { spoilt } from "./memory-targets.ts";
import type { Prng } from "./prng.ts";

const FRAME_PUNTS = [PUNT.handshake, PUNT.reject, PUNT.unknownIndex, PUNT.packetTooBig];
/** Records of one size, which the worker fills whole. */
const FIXED_PUNTS = [PUNT.need, PUNT.confirmed, PUNT.event, PUNT.rejected, PUNT.sync, PUNT.resumed];
const LINK = [2, 0xab, 5, 0, 0, 0x11, 2, 0xab, 5, 0, 0, 0x12, 8, 0];
const [OWN, PEER] = [
  [10, 77, 0, 11],
  [10, 77, 0, 12],
];
const DIRECTION = { algorithm: 1, key: new Uint8Array(16).fill(7), confidential: false };

type Punt = { readonly type: number; readonly bytes: Uint8Array };

function readerOf(ring: RecordRing, text: string, file: string): PuntReader {
  const provisioning = parseProvisioning(text, file);
  const table = { find: () => 0, lastSentUs: new Float64Array(64), state: new Uint32Array(64) };
  const nothing = () => {};
  const worker = {
    punts: ring,
    sessions: table,
    send: nothing,
    sendBytes: nothing,
    synced: nothing,
  };
  const parts = {
    sessions: machineOf("b"),
    worker,
    shim: { setKey: nothing },
    events: { write: nothing },
    routes: new Routes(provisioning),
    provisioning,
    saveStamp: nothing,
    onChange: nothing,
  };
  const driver = new SessionDriver(parts as never);
  const both = { in: DIRECTION, out: DIRECTION, myRole: 0, receiverIndex: 0x1001, sendNow: false };
  driver.installed.set(0 as never, { ...both, slot: 0, peer: 0, tag: 1, remoteIndex: 5 } as never);
  const names = {
    provisioning,
    policy: compilePolicy(provisioning.policy, policyNames(provisioning)),
    signatures: compileSignatures(provisioning.signatures, () => 1),
  };
  return new PuntReader(worker as never, driver, names, 1500, nothing);
}

/** An ABS message as the peer sends it, in a frame whose headers may lie. */
function frameWith(prng: Prng, message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(34 + message.length);
  frame.set(LINK);
  frame.set([0x45, 0, (20 + message.length) >> 8, 20 + message.length], 14);
  frame.set([...PEER, ...OWN], 26);
  frame.set(message, 34);
  return prng.below(3) === 0 ? spoilt(prng, frame) : frame;
}

export function puntTarget(provisioning: string, file: string): DecoderTarget {
  const ring = new RecordRing(newRing(16_384));
  const reader = readerOf(ring, provisioning, file);
  const seeds = Object.values(seedCorpus());
  let micros = 1_000_000;
  return {
    name: "punts",
    share: 6,
    limitMs: 100,
    reasons: [],
    make(prng): Punt {
      if (prng.below(4) === 0) {
        const bytes = spoilt(prng, new Uint8Array(128), 0, 6);
        const whole = new Uint8Array(128);
        whole.set(bytes);
        return { type: anyOf(prng, FIXED_PUNTS), bytes: whole };
      }
      const message = mutate(prng, anyOf(prng, seeds), anyOf(prng, seeds));
      const frame = frameWith(
        prng,
        prng.below(4) === 0 ? message.slice(0, prng.below(40)) : message,
      );
      const bytes = new Uint8Array(4 + frame.length);
      bytes[0] = prng.below(8) === 0 ? prng.below(256) : 34;
      bytes.set(frame, 4);
      return { type: anyOf(prng, FRAME_PUNTS), bytes };
    },
    run({ type, bytes }: Punt) {
      const at = ring.begin(type, bytes.length);
      ring.bytes.set(bytes, at);
      ring.commit();
      micros += 1000;
      const wall = (START_WALL + micros / 1000) as WallMillis;
      while (reader.turn(micros as Micros, wall));
      reader.age(micros as Micros);
      return undefined;
    },
  };
}
