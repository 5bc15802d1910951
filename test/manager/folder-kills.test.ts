/**
 * An agent's folder whose writer is killed at any moment holds one state or the other, never a
 * mixture, and never claims a version that is newer than what an agent would start from.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { canonicalJson } from "../../src/chain/canonical-json.ts";
import { agentFile, loadManager } from "../../src/channel/agent-folder.ts";
import { stateJson } from "../../src/channel/agent-state.ts";
import { ManagerSite } from "./manager-site.ts";

const KILLS = 30;
const WRITER = join(import.meta.dir, "folder-writer.ts");
let site: ManagerSite;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
});

afterAll(async () => {
  await site.close();
});

test(`of ${KILLS} writers that are killed none leaves half a state`, async () => {
  const dir = site.freshDir();
  const state = await site.enrol(await site.invite("web"), dir);
  const file = join(site.base, "state");
  writeFileSync(file, canonicalJson(stateJson(state)));
  let last = 0;
  for (let i = 0; i < KILLS; i++) {
    const child = Bun.spawn([process.execPath, WRITER, dir, file], { stdout: "pipe" });
    await child.stdout.getReader().read();
    await Bun.sleep(Math.random() * 30);
    child.kill("SIGKILL");
    await child.exited;
    // It throws where the policy names whom the provisioning file does not know.
    const { known } = loadProvisioning(agentFile(dir, "provisioning"));
    const started = Number(known?.agents[0]?.slice(1));
    // Behind, an agent fetches again what it has; ahead, it would never fetch what it lacks.
    const { version } = loadManager(dir);
    expect([started, started - 1]).toContain(version);
    last = version;
  }
  expect(last).toBeGreaterThanOrEqual(state.version + KILLS);
}, 60_000);
