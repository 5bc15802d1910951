/** The way in: name and password of an account (docs/api.md "Accounts"). */
import type { ComponentChildren, TargetedSubmitEvent } from "preact";
import { useState } from "preact/hooks";
import { Field } from "./action.tsx";
import { signIn } from "./api.ts";
import { ProblemNote } from "./resource.tsx";
import { Command } from "./table.tsx";

/** The page of whom the console does not know, or not yet. */
export function Front({ children }: { readonly children: ComponentChildren }) {
  return (
    <main class="sign-in" id="main">
      <h1>
        <span class="mark" aria-hidden="true" /> abs manager
      </h1>
      {children}
    </main>
  );
}

export function SignIn({ reason }: { readonly reason: string }) {
  const [problem, setProblem] = useState<Error>();
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setProblem(undefined);
    try {
      await signIn(String(form.get("name")), String(form.get("password")));
    } catch (thrown) {
      setProblem(thrown as Error);
      setBusy(false);
    }
  };
  return (
    <Front>
      {reason !== "" && (
        <p role="status" class="note">
          {reason}
        </p>
      )}
      <form onSubmit={submit} class="card">
        <Field label="Name">
          <input name="name" autocomplete="username" required />
        </Field>
        <Field label="Password">
          <input name="password" type="password" autocomplete="current-password" required />
        </Field>
        {problem !== undefined && <ProblemNote problem={problem} />}
        <button type="submit" class="primary" disabled={isBusy}>
          Sign in
        </button>
      </form>
      <details>
        <summary>No account yet?</summary>
        <p>On the manager's machine:</p>
        <Command>abs manager account add NAME --role operator</Command>
      </details>
    </Front>
  );
}
