/**
 * Every way a handshake message is refused, one row a reason at least; docs/wire.md "HANDSHAKE".
 * A refused message is counted under its reason, makes no session, and is answered by nothing (but
 * a cookie where one was asked for).
 */
import { describe, expect, test } from "bun:test";
import { REFUSALS, type Refusal } from "../../src/session/refusals.ts";
import type { SessionsOutput } from "../../src/session/session-api.ts";
import type { Sessions } from "../../src/session/sessions.ts";
import { KeyPair } from "../../src/session/x25519.ts";
import type { EpochSeconds, Micros, Role, WallMillis } from "../../src/units.ts";
import { encodeCookieReply } from "../../src/wire/cookie-reply.ts";
import { viewOf } from "../../src/wire/header.ts";
import {
  cookieFrom,
  type Forgery,
  forgeInitiation,
  forgeResponse,
  forgeToken,
  hand,
  KEYS_A,
  KEYS_B,
  machineOf,
  sentBy,
  useOf,
} from "./forging.ts";
import {
  APP1,
  APP2,
  contractOf,
  PEER,
  SECOND_SC_ID,
  secretOf,
  TAGS,
  TENANT_A,
  TENANT_B,
} from "./setup.ts";
import { START_WALL } from "./simulated-network.ts";

type Row = { readonly name: string; readonly reason: Refusal; readonly outputs: () => Outcome };
type Outcome = { readonly sessions: Sessions; readonly outputs: SessionsOutput[] };

/** Hands B what `make` gives; B has given A a cookie before. */
function toB(make: (cookie: Uint8Array) => Uint8Array, changes = {}): Outcome {
  const sessions = machineOf("b", changes);
  const message = make(cookieFrom(sessions));
  return { sessions, outputs: hand(sessions, message) };
}

function initiation(forgery: Forgery, changes = {}): Outcome {
  return toB((cookie) => forgeInitiation({ cookie, ...forgery }), changes);
}

function altered(change: (message: Uint8Array) => Uint8Array): Outcome {
  return toB((cookie) => change(forgeInitiation({ cookie })));
}

/** An initiation with these bytes from `offset` on. */
function withBytes(offset: number, ...bytes: number[]): Outcome {
  return altered((message) => {
    message.set(bytes, offset);
    return message;
  });
}

/** Hands A what `make` gives in answer to A's initiation. */
function toA(make: (initiation: Uint8Array) => Uint8Array, changes = {}): Outcome {
  const sessions = machineOf("a", changes);
  const [sent] = sentBy(sessions.step({ type: "need", peer: PEER, tag: APP1, role: 0 }));
  if (sent === undefined) throw new Error("A sends an initiation");
  return { sessions, outputs: hand(sessions, make(sent)) };
}

function response(forgery: Forgery, changes = {}): Outcome {
  return toA((sent) => forgeResponse(sent, forgery), changes);
}

const stranger = new KeyPair(new Uint8Array(32).fill(0x55));
const otherContract = contractOf({ "sc-id": SECOND_SC_ID });

