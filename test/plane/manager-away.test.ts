/**
 * An hour without a manager, in simulated time: what comes to an end meanwhile, and the manager
 * would have replaced, costs no packet. The ledger's part is in test/chain/master-away.test.ts;
 * real processes and real time are in test/e2e/manager-down.test.ts.
 */
import { expect, test } from "bun:test";
import { generateContractSecret } from "../../src/agent/keys.ts";
import { reversed, text, udp } from "./frames.ts";
import { type NodeFile, type PairOptions, play, WEB_TO_DB } from "./pair.ts";

const SECOND = 1_000_000;
const MINUTE_SECONDS = 60;
const HOUR_SECONDS = 60 * MINUTE_SECONDS;
/** Where Pair's clock begins. */
const START_SECONDS = 1_700_000_000;
const PORT_FIRST = 4000;

/** Two contracts: of the first, keyregen is after 20 minutes and sc-lifetime after 40. */
const twoContracts: PairOptions["edit"] = (web, db) => {
  const { scId, secret } = generateContractSecret();
  for (const file of [web, db]) addContract(file, scId, secret);
};

function addContract(file: NodeFile, scId: string, secret: string): void {
  const [first = {}] = file.contracts;
  const lasting = { ...first, "sc-id": scId, secrets: [{ generation: 1, secret }] };
  const lifetime = { ...(first["lifetime"] as object), keyregen: after(20) };
  file.contracts = [{ ...first, "sc-lifetime": after(40), lifetime }, lasting];
}

function after(minutes: number): number {
  return START_SECONDS + minutes * MINUTE_SECONDS;
}

test("its contract due for another secret, then over: no packet is lost, flows begin", () => {
  play({ edit: twoContracts, busytime: 300, idletime: 60 }, (pair) => {
    pair.keepsCarried = false;
    const [ending, lasting] = pair.provisioning.web.contracts.map((row) => row["sc-id"]);
    const inUse = () => {
      return [...pair.web.driver.installed.values()].flatMap(({ under }) => {
        return under.map(({ scId }): unknown => scId);
      });
    };
    const used = new Set<unknown>();
    for (let second = 0; second < HOUR_SECONDS; second++) {
      // The first of a flow every ten seconds, and nine more that belong to it.
      const port = PORT_FIRST + Math.floor(second / 10);
      const question = udp(WEB_TO_DB, port, 6379, text(`APP1 question ${second}`));
      const answer = udp(reversed(WEB_TO_DB), 6379, port, text(`answer ${second}`));
      pair.webKernel.send(question);
      pair.run(SECOND / 2, SECOND / 4);
      const asked = pair.dbKernel.receive();
      if (asked.join() !== question.join()) throw new Error(`second ${second}: ${asked.length}`);
      pair.dbKernel.send(answer);
      pair.run(SECOND / 2, SECOND / 4);
      const answered = pair.webKernel.receive();
      if (answered.join() !== answer.join()) throw new Error(`second ${second}: no answer`);
      for (const scId of inUse()) used.add(scId);
      if (second > 40 * MINUTE_SECONDS) expect(inUse()).not.toContain(ending);
    }
    expect([pair.web.drops(), pair.db.drops()]).toEqual([new Map(), new Map()]);
    expect(pair.web.eventsOf("session-established").length).toBeGreaterThan(10);
    // The hour was not all under the one that stays.
    expect(used).toEqual(new Set([ending, lasting]));
  });
}, 60_000);
