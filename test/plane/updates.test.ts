/**
 * Updates of running agents: what changes, for whom, and for which flows; src/agent/updates.ts,
 * src/dataplane/flow-redeciding.ts; design/agent.md "Egress" 4, "Modes and stages". Both agents,
 * whole; load and real programs are test/e2e/reload.test.ts.
 */
import { describe, expect, test } from "bun:test";
import { generateKeyPair, generateTag } from "../../src/agent/keys.ts";
import { policyNames } from "../../src/agent/provisioning.ts";
import { COMMAND } from "../../src/dataplane/control-records.ts";
import { PolicyAnswers } from "../../src/policy/question.ts";
import { Prng, seed } from "../prng.ts";
import { reversed, TCP, text, udp } from "./frames.ts";
import { type NodeFile, type Pair, playUpdates, WEB_TO_DB } from "./pair.ts";
import { TcpTalk } from "./rare-frames.ts";

const ACK = TCP.ack;
const PUSH = TCP.push | TCP.ack;
const GREETING = text("APP1 hello");
const DENY_OUT = { id: "no-out", direction: "out", action: "deny", to: { agent: "db" } };
const DENY_IN = { id: "no-in", direction: "in", action: "deny", from: { agent: "web" } };

function talk(port = 40_000): TcpTalk {
  return new TcpTalk(WEB_TO_DB, reversed(WEB_TO_DB), port);
}

/** A connection of web to db that app1 was recognised on. */
function established(pair: Pair, port = 40_000): TcpTalk {
  const conversation = talk(port);
  pair.webSends(conversation.out(TCP.syn));
  pair.dbSends(conversation.in(TCP.syn | ACK));
  pair.webSends(conversation.out(ACK));
  expect(passes(pair, conversation)).toBe(true);
  return conversation;
}

/** Whether web's next segment arrives at db. */
function passes(pair: Pair, conversation: TcpTalk, words = GREETING): boolean {
  const frame = conversation.out(PUSH, words);
  const arrived = pair.webSends(frame);
  if (arrived.length > 0) expect(arrived).toEqual([frame]);
  return arrived.length > 0;
}

function addRule(rule: object): (file: NodeFile) => void {
  return (file) => {
    file.policy.rules = [rule, ...file.policy.rules];
  };
}

const nothing = (_: NodeFile) => {};

describe("policy", () => {
  test("the same file again changes nothing; a moved rule is no change, its order is", async () => {
    await playUpdates({}, async (pair) => {
      expect(await pair.update("db", nothing)).toMatchObject({ state: "unchanged", changes: {} });
      const other = { id: "other", direction: "in", action: "allow", to: { port: 80 } };
      expect(await pair.update("db", addRule(other))).toMatchObject({
        state: "enforced",
        changes: { policy: { added: ["other"], removed: [], changed: [], reordered: false } },
        enforced: { generation: 1 },
      });
      const turned = await pair.update("db", (file) => file.policy.rules.reverse());
      expect(turned.changes).toEqual({
        policy: { added: [], removed: [], changed: [], reordered: true },
      });
    });
  });

  test("a flow that a new rule denies ends at its next packet, on either side", async () => {
    for (const [side, rule] of [
      ["web", DENY_OUT],
      ["db", DENY_IN],
    ] as const) {
      await playUpdates({}, async (pair) => {
        const conversation = established(pair);
        await pair.update(side, addRule(rule));
        expect(passes(pair, conversation)).toBe(false);
        const [event] = pair[side].eventsOf("refused");
        expect(event).toMatchObject({ reason: "policy-denied", rule: rule.id, generation: 1 });
        expect(event).toMatchObject({ source: "10.0.0.1", sourcePort: 40_000, payloadBytes: 0 });
        // The rule goes again: a new connection passes, the refused one does not come back.
        await pair.update(side, (file) => file.policy.rules.shift());
        expect(passes(pair, conversation)).toBe(false);
        established(pair, 40_001);
      });
    }
  });

  test("a rule that only observes lets the flow go on, and says so", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      await pair.update("db", addRule({ ...DENY_IN, stage: "observe" }));
      expect(passes(pair, conversation)).toBe(true);
      const [event] = pair.db.eventsOf("refused");
      expect(event).toMatchObject({ reason: "policy-denied", enforced: false, stage: "observe" });
    });
  });

  test("a connection between SYN and payload is judged by the policy of its payload", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = talk();
      pair.webSends(conversation.out(TCP.syn));
      await pair.update("db", addRule(DENY_IN));
      expect(pair.dbSends(conversation.in(TCP.syn | ACK))).toHaveLength(0);
      expect(passes(pair, conversation)).toBe(false);
      expect(pair.db.plane.halfOpen.count(0)).toBe(0);
    });
  });

  test("a refused datagram is judged again, a refused connection only by a new SYN", async () => {
    await playUpdates({ edit: (_, db) => addRule(DENY_IN)(db) }, async (pair) => {
      const datagram = udp(WEB_TO_DB, 5000, 6379, GREETING);
      const syn = talk().out(TCP.syn);
      expect(pair.webSends(datagram, syn)).toEqual([]);
      await pair.update("db", (file) => file.policy.rules.shift());
      expect(pair.webSends(datagram)).toEqual([datagram]);
      expect(pair.webSends(syn)).toEqual([syn]);
    });
  });

  test("what waited for a session is judged by the policy that it leaves under", async () => {
    await playUpdates({}, async (pair) => {
      pair.db.isMainStalled = true;
      expect(pair.webSends(udp(WEB_TO_DB, 5000, 6379, GREETING))).toEqual([]);
      expect(pair.web.plane.holds.count).toBe(1);
      await pair.update("web", addRule(DENY_OUT));
      pair.db.isMainStalled = false;
      pair.run(3_000_000);
      expect(pair.dbKernel.receive()).toEqual([]);
      expect(pair.web.drops().get("refused-flow")).toBe(1);
    });
  });

  test("a thousand flows are decided in pieces, and enforced means all of them", async () => {
    await playUpdates({}, async (pair) => {
      for (let port = 1_000; port < 2_000; port += 50) {
        const frames = Array.from({ length: 50 }, (_, i) =>
          udp(WEB_TO_DB, port + i, 6379, GREETING),
        );
        expect(pair.webSends(...frames)).toHaveLength(50);
      }
      const only = { id: "low", direction: "in", action: "deny", from: { agent: "web" } };
      const { enforced } = await pair.update("db", addRule(only));
      expect(enforced.generation).toBe(1);
      const states = Array.from(
        { length: 1_000 },
        (_, i) => pair.db.plane.flows.words[16 * i + 10],
      );
      expect(states.filter((state = 0) => (state & 0xff) !== 5)).toEqual([]);
    });
  });
});

