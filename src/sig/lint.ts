/**
 * What `abs sig lint` says of signatures: what cannot be read, what Hyperscan refuses, what can
 * never match or never win, and what overlaps. Errors keep a file from being used; warnings are
 * for a person to judge.
 */
import type { Shim } from "../dataplane/shim.ts";
import { compileSignatures } from "../dpi/compile.ts";
import { contentTest } from "../dpi/content-expression.ts";
import { loadSignatures } from "../dpi/schema.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { findOverlaps, neverMatches } from "../dpi/ties.ts";
import { AbsError } from "../errors.ts";

export interface Finding {
  readonly level: "error" | "warning";
  /** unreadable, expression, never, shadowed, overlap, tie, set. */
  readonly kind: string;
  readonly message: string;
  readonly remedy: string;
}

export interface LintResult {
  readonly files: number;
  readonly signatures: number;
  readonly apps: number;
  readonly findings: readonly Finding[];
}

/** Comparing each with each takes a second for these. */
const OVERLAPS_OF_MAX = 2000;

/** `library`: signatures already read, which are judged too. */
export function lint(
  shim: Shim,
  files: readonly string[],
  library: readonly AppSignature[],
): LintResult {
  const findings: Finding[] = [];
  const signatures = [...library];
  for (const file of files) {
    const read = attempt("unreadable", findings, () => loadSignatures(file));
    signatures.push(...(read ?? []));
  }
  for (const signature of signatures) findings.push(...findingsOf(shim, signature));
  const compiled = attempt("set", findings, () => compileSignatures(signatures, () => 0));
  for (const message of compiled?.warnings ?? []) {
    findings.push(warning("tie", message, "Give one a higher priority, or usual_ports to both."));
  }
  if (compiled !== undefined && compiled.signatures.length <= OVERLAPS_OF_MAX) {
    findings.push(...overlapFindings(compiled.signatures));
  }
  const count = compiled?.expressions.count ?? 0;
  if (compiled !== undefined && count > 0 && !hasErrors(findings)) {
    attempt("set", findings, () => {
      shim.releaseDatabase(shim.compileExpressions(compiled.expressions.blob, count));
    });
  }
  const apps = new Set(signatures.map(({ app }) => app)).size;
  return { files: files.length, signatures: signatures.length, apps, findings };
}

export function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some(({ level }) => level === "error");
}

function attempt<T>(kind: string, findings: Finding[], work: () => T): T | undefined {
  try {
    return work();
  } catch (thrown) {
    if (!(thrown instanceof AbsError)) throw thrown;
    findings.push({ level: "error", kind, message: thrown.message, remedy: thrown.remedy });
    return undefined;
  }
}

function warning(kind: string, message: string, remedy: string): Finding {
  return { level: "warning", kind, message, remedy };
}

function findingsOf(shim: Shim, signature: AppSignature): Finding[] {
  const findings: Finding[] = [];
  const where = `${signature.place}: "${signature.id}"`;
  const never = neverMatches(signature);
  if (never !== undefined) {
    const message = `${where} can never match: ${never}.`;
    findings.push({ level: "error", kind: "never", message, remedy: "Mend its contents." });
  }
  for (const content of signature.contents) {
    if (content.expression.kind === "bytes") continue;
    const { text, flags } = contentTest(content);
    const reason = shim.refusalOf(Buffer.from(text.subarray(0, -1)).toString("latin1"), flags);
    if (reason === undefined) continue;
    const message = `${where}: Hyperscan refuses ${content.expr}: ${reason}`;
    const remedy = "Write it simpler, or use smaller repeats.";
    findings.push({ level: "error", kind: "expression", message, remedy });
  }
  return findings;
}

function overlapFindings(ranked: readonly AppSignature[]): Finding[] {
  return findOverlaps(ranked).flatMap(({ winner, loser, certain, shadowed }) => {
    const pair = `"${loser.id}" (${loser.app})`;
    const over = `"${winner.id}" (${winner.app}) at ${winner.place}`;
    if (shadowed) {
      const message = `${loser.place}: ${pair} never wins: ${over} matches all that it matches.`;
      return [warning("shadowed", message, "Give it a higher priority, or remove it.")];
    }
    if (!certain) return [];
    const message = `${loser.place}: ${pair} loses to ${over} where both match.`;
    return [warning("overlap", message, "Right if that is the more special one.")];
  });
}
