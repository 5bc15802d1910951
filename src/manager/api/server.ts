/**
 * The HTTP API: what listens, what is asked before anything else, and how answers leave.
 * docs/api.md. What a request means is the table's (routes.ts), who may is gatekeeper.ts's. It
 * listens on a socket in the manager's folder, for whoever may open that, and on TCP for whoever
 * can log in.
 */
import { chmodSync, rmSync } from "node:fs";
import { AbsError, messageOf } from "../../errors.ts";
import type { EventLog } from "../../observe/event-log.ts";
import type { CommandHost } from "../admin-command.ts";
import { executeInput } from "../command-runner.ts";
import { CAPTURE_BYTES_MAX } from "../standard-input.ts";
import { answerResponse } from "./answers.ts";
import { consoleResponse } from "./console-pages.ts";
import { apiDescription } from "./description.ts";
import { EventStreams, SLOW_SECONDS } from "./event-streams.ts";
import { type ApiRequest, Gatekeeper } from "./gatekeeper.ts";
import { ApiProblem, problemResponse } from "./problems.ts";
import { API_PREFIX, findRoute, methodUnknown, readInput } from "./routes.ts";
import { answerSession } from "./session-resource.ts";
import { SourceRates } from "./source-rates.ts";

/** A connection that stands still is closed. */
const IDLE_SECONDS = 15;
/** But not while the manager works for it. */
const WORK_SECONDS_MAX = 120;
const IN_FLIGHT_MAX = 64;
/** Of `sun_path` in unix(7), with its end. */
export const SOCKET_PATH_BYTES_MAX = 107;

/** An answer of the API is no page: no script, no frame, no other site. */
const HEADERS = {
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
} as const;
const HSTS = "max-age=31536000";

/** PEM texts. */
export type ApiTls = { readonly cert: string; readonly key: string };

export type ApiPlace = { readonly host: string; readonly port: number; readonly tls?: ApiTls };

export type ApiOptions = {
  readonly commands: CommandHost;
  readonly events: EventLog;
  readonly socket: string;
  readonly place: ApiPlace | undefined;
};

type Server = ReturnType<typeof Bun.serve>;

export class ApiServer {
  readonly #gatekeeper: Gatekeeper;
  readonly #streams = new EventStreams();
  readonly #rates = new SourceRates();
  readonly #deafen: () => void;
  #inFlight = 0;
  #local: Server | undefined;
  #tcp: Server | undefined;

  constructor(private readonly options: ApiOptions) {
    const { commands, place, events } = options;
    this.#gatekeeper = new Gatekeeper(commands.state, place?.tls !== undefined);
    this.#deafen = events.listen((record) => this.#streams.publish(record));
  }

  /** Of TCP; undefined: it does not listen there. */
  get port(): number | undefined {
    return this.#tcp?.port;
  }

  /** For those who may open the folder. Too long a path has no socket: SSH is left. */
  listenLocally(): void {
    const { socket } = this.options;
    if (Buffer.byteLength(socket) > SOCKET_PATH_BYTES_MAX) return;
    rmSync(socket, { force: true });
    const before = process.umask(0o177);
    try {
      this.#local = Bun.serve({ unix: socket, ...this.#settings(() => undefined) });
    } finally {
      process.umask(before);
    }
    chmodSync(socket, 0o600);
  }

