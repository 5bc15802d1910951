/** A change that is asked for, confirmed in a dialog, and done; what goes wrong stays in sight. */
import type { ComponentChildren, TargetedSubmitEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { mayAct, type Role } from "./api.ts";
import { ProblemNote } from "./resource.tsx";

type ActionProps = {
  readonly label: string;
  /** Who may; it is not offered to others. */
  readonly role?: Role;
  readonly title: string;
  readonly isGrave?: boolean;
  readonly confirm?: string;
  /** False: it is only told why not. */
  readonly isPossible?: boolean;
  /** Fields of the form, or what will happen. */
  readonly children?: ComponentChildren;
  /** @throws Problem */
  readonly run: (form: FormData) => Promise<unknown>;
  readonly done?: () => void;
};

export function Action(props: ActionProps) {
  const { label, role = "operator", isGrave = false } = props;
  const [isOpen, setOpen] = useState(false);
  if (!mayAct(role)) return null;
  return (
    <>
      <button type="button" class={isGrave ? "grave" : ""} onClick={() => setOpen(true)}>
        {label}
      </button>
      {isOpen && <Confirmation {...props} close={() => setOpen(false)} />}
    </>
  );
}

export function Confirmation(props: ActionProps & { readonly close: () => void }) {
  const { label, title, confirm = label, isGrave = false, children, run, done, close } = props;
  const { isPossible = true } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  const [problem, setProblem] = useState<Error>();
  const [isBusy, setBusy] = useState(false);
  useEffect(() => dialog.current?.showModal(), []);
  const submit = async (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    setBusy(true);
    try {
      await run(new FormData(event.currentTarget));
      close();
      done?.();
    } catch (thrown) {
      setProblem(thrown as Error);
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} onClose={close} aria-label={title}>
      <form onSubmit={submit}>
        <h2>{title}</h2>
        {children}
        {problem !== undefined && <ProblemNote problem={problem} />}
        <div class="buttons">
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          {isPossible && (
            <button type="submit" class={isGrave ? "grave" : "primary"} disabled={isBusy}>
              {confirm}
            </button>
          )}
        </div>
      </form>
    </dialog>
  );
}

type FieldProps = { readonly label: string; readonly children: ComponentChildren };

export function Field({ label, children }: FieldProps) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the child is one
    <label class="field">
      <span>{label}</span>
      {children}
    </label>
  );
}
