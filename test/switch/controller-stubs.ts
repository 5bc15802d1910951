/**
 * Stand-ins for controllers, written from their documents and not from our adapters: what they
 * take, what they refuse, how they answer. Ryu: "ryu.app.ofctl_rest" (also os-ken's). ONOS: "REST
 * API", flows, with its Swagger examples. No real controller runs here; docs/manager.md says so.
 */

export type StubFlow = Record<string, unknown>;

/** A server on loopback. */
abstract class Stub {
  readonly #server = Bun.serve({
    ...{ port: 0, hostname: "127.0.0.1" },
    fetch: (request) => this.answer(request),
  });

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  async stop(): Promise<void> {
    await this.#server.stop(true);
  }

  protected abstract answer(request: Request): Promise<Response>;
}

/** `ofctl_rest` with one datapath. */
export class RyuStub extends Stub {
  flows: StubFlow[] = [];
  readonly requests: string[] = [];

  constructor(readonly dpid: number) {
    super();
  }

  protected async answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    this.requests.push(`${request.method} ${pathname}`);
    const body = (await request.json()) as StubFlow;
    if (request.method !== "POST") return new Response("", { status: 404 });
    if (pathname === `/stats/flow/${this.dpid}`) {
      const { cookie = 0, cookie_mask: mask = 0 } = body as {
        cookie?: number;
        cookie_mask?: number;
      };
      const [wanted, bits] = [BigInt(cookie), BigInt(mask)];
      const found = this.flows.filter((flow) => (BigInt(Number(flow["cookie"])) & bits) === wanted);
      return Response.json({ [this.dpid]: found });
    }
    if (body["dpid"] !== this.dpid) return new Response("", { status: 404 });
    // "match" fields by OpenFlow 1.3's names; answered by 1.0's, as the document shows.
    const match = renamed(body["match"] as StubFlow);
    const key = JSON.stringify([body["priority"], match]);
    const keyOf = (flow: StubFlow) => JSON.stringify([flow["priority"], flow["match"]]);
    if (pathname === "/stats/flowentry/add") {
      const { cookie, priority, hard_timeout, actions, flags } = body;
      if (!Array.isArray(actions)) return new Response("", { status: 400 });
      this.flows = this.flows.filter((flow) => keyOf(flow) !== key);
      const counts = {
        packet_count: 0,
        byte_count: 0,
        duration_sec: 0,
        duration_nsec: 1,
        length: 88,
      };
      const more = { table_id: body["table_id"] ?? 0, idle_timeout: 0, actions, match, flags };
      this.flows.push({ cookie, priority, hard_timeout, ...counts, ...more });
      return new Response("");
    }
    if (pathname === "/stats/flowentry/delete_strict") {
      this.flows = this.flows.filter((flow) => {
        return keyOf(flow) !== key || flow["cookie"] !== body["cookie"];
      });
      return new Response("");
    }
    return new Response("", { status: 404 });
  }
}

function renamed(match: StubFlow): StubFlow {
  const names: Record<string, string> = {
    eth_src: "dl_src",
    eth_type: "dl_type",
    ipv4_src: "nw_src",
  };
  return Object.fromEntries(
    Object.entries(match)
      .map(([name, value]) => [names[name] ?? name, value])
      .sort(),
  );
}

/** ONOS with one device; user and password as it comes. */
export class OnosStub extends Stub {
  flows: StubFlow[] = [];
  #next = 54_043_198_000_000;

  constructor(readonly device: string) {
    super();
  }

  protected async answer(request: Request): Promise<Response> {
    const login = `Basic ${Buffer.from("onos:rocks").toString("base64")}`;
    if (request.headers.get("authorization") !== login) return new Response("", { status: 401 });
    const { pathname, searchParams } = new URL(request.url);
    const path = decodeURIComponent(pathname);
    const application = /^\/onos\/v1\/flows\/application\/(.+)$/.exec(path)?.[1];
    if (request.method === "GET" && application !== undefined) {
      return Response.json({ flows: this.flows.filter(({ appId }) => appId === application) });
    }
    const prefix = `/onos/v1/flows/${this.device}`;
    if (request.method === "POST" && path === prefix) {
      const body = (await request.json()) as StubFlow;
      if (body["deviceId"] !== this.device) return new Response("", { status: 400 });
      const { treatment, selector, ...more } = body;
      const id = String(this.#next++);
      const counts = { state: "ADDED", life: 0, packets: 0, bytes: 0, liveType: "UNKNOWN" };
      const none = { instructions: [{ type: "NOACTION" }], deferred: [] };
      const isEmpty = Object.keys(treatment as StubFlow).length === 0;
      const appId = searchParams.get("appId") ?? "org.onosproject.rest";
      const flow = { ...more, ...counts, id, appId, treatment: isEmpty ? none : treatment };
      this.flows.push({ ...flow, selector: withNumbers(selector as { criteria: StubFlow[] }) });
      const location = `${this.url}${prefix}/${id}`;
      return new Response(null, { status: 201, headers: { location } });
    }
    const id = path.startsWith(`${prefix}/`) ? path.slice(prefix.length + 1) : undefined;
    if (request.method === "DELETE" && id !== undefined) {
      this.flows = this.flows.filter((flow) => flow["id"] !== id);
      return new Response(null, { status: 204 });
    }
    return new Response("", { status: 404 });
  }
}

/** MACs come back in capitals, as ONOS prints them. */
function withNumbers({ criteria }: { criteria: StubFlow[] }) {
  return {
    criteria: criteria.map((one) => {
      return "mac" in one ? { ...one, mac: String(one["mac"]).toUpperCase() } : one;
    }),
  };
}
