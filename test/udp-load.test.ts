/**
 * bench/udp_load.c counts right: what the lossless tests and `abs bench e2e` rest on. Over the
 * loopback interface of a network namespace of its own, where nothing is lost.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";

const PROGRAM = join(import.meta.dir, "../dist/udp_load");
const PORT = "7300";

/** Runs a receiving and a sending command side by side in a new namespace; their JSON results. */
async function pair(receiver: string, sender: string): Promise<Record<string, number>[]> {
  const script = `
    ip link set lo up
    ${PROGRAM} ${receiver} --port ${PORT} >"$dir/receiver" 2>"$dir/ready" &
    child=$!
    until grep -q ready "$dir/ready" 2>/dev/null; do sleep 0.01; done
    ${PROGRAM} ${sender} --port ${PORT} >"$dir/sender"
    sleep 0.2
    kill "$child"
    wait "$child"
    cat "$dir/sender" "$dir/receiver"
    rm -r "$dir"`;
  const command = ["unshare", "--net", "bash", "-c", `dir=$(mktemp -d)\n${script}`];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const output = await new Response(child.stdout).text();
  expect(await new Response(child.stderr).text()).toBe("");
  return output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

const cases = [
  {
    name: "paced, ten flows",
    to: "127.0.0.1",
    send: "send --size 22 --rate 20000 --seconds 0.5 --flows 10",
  },
  { name: "IPv6, large packets", to: "::1", send: "send --size 1400 --rate 5000 --seconds 0.2" },
  {
    name: "one packet of each of 500 new flows",
    to: "127.0.0.1",
    send: "first --size 22 --rate 20000 --flows 500",
  },
];

test.each(cases)("udp_load: offered packets are delivered and counted: $name", async (row) => {
  const run = "--run 9";
  const [sent, received] = await pair(
    `receive --seconds 20 ${run}`,
    `${row.send} --to ${row.to} ${run}`,
  );
  expect(sent?.["send_errors"]).toBe(0);
  expect(sent?.["own_port_drops"]).toBe(0);
  expect(sent?.["sent"]).toBe(sent?.["offered"]);
  expect(received?.["delivered"]).toBe(sent?.["sent"]);
  expect(received).toMatchObject({ lost: 0, duplicates: 0, reordered: 0, strangers: 0 });
  expect(sent?.["sent"]).toBeGreaterThanOrEqual(500);
});

test("udp_load: packets of another run are strangers", async () => {
  const [sent, received] = await pair(
    "receive --seconds 20 --run 2",
    "send --to 127.0.0.1 --size 22 --rate 2000 --seconds 0.1 --run 1",
  );
  expect(received).toMatchObject({ delivered: 0, strangers: sent?.["sent"] });
});

test("udp_load: every echo comes back, with both ways timed", async () => {
  const [pinged, echoed] = await pair(
    "echo --seconds 20",
    "ping --to 127.0.0.1 --count 50 --interval-ms 1 --size 64",
  );
  expect(pinged).toMatchObject({ count: 50, lost: 0 });
  expect(echoed).toMatchObject({ echoed: 50 });
  expect(pinged?.["one_way_p50_us"]).toBeGreaterThan(0);
  expect(pinged?.["one_way_p50_us"]).toBeLessThan(pinged?.["p50_us"] ?? 0);
});
