/**
 * The console of `abs manager serve`, in the browser: sign-in, then pages. docs/console.md.
 * Everything that it shows or does goes through the HTTP API, as the account that signed in.
 */
import type { TenantRow } from "../answers/tenants.ts";
import "./bun-in-browser.ts";
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { findSession, session } from "./api.ts";
import { followEvents } from "./live.ts";
import { PAGES } from "./pages.tsx";
import { usePlace } from "./place.tsx";
import { Shown, useResource } from "./resource.tsx";
import { Shell } from "./shell.tsx";
import { Front, SignIn } from "./sign-in.tsx";
import { useStore } from "./store.ts";
import { Command } from "./table.tsx";

function App() {
  const now = useStore(session);
  useEffect(() => {
    void findSession();
  }, []);
  if (now.state === "unknown") {
    return (
      <Front>
        <p class="quiet">Loading…</p>
      </Front>
    );
  }
  if (now.state === "out") return <SignIn reason={now.reason} />;
  return <SignedIn />;
}

function SignedIn() {
  const now = useStore(session);
  const { page: path, query } = usePlace();
  const tenants = useResource<readonly TenantRow[]>("/tenants");
  useEffect(followEvents, []);
  if (now.state !== "in") return null;
  const page = PAGES.find((one) => one.path === path) ?? PAGES[0];
  const names = (tenants.value ?? []).map(({ name }) => name);
  const tenant = names.find((name) => name === query.get("tenant")) ?? names[0];
  return (
    <Shell session={now} tenants={names} tenant={tenant} page={page}>
      <Shown of={tenants}>
        {() =>
          tenant === undefined ? (
            <NoTenant />
          ) : (
            <page.view key={`${tenant} ${page.path}`} tenant={tenant} />
          )
        }
      </Shown>
    </Shell>
  );
}

function NoTenant() {
  return (
    <div class="empty">
      <p>There is no tenant yet. The first invitation makes one, named default:</p>
      <Command>abs manager invite --name web1</Command>
    </div>
  );
}

const root = document.getElementById("console");
if (root !== null) render(<App />, root);