describe("what is refused changes nothing", () => {
  const broken: readonly [string, (file: NodeFile) => void, string][] = [
    ["a rule for nobody", addRule({ ...DENY_IN, from: { agent: "nobody" } }), "POLICY_INVALID"],
    ["an unknown key", (file) => Object.assign(file, { polcy: 1 }), "PROVISIONING_INVALID"],
    [
      "a signature that does not compile",
      (file) => Object.assign(file.signatures[0] ?? {}, { contents: [{ offset: 0, expr: "/(/" }] }),
      "PROVISIONING_INVALID",
    ],
    ["another identity", (file) => Object.assign(file.node, { id: "x" }), "UPDATE_NEEDS_RESTART"],
    [
      "another key",
      (file) => Object.assign(file.node, { staticKey: generateKeyPair().secretKey }),
      "UPDATE_NEEDS_RESTART",
    ],
    [
      "another tenant",
      (file) => Object.assign(file.tenant, { tag: generateTag() }),
      "UPDATE_NEEDS_RESTART",
    ],
  ];

  test.each(broken)("%s", async (_, edit, code) => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      const outcome = await pair.update("db", edit).catch((error: { code: string }) => error.code);
      expect(outcome).toBe(code);
      expect(pair.db.updates.enforced.generation).toBe(0);
      expect(passes(pair, conversation)).toBe(true);
    });
  });
});

describe("signatures and tags", () => {
  test("a new signature recognises at once; flows recognised before keep their tag", async () => {
    await playUpdates({ webTags: ["app1"] }, async (pair) => {
      const before = established(pair);
      const payload = text("OTHER words");
      expect(pair.webSends(udp(WEB_TO_DB, 5000, 6379, payload))).toEqual([]);
      const { changes } = await pair.update("web", (file) => {
        file.signatures = [
          { ...file.signatures[0], sig_id: "new", contents: [{ offset: 0, expr: "OTHER" }] },
        ];
      });
      expect(changes.signatures).toMatchObject({ added: ["new"], reordered: false });
      expect(changes.signatures?.removed).toHaveLength(1);
      const datagram = udp(WEB_TO_DB, 5000, 6379, payload);
      expect(pair.webSends(datagram)).toEqual([datagram]);
      expect(passes(pair, before)).toBe(true);
      expect(pair.webSends(udp(WEB_TO_DB, 5001, 6379, GREETING))).toEqual([]);
    });
  });

  test("an application that this node may no longer claim ends", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      await pair.update("web", (file) => Object.assign(file.node, { tags: [] }));
      expect(passes(pair, conversation)).toBe(false);
      expect(pair.web.eventsOf("refused")[0]).toMatchObject({ reason: "not-entitled" });
    });
  });

  test("an application that a peer may no longer claim ends with its sessions", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      await pair.update("db", (file) => Object.assign(file.peers[0] ?? {}, { tags: [] }));
      const closed = pair.db.eventsOf("session-closed").filter(({ app }) => app === "app1");
      expect(closed).toMatchObject([{ reason: "peer-changed" }]);
      expect(passes(pair, conversation)).toBe(false);
      expect(pair.db.eventsOf("refused")[0]).toMatchObject({ reason: "not-entitled" });
    });
  });

  test("tags keep their meaning when the file's order changes, and when one goes", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      await pair.update("db", (file) => file.tags.reverse());
      expect(passes(pair, conversation)).toBe(true);
      await pair.update("db", (file) => file.tags.shift()); // app2
      expect(passes(pair, conversation)).toBe(true);
      expect(pair.db.provisioning.tags[1]?.name).toBe("app1");
    });
  });
});

