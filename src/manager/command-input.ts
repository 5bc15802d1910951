/**
 * Reading what a command takes: texts become values of its schema, defaults are filled in, and the
 * first fault is said in words, with what is right. docs/manager.md "Commands".
 */
import type { TObject, TSchema } from "typebox";
import { Value } from "typebox/value";
import { AbsError } from "../errors.ts";
import type { AdminCommand, CommandInput } from "./admin-command.ts";

const SHOWN_CHARACTERS_MAX = 80;

/** What is used of a property's schema beside checking. */
type ValueSchema = TSchema & {
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly writeOnly?: boolean;
  readonly items?: ValueSchema;
  readonly "x-remedy"?: string;
};

export function propertyOf(input: TObject, name: string): ValueSchema {
  return input.properties[name] as ValueSchema;
}

/** Without it a command does not run: it has no default and is not optional. */
export function isNeeded(input: TObject, name: string): boolean {
  return (input.required ?? []).includes(name) && propertyOf(input, name).default === undefined;
}

/** `peer_port` is `--peer-port`. */
export function optionOf(property: string): string {
  return property.replaceAll("_", "-");
}

/** A value of the schema's type, if the texts are one; else the text: checkInput() refuses it. */
export function valueOfTexts(schema: ValueSchema, texts: readonly string[]): unknown {
  const [first = ""] = texts;
  if (schema.type === "array") return texts.flatMap((one) => one.split(","));
  if (schema.type === "integer" && /^\d+$/.test(first)) return Number(first);
  if (schema.type === "boolean" && /^(true|false)$/.test(first)) return first === "true";
  return first;
}

/**
 * The whole input, checked.
 * @param label how the one who asks calls a property: `--peer-port`, `peer_port`
 * @throws AbsError COMMAND_USAGE
 */
export function checkInput(
  command: AdminCommand,
  given: CommandInput,
  label: (property: string) => string,
): CommandInput {
  const { properties } = command.input;
  const defaults = Object.keys(properties).flatMap((name) => {
    const { default: fallback } = propertyOf(command.input, name);
    return fallback === undefined ? [] : [[name, fallback]];
  });
  const input = { ...Object.fromEntries(defaults), ...given };
  const missing = (command.input.required ?? []).find((name) => !Object.hasOwn(input, name));
  if (missing !== undefined) throw usage(command, `${label(missing)} is missing`);
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(properties, name));
  if (unknown !== undefined) throw usage(command, `${shown(unknown)} is not known`);
  for (const [name, value] of Object.entries(input)) {
    const schema = propertyOf(command.input, name);
    if (!Value.Check(schema, value)) throw faultOf(schema, label(name), value);
  }
  return input;
}

export function usage(command: AdminCommand, why: string): AbsError {
  return new AbsError("COMMAND_USAGE", `${why}.`, `Usage: ${usageOf(command)}`);
}

function usageOf({ name, words, input, standardInput }: AdminCommand): string {
  const options = Object.keys(input.properties).filter((property) => {
    return !words.includes(property) && property !== standardInput?.property;
  });
  const shownOptions = options.map((property) => {
    const { type } = propertyOf(input, property);
    const option = optionOf(property);
    const text = type === "boolean" ? `--${option}` : `--${option} ${option.toUpperCase()}`;
    return `${isNeeded(input, property) ? text : `[${text}]`}${type === "array" ? "…" : ""}`;
  });
  const given = words.map((word) => optionOf(word).toUpperCase());
  const document = standardInput === undefined ? [] : [`< ${standardInput.property.toUpperCase()}`];
  return [name, ...given, ...shownOptions, "[--output text|json]", ...document].join(" ");
}

/** What is wrong with a value of a schema, and how it is right. */
function faultOf(schema: ValueSchema, label: string, value: unknown): AbsError {
  if (schema.type === "array" && schema.items !== undefined && Array.isArray(value)) {
    const { items, maxItems = 0 } = schema;
    if (value.length > maxItems) {
      return fault(`${label} has ${value.length} values; at most ${maxItems}.`, "Give fewer.");
    }
    return faultOf(
      items,
      label,
      value.find((item) => !Value.Check(items, item)),
    );
  }
  const { title, minimum, maximum } = schema;
  const remedy = schema["x-remedy"] ?? "Correct it.";
  const is = schema.writeOnly === true ? label : `${label} ${shown(value)}`;
  if (schema.enum !== undefined) return fault(`${is} is not known.`, remedy);
  if (schema.type === "integer") {
    return fault(`${is} is not a whole number from ${minimum} to ${maximum}.`, remedy);
  }
  if (title !== undefined) return fault(`${is} is no ${title}.`, remedy);
  const why = Value.Errors(schema, value)[0]?.message ?? "is wrong";
  return fault(`${is}: it ${why}.`, remedy);
}

function fault(what: string, remedy: string): AbsError {
  return new AbsError("COMMAND_USAGE", what, remedy);
}

/** As it was given; short. What is deep is not walked. */
function shown(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    return Array.isArray(value) ? "(a list)" : "(an object)";
  }
  const text = String(value);
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
}
