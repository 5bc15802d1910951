/** Under which conditions the flows of the run before are taken over. */

import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFlowFile } from "../dataplane/flow-file.ts";
import { flowDigest } from "./flow-witness.ts";

const PROVISIONING = "ab".repeat(32);

test("flows of another boot or another provisioning are not taken over", () => {
  const folder = mkdtempSync(join(tmpdir(), "abs-flow-witness-"));
  const ignored = (provisioning: string, bootId: string): string =>
    openFlowFile({
      path: join(folder, "flows"),
      capacity: 1024,
      digest: flowDigest(provisioning, bootId),
      limits: { peers: 1, pairs: 1, tags: 1, rules: 1 },
      nowSeconds: 1,
    }).ignored;
  expect(ignored(PROVISIONING, "boot-1")).toBe("");
  expect(ignored(PROVISIONING, "boot-1")).toBe("");
  expect(ignored(PROVISIONING, "boot-2")).toContain("provisioning or boot");
  expect(ignored("cd".repeat(32), "boot-2")).toContain("provisioning or boot");
  expect(ignored("cd".repeat(32), "boot-2")).toBe("");
  rmSync(folder, { recursive: true });
});
