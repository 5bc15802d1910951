/**
 * Each check of `abs lab run` is seen to fail with its cause removed, and not for want of an event:
 * what must not happen has to happen. Two to four minutes; part of `make test-long`.
 */
import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { runCommand } from "../../src/lab/command.ts";
import { CHECKS } from "../../src/lab/story.ts";

const ABS = resolve(import.meta.dir, "../../dist/abs");
/** Checks of what must work: these fail by not working, the others by a breach. */
const POSITIVE = [
  ...["app1-ipv4", "app1-ipv6", "app2-cache", "ping", "agent-back"],
  ...["ledger-agreed", "ledger-contracts", "one-of-four-stopped", "both-back"],
  ...["vm-joins", "mode-changed", "keys-rotated", "manager-killed"],
];

test.each([...CHECKS])(
  "$name fails: $sabotage.words",
  async ({ name }) => {
    const command = [ABS, "lab", "run", "--name", "sabotage", "--sabotage", name];
    const result = await runCommand([...command, "--output", "json"], { timeoutMs: 110_000 });
    const story = JSON.parse(result.stdout);
    console.log(`  ${name}: ${story.checks[0]?.observed}`);
    expect(story.checks).toMatchObject([{ name, passed: false }]);
    if (!POSITIVE.includes(name)) expect(story.checks[0].breached).toBe(true);
    expect(result.code).toBe(1);
  },
  120_000,
);
