/**
 * Signatures ready to judge captures: the built-in library, files, or both, compiled and given to
 * Hyperscan. docs/sig-test.md.
 */
import { openShim, type Shim } from "../dataplane/shim.ts";
import { type CompiledSignatures, compileSignatures } from "../dpi/compile.ts";
import { librarySignatures } from "../dpi/library.ts";
import { loadSignatures } from "../dpi/schema.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { ignorePorts } from "../dpi/signature-matches.ts";

export interface SignatureChoice {
  /** Files of signatures beside the library's. */
  readonly files: readonly string[];
  /** Only these files. */
  readonly only: boolean;
  /** No port may decide. */
  readonly ignorePorts: boolean;
}

export interface SignatureSet {
  readonly compiled: CompiledSignatures;
  readonly shim: Shim;
  /** Of the shim; meaningless when there are no expressions. */
  readonly database: number;
  readonly portsMatter: boolean;
}

export function openSignatureSet(choice: SignatureChoice): SignatureSet {
  const compiled = compileSignatures(chosenSignatures(choice), () => 0);
  if (choice.ignorePorts) ignorePorts(compiled.snapshot);
  const shim = openShim();
  const { blob, count } = compiled.expressions;
  const database = count === 0 ? 0 : shim.compileExpressions(blob, count);
  if (count > 0) shim.prepareDatabase(database);
  return { compiled, shim, database, portsMatter: !choice.ignorePorts };
}

export function chosenSignatures(choice: SignatureChoice): AppSignature[] {
  const own = choice.files.flatMap(loadSignatures);
  const ids = new Set(own.map(({ id }) => id));
  // A signature of a file takes the place of the library's with its id.
  const library = choice.only ? [] : librarySignatures().filter(({ id }) => !ids.has(id));
  const all = [...library, ...own];
  return choice.ignorePorts ? all.filter((signature) => !isByPortAlone(signature)) : all;
}

function isByPortAlone({ contents, sourcePorts, destinationPorts }: AppSignature): boolean {
  return contents.length === 0 && (sourcePorts ?? destinationPorts) !== undefined;
}
