/**
 * "What an attacker on the network must not achieve" (docs/wire.md): one test a line, as far as
 * two whole agents in one process can show it; lines 1 to 8. The attacker sees, holds back,
 * changes and repeats every frame of the wire, and where the line says so is a VM or an agent of
 * the tenant. test/e2e/attacks.test.ts does the same to agents on a real network.
 */
import { expect, test } from "bun:test";
import {
  ABS,
  abs,
  begin,
  changed,
  claim,
  claimApp2,
  DATA,
  dataOf,
  expectAlive,
  HANDSHAKE,
  inject,
  occupancy,
  question,
  REJECT,
  randomBytes,
  SECOND,
  seed,
  sentBy,
  slots,
  withheld,
} from "./attack-kit.ts";
import { type Ends, TCP, tcp, text, udp } from "./frames.ts";
import { poolAvailable } from "./machine.ts";
import { type PairOptions, play, WEB_TO_DB, WEB_TO_DB6 } from "./pair.ts";
import { echo, fragmentsOf } from "./rare-frames.ts";

const PUSH = TCP.push | TCP.ack;

test(`1. deliver a packet without the keys (SEED=${seed})`, () => {
  play({}, (pair) => {
    begin(pair);
    const genuine = dataOf(sentBy(pair, "web"));
    const forged: Uint8Array[] = [
      question(1),
      tcp(WEB_TO_DB, 40_000, 6379, { flags: PUSH, sequence: 2000, payload: text("APP1 x") }),
      echo(WEB_TO_DB, false, 1, text("x")),
      ...fragmentsOf(udp(WEB_TO_DB, 4000, 6379, randomBytes(3000)), 9, 1200),
    ];
    for (let flag = 0; flag < 16; flag++) {
      for (const size of [0, 1, 7, 8, 16, 31, 32, 33, 64, 100, 237, 189]) {
        const body = randomBytes(size);
        if (size > 0) body[0] = 0x10 | flag;
        if (size > 8) body[8] = 0;
        forged.push(abs(body), udp(WEB_TO_DB, 50_000, 6253, body));
      }
    }
    // The right index, every protocol, a counter never used, a proof of the attacker's making.
    const [real] = genuine as [Uint8Array];
    for (let protocol = 0; protocol < 256; protocol++) {
      forged.push(
        changed(real, (copy) => {
          copy[ABS + 1] = protocol;
          copy[ABS + 14] = 0x77;
          copy[ABS + 15] = protocol;
          copy.set(protocol % 2 === 0 ? new Uint8Array(16) : randomBytes(16), ABS + 16);
        }),
      );
    }
    expect(inject(pair, "db", ...forged)).toEqual([]);
    const reasons = pair.db.drops();
    for (const reason of ["untagged", "proof", "abs-truncated", "abs-flag", "unknown-index"]) {
      expect(reasons.get(reason)).toBeGreaterThan(0);
    }
    expect(reasons.get("proof")).toBeGreaterThanOrEqual(256);
    expectAlive(pair);
  });
});

test("2. replay within a session, across sessions, lanes, directions and restarts", () => {
  play({ busytime: 60, idletime: 60 }, (pair) => {
    begin(pair);
    for (let i = 0; i < 5; i++) pair.webSends(question(i));
    const seen = dataOf(sentBy(pair, "web"));
    expect(seen.length).toBeGreaterThan(5);
    const lanes = (frames: readonly Uint8Array[]) =>
      frames.flatMap((frame) =>
        Array.from({ length: 256 }, (_, lane) =>
          changed(frame, (copy) => {
            copy[ABS + 8] = lane;
          }),
        ),
      );
    expect(inject(pair, "db", ...seen, ...seen)).toEqual([]);
    expect(inject(pair, "db", ...lanes(seen))).toEqual([]);
    // Reflected to its sender, with addresses turned round or not.
    expect(inject(pair, "web", ...seen)).toEqual([]);
    const turned = seen.map((frame) =>
      changed(frame, (copy) => {
        copy.set(frame.subarray(26, 30), 30);
        copy.set(frame.subarray(30, 34), 26);
      }),
    );
    expect(inject(pair, "web", ...turned)).toEqual([]);

    // A new session in place of the old one: neither takes them, under either index.
    for (let i = 0; i < 120; i++) {
      pair.webKernel.send(question(i));
      pair.run(SECOND / 2, SECOND / 4);
    }
    pair.dbKernel.receive();
    const now = dataOf(sentBy(pair, "web")).at(-1) as Uint8Array;
    expect(now.subarray(38, 42)).not.toEqual(seen.at(-1)?.subarray(38, 42) as Uint8Array);
    const moved = seen.map((frame) =>
      changed(frame, (copy) => copy.set(now.subarray(38, 42), ABS + 4)),
    );
    expect(inject(pair, "db", ...seen, ...moved, ...lanes(moved.slice(0, 3)))).toEqual([]);

    // Restarts of the receiver and of the sender, and the recorded handshakes with them.
    const recorded = sentBy(pair, "web");
    for (const side of ["db", "web"] as const) {
      pair.run(2 * SECOND);
      pair.restart(side);
      expect(inject(pair, "db", ...recorded.slice(-800))).toEqual([]);
      const at = pair.db.driver.installed.size;
      expect(at).toBeLessThanOrEqual(2); // only what web itself, told of the restart, began
      // The flood of replays used up the hints: web finds out by db's silence, after 15 s.
      for (let second = 0; second < 20; second++) {
        pair.webKernel.send(question(-1));
        pair.run(SECOND, SECOND / 10);
      }
      pair.dbKernel.receive();
      expectAlive(pair);
      expect(inject(pair, "db", ...recorded.slice(-800))).toEqual([]);
    }
  });
});

