import { expect, test } from "bun:test";
import type { JsonObject } from "../chain/canonical-json.ts";
import type { SignedCertificate } from "../chain/identity-certificate.ts";
import { KnownCertificates } from "./known-certificates.ts";

function signed(): SignedCertificate {
  return { certificate: {}, signature: new Uint8Array(64) } as never;
}

test("the same text is read once, another one by itself", () => {
  const known = new KnownCertificates();
  const first = known.take({ a: 1, b: "x" }, signed);
  expect(known.take({ b: "x", a: 1 }, () => undefined)).toBe(first);
  const others: readonly JsonObject[] = [{ a: 1, b: "y" }, { a: 1 }, { a: "1", b: "x" }];
  for (const other of others) expect(known.take(other, signed)).not.toBe(first);
});

test("what cannot be read is not remembered", () => {
  const known = new KnownCertificates();
  expect(known.take({ a: 1 }, () => undefined)).toBeUndefined();
  expect(known.take({ a: 1 }, signed)).toBeDefined();
});

test("a good one is judged once, a bad one again each time", () => {
  const known = new KnownCertificates();
  const one = signed();
  const verdicts = [false, false, true];
  let asked = 0;
  const judge = () => known.judge(one, () => verdicts[asked++] === true);
  expect([judge(), judge(), judge(), judge(), judge()]).toEqual([false, false, true, true, true]);
  expect(asked).toBe(3);
  expect(known.judge(signed(), () => false)).toBe(false);
});
