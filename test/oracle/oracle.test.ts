/**
 * bench/oracle.c is an honest yardstick only if it does the same work: over 10,000 inputs each way,
 * good and damaged, C and TypeScript must let out the same packets, byte for byte.
 */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { encodeOracleInput, type OracleInput } from "../../src/bench/oracle-input.ts";
import { seed } from "../prng.ts";
import { LoadPrng, OracleLoad } from "./oracle-load.ts";

const INPUTS = 10_000;
const ORACLE = join(import.meta.dir, "../../dist/abs-oracle");
const TYPESCRIPT = [process.execPath, join(import.meta.dir, "typescript-side.ts")];

async function outputOf(argv: readonly string[], input: Uint8Array) {
  const child = Bun.spawn([...argv], { stdin: input, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).bytes(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  expect(`${argv[0]} exit ${code}: ${code === 0 ? "" : stderr}`).toBe(`${argv[0]} exit 0: `);
  return { packets: rowsOf(stdout), notes: stderr };
}

/** Output rows as hex, one a packet. */
function rowsOf(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const rows: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = view.getUint32(at, true);
    rows.push(Buffer.from(bytes.subarray(at + 4, at + 4 + length)).toString("hex"));
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return rows;
}

async function compare(input: OracleInput): Promise<void> {
  expect(existsSync(ORACLE), `${ORACLE} is there; build it with \`make build\``).toBe(true);
  const bytes = encodeOracleInput(input);
  const inC = await outputOf([ORACLE, "apply"], bytes);
  const inTypeScript = await outputOf(TYPESCRIPT, bytes);
  const different = inC.packets.findIndex((row, i) => row !== inTypeScript.packets[i]);
  const where = `first difference at output ${different}; drops ${inTypeScript.notes}`;
  expect(inTypeScript.packets[different], where).toBe(inC.packets[different]);
  expect(inTypeScript.packets.length).toBe(inC.packets.length);
  // Most inputs are good, and some are not: otherwise the comparison shows nothing.
  expect(inC.packets.length).toBeGreaterThan(input.packets.length / 2);
  expect(inC.packets.length).toBeLessThan(input.packets.length * 0.95);
}

for (const direction of ["egress", "ingress"] as const) {
  const name = `${INPUTS} packets of ${direction} leave C and TypeScript alike (SEED=${seed})`;
  test(
    name,
    async () => compare(new OracleLoad(new LoadPrng(seed)).input(direction, INPUTS)),
    60_000,
  );
}
