/**
 * The wire's formats and whatever the session machine does with them, for the decoder fuzzer
 * (decoders-fuzz.ts): decoders alone, and machines in several states.
 */
import type { Sessions } from "../../src/session/sessions.ts";
import { type Micros, TENANT_TAG, type WallMillis } from "../../src/units.ts";
import { HANDSHAKE } from "../../src/wire/header.ts";
import { askCookie, forgeInitiation, hand, sentBy } from "../session/forging.ts";
import { APP1, PEER } from "../session/setup.ts";
import { START_WALL } from "../session/simulated-network.ts";
import { mutate } from "./decoder-mutator.ts";
import {
  anyInitiation,
  anyResponse,
  decoders,
  initiators,
  responders,
  seedCorpus,
} from "./decoder-targets.ts";
import type { Prng } from "./prng.ts";

const SESSIONS_MAX = 64;

export class WireFuzz {
  readonly counts = new Map<string, number>();
  decoded = 0;
  parsed = 0;
  handed = 0;
  readonly faults: string[] = [];
  private readonly seeds = Object.values(seedCorpus());
  private readonly names = Object.keys(decoders);
  private readonly responders = responders();
  private readonly initiators = initiators();
  private readonly cookies: (Uint8Array | undefined)[];
  private micros = 1_000_000;

  constructor(private readonly prng: Prng) {
    this.cookies = this.responders.map((machine) => askCookie(machine));
  }

  get wall(): WallMillis {
    return (START_WALL + this.micros / 1000) as WallMillis;
  }

  /** One turn: many cheap inputs for the decoders, then some for the machines. */
  turn(): void {
    for (let i = 0; i < 200; i++) this.decodeOne();
    this.passTime();
    for (let i = 0; i < 3; i++) this.initiate();
    this.answer();
    this.flood();
  }

  private seed(): Uint8Array {
    return this.seeds[this.prng.below(this.seeds.length)] ?? new Uint8Array(0);
  }

  private decodeOne(): void {
    const { prng } = this;
    const at = prng.below(this.seeds.length);
    const seed = this.seeds[at] ?? new Uint8Array(0);
    const bytes = prng.below(4) === 0 ? seed : mutate(prng, seed, this.seed());
    // Mostly the decoder that the seed is for: the corpus is in the decoders' order but for two.
    const own = [1, 2, 3, 4, 5, 6, 5, 7, 8, 9][at] ?? 0;
    const name = this.names[prng.below(4) === 0 ? prng.below(this.names.length) : own] ?? "header";
    const result = decoders[name]?.(bytes);
    this.decoded++;
    if (typeof result === "string") this.count(`${name}: ${result}`);
    else this.parsed++;
  }

  private count(reason: string): void {
    this.counts.set(reason, (this.counts.get(reason) ?? 0) + 1);
  }

  private passTime(): void {
    this.micros += this.prng.below(1000) * 1000;
    const event = { type: "time", now: this.micros as Micros, wall: this.wall } as const;
    for (const machine of [...this.responders, ...this.initiators]) machine.step(event);
    // A cookie lives for two minutes of the machines' time.
    if (this.prng.below(100) > 0) return;
    this.responders.forEach((machine, i) => {
      this.cookies[i] = askCookie(machine) ?? this.cookies[i];
    });
  }

  /** An initiation for one of the responders, perhaps altered, perhaps twice. */
  private initiate(): void {
    const { prng } = this;
    const at = prng.below(this.responders.length);
    const machine = this.responders[at];
    if (machine === undefined) return;
    const message = anyInitiation(prng, this.cookies[at], this.wall);
    this.feed(machine, message);
    if (prng.below(4) === 0) this.feed(machine, message);
    for (let i = 0; i < 4; i++) this.feed(machine, mutate(prng, message, this.seed()));
  }

  /** A handshake of an initiator, answered by responses and cookies of every kind. */
  private answer(): void {
    const { prng } = this;
    const machine = this.initiators[prng.below(this.initiators.length)];
    if (machine === undefined) return;
    machine.step({ type: "forget-all" });
    const tag = prng.below(2) === 0 ? TENANT_TAG : APP1;
    const outputs = machine.step({ type: "need", peer: PEER, tag, role: 0 });
    const initiation = sentBy(outputs).find((sent) => sent[1] === HANDSHAKE.initiation);
    if (initiation === undefined) return;
    const response = anyResponse(prng, initiation, this.wall);
    for (let i = 0; i < 28; i++) this.feed(machine, mutate(prng, response, this.seed()));
    const cookie = this.cookieAt(initiation);
    for (let i = 0; i < 4; i++) this.feed(machine, i < 2 ? cookie : mutate(prng, cookie, cookie));
    this.feed(machine, response);
  }

  /** A cookie reply that names the initiation's index; half of them nonsense. */
  private cookieAt(initiation: Uint8Array): Uint8Array {
    const reply = this.seeds[3]?.slice() ?? new Uint8Array(0);
    reply.set(initiation.subarray(8, 12), 4);
    return reply;
  }

  /** Now and then, more under load than the limits allow. */
  private flood(): void {
    if (this.prng.below(20) > 0) return;
    const at = this.prng.below(2);
    const machine = this.responders[at];
    const seed = this.seeds[0];
    if (machine === undefined || seed === undefined) return;
    // The cookie at hand may have died of age. The flood before this one may have used up the
    // replies: the clock stands between two of them now and then.
    const cookie = askCookie(machine);
    if (cookie === undefined) return;
    for (let i = 0; i < 1200; i++) hand(machine, seed, { underLoad: true, mac1Checked: true });
    const message = forgeInitiation({ cookie, plan: { role: 1 } });
    for (let i = 0; i < 60; i++) hand(machine, message, { underLoad: true, mac1Checked: true });
    this.handed += 1260;
  }

  private feed(machine: Sessions, message: Uint8Array): void {
    const { prng } = this;
    this.handed++;
    hand(machine, message, { underLoad: prng.below(10) === 0, mac1Checked: prng.below(4) > 0 });
    const sessions = machine.list();
    for (const { slot } of sessions.slice(0, prng.below(2))) {
      machine.step({ type: "confirmed", slot });
    }
    if (sessions.length + machine.pendingCount > SESSIONS_MAX) {
      this.faults.push(`a machine holds ${sessions.length} sessions`);
    }
  }

  /** How often each refusal of the machines happened. */
  refusals(): Map<string, number> {
    const sums = new Map<string, number>();
    for (const machine of [...this.responders, ...this.initiators]) {
      for (const [reason, count] of machine.refusals) {
        sums.set(reason, (sums.get(reason) ?? 0) + count);
      }
    }
    for (const [name, count] of this.counts) {
      const reason = name.replace(/.*: /, "");
      if (["lane", "reason", "ip-version"].includes(reason)) {
        sums.set(reason, (sums.get(reason) ?? 0) + count);
      }
    }
    return sums;
  }
}
