/** Debian's Prometheus and its promtool, for tests. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What `promtool check metrics` says of a text; nothing when it finds nothing. */
export async function promtoolSays(text: string): Promise<string> {
  const tool = Bun.spawn(["promtool", "check", "metrics"], {
    ...{ stdin: new Blob([text]), stdout: "pipe", stderr: "pipe" },
  });
  const said = await Promise.all([
    new Response(tool.stdout).text(),
    new Response(tool.stderr).text(),
  ]);
  const status = await tool.exited;
  return status === 0 ? said.join("") : `${status}: ${said.join("")}`;
}

/** One that scrapes 127.0.0.1:TARGET each second. */
export class Prometheus {
  #process: ReturnType<typeof Bun.spawn> | undefined;

  /** @param inNamespace words before the command, where it runs in a namespace */
  constructor(
    private readonly folder: string,
    private readonly port: number,
    private readonly target: number,
    private readonly inNamespace: readonly string[] = [],
  ) {}

  async start(): Promise<void> {
    const config = join(this.folder, "prometheus.yml");
    const targets = `[{ targets: ["127.0.0.1:${this.target}"] }]`;
    const job = `{ job_name: abs, scrape_interval: 1s, static_configs: ${targets} }`;
    writeFileSync(config, `scrape_configs: [${job}]\n`);
    const data = join(this.folder, "prometheus");
    mkdirSync(data, { recursive: true });
    const flags = [`--config.file=${config}`, `--storage.tsdb.path=${data}`];
    const listen = `--web.listen-address=127.0.0.1:${this.port}`;
    const quiet = { stdin: "ignore", stdout: "ignore", stderr: "ignore" } as const;
    this.#process = Bun.spawn([...this.inNamespace, "prometheus", ...flags, listen], quiet);
  }

  /** Of the one series that the query names, as soon as it has been scraped. */
  async value(query: string): Promise<number> {
    const url = `http://127.0.0.1:${this.port}/api/v1/query?query=${encodeURIComponent(query)}`;
    for (let i = 0; i < 300; i++) {
      const body = await this.#ask(url);
      const [found] = body?.data.result ?? [];
      if (found !== undefined && !(query === "up" && found.value[1] === "0")) {
        return Number(found.value[1]);
      }
      await Bun.sleep(50);
    }
    throw new Error(`Prometheus has no ${query}`);
  }

  async #ask(url: string) {
    type Answer = { data: { result: { value: [number, string] }[] } };
    const command = [...this.inNamespace, "curl", "-sf", url];
    const curl = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
    const text = await new Response(curl.stdout).text();
    return (await curl.exited) === 0 ? (JSON.parse(text) as Answer) : undefined;
  }

  [Symbol.dispose](): void {
    this.#process?.kill("SIGKILL");
  }
}
