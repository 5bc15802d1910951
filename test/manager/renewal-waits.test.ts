/**
 * Who is asked for the next ledger keys while the last ones wait for their height is asked again as
 * soon as they count, although nothing else of the tenant changes then. docs/manager.md "Keys".
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { decodeRecord } from "../../src/chain/record-schema.ts";
import { ensureKeys } from "../../src/channel/agent-folder.ts";
import { areKeysCounted } from "../../src/manager/key-renewal.ts";
import { LedgerProcess, type ProcessOptions } from "../../src/node/ledger-process.ts";
import { openLedger } from "../../src/node/ledger-reader.ts";
import { openJournal } from "../../src/node/store-journal.ts";
import { freePort } from "../free-port.ts";
import { followManager } from "./followed-agent.ts";
import { ManagerSite, until } from "./manager-site.ts";

/** On the disk of the master. */
function isCounted(site: ManagerSite, dir: string): boolean {
  const ledger = openLedger(join(site.dir, "ledgers", "t1"));
  try {
    return areKeysCounted(ledger.tip, ensureKeys(dir).keys.nodeId);
  } finally {
    ledger.close();
  }
}

/** The only validator of the tenant: no block without it. */
async function validate(dir: string, onBlock?: ProcessOptions["onBlock"]): Promise<LedgerProcess> {
  const listen = { host: "127.0.0.1", port: await freePort() };
  // The lock of a folder goes with the process.
  const words = { dir, listen, openJournal, isLocked: true, events: { write: () => {} } };
  return LedgerProcess.start({ role: "validator", ...words, ...(onBlock && { onBlock }) });
}

test("the next ledger keys are asked for when the last ones count, however late that is", async () => {
  const site = await ManagerSite.open({}, await freePort());
  await site.addTenant("t1");
  const [validator, web] = [site.callingDir(), site.freshDir()];
  const at = (address: string) => ({ addresses: [address] });
  await site.enrol(await site.invite("validator"), validator, at("10.77.1.1"));
  let node: LedgerProcess = await validate(validator, ({ block }) => {
    const kinds = block.body.records.map((bytes) => {
      const read = decodeRecord(bytes);
      return "record" in read ? read.record.kind : "";
    });
    // The height from which they count does not come before there is a validator again.
    if (kinds.includes("KEY_ROTATE")) node.stop();
  });
  await until(() => site.manager?.ledgerStatus("t1")["committee"] === 1);
  await site.enrol(await site.invite("web"), web, at("10.77.1.2"));
  await until(() => isCounted(site, web));
  const link = followManager(web);
  const webNode = () => site.manager?.state.nodes.named("t1", "web");
  const rotate = () =>
    site.command("keys", "rotate", "--agent", "web", "--tenant", "t1", "--kind", "ledger");
  await rotate();
  await until(() => webNode()?.seq === 1);
  await rotate();
  // Its session was told so, and could not be asked for keys.
  const wanted = site.manager?.state.tenants.need("t1").version ?? 0;
  await until(() => (webNode()?.enforcedVersion ?? 0) >= wanted);
  expect(isCounted(site, web)).toBe(false);
  node = await validate(validator);
  await until(() => webNode()?.seq === 2);
  await link.stop();
  node.stop();
  await site.close();
}, 120_000);
