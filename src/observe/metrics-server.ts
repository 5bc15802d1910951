/**
 * Metrics and health over HTTP, for Prometheus and for whoever restarts what is not well.
 * docs/metrics.md. It only reads, and has no secrets; it listens on loopback unless told otherwise.
 */
import { AbsError, messageOf } from "../errors.ts";
import type { EventLog } from "./event-log.ts";
import {
  type MetricFamily,
  metricsText,
  OPENMETRICS_TYPE,
  PROMETHEUS_TYPE,
  wantsOpenMetrics,
} from "./metrics.ts";

const IDLE_SECONDS = 10;
const BODY_BYTES_MAX = 1024;
/** One that does not answer so long is not ready. */
const READY_MS = 2_000;

export type MetricsSource = {
  readonly families: () => MetricFamily[];
  /** Resolves when it does its work; rejects, or never settles, when it does not. */
  readonly ready: () => Promise<unknown>;
};

export class MetricsServer {
  #source: MetricsSource | undefined;
  readonly #server: ReturnType<typeof Bun.serve>;

  /** @throws AbsError METRICS_NOT_LISTENING */
  constructor(place: { readonly host: string; readonly port: number }, events: EventLog) {
    const { host, port } = place;
    try {
      this.#server = Bun.serve({
        ...{ hostname: host, port, idleTimeout: IDLE_SECONDS, maxRequestBodySize: BODY_BYTES_MAX },
        fetch: (request) => this.#answer(request),
        error: () => new Response("failed\n", { status: 500 }),
      });
    } catch (cause) {
      const what = `Metrics cannot be served at ${host}, port ${port}: ${messageOf(cause)}.`;
      throw new AbsError(
        "METRICS_NOT_LISTENING",
        what,
        "Name another: --metrics HOST:PORT.",
        cause,
      );
    }
    events.write({ event: "metrics-started", host, port: this.port });
  }

  get port(): number {
    return this.#server.port ?? 0;
  }

  /** From now on it may be ready. */
  serve(source: MetricsSource): void {
    this.#source = source;
  }

  async close(): Promise<void> {
    await this.#server.stop(true);
  }

  async #answer(request: Request): Promise<Response> {
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response("GET only\n", { status: 405, headers: { Allow: "GET, HEAD" } });
    }
    const { pathname } = new URL(request.url);
    // This answers, so the process is alive.
    if (pathname === "/healthz") return new Response("ok\n");
    if (pathname === "/readyz") return await this.#readiness();
    if (pathname !== "/metrics") return new Response("not found\n", { status: 404 });
    const isOpenMetrics = wantsOpenMetrics(request.headers.get("accept") ?? "");
    const text = metricsText(this.#source?.families() ?? [], isOpenMetrics);
    const headers = { "Content-Type": isOpenMetrics ? OPENMETRICS_TYPE : PROMETHEUS_TYPE };
    return new Response(text, { headers });
  }

  async #readiness(): Promise<Response> {
    try {
      if (this.#source === undefined) throw new Error("it is starting");
      const late = Bun.sleep(READY_MS).then(() => Promise.reject(new Error("it does not answer")));
      await Promise.race([this.#source.ready(), late]);
      return new Response("ready\n");
    } catch (thrown) {
      return new Response(`not ready: ${messageOf(thrown)}\n`, { status: 503 });
    }
  }
}