const initiations: readonly Row[] = [
  { name: "one byte short", reason: "length", outputs: () => altered((m) => m.subarray(0, 236)) },
  {
    name: "one byte too many",
    reason: "length",
    outputs: () => altered((m) => Uint8Array.from([...m, 0])),
  },
  { name: "empty", reason: "length", outputs: () => altered(() => new Uint8Array(0)) },
  {
    name: "version 2",
    reason: "version",
    outputs: () => withBytes(0, 0x24),
  },
  { name: "DATA", reason: "flag", outputs: () => withBytes(0, 0x15) },
  { name: "flag 0", reason: "flag", outputs: () => withBytes(0, 0x10) },
  { name: "rsa256 without what is wrapped", reason: "length", outputs: () => withBytes(1, 4) },
  { name: "next header 6", reason: "next-header", outputs: () => withBytes(1, 6) },
  {
    name: "next header 0",
    reason: "next-header",
    outputs: () => withBytes(1, 0),
  },
  { name: "fragment", reason: "fragment", outputs: () => withBytes(3, 1) },
  {
    name: "receiver index set",
    reason: "receiver-index",
    outputs: () => withBytes(7, 1),
  },
  {
    name: "sender index 0",
    reason: "sender-index",
    outputs: () => withBytes(8, 0, 0, 0, 0),
  },
  {
    name: "mac1 for another",
    reason: "mac1",
    outputs: () => initiation({ mac1Receiver: stranger.publicKey }),
  },
  {
    name: "any byte of the text altered",
    reason: "mac1",
    outputs: () => withBytes(100, 1, 2, 3, 4),
  },
  {
    name: "first of its key without a cookie",
    reason: "cookie-required",
    outputs: () => initiation({ cookie: undefined }),
  },
  {
    name: "first of its key with another's cookie",
    reason: "cookie-required",
    outputs: () => initiation({ cookie: new Uint8Array(16).fill(9) }),
  },
  {
    name: "unknown SC-ID",
    reason: "contract-unknown",
    outputs: () => initiation({ plan: { use: useOf(otherContract) } }),
  },
  {
    name: "unknown generation",
    reason: "contract-unknown",
    outputs: () => initiation({ plan: { use: useOf(contractOf({}, [secretOf(1, 2)])) } }),
  },
  {
    name: "generation after its overlap",
    reason: "contract-unknown",
    outputs: () => {
      const endsAt = (START_WALL / 1000) as EpochSeconds;
      const secrets = [{ ...secretOf(1), endsAt }, secretOf(2, 2)];
      return initiation({}, { contracts: [contractOf({}, secrets)] });
    },
  },
  {
    name: "inactive contract",
    reason: "contract-inactive",
    outputs: () => initiation({}, { contracts: [contractOf({ active: "false" })] }),
  },
  {
    name: "expired contract",
    reason: "contract-inactive",
    outputs: () => initiation({}, { contracts: [contractOf({ "sc-lifetime": 1_551_225_600 })] }),
  },
  {
    name: "contract that policy does not allow",
    reason: "contract-refused",
    outputs: () => initiation({}, { contractRule: () => ({ protection: "confidential" }) }),
  },
  {
    name: "unauthenticated contract for an application",
    reason: "contract-refused",
    outputs: () => {
      const quick = contractOf({ quickmode: true });
      return initiation({ plan: { use: useOf(quick) } }, { contracts: [quick] });
    },
  },
  {
    name: "no contract to answer with",
    reason: "contract-none",
    outputs: () => {
      const peer = { id: "a", staticPublic: KEYS_A.publicKey, entitledTags: [APP1] };
      return initiation({}, { peers: [{ ...peer, announced: new Map() }] });
    },
  },
  {
    name: "another secret",
    reason: "forged",
    outputs: () => initiation({ plan: { use: useOf(contractOf({}, [secretOf(7)])) } }),
  },
  {
    name: "another tenant: the prologue differs",
    reason: "forged",
    outputs: () => initiation({ tenantTag: TENANT_B }),
  },
  {
    name: "sealed to another static key",
    reason: "forged",
    outputs: () => initiation({ receiver: stranger.publicKey, mac1Receiver: KEYS_B.publicKey }),
  },
  {
    name: "reserved mark",
    reason: "marks",
    outputs: () => initiation({ plan: { role: 2 as Role } }),
  },
  {
    name: "static key that no peer has",
    reason: "static-unknown",
    outputs: () => initiation({ keys: stranger }),
  },
  {
    name: "unknown tag",
    reason: "tag",
    outputs: () => initiation({ plan: { applicationTag: new Uint8Array(16).fill(3) } }),
  },
  {
    name: "tag that the sender may not claim",
    reason: "tag",
    outputs: () => initiation({ plan: { applicationTag: TAGS[APP2]?.bytes ?? TENANT_A } }),
  },
  {
    name: "role 1 without an allowed flow",
    reason: "role",
    outputs: () => initiation({ plan: { role: 1 } }),
  },
  {
    name: "token of another stamp",
    reason: "token",
    outputs: () => toB((cookie) => forgeToken(new Uint8Array(32).fill(5), cookie)),
  },
  {
    name: "no slot",
    reason: "sessions-full",
    outputs: () => initiation({}, { limits: { sessionsPerPeer: 0 } }),
  },
  {
    name: "replayed",
    reason: "stamp",
    outputs: () => {
      const sessions = machineOf("b");
      const message = forgeInitiation({ cookie: cookieFrom(sessions) });
      expect(hand(sessions, message).map(({ type }) => type)).toContain("install");
      const outputs = hand(sessions, message);
      expect(sessions.list().length).toBe(1);
      return { sessions, outputs };
    },
  },
];

