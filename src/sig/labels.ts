/**
 * What application each flow of a capture truly is, from a CSV file with the columns `file`,
 * `proto`, `src_ip`, `src_port`, `dst_ip`, `dst_port`, `app`. Files are matched by base name, flows
 * from either end. A capture may hold a 5-tuple several times: the first flow that carries
 * something counts.
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { AbsError, messageOf } from "../errors.ts";
import { protocolNumber } from "../store/network-values.ts";
import { formatAddress, type IpAddress, parseAddress } from "../wire/ip-text.ts";
import type { FlowRecord } from "./flow-record.ts";

const COLUMNS = ["file", "proto", "src_ip", "src_port", "dst_ip", "dst_port", "app"] as const;
type Column = (typeof COLUMNS)[number];

/** correct, wrong: another application; unknown: none, or the flow is not in the capture. */
export type LabelVerdict = "correct" | "wrong" | "unknown";

/** One labelled flow and what became of it. */
export interface LabelledFlow {
  readonly file: string;
  readonly app: string;
  /** The columns of the flow, for messages. */
  readonly words: string;
  /** The application found; undefined: none. */
  found: string | undefined;
  /** Whether a flow of that 5-tuple was in the capture, and carried something. */
  seen: "no" | "silent" | "yes";
}

export class Labels {
  readonly #rows = new Map<string, LabelledFlow>();
  readonly #files = new Set<string>();

  constructor(readonly path: string) {
    const lines = readLines(path);
    const head = (lines[0] ?? "").split(",").map((word) => word.trim());
    for (const column of COLUMNS) {
      if (!head.includes(column)) {
        const message = `${path}:1: there is no column "${column}".`;
        throw new AbsError("LABELS", message, `The columns are ${COLUMNS.join(",")}.`);
      }
    }
    for (const [i, line] of lines.entries()) {
      if (i > 0 && line.trim() !== "") this.#add(line.split(","), head, i + 1);
    }
  }

  #add(cells: readonly string[], head: readonly string[], line: number): void {
    const cell = (column: Column) => cells[head.indexOf(column)]?.trim() ?? "";
    const fail = (what: string): never => {
      const remedy = "A row is file,protocol,address,port,address,port,application.";
      throw new AbsError("LABELS", `${this.path}:${line}: ${what}.`, remedy);
    };
    const address = (column: Column): IpAddress =>
      parseAddress(cell(column)) ?? fail(`${column} "${cell(column)}" is not an address`);
    const port = (column: Column): number => {
      const text = cell(column);
      const isPort = /^\d{1,5}$/.test(text) && Number(text) <= 0xffff;
      return isPort ? Number(text) : fail(`${column} "${text}" is not a port`);
    };
    const protocol = protocolNumber(cell("proto"));
    if (protocol === undefined) return fail(`proto "${cell("proto")}" is not known`);
    if (cell("file") === "" || cell("app") === "") return fail("file and app must be given");
    const file = basename(cell("file"));
    const key = flowKey(
      file,
      protocol,
      endOf(address("src_ip"), port("src_port")),
      endOf(address("dst_ip"), port("dst_port")),
    );
    const words = COLUMNS.slice(1, 6).map(cell).join(",");
    this.#files.add(file);
    this.#rows.set(key, { file, app: cell("app"), words, found: undefined, seen: "no" });
  }

  /** Whether there are labels for a capture. */
  has(file: string): boolean {
    return this.#files.has(basename(file));
  }

  /** The label of a flow, if it has one; remembers what the flow was found to be. */
  take(record: FlowRecord): LabelledFlow | undefined {
    const file = basename(record.file);
    if (!this.#files.has(file)) return undefined;
    const { protocol, source, sourcePort, destination, destinationPort } = record;
    const ends = [endOf(source, sourcePort), endOf(destination, destinationPort)] as const;
    const row = this.#rows.get(flowKey(file, protocol, ...ends));
    if (row === undefined || row.seen === "yes") return row;
    const isSilent = record.request === undefined && record.response === undefined;
    row.seen = isSilent ? "silent" : "yes";
    row.found = record.identity?.signature.app;
    return row;
  }

  /** The labelled flows of these captures, by base name. */
  of(files: readonly string[]): LabelledFlow[] {
    const names = new Set(files.map((file) => basename(file)));
    return [...this.#rows.values()].filter(({ file }) => names.has(file));
  }
}

export function verdictOf(row: LabelledFlow): LabelVerdict {
  if (row.found === undefined) return "unknown";
  return row.found === row.app ? "correct" : "wrong";
}

function endOf(address: IpAddress, port: number): string {
  return `${formatAddress(address)} ${port}`;
}

/** The same for both directions. */
function flowKey(file: string, protocol: number, one: string, other: string): string {
  return one < other
    ? `${file}|${protocol}|${one}|${other}`
    : `${file}|${protocol}|${other}|${one}`;
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8")
      .replace(/^\uFEFF/, "")
      .split(/\r?\n/);
  } catch (error) {
    const message = `${path} cannot be read: ${messageOf(error)}`;
    throw new AbsError("LABELS", message, "Name a CSV file with --labels.", error);
  }
}
