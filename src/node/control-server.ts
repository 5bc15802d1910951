/**
 * The control socket of a running node: HTTP over a Unix socket in its folder, behind `abs ledger
 * status` and `abs ledger propose`. Root alone may open it. What is proposed is checked here as far
 * as it can be without a block, so that whoever asks hears what is wrong.
 */
import { chmodSync, rmSync } from "node:fs";
import { canonicalJson, type JsonValue, parseJsonText } from "../chain/canonical-json.ts";
import { type ContractEntry, decodeContract } from "../chain/contract-entry.ts";
import { JsonFields } from "../chain/json-fields.ts";
import { decodeRecord } from "../chain/record-schema.ts";
import { AbsError, messageOf } from "../errors.ts";
import type { LedgerProcess } from "./ledger-process.ts";
import { answerRecovery } from "./redraw-control.ts";
import { answerRevoke } from "./revoke-control.ts";

const ITEMS_MAX = 100_000;
/** sun_path of struct sockaddr_un. */
const SOCKET_PATH_BYTES_MAX = 107;

export class ControlServer {
  readonly #server: { stop: (closeActive?: boolean) => unknown };

  constructor(
    readonly path: string,
    readonly process: LedgerProcess,
  ) {
    if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
      throw new AbsError(
        "STATE_PATH_LONG",
        `The path ${path} is too long for a socket.`,
        `Give a shorter --dir: the path may have ${SOCKET_PATH_BYTES_MAX} bytes.`,
      );
    }
    rmSync(path, { force: true });
    this.#server = Bun.serve({ unix: path, fetch: (request) => this.#answer(request) });
    chmodSync(path, 0o600);
  }

  close(): void {
    this.#server.stop(true);
    rmSync(this.path, { force: true });
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/status") return Response.json(this.process.status());
    if (pathname === "/revoke" && request.method === "POST") {
      return answerRevoke(this.process, await request.text());
    }
    if (pathname.startsWith("/recovery/") && request.method === "POST") {
      return answerRecovery(this.process, pathname, await request.text());
    }
    if (pathname.startsWith("/contract/")) return this.#contract(pathname.slice(10));
    if (pathname === "/propose" && request.method === "POST") {
      const bytes = new Uint8Array(await request.arrayBuffer());
      const complaint = this.#propose(bytes);
      if (complaint === undefined) return Response.json({});
      return Response.json({ error: complaint }, { status: 400 });
    }
    return Response.json({ error: `there is no ${pathname}` }, { status: 404 });
  }

  /** As it is at the tip. */
  #contract(scId: string): Response {
    const entry = this.process.runner.participant.chain.scd.find(scId);
    const error = `the ledger has no contract ${scId} in force`;
    if (entry === undefined) return Response.json({ error }, { status: 404 });
    return new Response(entry.bytes, { headers: { "content-type": "application/json" } });
  }

  /** Hands it to the master, or says why not. */
  #propose(bytes: Uint8Array): string | undefined {
    if (this.process.options.role !== "master") return "only the master proposes";
    if (this.process.runner.participant.kind !== "master" || this.process.isPaused) {
      return "the master repairs its disk, or waits for room on it: `abs ledger status` says which";
    }
    const json = parseJsonText(bytes);
    if ("fault" in json) return json.fault;
    const fields = new JsonFields(json.value);
    const contracts = fields.list("contracts", ITEMS_MAX).map(canonicalJson);
    const records = fields.list("records", ITEMS_MAX).map(canonicalJson);
    fields.end();
    if (fields.complaint !== undefined) return fields.complaint;
    for (const [i, contract] of contracts.entries()) {
      const read = decodeContract(contract);
      if ("complaint" in read) return `contracts[${i}]: ${read.complaint}`;
    }
    for (const [i, record] of records.entries()) {
      const read = decodeRecord(record);
      if ("complaint" in read) return `records[${i}]: ${read.complaint}`;
    }
    this.process.runner.take({ kind: "propose", contracts, records });
    return undefined;
  }
}

export type Proposal = {
  readonly contracts: readonly JsonValue[];
  readonly records: readonly JsonValue[];
};

/** @throws AbsError LEDGER_NOT_RUNNING, PROPOSAL_REFUSED */
export async function propose(socket: string, proposal: Proposal): Promise<void> {
  const response = await ask(socket, "/propose", JSON.stringify(proposal));
  if (response.ok) return;
  const { error } = (await response.json()) as { error: string };
  const remedy = 'Look at docs/ledger.md, "Contracts" and "Records", for what a block may hold.';
  throw new AbsError("PROPOSAL_REFUSED", `It was not proposed: ${error}.`, remedy);
}

/** A contract at the node's tip; undefined: there is none in force. */
export async function askContract(
  socket: string,
  scId: string,
): Promise<ContractEntry | undefined> {
  const response = await ask(socket, `/contract/${scId}`, undefined);
  if (!response.ok) return undefined;
  const read = decodeContract(new Uint8Array(await response.arrayBuffer()));
  return "contract" in read ? read.contract : undefined;
}

/** @throws AbsError LEDGER_NOT_RUNNING */
export async function askStatus(socket: string): Promise<Record<string, unknown>> {
  const response = await ask(socket, "/status", undefined);
  return (await response.json()) as Record<string, unknown>;
}

export async function ask(
  socket: string,
  path: string,
  body: string | undefined,
): Promise<Response> {
  const method = body === undefined ? "GET" : "POST";
  try {
    return await fetch(`http://ledger${path}`, {
      ...{ unix: socket, method },
      ...(body === undefined ? {} : { body }),
    });
  } catch (cause) {
    throw new AbsError(
      "LEDGER_NOT_RUNNING",
      `No node answers at ${socket}: ${messageOf(cause)}.`,
      "Start it with `abs validator run` or `abs ledger master run`, or name its folder: --dir.",
      cause,
    );
  }
}