describe("peers", () => {
  const other = (address: string) => ({
    id: `vm-${address}`,
    addresses: [address],
    staticKey: generateKeyPair().publicKey,
    tags: [],
    mode: "full",
  });

  test("one that is removed is cut off at once, and comes back as a new one", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      const [web] = pair.provisioning.db.peers;
      await pair.update("db", (file) => {
        file.peers = [other("10.0.0.9")];
        file.policy.rules = [];
      });
      expect(pair.db.driver.installed.size).toBe(0);
      expect(passes(pair, conversation)).toBe(false);
      expect(pair.db.plane.flows.count).toBe(0);
      await pair.update("db", (file) => {
        file.peers = [other("10.0.0.9"), ...(web ? [web] : [])];
        addRule({ id: "in", direction: "in", app: "app1", action: "allow" })(file);
      });
      // Web does not know that its sessions are gone until it is told or asks again.
      pair.run(31_000_000, 100_000);
      established(pair, 40_001);
    });
  });

  test("others keep their sessions and flows, whatever place they have in the file", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      const sessions = pair.db.driver.installed.size;
      for (const address of ["10.0.0.9", "10.0.0.10"]) {
        await pair.update("db", (file) => {
          file.peers = [other(address), ...file.peers.filter(({ id }) => id === "web")];
        });
        expect(pair.db.driver.installed.size).toBe(sessions);
        expect(passes(pair, conversation)).toBe(true);
      }
      const ids = pair.db.updates.running.provisioning.peers.map(({ id }) => id);
      expect(ids).toEqual(["web", "vm-10.0.0.9", "vm-10.0.0.10"]);
      await pair.update("db", (file) => {
        file.peers = [other("10.0.0.11"), ...file.peers.filter(({ id }) => id === "web")];
      });
      // The place that was free before the update is taken again.
      const after = pair.db.updates.running.provisioning.peers.map(({ id }) => id);
      expect(after).toEqual(["web", "vm-10.0.0.11", "vm-10.0.0.10"]);
    });
  });

  test("a peer with another key has no session of the old one", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      const staticKey = generateKeyPair().publicKey;
      await pair.update("db", (file) => Object.assign(file.peers[0] ?? {}, { staticKey }));
      expect(pair.db.driver.installed.size).toBe(0);
      expect(passes(pair, conversation)).toBe(false);
    });
  });

  test("a key changes in four steps: the session goes on, new ones begin with either", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      const { publicKey, secretKey } = generateKeyPair();
      const old = pair.provisioning.web.peers[0]?.["staticKey"];
      const own = (keys: object) => (file: NodeFile) => {
        Object.assign(file.node, { otherStaticKey: undefined, ...keys });
      };
      const known = (keys: object) => (file: NodeFile) => {
        Object.assign(file.peers[0] ?? {}, { otherStaticKey: undefined, ...keys });
      };
      const steps = [
        ["db", own({ otherStaticKey: secretKey })],
        ["web", known({ staticKey: publicKey, otherStaticKey: old })],
        ["db", own({ staticKey: secretKey })],
        ["web", known({ staticKey: publicKey })],
      ] as const;
      for (const [side, edit] of steps) {
        const before = [...pair[side].driver.installed.keys()];
        await pair.update(side, edit);
        expect([...pair[side].driver.installed.keys()]).toEqual(before);
        expect(passes(pair, conversation)).toBe(true);
        // Who forgot everything begins anew, and is answered.
        for (const one of ["web", "db"] as const) {
          pair[one].link.send(COMMAND.forgetAll);
          pair.run(2_000_000);
          expect(passes(pair, conversation)).toBe(true);
        }
      }
    });
  });

  test("both change the carrier: packets go on in its frames", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      for (const side of ["web", "db"] as const) {
        await pair.update(side, (file) => {
          Object.assign(file.node, { carrier: "udp" });
          Object.assign(file.peers[0] ?? {}, { carrier: "udp" });
        });
      }
      pair.carried.length = 0;
      expect(passes(pair, conversation)).toBe(true);
      expect(pair.carried[0]?.frame[23]).toBe(17);
    });
  });
});

