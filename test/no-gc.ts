/**
 * Proof that a loop allocates nothing: it runs in a child process under BUN_JSC_logGC=1, and no
 * garbage collection may be logged between its marks. STYLE "The hot path".
 *
 * In the test:  await expectNoCollections(new URL("./loop.ts", import.meta.url));
 * In the child: run each loop until it is compiled, then measure("name", loop), and
 * measureControl() once: a loop that does allocate, without which the proof is void.
 * BUN_JSC_gcMaxHeapSize makes the collector come every SENSITIVITY_BYTES allocated (by default it
 * is 8 MiB or more), so that a loop of 100,000 turns shows one byte a turn.
 */
import { writeSync } from "node:fs";

/** Bytes allocated between two collections of the child. */
export const SENSITIVITY_BYTES = 65_536;

const MARK = "no-gc mark";
const BEGIN = `${MARK} begin `;
const END = `${MARK} end `;
const COLLECTION = /^\[GC<[^>]*>: START /;
const STDERR = 2;

export interface Measured {
  readonly name: string;
  readonly collections: number;
}

/** In the child: runs `loop` between two marks. Everything it needs must exist and be warm. */
export function measure(name: string, loop: () => void): void {
  writeSync(STDERR, `${BEGIN}${name}\n`);
  loop();
  writeSync(STDERR, `${END}${name}\n`);
}

/** In the child: a loop that must show collections, named CONTROL. */
export function measureControl(): void {
  const kept: object[] = new Array(64).fill({});
  measure(CONTROL, () => {
    for (let i = 0; i < 100_000; i++) kept[i & 63] = { i };
  });
}

export const CONTROL = "control: one object a turn";

/** What a log says about each marked loop. A loop whose end is missing counts as -1. */
export function collectionsIn(log: string): Measured[] {
  const all: Measured[] = [];
  let open = "";
  let collections = 0;
  for (const line of log.split("\n")) {
    // The log of a collection may begin on the line of a mark, and the other way about.
    const begin = line.indexOf(BEGIN);
    const end = line.indexOf(END);
    if (begin >= 0) {
      open = line.slice(begin + BEGIN.length);
      collections = 0;
    } else if (end >= 0) {
      all.push({ name: line.slice(end + END.length), collections });
      open = "";
    } else if (open !== "" && COLLECTION.test(line)) {
      collections++;
    }
  }
  if (open !== "") all.push({ name: open, collections: -1 });
  return all;
}

/**
 * Runs the script in a child and throws unless it marked at least one loop, none of them saw a
 * collection, and its control did. Returns the loops' names.
 */
export async function expectNoCollections(
  script: URL,
  env: Record<string, string> = {},
): Promise<string[]> {
  const child = Bun.spawn([process.execPath, script.pathname], {
    env: {
      ...process.env,
      BUN_JSC_logGC: "1",
      BUN_JSC_gcMaxHeapSize: String(SENSITIVITY_BYTES),
      ...env,
    },
    stdout: "ignore",
    stderr: "pipe",
  });
  const log = await new Response(child.stderr).text();
  const status = await child.exited;
  const measured = collectionsIn(log);
  if (status !== 0)
    throw new Error(`${script.pathname} ended with ${status}:\n${log.slice(-2000)}`);
  const control = measured.find((loop) => loop.name === CONTROL);
  if (control === undefined || control.collections < 1) {
    throw new Error("The control loop allocates, but no collection was seen: the proof is void.");
  }
  const loops = measured.filter((loop) => loop !== control);
  if (loops.length === 0) throw new Error(`${script.pathname} marked no loop.`);
  const guilty = loops.filter((loop) => loop.collections !== 0);
  if (guilty.length > 0) {
    const list = guilty.map((loop) => `${loop.name}: ${loop.collections}`).join(", ");
    throw new Error(`Garbage collections inside loops that must not allocate: ${list}`);
  }
  return loops.map((loop) => loop.name);
}
