/**
 * Chromium in front of a manager's console. Whatever it complains of, or asks of anybody but the
 * manager, is kept: a test ends with `faults()` empty.
 */
import axe from "axe-core";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { waitFor } from "../../src/lab/command.ts";
import type { AdminRole } from "../../src/manager/administrators.ts";

export const CHROMIUM = "/usr/bin/chromium";
export const WAIT_MS = 30_000;
const PASSWORD = "correct horse battery";

/** What the browser says of refusals that a test asks for, and of a manager that was stopped. */
const ASKED_FOR = /status of (40[13]|412|422) |ERR_CONNECTION|ERR_INCOMPLETE_CHUNKED/;

export type Look = { readonly scheme?: "light" | "dark"; readonly width?: number };

type AxeResult = { readonly violations: readonly AxeViolation[] };
type AxeViolation = { readonly id: string; readonly nodes: readonly { readonly html: string }[] };

/** Of an account that is named as its role. */
export function accountOf(role: AdminRole): { readonly words: string[]; readonly input: string } {
  return { words: ["account", "add", role, "--role", role], input: `${PASSWORD}\n` };
}

export class ConsoleBrowser {
  readonly #faults: string[] = [];
  readonly #contexts: BrowserContext[] = [];

  private constructor(
    private readonly url: string,
    private readonly browser: Browser,
  ) {}

  /** @param program Chromium, or what starts it elsewhere */
  static async open(url: string, program = CHROMIUM): Promise<ConsoleBrowser> {
    const browser = await chromium.launch({
      executablePath: program,
      // The tests run as root; without /dev/shm of a size, its pages would crash.
      args: ["--no-sandbox", "--disable-dev-shm-usage"],
    });
    return new ConsoleBrowser(url, browser);
  }

  async page({ scheme = "light", width = 1280 }: Look = {}): Promise<Page> {
    const viewport = { width, height: width < 500 ? 844 : 800 };
    const context = await this.browser.newContext({ viewport, colorScheme: scheme });
    this.#contexts.push(context);
    const page = await context.newPage();
    page.setDefaultTimeout(WAIT_MS);
    page.on("console", (message) => {
      const text = `${message.text()} ${message.location().url}`;
      if (message.type() === "error" && !ASKED_FOR.test(text)) this.#faults.push(text);
    });
    page.on("pageerror", (error) => this.#faults.push(String(error)));
    page.on("request", (request) => {
      const isOwn = request.url().startsWith(this.url) || request.url().startsWith("data:");
      if (!isOwn) this.#faults.push(`asks ${request.url()}`);
    });
    return page;
  }

  /** A page of the console, as somebody with this role. */
  async signedIn(role: AdminRole, look: Look = {}): Promise<Page> {
    const page = await this.page(look);
    await page.goto(`${this.url}/console/`);
    await page.getByLabel("Name").fill(role);
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    return page;
  }

  async visit(page: Page, path: string): Promise<void> {
    await page.goto(`${this.url}/console/${path}`);
    await page.locator("main h1").waitFor();
    const loading = page.getByText("Loading…");
    await waitFor(path, async () => ((await loading.count()) === 0 ? true : undefined), WAIT_MS);
  }

  /** What axe-core finds wrong with the page as it is now, by all its rules or by these. */
  async axeFaults(page: Page, rules: readonly string[] = []): Promise<string[]> {
    // By the debugger: the page's policy lets no script in.
    await page.evaluate(axe.source);
    const only = rules.length === 0 ? {} : { runOnly: rules };
    const options = JSON.stringify({ resultTypes: ["violations"], ...only });
    const found = await page.evaluate(`axe.run(document, ${options})`);
    const { violations } = found as AxeResult;
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  }

  /** Console errors, exceptions, requests to elsewhere, until now. */
  faults(): readonly string[] {
    return this.#faults;
  }

  async close(): Promise<void> {
    for (const context of this.#contexts) await context.close();
    await this.browser.close();
  }
}