describe("modes and stages", () => {
  test("full to quick: flows go on, new ones need no signature", async () => {
    await playUpdates({}, async (pair) => {
      const conversation = established(pair);
      await toMode(pair, "quick");
      expect(passes(pair, conversation)).toBe(true);
      const datagram = udp(WEB_TO_DB, 5000, 6379, text("unknown"));
      expect(pair.webSends(datagram)).toEqual([datagram]);
    });
  });

  test("quick to full: datagrams are identified, a connection goes on as midstream says", async () => {
    for (const midstream of ["deny", "allow"]) {
      const edit = (web: NodeFile, db: NodeFile) => {
        for (const file of [web, db]) Object.assign(file.policy.defaults, { midstream });
        addRule({ id: "any", direction: "in", to: { port: 6379 }, action: "allow" })(db);
      };
      await playUpdates({ mode: "quick", edit }, async (pair) => {
        const known = udp(WEB_TO_DB, 5000, 6379, GREETING);
        const unknown = udp(WEB_TO_DB, 5001, 6379, text("unknown"));
        expect(pair.webSends(known, unknown)).toEqual([known, unknown]);
        const conversation = established(pair);
        await toMode(pair, "full");
        expect(pair.webSends(known, unknown)).toEqual([known]);
        expect(passes(pair, conversation)).toBe(midstream === "allow");
        established(pair, 40_001);
      });
    }
  });

  test("observe to enforce: what was let pass has to show what it is", async () => {
    await playUpdates({ stage: "observe" }, async (pair) => {
      const unknown = udp(WEB_TO_DB, 5001, 6379, text("unknown"));
      expect(pair.webSends(unknown)).toEqual([unknown]);
      for (const side of ["web", "db"] as const) {
        await pair.update(side, (file) => Object.assign(file.node, { stage: "enforce" }));
      }
      expect(pair.webSends(unknown)).toEqual([]);
      established(pair);
    });
  });
});

async function toMode(pair: Pair, mode: string): Promise<void> {
  for (const side of ["db", "web"] as const) {
    await pair.update(side, (file) => {
      Object.assign(file.node, { mode });
      Object.assign(file.peers[0] ?? {}, { mode });
    });
  }
}

/** Rules for datagrams of app1 from web, a few ports each; what is not named is denied. */
function randomRules(prng: Prng): object[] {
  return Array.from({ length: prng.below(5) }, (_, i) => {
    const low = 6_000 + prng.below(8);
    const port = `${low}-${low + prng.below(4)}`;
    const to = { protocol: prng.oneIn(4) ? "tcp" : "udp", port };
    const app = prng.oneIn(3) ? {} : { app: prng.oneIn(4) ? "app2" : "app1" };
    const action = prng.oneIn(3) ? "deny" : "allow";
    return { id: `r${i}`, direction: "in", from: { agent: "web" }, ...app, to, action };
  });
}

test(`each datagram meets the policy of its moment, as explain says it (SEED=${seed})`, async () => {
  const prng = new Prng(seed);
  await playUpdates({}, async (pair) => {
    const address = { version: 4, words: [0, 0, 0, 0x0a000001] } as const;
    const asked = { direction: "in", peer: "web", address, protocol: 17, app: "app1" } as const;
    for (let round = 0; round < 150; round++) {
      await pair.update("db", (file) => {
        file.policy.rules = randomRules(prng);
      });
      const { provisioning } = pair.db.updates.running;
      const answers = new PolicyAnswers(provisioning.policy, policyNames(provisioning));
      for (let i = 0; i < 8; i++) {
        const port = 6_000 + prng.below(12);
        // Some of these are flows of rounds before, which were decided again.
        const frame = udp(WEB_TO_DB, 5_000 + prng.below(4), port, GREETING);
        const isAllowed = answers.answer({ ...asked, port }).action === "allow";
        expect(pair.webSends(frame).length === 1, `round ${round}, port ${port}`).toBe(isAllowed);
      }
    }
    expect(pair.db.updates.enforced.generation).toBeGreaterThan(100);
    expect(pair.web.drops()).toEqual(new Map());
  });
});
