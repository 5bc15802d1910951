/** Where one is: page, filters, tenant. All of it is in the URL, so that it can be sent. */
import type { ComponentChildren, TargetedMouseEvent } from "preact";
import { Store, useStore } from "./store.ts";

const BASE = "/console/";

export type Place = { readonly page: string; readonly query: URLSearchParams };

const place = new Store<Place>(read());
globalThis.addEventListener("popstate", () => place.set(read()));

function read(): Place {
  const { pathname, search } = globalThis.location;
  const page = pathname.startsWith(BASE) ? pathname.slice(BASE.length) : "";
  return { page, query: new URLSearchParams(search) };
}

export function usePlace(): Place {
  return useStore(place);
}

/** The tenant stays the same from page to page. */
export function hrefOf(page: string, query: Readonly<Record<string, string>> = {}): string {
  const tenant = place.get().query.get("tenant");
  const all = new URLSearchParams({ ...(tenant === null ? {} : { tenant }), ...query });
  return `${BASE}${page}${all.size === 0 ? "" : `?${all}`}`;
}

export function go(href: string): void {
  globalThis.history.pushState(null, "", href);
  place.set(read());
  globalThis.scrollTo(0, 0);
}

/** Another filter of the same page; an empty one is none. No new entry to go back to. */
export function setQuery(changes: Readonly<Record<string, string>>): void {
  const { page, query } = place.get();
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "") next.delete(name);
    else next.set(name, value);
  }
  globalThis.history.replaceState(null, "", `${BASE}${page}${next.size === 0 ? "" : `?${next}`}`);
  place.set(read());
}

type LinkProps = {
  readonly href: string;
  readonly children: ComponentChildren;
  readonly isCurrent?: boolean;
  readonly class?: string;
};

/** Followed without loading the page anew; with a modifier it is the browser's. */
export function Link({ href, children, isCurrent = false, class: name }: LinkProps) {
  const follow = (event: TargetedMouseEvent<HTMLAnchorElement>) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(href);
  };
  return (
    <a href={href} onClick={follow} class={name} aria-current={isCurrent ? "page" : undefined}>
      {children}
    </a>
  );
}
