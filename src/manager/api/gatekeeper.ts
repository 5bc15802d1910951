/**
 * Who asks: the bearer of a token, a session's cookie, or whoever may open the manager's socket on
 * this machine. docs/api.md "Authentication". Passwords are looked at two at a time, whoever asks:
 * argon2id costs memory on purpose.
 */
import type { EpochSeconds } from "../../units.ts";
import { lesserRole } from "../api-tokens.ts";
import type { Caller } from "../command-runner.ts";
import { LOCAL_ADMINISTRATOR } from "../manager-folder.ts";
import type { ManagerState } from "../manager-state.ts";
import { LoginThrottle } from "./login-throttle.ts";
import { ApiProblem } from "./problems.ts";
import { isSameSecret, type Session, Sessions } from "./sessions.ts";

const VERIFYING_MAX = 2;
const WAITING_MAX = 16;
/** Longer ones are nobody's. */
const NAME_CHARACTERS_MAX = 64;
const PASSWORD_CHARACTERS_MAX = 1024;
const CSRF_HEADER = "x-csrf-token";

export type ApiRequest = {
  readonly request: Request;
  /** Of the client; undefined: it came by the socket of this machine. */
  readonly address: string | undefined;
};

type OpenSession = Session & { readonly secret: string };

export class Gatekeeper {
  readonly #sessions = new Sessions();
  readonly #throttle = new LoginThrottle();
  #verifying = 0;
  readonly #waiting: (() => void)[] = [];

  /** @param isSecure the API is reached by TLS only: browsers keep the cookie to it */
  constructor(
    private readonly state: ManagerState,
    private readonly isSecure: boolean,
  ) {}

  /** @throws ApiProblem NOT_AUTHENTICATED, CSRF_TOKEN_WRONG */
  authenticate({ request, address }: ApiRequest): Caller {
    if (address === undefined) return this.#local();
    const [scheme = "", token = ""] = (request.headers.get("authorization") ?? "").split(" ");
    if (scheme.toLowerCase() === "bearer") return this.#bearer(token, address);
    const session = this.session(request);
    if (session === undefined) throw notAuthenticated("You are not logged in.");
    if (request.method !== "GET") this.#requireOwnPage(request, session);
    const account = this.state.accounts.find(session.account);
    if (account === undefined) throw notAuthenticated("Your account is removed.");
    return { who: `account ${account.name}`, role: account.role, address };
  }

  session(request: Request): OpenSession | undefined {
    const secret = new Bun.CookieMap(request.headers.get("cookie") ?? "").get(this.#cookieName);
    if (secret === null || secret === undefined) return undefined;
    const session = this.#sessions.find(secret, this.state.now());
    return session === undefined ? undefined : { ...session, secret };
  }

  /** @throws ApiProblem LOGIN_FAILED, LOGIN_LOCKED, OVERLOADED */
  async login(name: string, password: string, address: string): Promise<OpenSession> {
    const account = name.slice(0, NAME_CHARACTERS_MAX);
    const waitMs = this.#throttle.waitMs(account, address, performance.now());
    if (waitMs > 0) {
      this.#note(account, address, "LOGIN_LOCKED");
      const seconds = Math.ceil(waitMs / 1000);
      const what = `Too many wrong passwords; wait ${seconds} s.`;
      const remedy = "Then try again, or have an administrator set a new password.";
      throw new ApiProblem("LOGIN_LOCKED", what, remedy, { "Retry-After": `${seconds}` });
    }
    const isRight = await this.#verify(account, password.slice(0, PASSWORD_CHARACTERS_MAX));
    if (!isRight) {
      this.#throttle.failed(account, address, performance.now());
      this.#note(account, address, "LOGIN_FAILED");
      const remedy =
        "Check both. `abs manager account list` on the manager's machine has the names.";
      throw new ApiProblem("LOGIN_FAILED", "Name or password is wrong.", remedy);
    }
    this.#throttle.succeeded(account, address);
    this.#note(account, address, "done");
    return this.#sessions.open(account, this.state.now());
  }

  logout(request: Request): void {
    const session = this.session(request);
    if (session !== undefined) this.#sessions.close(session.secret);
  }

  closeSessionsOf(account: string): void {
    this.#sessions.closeOf(account);
  }

  /** What a browser keeps; without a session: what makes it forget. */
  cookieOf(session: OpenSession | undefined): string {
    const secure = this.isSecure ? "; Secure" : "";
    const lasts = session === undefined ? 0 : session.expiresAt - this.state.now();
    const value = `${this.#cookieName}=${session?.secret ?? ""}`;
    return `${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${lasts}${secure}`;
  }

  /**
   * A browser says where a request comes from; what is not from our own page changes nothing.
   * @throws ApiProblem CSRF_TOKEN_WRONG
   */
  requireSameOrigin({ headers }: Request): void {
    const site = headers.get("sec-fetch-site") ?? "same-origin";
    const origin = headers.get("origin");
    const isSame = origin === null || URL.parse(origin)?.host === headers.get("host");
    if (isSame && (site === "same-origin" || site === "none")) return;
    throw csrf("The request comes from another site.");
  }

  #requireOwnPage(request: Request, session: Session): void {
    this.requireSameOrigin(request);
    const given = request.headers.get(CSRF_HEADER) ?? "";
    if (isSameSecret(given, session.csrfToken)) return;
    throw csrf("The request has no X-CSRF-Token of this session.");
  }

  /** Prefixed, a browser takes it from this host by TLS only (RFC 6265bis §4.1.3.2). */
  get #cookieName(): string {
    return this.isSecure ? "__Host-abs_session" : "abs_session";
  }

  #local(): Caller {
    const local = this.state.administrators.find(LOCAL_ADMINISTRATOR);
    if (local !== undefined) return { who: local.name, role: local.role, address: "local socket" };
    throw notAuthenticated(`There is no administrator ${LOCAL_ADMINISTRATOR} any more.`);
  }

  #bearer(token: string, address: string): Caller {
    const found = this.state.tokens.find(token, this.state.now());
    const account = found === undefined ? undefined : this.state.accounts.find(found.account);
    if (found === undefined || account === undefined) {
      throw notAuthenticated("The token is unknown, revoked or expired.");
    }
    const who = `account ${account.name}, token ${found.id}`;
    return { who, role: lesserRole(found.role, account.role), address };
  }

  #note(account: string, address: string, outcome: string): void {
    const at: EpochSeconds = this.state.now();
    this.state.audit.add({ at, who: `account ${account}`, address, command: "log in", outcome });
  }

  async #verify(account: string, password: string): Promise<boolean> {
    if (this.#verifying >= VERIFYING_MAX) {
      if (this.#waiting.length >= WAITING_MAX) {
        const what = "Too many people log in at this moment.";
        throw new ApiProblem("OVERLOADED", what, "Try again.", { "Retry-After": "2" });
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#verifying++;
    try {
      return await this.state.accounts.verify(account, password);
    } finally {
      this.#verifying--;
      this.#waiting.shift()?.();
    }
  }
}

function notAuthenticated(what: string): ApiProblem {
  const remedy =
    "Send `Authorization: Bearer TOKEN` (`abs manager account token create`), or log in.";
  const headers = { "WWW-Authenticate": 'Bearer realm="abs manager"' };
  return new ApiProblem("NOT_AUTHENTICATED", what, remedy, headers);
}

function csrf(what: string): ApiProblem {
  const remedy = "Send the csrf_token of /api/v1/session, from a page of this manager.";
  return new ApiProblem("CSRF_TOKEN_WRONG", what, remedy);
}