  /** @throws AbsError API_NEEDS_TLS, API_NOT_LISTENING */
  listen(): void {
    const { place } = this.options;
    if (place === undefined) return;
    const { host, port, tls } = place;
    if (tls === undefined && !isLoopback(host)) {
      const what = `The API would be open to the network at ${host} without TLS.`;
      const remedy = "Give --api-cert and --api-key, or listen on 127.0.0.1.";
      throw new AbsError("API_NEEDS_TLS", what, remedy);
    }
    try {
      this.#tcp = Bun.serve({
        ...{ hostname: host, port, idleTimeout: IDLE_SECONDS },
        ...(tls === undefined ? {} : { tls }),
        ...this.#settings((request, server) => server.requestIP(request)?.address ?? "unknown"),
      });
    } catch (cause) {
      const what = `The API cannot listen at ${host}, port ${port}: ${messageOf(cause)}.`;
      const remedy = "Name another with --api HOST:PORT; check certificate and key.";
      throw new AbsError("API_NOT_LISTENING", what, remedy, cause);
    }
  }

  async stop(): Promise<void> {
    this.#deafen();
    this.#streams.close();
    await Promise.all([this.#local?.stop(true), this.#tcp?.stop(true)]);
    rmSync(this.options.socket, { force: true });
  }

  /** Ends sessions and streams of an account that has changed. */
  cutAccount(account: string): void {
    this.#gatekeeper.closeSessionsOf(account);
    this.#streams.recheck();
  }

  #settings(addressOf: (request: Request, server: Server) => string | undefined) {
    return {
      // Ours comes first, with words; this one counts what is not announced.
      maxRequestBodySize: 2 * CAPTURE_BYTES_MAX,
      fetch: async (request: Request, server: Server): Promise<Response> => {
        const address = addressOf(request, server);
        this.#inFlight++;
        try {
          const response = await this.#answer({ request, address }, server);
          return this.#dressed(response);
        } catch (thrown) {
          this.#tell(request, thrown);
          return this.#dressed(problemResponse(thrown));
        } finally {
          this.#inFlight--;
        }
      },
      error: (thrown: Error) => this.#dressed(problemResponse(thrown)),
    };
  }

  async #answer(asked: ApiRequest, server: Server): Promise<Response> {
    const { request, address } = asked;
    if (address !== undefined) this.#admit(address);
    const { pathname } = new URL(request.url);
    const { method } = request;
    const page = consoleResponse(request, pathname);
    if (page !== undefined) return page;
    if (pathname === "/api/openapi.json") {
      if (method !== "GET") throw methodUnknown(method, ["GET"]);
      const text = JSON.stringify(apiDescription());
      return answerResponse(request, { value: apiDescription(), text });
    }
    if (pathname === `${API_PREFIX}/session`) return answerSession(this.#gatekeeper, asked);
    if (pathname === `${API_PREFIX}/events`) {
      if (method !== "GET") throw methodUnknown(method, ["GET"]);
      this.#gatekeeper.authenticate(asked);
      if (address !== undefined) server.timeout(request, SLOW_SECONDS);
      return this.#streams.open(request, () => this.#isAllowed(asked));
    }
    const route = findRoute(method, pathname);
    const caller = this.#gatekeeper.authenticate(asked);
    const read = async () => {
      const input = await readInput(route, request);
      server.timeout(request, WORK_SECONDS_MAX);
      return input;
    };
    const answer = await executeInput(this.options.commands, route.command, caller, read);
    return answerResponse(request, answer);
  }

  /** @throws ApiProblem TOO_MANY_REQUESTS, OVERLOADED */
  #admit(address: string): void {
    const waitMs = this.#rates.take(address, performance.now());
    if (waitMs > 0) {
      const headers = { "Retry-After": `${Math.ceil(waitMs / 1000)}` };
      const what = `Too many requests come from ${address}.`;
      throw new ApiProblem("TOO_MANY_REQUESTS", what, "Ask less often.", headers);
    }
    if (this.#inFlight <= IN_FLIGHT_MAX) return;
    const what = "Too many requests are being answered.";
    throw new ApiProblem("OVERLOADED", what, "Try again.", { "Retry-After": "1" });
  }

  #isAllowed(asked: ApiRequest): boolean {
    try {
      this.#gatekeeper.authenticate(asked);
      return true;
    } catch {
      return false; // logged out, expired, removed: it is told when it asks again
    }
  }

  /** What is ours to mend is an event. */
  #tell(request: Request, thrown: unknown): void {
    if (thrown instanceof AbsError) return;
    const { pathname: path } = new URL(request.url);
    const reason = messageOf(thrown);
    this.options.events.write({ event: "api-failed", method: request.method, path, reason });
  }

  #dressed(response: Response): Response {
    for (const [name, value] of Object.entries(HEADERS)) {
      if (!response.headers.has(name)) response.headers.set(name, value);
    }
    if (this.options.place?.tls !== undefined) {
      response.headers.set("Strict-Transport-Security", HSTS);
    }
    return response;
  }
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}