const answers: readonly Row[] = [
  {
    name: "response that nobody asked for",
    reason: "unexpected",
    outputs: () => {
      const sessions = machineOf("a");
      return { sessions, outputs: hand(sessions, forgeResponse(forgeInitiation())) };
    },
  },
  {
    name: "response to another index in the same slot",
    reason: "unexpected",
    outputs: () =>
      toA((sent) => {
        const index = viewOf(sent).getUint32(8, false);
        return forgeResponse(sent, { plan: { receiverIndex: (index ^ 0x1000) >>> 0 } });
      }),
  },
  {
    name: "response, one byte short",
    reason: "length",
    outputs: () => toA((sent) => forgeResponse(sent).subarray(0, 188)),
  },
  {
    name: "response with receiver index 0",
    reason: "receiver-index",
    outputs: () => response({ plan: { receiverIndex: 0 } }),
  },
  {
    name: "response with mac1 for another",
    reason: "mac1",
    outputs: () => response({ mac1Receiver: stranger.publicKey }),
  },
  {
    name: "response under an unknown contract",
    reason: "contract-unknown",
    outputs: () => response({ plan: { use: useOf(otherContract) } }),
  },
  {
    name: "response under a contract that policy does not allow",
    reason: "contract-refused",
    outputs: () => {
      const contracts = [contractOf(), contractOf({ "sc-id": SECOND_SC_ID, busytime: 601 })];
      const forgery = { plan: { use: useOf(contracts[1] ?? otherContract) } };
      return response(forgery, { contracts, contractRule: () => ({ maxBusySeconds: 600 }) });
    },
  },
  {
    name: "response with another ephemeral key",
    reason: "forged",
    outputs: () =>
      toA((sent) => forgeResponse(forgeInitiation(), { plan: { receiverIndex: indexOf(sent) } })),
  },
  {
    name: "response of another tenant",
    reason: "tenant",
    outputs: () => response({ tenantTag: TENANT_B }),
  },
  {
    name: "response with a reserved mark",
    reason: "marks",
    outputs: () => response({ plan: { role: 3 as Role } }),
  },
  {
    name: "response in the initiator's role",
    reason: "binding",
    outputs: () => response({ plan: { role: 0 } }),
  },
  {
    name: "response with another tag",
    reason: "binding",
    outputs: () => response({ plan: { applicationTag: TAGS[APP2]?.bytes ?? TENANT_A } }),
  },
  {
    name: "cookie that nobody asked for",
    reason: "unexpected",
    outputs: () => toA(() => cookieReply(0x77777777)),
  },
  {
    name: "cookie reply, one byte short",
    reason: "length",
    outputs: () => toA((sent) => cookieReply(indexOf(sent)).subarray(0, 63)),
  },
  {
    name: "forged cookie",
    reason: "cookie-forged",
    outputs: () => toA((sent) => cookieReply(indexOf(sent))),
  },
];

function indexOf(initiation: Uint8Array): number {
  return viewOf(initiation).getUint32(8, false);
}

function cookieReply(receiverIndex: number): Uint8Array {
  const [nonce, sealed] = [new Uint8Array(24), new Uint8Array(32)];
  return encodeCookieReply({ receiverIndex, nonce, sealed });
}

/** Reasons that no handshake message can have: they are REJECT's. */
const NOT_OF_HANDSHAKES: readonly Refusal[] = ["lane", "reason", "ip-version"];
/** Reasons with a test of their own: below, and in load.test.ts. */
const OWN_TESTS: readonly Refusal[] = ["cookie-limit", "source-limit", "answer-limit"];

describe.each([
  ["initiation", initiations],
  ["answer", answers],
] as const)("%s is refused", (_, rows) => {
  test.each(rows)("$name: $reason", ({ reason, outputs: run }) => {
    const { sessions, outputs } = run();
    expect(sessions.refusals.get(reason)).toBeGreaterThan(0);
    const types = outputs.map(({ type }) => type);
    expect(types).not.toContain("install");
    expect(types.filter((type) => type === "send")).toEqual(
      reason === "cookie-required" ? ["send"] : [],
    );
    const notices = outputs.flatMap((output) => (output.type === "event" ? [output.fields] : []));
    expect(notices.map((fields) => fields.reason)).toContain(reason);
  });
});

test("every reason has a row", () => {
  const covered = new Set([...initiations, ...answers].map(({ reason }) => reason));
  for (const reason of [...NOT_OF_HANDSHAKES, ...OWN_TESTS]) covered.add(reason);
  expect([...covered].sort()).toEqual([...REFUSALS].sort());
});

