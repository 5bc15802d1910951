/**
 * Traffic from web while something else happens, of which nothing may be lost: pings, requests on
 * one connection that stays, and new connections, all of one application to one server.
 */
import { rmSync } from "node:fs";
import { dropWords } from "./agent-drops.ts";
import { all, type Observed, type StoryContext } from "./check.ts";
import { type Background, startBackground } from "./command.ts";
import type { VmName } from "./lab-plan.ts";

/** Traffic alone, before and after. */
const ALONE_MS = 500;
const PING_SECONDS = 0.05;
/** For the answers that are on their way. */
const PING_WAIT_MS = 1_000;
const REQUEST_SECONDS = 0.025;
const REQUESTS_MAX = 100_000;
const CONNECTION_PAUSE_MS = 100;
const TIMEOUT_MS = 5_000;

export interface TrafficPlan {
  readonly to: VmName;
  /** redis-cli of the application, with the address and a command. */
  readonly app: (address: string, ...command: readonly string[]) => string[];
  /** What begins meanwhile may be cut off; what began before must go on. */
  readonly newMayEnd?: boolean;
}

/** What `work` observes, and that nothing was lost from shortly before it until shortly after. */
export async function underTraffic(
  story: StoryContext,
  plan: TrafficPlan,
  work: () => Promise<Observed>,
): Promise<Observed> {
  const ends = ["web", plan.to] as const;
  const statuses = () => Promise.all(ends.map((vm) => story.agent(vm).status()));
  const before = await statuses();
  const end = { isThere: false };
  const connected = connections(story, plan, end);
  const pings = new Pings(story, plan);
  const requests = new Requests(story, plan);
  let observed: Observed;
  try {
    await Bun.sleep(ALONE_MS);
    observed = await work();
    requests.mark();
    await Bun.sleep(ALONE_MS);
  } finally {
    end.isThere = true;
    await Promise.all([requests.stop(), pings.stop()]);
  }
  const counted = [pings.counted, await connected] as const;
  const traffic = judged(counted, requests, plan.newMayEnd ?? false);
  if (traffic.passed) return all(observed, traffic);
  const after = await statuses();
  const drops = ends.map((vm, i) => {
    return `dropped by ${vm}: ${dropWords(before[i] ?? {}, after[i] ?? {})}`;
  });
  return all(observed, { ...traffic, words: [traffic.words, ...drops].join("; ") });
}

interface Counted {
  readonly tried: number;
  readonly good: number;
}

function judged(
  [pinged, connected]: readonly [Counted, Counted],
  requests: Requests,
  newMayEnd: boolean,
): Observed {
  const isAnyLost = pinged.good < pinged.tried || connected.good < connected.tried;
  const breached = (isAnyLost && !newMayEnd) || !requests.areInOrder || !requests.wentOn;
  return {
    passed: !breached && pinged.tried > 0 && connected.tried > 0,
    breached,
    words:
      `${pinged.good} of ${pinged.tried} pings answered, ${connected.good} of ` +
      `${connected.tried} new connections good, ${requests.answered} requests answered` +
      `${requests.areInOrder && requests.wentOn ? " on one connection" : ", then no more"}`,
  };
}

async function connections(
  story: StoryContext,
  { to, app }: TrafficPlan,
  end: { readonly isThere: boolean },
): Promise<Counted> {
  const command = app(story.site.vm(to).ipv4, "PING");
  let [tried, good] = [0, 0];
  while (!end.isThere) {
    const result = await story.site.run("web", command, { timeoutMs: TIMEOUT_MS });
    tried += 1;
    if (result.stdout.trim() === "PONG") good += 1;
    await Bun.sleep(CONNECTION_PAUSE_MS);
  }
  return { tried, good };
}

/**
 * Pings without a pause. `ping -c` gives the last one twice the time of the slowest before, so here
 * those count that were sent before the last answer at the end; each has a second for its own.
 */
class Pings {
  readonly #process: Background;
  readonly #file: string;
  #counted: Counted = { tried: 0, good: 0 };

  constructor(story: StoryContext, { to }: TrafficPlan) {
    this.#file = `${story.site.options.directory}/pings-${Math.random().toString(36).slice(2)}`;
    const command = ["ping", "-n", "-i", String(PING_SECONDS), story.site.vm(to).ipv4];
    this.#process = startBackground(story.site.inside("web", command), { logFile: this.#file });
  }

  #answered(): Set<number> {
    const found = this.#process.output().matchAll(/icmp_seq=(\d+) ttl=/g);
    return new Set([...found].map(([, seq]) => Number(seq)));
  }

  async stop(): Promise<void> {
    const tried = Math.max(0, ...this.#answered());
    await Bun.sleep(PING_WAIT_MS);
    const good = [...this.#answered()].filter((seq) => seq <= tried).length;
    await this.#process.stop("SIGINT");
    rmSync(this.#file, { force: true });
    this.#counted = { tried, good };
  }

  get counted(): Counted {
    return this.#counted;
  }
}

/** One connection that counts up, and is still used when the work is done. */
class Requests {
  readonly #process: Background;
  readonly #file: string;
  #marked = 0;
  #replies: readonly number[] = [];

  constructor(story: StoryContext, { to, app }: TrafficPlan) {
    const counter = `counter-${Math.random().toString(36).slice(2)}`;
    this.#file = `${story.site.options.directory}/${counter}`;
    const often = ["-r", String(REQUESTS_MAX), "-i", String(REQUEST_SECONDS), "INCR", counter];
    const command = app(story.site.vm(to).ipv4, ...often);
    this.#process = startBackground(story.site.inside("web", command), { logFile: this.#file });
  }

  #read(): readonly number[] {
    return this.#process.output().split("\n").filter(Boolean).map(Number);
  }

  /** From here on there must be more. */
  mark(): void {
    this.#marked = this.#read().length;
  }

  async stop(): Promise<void> {
    this.#replies = this.#read();
    await this.#process.stop("SIGKILL");
    rmSync(this.#file, { force: true });
  }

  get answered(): number {
    return this.#replies.length;
  }

  get wentOn(): boolean {
    return this.#replies.length > this.#marked && this.#marked > 0;
  }

  get areInOrder(): boolean {
    return this.#replies.every((reply, i) => reply === i + 1);
  }
}
