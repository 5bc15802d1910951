/** Whether what a command answers is what its schema says, and nothing beside it. */
import type { TSchema } from "typebox";
import { Value } from "typebox/value";
import type { AdminCommand } from "../../src/manager/admin-command.ts";

/** The schema, whose objects may have no field that it does not name. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const parts = Object.entries(schema).map(([name, part]) => [name, closed(part)]);
  const isShape = "properties" in schema && !("additionalProperties" in schema);
  return { ...Object.fromEntries(parts), ...(isShape ? { additionalProperties: false } : {}) };
}

/** @throws Error that says where the answer is not as `command.answer` has it */
export function checkAnswer({ name, answer }: AdminCommand, value: unknown): void {
  const schema = closed(answer) as TSchema;
  if (Value.Check(schema, value)) return;
  const faults = Value.Errors(schema, value).map(({ instancePath, message, params }) => {
    return `${instancePath || "/"} ${message} ${JSON.stringify(params)}`;
  });
  const shown = JSON.stringify(value)?.slice(0, 1000);
  throw new Error(`the answer of \`${name}\` is not as it is described: ${faults}\n${shown}`);
}
