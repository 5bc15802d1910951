/**
 * Single steps of a session's life that a simulation reaches only by luck: docs/wire.md
 * "Confirmation", "Lifetimes", "Dead peers". One machine alone, its outputs in hand.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { SessionsOutput } from "../../src/session/session-api.ts";
import type { Sessions } from "../../src/session/sessions.ts";
import { type Micros, type SessionSlot, TENANT_TAG, type WallMillis } from "../../src/units.ts";
import { cookieFrom, forgeInitiation, forgeResponse, hand, machineOf, sentBy } from "./forging.ts";
import { APP1, contractOf, PEER, pairOf, SECOND_SC_ID } from "./setup.ts";
import { START_WALL } from "./simulated-network.ts";

setDefaultTimeout(60_000);

const NEVER = 0 as Micros;

function microsAt(seconds: number): Micros {
  return (1_000_000 + seconds * 1_000_000) as Micros;
}

function at(sessions: Sessions, seconds: number): SessionsOutput[] {
  const wall = (START_WALL + seconds * 1000) as WallMillis;
  return sessions.step({ type: "time", now: microsAt(seconds), wall });
}

/** Outputs as "type slot", notices left out. */
function said(outputs: readonly SessionsOutput[]): string[] {
  return outputs.flatMap((output) => {
    if (output.type === "event") return [];
    return "slot" in output ? [`${output.type} ${output.slot}`] : [output.type];
  });
}

function confirm(sessions: Sessions, slot: number): string[] {
  return said(sessions.step({ type: "confirmed", slot: slot as SessionSlot }));
}

function activity(
  sessions: Sessions,
  slot: number,
  seen: { sent?: number; received?: number; heard?: number; packets?: number },
): string[] {
  const micros = (seconds: number | undefined) =>
    seconds === undefined ? NEVER : microsAt(seconds);
  return said(
    sessions.step({
      type: "activity",
      slot: slot as SessionSlot,
      lastSent: micros(seen.sent),
      lastReceived: micros(seen.received),
      lastHeard: micros(seen.heard ?? seen.received),
      packetsSent: seen.packets ?? 0,
    }),
  );
}

/** B with this many unconfirmed sessions, slots 0, 1, …, of initiations 100 ms apart. */
function responder(count: number): Sessions {
  const b = machineOf("b");
  const cookie = cookieFrom(b);
  for (let i = 0; i < count; i++) {
    at(b, i / 10);
    hand(b, forgeInitiation({ cookie }));
  }
  return b;
}

/** A with a session in slot 0 that B has not been heard under. */
function initiator(): Sessions {
  const a = machineOf("a");
  const [sent] = sentBy(a.step({ type: "need", peer: PEER, tag: APP1, role: 0 }));
  if (sent === undefined) throw new Error("A sends an initiation");
  expect(said(hand(a, forgeResponse(sent)))).toEqual(["install 0", "keepalive 0"]);
  return a;
}

