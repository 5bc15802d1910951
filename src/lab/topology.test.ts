/** Who is taken to run in a namespace: needs root, as the lab does. */
import { expect, test } from "bun:test";
import { runCommand, startBackground, waitFor } from "./command.ts";
import { withNamespace } from "./namespace.ts";
import { processesIn } from "./topology.ts";

const NAMESPACE = `abs-test-visitor-${process.pid}`;

/** What is listed while our own thread is inside. */
async function listedByVisitor(): Promise<number[]> {
  let listed: Promise<number[]> = Promise.resolve([]);
  withNamespace(NAMESPACE, () => {
    listed = processesIn(NAMESPACE);
    Bun.sleepSync(1_000);
  });
  return await listed;
}

test("what runs in a namespace is listed, and a visitor is not", async () => {
  expect((await runCommand(["ip", "netns", "add", NAMESPACE])).code).toBe(0);
  try {
    const sleep = ["ip", "netns", "exec", NAMESPACE, "sleep", "60"];
    const running = startBackground(sleep, { logFile: "/dev/null" });
    const isThere = async () => (await processesIn(NAMESPACE)).includes(running.pid) || undefined;
    await waitFor("the program in the namespace", isThere);
    const listed = await listedByVisitor();
    expect(listed).toContain(running.pid);
    expect(listed).not.toContain(process.pid);
    await running.stop("SIGKILL");
  } finally {
    await runCommand(["ip", "netns", "delete", NAMESPACE]);
  }
});
