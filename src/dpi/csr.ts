/**
 * Lists of numbers as two arrays ("CSR", snapshot.ts): list i is items[starts[i] .. starts[i + 1]).
 */

export interface Csr {
  readonly starts: Uint32Array;
  readonly items: Uint32Array;
}

export function csr(lists: readonly (readonly number[])[]): Csr {
  const starts = new Uint32Array(lists.length + 1);
  for (const [i, list] of lists.entries()) starts[i + 1] = (starts[i] ?? 0) + list.length;
  const items = new Uint32Array(starts[lists.length] ?? 0);
  for (const [i, list] of lists.entries()) items.set(list, starts[i]);
  return { starts, items };
}