describe("confirmation", () => {
  test("the responder uses the session from the first DATA on, and answers once", () => {
    const b = responder(1);
    expect(b.list()[0]?.phase).toBe("unconfirmed");
    expect(confirm(b, 0)).toEqual(["use 0", "keepalive 0"]);
    expect(confirm(b, 0)).toEqual([]);
    expect(b.list()[0]?.phase).toBe("live");
  });

  test("a report of activity confirms as well: the first report may have been lost", () => {
    const b = responder(1);
    expect(activity(b, 0, { received: 0.2 })).toEqual(["use 0", "keepalive 0"]);
  });

  test("the older of two, confirmed late, does not become the one in use", () => {
    const b = responder(2);
    expect(confirm(b, 1)).toEqual(["use 1", "keepalive 1"]);
    expect(confirm(b, 0)).toEqual(["retire 0"]);
    expect(said(at(b, 5.2))).toEqual(["close 0"]);
    expect(said(b.step({ type: "need", peer: PEER, tag: APP1, role: 1 }))).toEqual(["use 1"]);
  });

  test("the newer of two retires the older, which receives for 5 s more", () => {
    const b = responder(2);
    confirm(b, 0);
    expect(confirm(b, 1)).toEqual(["use 1", "retire 0", "keepalive 1"]);
    expect(said(at(b, 5))).toEqual([]);
    expect(said(at(b, 5.2))).toEqual(["close 0"]);
  });

  test("an unconfirmed session is not used and goes after 5 s", () => {
    const b = responder(1);
    const asked = said(b.step({ type: "need", peer: PEER, tag: APP1, role: 1 }));
    expect(asked).toContain("send");
    expect(asked).not.toContain("use 0");
    expect(said(at(b, 5)).filter((word) => word !== "send")).toContain("close 0");
  });

  test("the initiator repeats its keep-alive until it hears the responder", () => {
    const a = initiator();
    const times = [0.2, 0.3, 0.7, 0.8, 1.7, 1.8, 3.7, 3.8, 4.9];
    const spoken = times.filter((time) => said(at(a, time)).includes("keepalive 0"));
    expect(spoken).toEqual([0.3, 0.8, 1.8, 3.8]);
    // Nothing heard: the responder may never have had the session.
    expect(said(at(a, 5.1))).toContain("send");
    const outputs: string[] = [];
    for (let time = 5.2; time < 10.3; time += 0.1) outputs.push(...said(at(a, time)));
    expect(outputs).toContain("close 0");
    expect(outputs).toContain("failed");
    expect(a.list()).toEqual([]);
  });

  test("once it hears the responder it is quiet", () => {
    const a = initiator();
    at(a, 0.1);
    confirm(a, 0);
    for (let time = 0.2; time < 9; time += 0.1) expect(said(at(a, time))).toEqual([]);
  });
});

describe("idleness", () => {
  test("what arrives in the last 5 s keeps the session, and it is used again", () => {
    const b = responder(1);
    confirm(b, 0);
    expect(said(at(b, 180))).toEqual(["retire 0"]);
    expect(said(b.step({ type: "need", peer: PEER, tag: APP1, role: 1 }))).not.toContain("use 0");
    at(b, 182);
    expect(activity(b, 0, { received: 181 })).toEqual(["use 0"]);
    expect(said(at(b, 186))).not.toContain("close 0");
    expect(b.list()[0]?.phase).toBe("live");
  });

  test("an empty packet does not", () => {
    const b = responder(1);
    confirm(b, 0);
    at(b, 180);
    at(b, 182);
    expect(activity(b, 0, { heard: 181 })).toEqual([]);
    expect(said(at(b, 185))).toEqual(["close 0"]);
  });
});

describe("liveness", () => {
  test("received and nothing to send for 10 s: one keep-alive", () => {
    const b = responder(1);
    confirm(b, 0);
    at(b, 3);
    activity(b, 0, { received: 3 });
    expect(said(at(b, 12.9))).toEqual([]);
    expect(said(at(b, 13))).toEqual(["keepalive 0"]);
    activity(b, 0, { received: 3 });
    expect(said(at(b, 30))).toEqual([]);
  });

  test("sent and nothing received for 15 s: a handshake, again every 10 s", () => {
    const b = responder(1);
    confirm(b, 0);
    at(b, 3);
    activity(b, 0, { sent: 3, heard: 0.1 });
    expect(said(at(b, 17.9))).toEqual([]);
    expect(said(at(b, 18))).toContain("send");
    const sends: number[] = [];
    for (let time = 18.1; time < 40; time += 0.1) {
      if (said(at(b, time)).includes("send")) sends.push(Math.round(time));
    }
    expect(sends).toContain(28);
    expect(b.list().length).toBe(1);
  });

  test("an answer of any kind ends the silence", () => {
    const b = responder(1);
    confirm(b, 0);
    at(b, 10);
    activity(b, 0, { sent: 3, heard: 9 });
    expect(said(at(b, 18))).toEqual([]);
  });

  test("a hint is followed once in 5 s, and only when it names a session in use", () => {
    const b = responder(1);
    confirm(b, 0);
    const { remoteIndex } = b.list()[0] ?? { remoteIndex: 0 };
    const hint = (unknownIndex: number) =>
      said(b.step({ type: "unknown-index", peer: PEER, unknownIndex }));
    expect(hint(remoteIndex ^ 1)).toEqual([]);
    expect(hint(remoteIndex)).toContain("send");
    for (let i = 0; i < 50; i++) expect(hint(remoteIndex)).toEqual([]);
    for (let time = 0.1; time < 5.3; time += 0.1) at(b, time);
    expect(b.pendingCount).toBe(0);
    expect(hint(remoteIndex)).toContain("send");
    expect(b.list().length).toBe(1);
  });
});

