/** `abs agent reload` in words; the reloading is test/e2e/reload.test.ts. */
import { expect, test } from "bun:test";
import { reloadText } from "./agent-reload.ts";

const versions = { policy: "0123456789abcdef" } as never;
const enforced = { generation: 2, since: "2026-01-31T12:00:00.000Z", versions };
const DIGESTS = "  policy      0123456789ab";

test("what changed by part, with long lists cut", () => {
  const added = Array.from({ length: 10 }, (_, i) => `r${i}`);
  const changes = {
    policy: { added, removed: ["old"], changed: [], reordered: false },
    peers: { added: [], removed: [], changed: ["db"], reordered: false },
    signatures: { added: [], removed: [], changed: [], reordered: true },
  };
  expect(reloadText({ state: "enforced", changes, enforced }).split("\n")).toEqual([
    "policy +10: r0, r1, r2, r3, r4, r5, r6, r7 and 2 more",
    "policy -1: old",
    "peers ~1: db",
    "signatures in another order",
    "Enforced since 2026-01-31T12:00:00.000Z (generation 2).",
    DIGESTS,
  ]);
});

test("nothing, and what was refused", () => {
  expect(reloadText({ state: "unchanged", changes: {}, enforced }).split("\n")).toEqual([
    "Nothing changed; enforced since 2026-01-31T12:00:00.000Z (generation 2).",
    DIGESTS,
  ]);
  const error = { code: "POLICY_INVALID", message: "p.yaml:3:1: …", remedy: "" };
  expect(reloadText({ state: "refused", error, enforced }).split("\n")).toEqual([
    "Refused; enforced is what was since 2026-01-31T12:00:00.000Z (generation 2).",
    DIGESTS,
  ]);
});
