/**
 * A process of many agents: it starts those it is told to, some at a time, tells what becomes of
 * them, and ends when it is told to or when nobody is there to tell it any more.
 */
import { eachLine } from "../bytes.ts";
import { messageOf } from "../errors.ts";
import { FleetAgent } from "./fleet-agent.ts";
import type { AgentOrder, FleetOrder, FleetWord } from "./fleet-words.ts";

/** Enrolments under way at one time. */
const AT_ONCE = 12;

export async function runAgentHost(): Promise<void> {
  const agents: FleetAgent[] = [];
  const tell = (word: FleetWord): void => {
    process.stdout.write(`${JSON.stringify(word)}\n`);
  };
  const stop = async (): Promise<never> => {
    await Promise.all(agents.map((agent) => agent.stop()));
    process.exit(0);
  };
  // An interrupt is the fleet's to judge: it tells us.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => void stop());
  await eachLine(Bun.stdin.stream(), (line) => {
    const order = JSON.parse(line) as FleetOrder;
    if (order.do === "stop") void stop();
    if (order.do === "heights") tell({ said: "heights", heights: agents.map((one) => one.height) });
    if (order.do === "start") void startAll(order.agents, agents, tell);
  });
  await stop();
}

async function startAll(
  orders: readonly AgentOrder[],
  agents: FleetAgent[],
  tell: (word: FleetWord) => void,
): Promise<void> {
  const waiting = [...orders];
  const work = async (): Promise<void> => {
    for (let order = waiting.shift(); order !== undefined; order = waiting.shift()) {
      const agent = new FleetAgent(order, tell);
      agents.push(agent);
      const { number } = order;
      await agent.start().catch((thrown) => {
        tell({ said: "failed", number, reason: messageOf(thrown) });
      });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}
