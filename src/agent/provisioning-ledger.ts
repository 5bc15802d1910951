/**
 * The provisioning file's `ledger`, and what `contracts` holds beside it: secrets only, since terms
 * and states are the ledger's. docs/provisioning.md "With a ledger".
 */
import { type GenerationSecret, scIdBytesOf } from "../session/contract.ts";
import type { DocumentNode } from "../store/document.ts";
import { besideDocument } from "../store/secret-file.ts";
import { parseAddress } from "../wire/ip-text.ts";
import { either, readGenerations } from "./provisioning-fields.ts";

/** What this agent holds of a contract; the rest is in the SCD. */
export interface ContractSecrets {
  readonly scId: string;
  readonly scIdBytes: Uint8Array;
  /** By generation, ascending. */
  readonly secrets: readonly GenerationSecret[];
}

export interface LedgerSettings {
  readonly directory: string;
  /** Undefined: what the node's certificate says. */
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  /** How long an old generation is good for beside a new one. */
  readonly overlapSeconds: number;
  readonly contracts: readonly ContractSecrets[];
}

const PORT_MAX = 65_535;
const OVERLAP_SECONDS = 86_400;
/** Sessions move 15 to 25 s before the end of what they are under (docs/wire.md "Lifetimes"). */
const OVERLAP_SECONDS_MIN = 30;
const OVERLAP_SECONDS_MAX = 31_536_000;

export function readLedger(
  node: DocumentNode,
  contracts: DocumentNode | undefined,
): LedgerSettings {
  const map = node.map(["directory", "listen", "overlap"]);
  const directory = map.need("directory");
  const overlap = map.get("overlap")?.integer(OVERLAP_SECONDS_MIN, OVERLAP_SECONDS_MAX);
  return {
    directory: besideDocument(directory, directory.string()),
    listen: readPlace(map.get("listen")),
    overlapSeconds: overlap ?? OVERLAP_SECONDS,
    contracts: readContractSecrets(contracts),
  };
}

function readPlace(node: DocumentNode | undefined): LedgerSettings["listen"] {
  if (node === undefined) return undefined;
  const text = node.string();
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? "";
  const port = Number(match?.[3]);
  if (parseAddress(host) !== undefined && port >= 1 && port <= PORT_MAX) return { host, port };
  return node.fail(`"${text}" is no ADDRESS:PORT.`, "As 10.77.0.11:6254 or [fd00::1]:6254.");
}

function readContractSecrets(node: DocumentNode | undefined): ContractSecrets[] {
  const found: ContractSecrets[] = [];
  for (const item of node?.list() ?? []) {
    const map = item.map(["sc-id", "id", "generation", "secret", "secrets"]);
    const idNode = either(map, "sc-id", "id");
    const scId = idNode.string().toLowerCase();
    const scIdBytes = scIdBytesOf(scId);
    if (scIdBytes === undefined) {
      return idNode.fail(
        `"${scId}" is no UUID of version 4.`,
        "`abs ledger contracts` lists them.",
      );
    }
    if (found.some((known) => known.scId === scId)) {
      item.fail(`the contract ${scId} is listed twice.`, "Use `secrets` for generations.");
    }
    const secrets = readGenerations(map).sort((a, b) => a.generation - b.generation);
    found.push({ scId, scIdBytes, secrets });
  }
  return found;
}
