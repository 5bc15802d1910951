/** A search whose word is kept in the URL, as `find`. */
import { setQuery, usePlace } from "./place.tsx";

/** What is looked for; empty: everything. */
export function useFind(): string {
  return usePlace().query.get("find") ?? "";
}

export function isFound(text: string, find: string): boolean {
  return text.toLowerCase().includes(find.toLowerCase());
}

export function FindField({ hint }: { readonly hint?: string }) {
  return (
    <label>
      <span>Find</span>
      <input
        type="search"
        value={useFind()}
        placeholder={hint}
        onInput={(event) => setQuery({ find: event.currentTarget.value })}
      />
    </label>
  );
}
