/**
 * Static keys that change while sessions run. docs/wire.md "A key that changes". Each node first
 * answers with the next key too, then peers hear of it, then it is its own alone, then peers forget
 * the old one; both nodes do so at once, in any order of their steps. Replay a failure with SEED.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { OwnSecrets, PeerConfig, SessionsConfig } from "../../src/session/session-api.ts";
import { KeyPair } from "../../src/session/x25519.ts";
import { TENANT_TAG } from "../../src/units.ts";
import { Prng, seed } from "../prng.ts";
import { APP1, type Pair, PEER, pairOf, SECRET_A, SECRET_B, TAGS } from "./setup.ts";
import type { SimulatedAgent } from "./simulated-agent.ts";

const NEXT_A = new Uint8Array(32).fill(0xa7);
const NEXT_B = new Uint8Array(32).fill(0xb8);
const TRAFFIC_ROUNDS = 3;
const RESTART_ROUNDS = 12;
/** Well over the pauses between attempts of one handshake. */
const HANDSHAKE_SECONDS = 3;

setDefaultTimeout(60_000);

function publicOf(secret: Uint8Array): Uint8Array {
  return new KeyPair(secret).publicKey;
}

/** As an update brings it, and as the next start finds it. */
function become(agent: SimulatedAgent, identity: OwnSecrets): void {
  Object.assign(agent.setup.config, { identity });
  agent.step({ type: "identity", identity });
}

function know(agent: SimulatedAgent, keys: Pick<PeerConfig, "staticPublic" | "otherPublic">): void {
  const peers: SessionsConfig["peers"] = [{ id: "other", entitledTags: [APP1], ...keys }];
  Object.assign(agent.setup.config, { peers });
  agent.step({ type: "peers", peers, tags: TAGS });
}

/** The four steps of one node's change, as its manager takes them. */
function stepsOf(node: SimulatedAgent, peer: SimulatedAgent, old: Uint8Array, next: Uint8Array) {
  return [
    () => become(node, { staticSecret: old, otherSecret: next }),
    () => know(peer, { staticPublic: publicOf(next), otherPublic: publicOf(old) }),
    () => become(node, { staticSecret: next }),
    () => know(peer, { staticPublic: publicOf(next) }),
  ];
}

/** Both nodes' steps, each node's in order. */
function interleaved({ a, b }: Pair, prng: Prng): (() => void)[] {
  const queues = [stepsOf(a, b, SECRET_A, NEXT_A), stepsOf(b, a, SECRET_B, NEXT_B)];
  const steps: (() => void)[] = [];
  for (;;) {
    const left = queues.filter((queue) => queue.length > 0);
    const step = left[prng.below(left.length)]?.shift();
    if (step === undefined) return steps;
    steps.push(step);
  }
}

describe(`SEED=${seed}`, () => {
  test("in any order of steps nothing is lost, and no session ends because of them", () => {
    const prng = new Prng(seed);
    for (let round = 0; round < TRAFFIC_ROUNDS; round++) {
      const pair = pairOf(seed + round);
      const { network, a, b } = pair;
      network.weather.delay = [100, 30_000];
      const next = payloads();
      const talk = (): void => {
        a.send(PEER, APP1, 0, next());
        if (b.delivered.length > 0) b.send(PEER, APP1, 1, next());
        b.send(PEER, TENANT_TAG, 0, next());
      };
      network.run(1, talk);
      for (const step of interleaved(pair, prng)) {
        step();
        // Sometimes at once, sometimes with a renegotiation in between (busytime is 600 s).
        network.run(prng.oneIn(3) ? 400 : prng.below(20) / 10, talk);
      }
      network.run(700, talk);
      network.run(1);
      const delivered = [...a.delivered, ...b.delivered].sort((left, right) => left - right);
      expect(delivered).toEqual(Array.from({ length: next() - 1 }, (_, i) => i + 1));
      const reasons = [a, b].flatMap((one) => one.outputsOf("close").map(({ reason }) => reason));
      expect(new Set(reasons)).toEqual(new Set(["replaced"]));
    }
  });

  test("after each step either node, started again, has its sessions by itself", () => {
    const prng = new Prng(seed);
    for (let round = 0; round < RESTART_ROUNDS; round++) {
      const pair = pairOf(seed + round);
      const { network, a, b } = pair;
      const next = payloads();
      for (const step of interleaved(pair, prng)) {
        step();
        for (const agent of [a, b]) {
          agent.restart();
          const other = agent === a ? b : a;
          const payload = next();
          agent.send(PEER, TENANT_TAG, 0, payload);
          network.run(HANDSHAKE_SECONDS);
          expect(other.delivered).toContain(payload);
        }
      }
    }
  });

  test("a cookie is for the key that was written to", () => {
    const { network, a, b } = pairOf(seed);
    become(b, { staticSecret: SECRET_B, otherSecret: NEXT_B });
    know(a, { staticPublic: publicOf(NEXT_B), otherPublic: publicOf(SECRET_B) });
    b.isUnderLoad = true;
    a.send(PEER, APP1, 0, 1);
    network.run(0.1);
    expect(b.delivered).toEqual([1]);
    expect(a.sessions.refusals.get("cookie-forged")).toBe(0);
  });

  test("a handshake that was begun with the old key goes again with the new one", () => {
    const { network, a, b } = pairOf(seed);
    know(b, { staticPublic: publicOf(NEXT_A), otherPublic: publicOf(SECRET_A) });
    network.weather.delay = [50_000, 50_000];
    a.send(PEER, APP1, 0, 1);
    network.run(0.05);
    become(a, { staticSecret: NEXT_A });
    network.run(HANDSHAKE_SECONDS);
    expect(b.delivered).toEqual([1]);
  });

  test("after the overlap nobody begins with the old key, or to it", () => {
    const pair = pairOf(seed);
    const { network, a, b } = pair;
    for (const step of stepsOf(a, b, SECRET_A, NEXT_A)) step();
    // Whoever has stolen the old key.
    Object.assign(a.setup.config, { identity: { staticSecret: SECRET_A } });
    a.restart();
    a.send(PEER, APP1, 0, 1);
    network.run(HANDSHAKE_SECONDS);
    expect(b.sessions.refusals.get("static-unknown")).toBeGreaterThan(0);
    // Whoever still knows no other.
    Object.assign(a.setup.config, { identity: { staticSecret: NEXT_A } });
    a.restart();
    know(b, { staticPublic: publicOf(SECRET_A) });
    b.send(PEER, TENANT_TAG, 0, 2);
    network.run(HANDSHAKE_SECONDS);
    expect(a.sessions.refusals.get("mac1")).toBeGreaterThan(0);
    expect([...a.delivered, ...b.delivered]).toEqual([]);
  });

  test("a peer without any of its keys is another: its sessions end", () => {
    const { network, a, b } = pairOf(seed);
    a.send(PEER, APP1, 0, 1);
    network.run(0.1);
    know(b, { staticPublic: publicOf(NEXT_A) });
    expect(b.outputsOf("close").map(({ reason }) => reason)).toEqual(["peer-changed"]);
  });
});

/** Numbers that all differ, from 1. */
function payloads(): () => number {
  let last = 0;
  return () => ++last;
}
