/**
 * The session machine: `step(event) → outputs`. docs/wire.md "HANDSHAKE", "Lifetimes", "Session,
 * tag, role". Pure: no clock, no I/O; randomness comes with the configuration, so that a test plays
 * an hour in a moment. Hostile bytes end in a counted refusal, never in an exception. The phases
 * are in initiating.ts, responding.ts, establishing.ts, closing.ts, lifetimes.ts and liveness.ts.
 */
import type { Micros } from "../units.ts";
import { INITIATION, RESPONSE, RSA_INITIATION, RSA_RESPONSE } from "../wire/handshake-message.ts";
import { FLAG, HANDSHAKE, readCommonHeader } from "../wire/header.ts";
import { confirm } from "./establishing.ts";
import {
  acceptCookie,
  acceptResponse,
  changeIdentity,
  GIVE_UP_MICROS,
  keepAttempting,
  need,
} from "./initiating.ts";
import {
  ageSession,
  changeContracts,
  changePeers,
  expireContracts,
  forgetAll,
} from "./lifetimes.ts";
import { keepAlive, noteActivity, tryHint } from "./liveness.ts";
import { type Refusal, type Refused, refused } from "./refusals.ts";
import { acceptInitiation } from "./responding.ts";
import type { SessionsConfig, SessionsEvent, SessionsOutput } from "./session-api.ts";
import {
  type Binding,
  MICROS_PER_SECOND,
  NEVER,
  type Session,
  SessionsState,
} from "./sessions-state.ts";

type HandshakeEvent = Extract<SessionsEvent, { type: "handshake" }>;
type TimeEvent = Extract<SessionsEvent, { type: "time" }>;

export class Sessions {
  private readonly state: SessionsState;

  constructor(config: SessionsConfig) {
    this.state = new SessionsState(config);
  }

  /** Takes one event; what it returns is to be carried out in order. */
  step(event: SessionsEvent): SessionsOutput[] {
    const { state } = this;
    switch (event.type) {
      case "time":
        this.keepTime(event);
        break;
      case "need":
        need(state, event);
        break;
      case "handshake":
        this.count(this.takeHandshake(event));
        break;
      case "confirmed":
        confirm(state, event.slot);
        break;
      case "activity":
        noteActivity(state, event);
        break;
      case "unknown-index":
        tryHint(state, event.peer, event.unknownIndex);
        break;
      case "forget-all":
        forgetAll(state);
        break;
      case "contracts":
        changeContracts(state, event.contracts);
        break;
      case "peers":
        changePeers(state, event);
        break;
      case "identity":
        changeIdentity(state, event.identity);
        break;
      case "reset-stamp":
        state.received.forget(event.peer);
        break;
    }
    return state.takeOutputs();
  }

  private keepTime(event: TimeEvent): void {
    const { state } = this;
    state.now = event.now;
    state.wall = event.wall;
    state.cookies.keepTime(event.now);
    expireContracts(state);
    keepAttempting(state);
    for (const session of [...state.sessions.values()]) {
      ageSession(state, session);
      if (state.sessions.has(session.slot)) keepAlive(state, session);
    }
  }

  private takeHandshake(event: HandshakeEvent): Refused | undefined {
    const header = readCommonHeader(event.message);
    if (typeof header === "string") return refused(header);
    if (header.flag !== FLAG.handshake) return refused("flag");
    switch (header.nextHeader) {
      case HANDSHAKE.initiation:
        return acceptInitiation(this.state, event, INITIATION);
      case HANDSHAKE.rsaInitiation:
        return acceptInitiation(this.state, event, RSA_INITIATION);
      case HANDSHAKE.response:
        return acceptResponse(this.state, event, RESPONSE);
      case HANDSHAKE.rsaResponse:
        return acceptResponse(this.state, event, RSA_RESPONSE);
      case HANDSHAKE.cookieReply:
        return acceptCookie(this.state, event);
      default:
        return refused("next-header");
    }
  }

  private count(outcome: Refused | undefined): void {
    if (outcome !== undefined) this.state.refuse(outcome);
  }

  /**
   * When the next time event is worth sending, at the latest. Ends of contracts are read off the
   * wall clock, so while there are sessions it is never more than a second away.
   */
  nextDeadline(): Micros {
    const { now, pending, sessions } = this.state;
    let next = sessions.size > 0 ? now + MICROS_PER_SECOND : Number.POSITIVE_INFINITY;
    for (const { nextAttemptAt, startedAt } of pending.values()) {
      next = Math.min(next, nextAttemptAt, startedAt + GIVE_UP_MICROS);
    }
    for (const { closeAt, initiator, provenAt } of sessions.values()) {
      next = Math.min(
        next,
        closeAt,
        initiator && provenAt === NEVER ? now + MICROS_PER_SECOND / 20 : next,
      );
    }
    return Math.max(next, now) as Micros;
  }

  /** Bindings that have a session now: those an agent handshakes for at its next start. */
  bindings(): Binding[] {
    return [...this.state.current.values()].map(({ peer, tag, role }) => ({ peer, tag, role }));
  }

  /** The sessions as they stand, for `abs sessions`. */
  list(): readonly Readonly<Session>[] {
    return [...this.state.sessions.values()];
  }

  /** How many handshakes of ours wait for an answer. */
  get pendingCount(): number {
    return this.state.pending.size;
  }

  /** How often each reason refused a handshake message. */
  get refusals(): ReadonlyMap<Refusal, number> {
    return this.state.refusals;
  }
}