const CARRIED: { name: string; options: PairOptions; ends: Ends }[] = [
  { name: "integrity, IPv4", options: {}, ends: WEB_TO_DB },
  { name: "confidential, IPv4", options: { protection: "confidential" }, ends: WEB_TO_DB },
  { name: "integrity, IPv6", options: {}, ends: WEB_TO_DB6 },
  { name: "integrity, IPv4 over UDP", options: { carrier: "udp" }, ends: WEB_TO_DB },
  {
    name: "confidential, IPv6 over UDP",
    options: { carrier: "udp", protection: "confidential" },
    ends: WEB_TO_DB6,
  },
];

test("3. move a payload, port, address, length, identification or fragment field", () => {
  for (const { options, ends } of CARRIED) {
    play(options, (pair) => {
      pair.keepsCarried = false;
      const isV4 = ends.from.length === 4;
      expect(pair.webSends(question(0, ends))).toEqual([question(0, ends)]);
      // Type of service, time to live, IPv4 checksum; flow label and hop limit: routers' business.
      const mutable = isV4 ? [15, 22, 24, 25] : [14, 15, 16, 17, 21];
      const same = (frame: Uint8Array) =>
        frame.map((byte, at) => (mutable.includes(at) ? 0 : byte)).join();
      const original = question(7, ends);
      const [sample] = withheld(pair, "web", () => pair.webSends(original)) as [Uint8Array];
      let delivered = 0;
      for (let bit = 14 * 8; bit < sample.length * 8; bit++) {
        const [fresh] = withheld(pair, "web", () => pair.webSends(original)) as [Uint8Array];
        const flipped = changed(fresh, (copy) => {
          copy[bit >>> 3] = (copy[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
        });
        pair.dbWire.send(flipped);
        pair.run(1);
        for (const frame of pair.dbKernel.receive()) {
          delivered++;
          if (same(frame) !== same(original)) {
            throw new Error(`bit ${bit & 7} of byte ${bit >>> 3} was changed and delivered`);
          }
        }
      }
      // Some bits are not part of the packet: those mutable, DF of the outer header, UDP's ports.
      expect(delivered).toBeLessThan(100);
      expect(delivered).toBeGreaterThan(0);
    });
  }
});

test("3. splice the parts of genuine packets", () => {
  play({}, (pair) => {
    begin(pair);
    const frames = withheld(pair, "web", () => {
      for (let i = 0; i < 6; i++) pair.webSends(question(i));
    });
    const swapped: Uint8Array[] = [];
    for (const one of frames) {
      for (const other of frames) {
        if (one === other) continue;
        swapped.push(changed(one, (copy) => copy.set(other.subarray(ABS + 32), ABS + 32)));
        swapped.push(
          changed(one, (copy) => copy.set(other.subarray(ABS + 16, ABS + 32), ABS + 16)),
        );
        swapped.push(changed(one, (copy) => copy.set(other.subarray(ABS + 8, ABS + 16), ABS + 8)));
        swapped.push(changed(one, (copy) => copy.set(other.subarray(18, 20), 18)));
      }
      const longer = new Uint8Array(one.length + 4);
      longer.set(one);
      new DataView(longer.buffer).setUint16(16, one.length - 14 + 4);
      swapped.push(changed(longer, () => {}));
      const shorter = one.slice(0, -4);
      new DataView(shorter.buffer).setUint16(16, shorter.length - 14);
      swapped.push(changed(shorter, () => {}));
    }
    // The identification is the same in all test frames: a swap of it is no change.
    const changes = swapped.filter((frame) => !frames.some((one) => one.join() === frame.join()));
    expect(changes.length).toBeGreaterThan(90);
    expect(inject(pair, "db", ...changes)).toEqual([]);
    expect(inject(pair, "db", ...frames).length).toBe(6);
  });
});

test("4. have a session accepted for another tenant, or an application one may not claim", () => {
  const tenant = claim((web, db) => {
    claimApp2(web, db);
    web.tenant.tag = "00112233445566778899aabbccddeeff";
  });
  // The tenant's tag is in the prologue: with another one nothing opens.
  expect(new Set(tenant.reasons)).toEqual(new Set(["forged"]));
  expect(tenant.answers).toEqual([]);
  const tag = claim(claimApp2);
  expect(new Set(tag.reasons)).toEqual(new Set(["tag"]));
  // Role 1 brings the other's own tag: only with an allowed flow of it.
  play({}, (pair) => {
    const need = { type: "need", peer: 0, tag: 1, role: 1 } as never;
    pair.db.driver.parts.routes.learn(0 as never, {
      link: Uint8Array.from([...WEB_TO_DB.fromMac, ...WEB_TO_DB.toMac, 8, 0]),
      source: WEB_TO_DB.to,
      destination: WEB_TO_DB.from,
    });
    pair.db.driver.step(need, pair.nowUs as never, pair.wallMs as never);
    pair.run(6 * SECOND);
    expect(pair.db.driver.installed.size).toBe(0);
    expect(sentBy(pair, "web")).toEqual([]);
    expect(pair.web.eventsOf("handshake-refused")[0]).toMatchObject({ reason: "role" });
  });
});

test("5. learn whether an application tag exists: both answers are the same nothing", () => {
  const notEntitled = claim(claimApp2);
  const unknown = claim((web, db) => {
    claimApp2(web, db);
    const tag = web.tags[1] as { name: string; tag: string };
    tag.tag = "ffeeddccbbaa99887766554433221100";
  });
  expect(unknown.answers).toEqual(notEntitled.answers);
  expect(new Set(unknown.reasons)).toEqual(new Set(notEntitled.reasons));
});

test("6. fill tables, queues or the packet pool", () => {
  play({ refuse: "reject" }, (pair) => {
    pair.keepsCarried = false;
    begin(pair);
    const before = occupancy(pair, "db");
    const available = poolAvailable();
    const initiation = abs(new Uint8Array(237));
    const floods: ((i: number) => Uint8Array)[] = [
      (i) => udp(WEB_TO_DB, i & 0xffff, i >>> 4, text("bare")),
      (i) => udp({ ...WEB_TO_DB, from: Uint8Array.of(192, 0, 2, i) }, i, i >>> 3, text("strange")),
      (i) =>
        fragmentsOf(
          udp({ ...WEB_TO_DB, from: Uint8Array.of(192, 0, i >>> 8, i) }, 1, 1, randomBytes(2000)),
          i,
          1200,
        )[1] as Uint8Array,
      () =>
        changed(initiation, (copy) => {
          copy.set(randomBytes(237), ABS);
          copy[ABS] = HANDSHAKE;
          copy[ABS + 1] = 1;
        }),
      () =>
        changed(initiation, (copy) => {
          copy.set(randomBytes(64), ABS);
          copy[ABS] = DATA;
          copy[ABS + 8] = 0;
        }),
      () => {
        const reject = abs(new Uint8Array(52));
        reject.set(randomBytes(52), ABS);
        reject[ABS] = REJECT;
        return reject;
      },
    ];
    for (const flood of floods) {
      for (let round = 0; round < 10; round++) {
        const frames = Array.from({ length: 400 }, (_, i) => flood(round * 400 + i));
        expect(inject(pair, "db", ...frames)).toEqual([]);
      }
    }
    const after = occupancy(pair, "db");
    expect(after.flows).toBe(before.flows);
    expect(after.sessions).toBe(before.sessions);
    expect(after.held).toBe(0);
    expect(after.fragments).toBeLessThanOrEqual(64);
    pair.run(2 * SECOND, SECOND / 10);
    expect(poolAvailable()).toBe(available);

    // A VM of the tenant: half-open connections, and more flows than the table holds.
    for (let at = 0; at < 3000; at += 250) {
      const syns = Array.from({ length: 250 }, (_, i) =>
        tcp(WEB_TO_DB, 10_000 + at + i, 6379, { flags: TCP.syn, sequence: at }),
      );
      pair.webKernel.send(...syns);
      pair.run(5000);
    }
    expect(pair.dbKernel.receive().length).toBe(1024);
    expect(pair.db.plane.halfOpen.count(0)).toBe(1024);
    expect(pair.db.drops().get("half-open-limit")).toBe(3000 - 1024);
    // Datagrams of applications come and go meanwhile, and do not make room for more of them.
    for (let i = 0; i < 50; i++) pair.webSends(udp(WEB_TO_DB, 5000 + i, 6379, text("APP1")));
    expect(pair.db.plane.halfOpen.count(0)).toBe(1024);
    for (let at = 0; at < 20_000; at += 250) {
      const frames = Array.from({ length: 250 }, (_, i) =>
        udp(WEB_TO_DB, 20_000 + at + i, 6379, text("APP1")),
      );
      pair.webKernel.send(...frames);
      pair.run(5000);
      pair.dbKernel.receive();
    }
    expect(pair.web.plane.flows.count).toBeLessThanOrEqual(8192);
    expect(pair.db.plane.flows.count).toBeLessThanOrEqual(8192);
    pair.run(30 * SECOND, SECOND / 10);
    expect(poolAvailable()).toBe(available);
    expectAlive(pair);
  });
});

test("7. cost more than one HMAC a packet", () => {
  play({}, (pair) => {
    const talk = begin(pair);
    const { plane } = pair.db;
    const kinds = [
      { bytes: 237, kind: 1, cost: 1 },
      { bytes: 189, kind: 2, cost: 1 },
      { bytes: 64, kind: 3, cost: 0 },
      { bytes: 236, kind: 1, cost: 0 },
      { bytes: 237, kind: 9, cost: 0 },
    ];
    for (const { bytes, kind, cost } of kinds) {
      const before = plane.mac1Checks;
      const refusedBefore = pair.db.eventsOf("handshake-refused").length;
      const frames = Array.from({ length: 2000 }, () => {
        const body = randomBytes(bytes);
        body[0] = HANDSHAKE;
        body[1] = kind;
        return abs(body);
      });
      inject(pair, "db", ...frames);
      expect(plane.mac1Checks - before).toBe(cost * 2000);
      // None with a wrong mac1 went any further.
      if (cost === 1) expect(pair.db.eventsOf("handshake-refused").length).toBe(refusedBefore);
    }
    const before = plane.mac1Checks;
    inject(
      pair,
      "db",
      ...Array.from({ length: 2000 }, () => {
        const body = randomBytes(100);
        body[0] = DATA;
        return abs(body);
      }),
    );
    expect(plane.mac1Checks).toBe(before);
    // Who does not know db's public key cannot use up what web's own handshakes may cost either.
    pair.run(2000);
    pair.restart("web");
    const junk = Array.from({ length: 2000 }, () => {
      const body = randomBytes(237);
      body[0] = HANDSHAKE;
      body[1] = 1;
      return abs(body);
    });
    pair.webKernel.send(question(9));
    pair.dbWire.send(...junk.slice(0, 1500));
    pair.run(SECOND / 5);
    expect(pair.dbKernel.receive()).toEqual([question(9)]);
    expect(talk.port).toBe(40_000);
  });
});

test("8. have the owner of an address punished for what others sent in its name", () => {
  play({ refuse: "reject" }, (pair) => {
    const talk = begin(pair);
    const [real] = dataOf(sentBy(pair, "web")) as [Uint8Array];
    const before = slots(pair);
    const frames: Uint8Array[] = [];
    for (let i = 0; i < 2000; i++) {
      frames.push(udp(WEB_TO_DB, i, 22, text("scan")));
      frames.push(changed(real, (copy) => copy.set(randomBytes(24), ABS + 8)));
      frames.push(tcp(WEB_TO_DB, 40_000, 6379, { flags: TCP.rst | TCP.ack }));
    }
    expect(inject(pair, "db", ...frames)).toEqual([]);
    expect(slots(pair)).toBe(before);
    // Nothing but authenticated evidence makes a REJECT.
    expect(pair.web.eventsOf("rejected-by-peer")).toEqual([]);
    expect(sentBy(pair, "db").filter((frame) => frame[ABS] === REJECT && frame[38] !== 0)).toEqual(
      [],
    );
    expectAlive(pair, talk);
  });
});
