/**
 * The seam: what the product's processes and the simulator create and step. Everything behind it is
 * pure; step-types.ts has events, outputs and the duties of whoever runs it.
 *
 *   const validator = createValidator(config);      or createMaster(config)
 *   for (const output of step(validator, event)) …  carry out, in order
 *
 * `step` changes the participant it is given and nothing else.
 */
import { createMaster, stepMaster } from "./master.ts";
import type { Master } from "./master-state.ts";
import type { Output, StepEvent } from "./step-types.ts";
import { createValidator, stepValidator } from "./validator.ts";
import type { Validator } from "./validator-state.ts";

export { createMaster, createValidator };
export type Participant = Validator | Master;

export function step(participant: Participant, event: StepEvent): Output[] {
  return participant.kind === "master"
    ? stepMaster(participant, event)
    : stepValidator(participant, event);
}
