/**
 * How the contracts of the SCD stood last, in the state directory: to read a long chain takes
 * seconds, and running connections survive a restart of their agent within two (docs/wire.md). It
 * holds no secrets, is of one chain, and counts until the replica has been read. What cannot be
 * read only costs the wait.
 */

import {
  canonicalJson,
  canonicalText,
  type JsonValue,
  parseJsonText,
} from "../chain/canonical-json.ts";
import { contractJson, decodeContract } from "../chain/contract-entry.ts";
import { JsonFields } from "../chain/json-fields.ts";
import type { GenerationCommitment, ScdContract } from "../node/scd-watch.ts";
import type { EpochSeconds } from "../units.ts";
import { readIfThere, replaceFile } from "./state-dir.ts";

const CONTRACTS_MAX = 100_000;
const GENERATIONS_MAX = 10_000;
const COUNT_MAX = 2 ** 32 - 1;

export function saveContracts(
  file: string,
  chainId: string,
  contracts: readonly ScdContract[],
): void {
  const list: JsonValue = contracts.map(({ scId, entry, generations }) => ({
    "sc-id": scId,
    entry: entry === undefined ? [] : [contractJson(entry)],
    generations: generations.map(({ generation, commitment, since }) => ({
      ...{ generation, commitment, since },
    })),
  }));
  replaceFile(file, canonicalText({ chain_id: chainId, contracts: list, version: 1 }));
}

/** Undefined: there is none of this chain, or it is damaged. */
export function loadContracts(file: string, chainId: string): ScdContract[] | undefined {
  const text = readIfThere(file);
  const json = text === undefined ? undefined : parseJsonText(new TextEncoder().encode(text));
  if (json === undefined || "fault" in json) return undefined;
  const fields = new JsonFields(json.value);
  const isOurs = fields.integer("version", 1, 1) === 1 && fields.hash("chain_id") === chainId;
  const contracts = fields.list("contracts", CONTRACTS_MAX).map(readOne);
  fields.end();
  if (fields.complaint !== undefined || !isOurs) return undefined;
  const whole = contracts.filter((contract) => contract !== undefined);
  return whole.length === contracts.length ? whole : undefined;
}

function readOne(value: JsonValue): ScdContract | undefined {
  const fields = new JsonFields(value);
  const scId = fields.scId("sc-id");
  const entries = fields.list("entry", 1).map((entry) => decodeContract(canonicalJson(entry)));
  const generations = fields.list("generations", GENERATIONS_MAX).map(readGeneration);
  fields.end();
  const [read] = entries;
  if (fields.complaint !== undefined || generations.includes(undefined)) return undefined;
  if (read !== undefined && (!("contract" in read) || read.contract.scId !== scId)) {
    return undefined;
  }
  const known = generations.filter((generation) => generation !== undefined);
  return { scId, entry: read?.contract, generations: known };
}

function readGeneration(value: JsonValue): GenerationCommitment | undefined {
  const fields = new JsonFields(value);
  const generation = {
    generation: fields.integer("generation", 1, COUNT_MAX),
    commitment: fields.hash("commitment"),
    since: fields.integer("since", 0, Number.MAX_SAFE_INTEGER) as EpochSeconds,
  };
  fields.end();
  return fields.complaint === undefined ? generation : undefined;
}
