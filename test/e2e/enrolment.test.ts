/**
 * From nothing to two VMs that talk: a manager on a machine of its own, two VMs that enrol with a
 * token each over the network they will use, and agents that start from what enrolment wrote.
 * docs/manager.md "From nothing to two agents".
 */
import { afterAll, expect, test } from "bun:test";
import { stateDirectory } from "../../src/lab/agents.ts";
import { waitFor } from "../../src/lab/command.ts";
import { PROTOCOL } from "../../src/lab/frames.ts";
import { CLIENT, SERVER, stopwatch } from "./harness.ts";
import { ManagerBed } from "./manager-bed.ts";

const OURS = [CLIENT.ipv4, SERVER.ipv4];
const PEER_PORT = 6254;
const MINUTE_MS = 60_000;
const done = stopwatch("e2e enrolment");
afterAll(done);

test(
  "two VMs enrol, their agents start, and what they say to each other is under proof",
  async () => {
    const bed = await ManagerBed.open("enrol", [CLIENT, SERVER]);
    const { site } = bed;
    try {
      for (const { name } of [CLIENT, SERVER]) await bed.enrol(name);
      // The first has heard of nobody yet: its agent does, once it runs.
      for (const { name } of [CLIENT, SERVER]) await bed.startAgent(name);
      await bed.untilAnswered(CLIENT.name, SERVER);
      const members = async () => {
        const words = ["ledger", "members", "--dir", bed.folder(CLIENT.name), "--output", "json"];
        const rows = JSON.parse(await bed.abs(CLIENT.name, ...words)) as { weight: number }[];
        return rows.length === 2 && rows.every(({ weight }) => weight > 0) ? rows : undefined;
      };
      await waitFor("both agents in the committee", members, MINUTE_MS);
      const folder = bed.folder(CLIENT.name);
      const own = ["--state", stateDirectory(folder), "--agent-dir", folder];
      const status = JSON.parse(await bed.abs(CLIENT.name, "status", ...own, "--output", "json"));
      expect(status).toMatchObject({
        agent: { state: "running", node: CLIENT.name, mode: "quick", manager: "connected" },
        ledger: { state: "running" },
        manager: { state: "absent" },
      });
      const tap = site.tapSwitch();
      const said = await bed.ping(CLIENT.name, SERVER, 3);
      expect(said.stdout).toContain("3 packets transmitted, 3 received");
      // Beside it is the peer channel of the two ledger nodes, which has its own encryption.
      const seen = tap.frames().filter(({ source, destination, sourcePort, destinationPort }) => {
        const isOurs = [source, destination].every((one) => OURS.includes(one ?? ""));
        return isOurs && sourcePort !== PEER_PORT && destinationPort !== PEER_PORT;
      });
      tap.close();
      expect(seen.length).toBeGreaterThan(5);
      expect([...new Set(seen.map(({ protocol }) => protocol))]).toEqual([PROTOCOL.abs]);
    } finally {
      await bed.close();
    }
  },
  3 * MINUTE_MS,
);
