/** What is around every page: navigation, the tenant, who is signed in, whether news arrive. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type Session, signOut } from "./api.ts";
import { type LiveState, liveState } from "./live.ts";
import { PAGES, type Page } from "./pages.tsx";
import { hrefOf, Link, setQuery, usePlace } from "./place.tsx";
import { useStore } from "./store.ts";

const LIVE_WORDS: Readonly<Record<LiveState, string>> = {
  connecting: "connecting…",
  live: "live",
  interrupted: "interrupted, reconnecting…",
};

type ShellProps = {
  readonly session: Session;
  readonly tenants: readonly string[];
  readonly tenant: string | undefined;
  readonly page: Page;
  readonly children: ComponentChildren;
};

export function Shell({ session, tenants, tenant, page, children }: ShellProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const isFirst = document.title === "abs";
    document.title = `${page.title} · abs`;
    // Who changed the page with the keyboard goes on reading at its beginning.
    if (!isFirst) heading.current?.focus();
  }, [page]);
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="top">
        <Link href={hrefOf("")} class="brand">
          <span class="mark" aria-hidden="true" /> abs
        </Link>
        {tenants.length > 0 && <TenantChoice tenants={tenants} tenant={tenant} />}
        <Live />
        <span class="who">
          {session.who} <span class="quiet">{session.role}</span>
        </span>
        <button type="button" onClick={() => void signOut()}>
          Sign out
        </button>
      </header>
      <div class="frame">
        <Navigation />
        <main id="main" tabIndex={-1}>
          <h1 ref={heading} tabIndex={-1}>
            {page.title}
          </h1>
          <p class="lead">{page.lead}</p>
          {children}
        </main>
      </div>
    </>
  );
}

function Navigation() {
  const { page: current } = usePlace();
  return (
    <nav aria-label="Pages">
      <ul>
        {PAGES.map(({ path, title }) => (
          <li key={path}>
            <Link href={hrefOf(path)} isCurrent={path === current}>
              {title}
            </Link>
          </li>
        ))}
      </ul>
    </nav>
  );
}

type TenantProps = { readonly tenants: readonly string[]; readonly tenant: string | undefined };

function TenantChoice({ tenants, tenant }: TenantProps) {
  return (
    <label class="tenant">
      <span>Tenant</span>
      <select value={tenant} onChange={(event) => setQuery({ tenant: event.currentTarget.value })}>
        {tenants.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

function Live() {
  const state = useStore(liveState);
  return (
    <span class={`live ${state}`} role="status">
      {LIVE_WORDS[state]}
    </span>
  );
}
