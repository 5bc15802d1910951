/** A manager with its HTTP API on loopback, an account of each role, and requests to it. */
import type { AdminRole } from "../../src/manager/administrators.ts";
import { ADMIN_ROLES } from "../../src/manager/administrators.ts";
import { API_PREFIX, findRoute } from "../../src/manager/api/routes.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { checkAnswer } from "./answer-check.ts";
import { ManagerSite } from "./manager-site.ts";

export const PASSWORD = "correct horse battery";

export type Answer = {
  readonly status: number;
  readonly headers: Headers;
  /** JSON where it is, else text. */
  readonly body: unknown;
};

export type Asking = {
  readonly token?: string | undefined;
  readonly json?: unknown;
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The body is not waited for: a stream has no end. */
  readonly aborts?: true;
};

/** What the limit gives back is a request in 10 ms. */
const PAUSE_MS = 200;

function codeIn({ body }: Answer): unknown {
  return typeof body === "object" && body !== null ? (body as { code?: unknown }).code : undefined;
}

/** What commands answer is as it is described; other resources have tests of their own. */
function checkDescribed(method: string, path: string, answer: unknown): void {
  const { pathname } = new URL(path, "http://manager");
  if (isCommandPath(pathname)) checkAnswer(findRoute(method, pathname).command, answer);
}

function isCommandPath(pathname: string): boolean {
  return pathname.startsWith(`${API_PREFIX}/`) && pathname !== `${API_PREFIX}/session`;
}

export class ApiSite {
  /** By role. */
  readonly tokens = new Map<AdminRole, string>();

  private constructor(readonly site: ManagerSite) {}

  static async open(): Promise<ApiSite> {
    const site = await ManagerSite.open();
    const api = new ApiSite(site);
    await site.addTenant("t1");
    for (const role of ADMIN_ROLES) {
      await api.addAccount(role, role);
      const made = await site.command("account", "token", "create", role);
      api.tokens.set(role, String(made["token"]));
    }
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${this.site.manager?.apiPort}`;
  }

  async addAccount(name: string, role: AdminRole, password = PASSWORD): Promise<void> {
    const input = new Uint8Array(Buffer.from(`${password}\n`));
    const words = ["account", "add", name, "--role", role];
    const said = await askManager({ dir: this.site.dir }, words, input);
    if (said.code !== 0) throw new Error(said.complaint);
  }

  /** The same as often as it comes too fast: a file's tests are one source. */
  async ask(method: string, path: string, asking: Asking = {}): Promise<Answer> {
    for (;;) {
      const answer = await this.askOnce(method, path, asking);
      if (codeIn(answer) !== "TOO_MANY_REQUESTS") return answer;
      await Bun.sleep(PAUSE_MS);
    }
  }

  /** As an administrator, unless another token is given; `token: ""` is none. */
  async askOnce(method: string, path: string, asking: Asking = {}): Promise<Answer> {
    const token = asking.token ?? this.tokens.get("administrator") ?? "";
    const headers: Record<string, string> = {
      ...(token === "" ? {} : { Authorization: `Bearer ${token}` }),
      ...(asking.json === undefined ? {} : { "Content-Type": "application/json" }),
      ...(asking.text === undefined ? {} : { "Content-Type": "application/yaml" }),
      ...asking.headers,
    };
    const body = asking.json === undefined ? asking.text : JSON.stringify(asking.json);
    const init = { method, headers, ...(body === undefined ? {} : { body }) };
    const abort = new AbortController();
    const response = await fetch(`${this.url}${path}`, { ...init, signal: abort.signal });
    if (asking.aborts === true) {
      abort.abort();
      return { status: response.status, headers: response.headers, body: undefined };
    }
    const text = await response.text();
    const type = response.headers.get("content-type") ?? "";
    const answer = type.includes("json") ? JSON.parse(text) : text;
    if (response.status === 200 && type.startsWith("application/json")) {
      checkDescribed(method, path, answer);
    }
    return { status: response.status, headers: response.headers, body: answer };
  }

  close(): Promise<void> {
    return this.site.close();
  }
}
