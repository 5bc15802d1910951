/** The way in: name and password of an account (docs/api.md "Accounts"). */
import type { TargetedSubmitEvent } from "preact";
import { useState } from "preact/hooks";
import { Field } from "./action.tsx";
import { signIn } from "./api.ts";
import { ProblemNote } from "./resource.tsx";
import { Command } from "./table.tsx";

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
    <main class="sign-in" id="main">
      <h1>
        <span class="mark" aria-hidden="true" /> abs manager
      </h1>
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
    </main>
  );
}
