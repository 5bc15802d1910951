/**
 * Sessions of people who have logged in with a password: a cookie, and beside it a CSRF token that
 * every change must carry in a header, which no page of another site can read or send. docs/api.md
 * "Sessions". In memory: after a restart of the manager everybody logs in anew.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { kernelRandom } from "../../native/kernel-random.ts";
import type { EpochSeconds } from "../../units.ts";

const SECRET_BYTES = 32;
const LIFETIME_SECONDS = 12 * 3600;
const IDLE_SECONDS = 3600;
const SESSIONS_MAX = 1000;
const SESSIONS_PER_ACCOUNT_MAX = 16;

export type Session = {
  readonly account: string;
  readonly csrfToken: string;
  readonly expiresAt: EpochSeconds;
};

type Kept = Session & { usedAt: EpochSeconds };

export class Sessions {
  /** By SHA-256 of the cookie's value. */
  readonly #sessions = new Map<string, Kept>();

  /** @returns the cookie's value with it; the account's oldest session ends if it has too many */
  open(account: string, now: EpochSeconds): Session & { readonly secret: string } {
    this.#forget(({ usedAt, expiresAt }) => isOver(now, usedAt, expiresAt));
    const own = [...this.#sessions].filter(([, session]) => session.account === account);
    const isFull = own.length >= SESSIONS_PER_ACCOUNT_MAX;
    const [oldest] = isFull ? own : this.#sessions.size >= SESSIONS_MAX ? this.#sessions : [];
    if (oldest !== undefined) this.#sessions.delete(oldest[0]);
    const [secret, csrfToken] = [drawSecret(), drawSecret()];
    const expiresAt = (now + LIFETIME_SECONDS) as EpochSeconds;
    const session = { account, csrfToken, expiresAt };
    this.#sessions.set(digestOf(secret), { ...session, usedAt: now });
    return { ...session, secret };
  }

  find(secret: string, now: EpochSeconds): Session | undefined {
    const key = digestOf(secret);
    const session = this.#sessions.get(key);
    if (session === undefined) return undefined;
    if (isOver(now, session.usedAt, session.expiresAt)) {
      this.#sessions.delete(key);
      return undefined;
    }
    session.usedAt = now;
    return session;
  }

  close(secret: string): void {
    this.#sessions.delete(digestOf(secret));
  }

  closeOf(account: string): void {
    this.#forget((session) => session.account === account);
  }

  #forget(isMeant: (session: Kept) => boolean): void {
    for (const [key, session] of this.#sessions) if (isMeant(session)) this.#sessions.delete(key);
  }
}

/** Takes the same time wherever they differ. */
export function isSameSecret(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function isOver(now: EpochSeconds, usedAt: EpochSeconds, expiresAt: EpochSeconds): boolean {
  return now >= expiresAt || now - usedAt >= IDLE_SECONDS;
}

function drawSecret(): string {
  return Buffer.from(kernelRandom(SECRET_BYTES)).toString("base64url");
}

function digestOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
