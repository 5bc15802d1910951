/**
 * Stake: a line of the Trusted Nodes List and the weight that follows from it. docs/ledger.md
 * "Stake"; paper §3.3.2: the compute resources of a node and a score of the trusted applications it
 * hosts. Weight is computed, not declared, so that a master cannot inflate one. Integers only.
 */
import type { JsonObject } from "./canonical-json.ts";
import type { JsonFields } from "./json-fields.ts";
import type { Stake } from "./member.ts";

const VCPU_MAX = 4096;
const RAM_MIB_MAX = 64 * 1024 * 1024;
const SCORE_MAX = 100;
/** From here on more of it weighs no more: a large VM is not trusted more than twice over. */
const VCPU_FULL = 32;
const RAM_MIB_FULL = 131_072;

/** 1 to 100: a quarter each for CPU and memory, half for the score. */
export function weightOf(vcpu: number, ramMib: number, securityScore: number): number {
  const cpu = Math.floor((100 * Math.min(vcpu, VCPU_FULL)) / VCPU_FULL);
  const ram = Math.floor((100 * Math.min(ramMib, RAM_MIB_FULL)) / RAM_MIB_FULL);
  return Math.max(1, Math.floor((cpu + ram + 2 * securityScore) / 4));
}

/** A line with its right weight. */
export function stakeOf(line: Omit<Stake, "weight">): Stake {
  return { ...line, weight: weightOf(line.vcpu, line.ramMib, line.securityScore) };
}

/** The three declared values, as the genesis file has them too. */
export function readResources(
  fields: JsonFields,
): Pick<Stake, "vcpu" | "ramMib" | "securityScore"> {
  return {
    vcpu: fields.integer("vcpu", 1, VCPU_MAX),
    ramMib: fields.integer("ram", 1, RAM_MIB_MAX),
    securityScore: fields.integer("security_score", 0, SCORE_MAX),
  };
}

/** A weight that does not follow from the rest is a complaint. */
export function readStake(fields: JsonFields): Stake {
  const stake: Stake = {
    nodeId: fields.nodeId("node_id"),
    ...readResources(fields),
    weight: fields.integer("weight", 1, 100),
  };
  if (stake.weight !== weightOf(stake.vcpu, stake.ramMib, stake.securityScore)) {
    fields.complain("weight", "does not follow from vcpu, ram and security_score");
  }
  return stake;
}

/** `ram` is in MiB. */
export function stakeJson(stake: Stake): JsonObject {
  return {
    node_id: stake.nodeId,
    vcpu: stake.vcpu,
    ram: stake.ramMib,
    security_score: stake.securityScore,
    weight: stake.weight,
  };
}