test("a hint makes one handshake in 5 s, also when that was answered", () => {
  const { network, a, b } = pairOf(9);
  a.send(PEER, TENANT_TAG, 0, 1);
  network.run(1);
  const hint = () => {
    const [newest] = b.sessions.list().slice(-1);
    const unknownIndex = newest?.remoteIndex ?? 0;
    b.step({ type: "unknown-index", peer: PEER, unknownIndex });
    network.run(1);
    return b.outputsOf("install").length;
  };
  expect([hint(), hint(), hint()]).toEqual([2, 2, 2]);
  network.run(2.5);
  expect(hint()).toBe(3);
  // B's second replaces its first; the session that A initiated stays.
  expect(a.outputsOf("retire").map(({ slot }) => slot as number)).toEqual([1]);
  expect(a.sessions.list().filter(({ initiator }) => initiator).length).toBe(1);
});

test("with two sessions for a binding, the loss of one leaves the other in use", () => {
  const { network, a, b } = pairOf(7);
  network.weather.delay = [5_000, 5_000];
  a.send(PEER, TENANT_TAG, 0, 1);
  b.send(PEER, TENANT_TAG, 0, 2);
  network.run(1);
  expect(a.sessions.list().length).toBe(2);
  const [current] = a.outputsOf("use").slice(-1);
  if (current === undefined) throw new Error("a uses a session");
  const packetsSent = 2 ** 41;
  const now = network.now;
  const seen = { lastSent: now, lastReceived: now, lastHeard: now, packetsSent };
  const outputs = a.step({ type: "activity", slot: current.slot, ...seen });
  const other = a.sessions.list().find(({ slot }) => slot !== current.slot);
  expect(said(outputs)).toEqual([`retire ${current.slot}`, `use ${other?.slot}`]);
});

test("the smaller busy lifetime of the two contracts counts", () => {
  const contracts = [
    contractOf({ busytime: 600 }),
    contractOf({ "sc-id": SECOND_SC_ID, busytime: 50 }),
  ];
  const rules = { 0: contracts[0]?.scId, 1: contracts[1]?.scId };
  for (const [mine, theirs] of [
    [rules[0], rules[1]],
    [rules[1], rules[0]],
  ]) {
    const { network, a, b } = pairOf(3, { contracts });
    for (const [agent, scId] of [
      [a, mine],
      [b, theirs],
    ] as const) {
      const announced = new Map([[scId ?? "", 1]]);
      const peers = agent.setup.config.peers.map((peer) => ({ ...peer, announced }));
      agent.step({ type: "peers", peers, tags: agent.setup.config.tags });
    }
    let payload = 0;
    network.run(100, () => a.send(PEER, APP1, 0, ++payload));
    expect(a.outputsOf("install").length).toBe(3);
  }
});

test("a role that may not be is not asked for twice: tenant sessions have none", () => {
  const a = machineOf("a");
  expect(said(a.step({ type: "need", peer: PEER, tag: TENANT_TAG, role: 1 }))).toContain("send");
  expect(said(a.step({ type: "need", peer: PEER, tag: TENANT_TAG, role: 0 }))).toEqual([]);
  expect(a.pendingCount).toBe(1);
});

describe("a server that speaks when its session is gone", () => {
  test.each([
    [true, [1, 2]],
    [false, [1]],
  ] as const)("with an allowed flow at the client: %p", (isAllowed, delivered) => {
    const { network, a, b } = pairOf(5, { a: { hasAllowedFlow: () => isAllowed } });
    a.send(PEER, APP1, 0, 9);
    network.run(1);
    b.send(PEER, APP1, 1, 1);
    network.run(3600);
    expect(a.sessions.list().length + b.sessions.list().length).toBe(0);
    b.send(PEER, APP1, 1, 2);
    network.run(6);
    expect(a.delivered).toEqual([...delivered]);
    expect(a.sessions.refusals.get("role")).toBe(isAllowed ? 0 : 5);
    expect(b.dropped).toBe(isAllowed ? 0 : 1);
  });
});