test("what is not forged is answered: the rows above fail for their own reason", () => {
  expect(initiation({}).outputs.map(({ type }) => type)).toContain("install");
  expect(toA((sent) => forgeResponse(sent)).outputs.map(({ type }) => type)).toContain("install");
});

test("an unknown tag and one the sender may not claim are answered alike", () => {
  const outputs = [new Uint8Array(16).fill(3), TAGS[APP2]?.bytes ?? TENANT_A].map(
    (applicationTag) => initiation({ plan: { applicationTag } }).outputs,
  );
  expect(outputs[0]).toEqual(outputs[1] ?? []);
});

test("role 1 with an allowed flow of that tag is answered", () => {
  const asked: unknown[] = [];
  const hasAllowedFlow = (...binding: unknown[]) => asked.push(binding) > 0;
  const { outputs } = initiation({ plan: { role: 1 } }, { hasAllowedFlow });
  expect(asked).toEqual([[PEER, APP1]]);
  const install = outputs.find((output) => output.type === "install");
  expect(install).toMatchObject({ myRole: 0, tag: APP1, sendNow: false });
});

test("a wrong answer leaves the handshake as it was", () => {
  const sessions = machineOf("a");
  const [sent] = sentBy(sessions.step({ type: "need", peer: PEER, tag: APP1, role: 0 }));
  if (sent === undefined) throw new Error("A sends an initiation");
  const right = forgeResponse(sent);
  for (let i = 32; i < 157; i += 8) {
    const wrong = right.slice();
    wrong[i] = (wrong[i] ?? 0) ^ 1;
    expect(hand(sessions, wrong, { mac1Checked: true }).map(({ type }) => type)).toEqual(["event"]);
  }
  expect(sessions.refusals.get("forged")).toBe(16);
  expect(hand(sessions, right).map(({ type }) => type)).toEqual(["event"]);
  expect(sessions.refusals.get("answer-limit")).toBe(1);
  // The next attempt begins anew.
  const later = { now: 1_300_000 as Micros, wall: (START_WALL + 300) as WallMillis };
  const [again] = sentBy(sessions.step({ type: "time", ...later }));
  if (again === undefined) throw new Error("A sends another initiation");
  expect(hand(sessions, forgeResponse(again)).map(({ type }) => type)).toContain("install");
});

test("a response to an attempt that was followed by another is not taken", () => {
  const sessions = machineOf("a");
  const [first] = sentBy(sessions.step({ type: "need", peer: PEER, tag: APP1, role: 0 }));
  const later = { now: 1_300_000 as Micros, wall: (START_WALL + 300) as WallMillis };
  const [second] = sentBy(sessions.step({ type: "time", ...later }));
  if (first === undefined || second === undefined) throw new Error("A sends two initiations");
  expect(hand(sessions, forgeResponse(first)).map(({ type }) => type)).toEqual(["event"]);
  expect(hand(sessions, forgeResponse(second)).map(({ type }) => type)).toContain("install");
});

describe("points of low order", () => {
  test("as ephemeral key of an initiation", () => {
    const { sessions } = toB((cookie) => {
      const message = forgeInitiation({ cookie });
      message.fill(0, 32, 64);
      return message;
    });
    expect(sessions.refusals.get("mac1")).toBe(1);
    const low = forgeInitiation({ cookie: cookieFrom(sessions) });
    low.fill(0, 32, 64);
    hand(sessions, low, { mac1Checked: true });
    expect(sessions.refusals.get("forged")).toBe(1);
  });

  test("as ephemeral key of a response", () => {
    const sessions = machineOf("a");
    const [sent] = sentBy(sessions.step({ type: "need", peer: PEER, tag: APP1, role: 0 }));
    if (sent === undefined) throw new Error("A sends an initiation");
    const low = forgeResponse(sent);
    low.fill(0, 32, 64);
    hand(sessions, low, { mac1Checked: true });
    expect(sessions.refusals.get("forged")).toBe(1);
  });

  test("as a peer's static key", () => {
    const staticPublic = new Uint8Array(32);
    staticPublic[0] = 1;
    const sessions = machineOf("a", { peers: [{ id: "b", staticPublic, entitledTags: [] }] });
    const outputs = sessions.step({ type: "need", peer: PEER, tag: APP1, role: 0 });
    expect(outputs.map(({ type }) => type)).toContain("failed");
    expect(sessions.pendingCount).toBe(0);
  });
});
