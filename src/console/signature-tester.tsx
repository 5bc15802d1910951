/**
 * Drop a capture on the page, and be told which application each of its flows is: by the tenant's
 * signatures, and by one that is typed here and kept nowhere. docs/console.md.
 */
import type { TargetedSubmitEvent } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { Findings } from "../answers/signatures.ts";
import { Field } from "./action.tsx";
import { ask, mayAct, Problem } from "./api.ts";
import type { PageProps } from "./pages.tsx";
import { ProblemNote } from "./resource.tsx";
import { SignatureFindings } from "./signature-findings.tsx";

/** As the manager takes them: docs/manager.md "Signatures". */
const CAPTURE_BYTES_MAX = 8 * 1024 * 1024;
const DRAFT_CHARACTERS_MAX = 4000;
/** In the request's head, as `%XX`. */
const DRAFT_BYTES_MAX = 12_000;
const DRAFT_ROWS = 8;

type Outcome =
  | { readonly kind: "nothing" }
  | { readonly kind: "testing" }
  | { readonly kind: "failed"; readonly problem: Error }
  | { readonly kind: "found"; readonly findings: Findings };

export function SignatureTester({ tenant }: PageProps) {
  return mayAct("operator") ? <Tester key={tenant} tenant={tenant} /> : null;
}

function Tester({ tenant }: PageProps) {
  const form = useRef<HTMLFormElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const options = useCallback(() => new FormData(form.current ?? undefined), []);
  const { file, outcome, test } = useTest(tenant, options);
  const dropped = useCallback(
    (files: FileList) => {
      if (field.current !== null) field.current.files = files;
      test([...files]);
    },
    [test],
  );
  const isOver = useDroppedFiles(dropped);
  const again = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (file !== undefined) test([file]);
  };
  return (
    <section class={isOver ? "card drop over" : "card drop"} aria-label="Try a capture">
      <h2>Try a capture</h2>
      <p class="quiet">
        Drop one on this page, or choose it: pcap or pcapng, 8 MiB at most. The newest version of
        each signature judges its flows as an agent would, published or not. Nothing is kept.
      </p>
      <form ref={form} onSubmit={again}>
        <Field label="Capture">
          <input
            ref={field}
            type="file"
            accept=".pcap,.pcapng,.cap"
            onClick={(event) => {
              event.currentTarget.value = ""; // so that the same file, changed, may be chosen
            }}
            onChange={(event) => test([...(event.currentTarget.files ?? [])])}
          />
        </Field>
        <Choices />
        {file !== undefined && (
          <div class="buttons">
            <button type="submit" disabled={outcome.kind === "testing"}>
              Test again
            </button>
          </div>
        )}
      </form>
      <p role="status">{statusOf(outcome, file)}</p>
      {outcome.kind === "failed" && <ProblemNote problem={outcome.problem} />}
      {outcome.kind === "found" && <SignatureFindings findings={outcome.findings} />}
    </section>
  );
}

/** `test` has these files tested, which are one. */
function useTest(tenant: string, options: () => FormData) {
  const [file, setFile] = useState<File>();
  const [outcome, setOutcome] = useState<Outcome>({ kind: "nothing" });
  const turn = useRef(0);
  const test = useCallback(
    (given: readonly File[]) => {
      const mine = ++turn.current;
      // Of two that were asked for, the later one is wanted.
      const tell = (told: Outcome) => mine === turn.current && setOutcome(told);
      setFile(given[0]);
      tell({ kind: "testing" });
      askFindings(tenant, given, options()).then(
        (findings) => tell({ kind: "found", findings }),
        (problem: Error) => tell({ kind: "failed", problem }),
      );
    },
    [tenant, options],
  );
  return { file, outcome, test };
}

function Choices() {
  return (
    <>
      <label class="check">
        <input type="checkbox" name="library" /> Built-in signatures too
      </label>
      <details>
        <summary>A signature that is not kept yet</summary>
        <Field label="Signature or list of them, in YAML or JSON, in place of those with its ids">
          <textarea
            name="draft"
            rows={DRAFT_ROWS}
            maxLength={DRAFT_CHARACTERS_MAX}
            spellcheck={false}
          />
        </Field>
        <label class="check">
          <input type="checkbox" name="only" /> Without the tenant's others
        </label>
      </details>
    </>
  );
}

function statusOf(outcome: Outcome, file: File | undefined): string {
  if (outcome.kind === "testing") return `Testing ${file?.name ?? ""}…`;
  if (outcome.kind === "failed") return "It was not tested.";
  if (outcome.kind === "nothing") return "";
  const { flows, packets, signatures, unknown } = outcome.findings;
  const known = flows - Object.values(unknown).reduce((sum, count) => sum + count, 0);
  const counts = `${counted(packets, "packet")}, judged by ${counted(signatures, "signature")}`;
  return `${file?.name}: ${known} of ${counted(flows, "flow")} have an application; ${counts}.`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** @throws Problem */
async function askFindings(
  tenant: string,
  files: readonly File[],
  options: FormData,
): Promise<Findings> {
  const [file, ...others] = files;
  if (file === undefined || others.length > 0) {
    throw refusal("One capture is tested at a time.", "Drop one file.");
  }
  if (file.size > CAPTURE_BYTES_MAX) {
    const size = Math.ceil(file.size / 1024 / 1024);
    const remedy = "Take a part of it (`editcap`), or use `abs sig test` on your machine.";
    throw refusal(`${file.name} has ${size} MiB; 8 MiB are tested here.`, remedy);
  }
  const query = new URLSearchParams();
  for (const name of ["library", "only"]) if (options.has(name)) query.set(name, "true");
  const draft = String(options.get("draft") ?? "").trim();
  if (draft !== "") query.set("draft", draft);
  if (query.toString().length > DRAFT_BYTES_MAX) {
    throw refusal("The signature is too long for a test.", "Add it with `abs manager sig add`.");
  }
  const path = `/tenants/${encodeURIComponent(tenant)}/signature-tests?${query}`;
  return ask<Findings>("POST", path, { capture: await bytesOf(file) });
}

/** A folder that was dropped, or a file that has gone, has none. @throws Problem */
async function bytesOf(file: File): Promise<ArrayBuffer> {
  try {
    return await file.arrayBuffer();
  } catch {
    throw refusal(`${file.name} cannot be read.`, "Choose a file that is there.");
  }
}

function refusal(what: string, remedy: string): Problem {
  return new Problem(0, "CAPTURE_REFUSED", what, remedy);
}

/** Wherever on the page they are dropped; true while some are held over it. */
function useDroppedFiles(take: (files: FileList) => void): boolean {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const listening = new AbortController();
    const hear = (name: "dragover" | "dragleave" | "drop", heard: (event: DragEvent) => void) =>
      document.addEventListener(name, heard, { signal: listening.signal });
    // What is not prevented opens the file in place of the page.
    hear("dragover", (event) => {
      if (event.dataTransfer?.types.includes("Files") !== true) return;
      event.preventDefault();
      setOver(true);
    });
    hear("dragleave", (event) => {
      if (event.relatedTarget === null) setOver(false);
    });
    hear("drop", (event) => {
      setOver(false);
      const files = event.dataTransfer?.files;
      if (files === undefined || files.length === 0) return;
      event.preventDefault();
      take(files);
    });
    return () => listening.abort();
  }, [take]);
  return isOver;
}
