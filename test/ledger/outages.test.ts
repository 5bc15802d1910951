/**
 * Real processes that pause, are cut off, or die around a seal: what was agreed stays, and the
 * chain goes on where a quorum is left. Each node is in a network namespace of its own, so that a
 * cable can be pulled.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { abs, absJson, LedgerSite, MASTER, must, type StartOptions } from "./ledger-site.ts";

const NAMES = ["web1", "web2", "app1", "db1"];
const PATIENCE_MS = 120_000;
/** Longer than the peer channel's patience with silence. */
const LONG_MS = 10_500;
const PREFIX = `abs${process.pid}`;
const SWITCH = `${PREFIX}-sw`;
let site: LedgerSite;

beforeAll(async () => {
  const places = NAMES.map((_, i) => `10.99.0.${i + 1}:6254`);
  site = await LedgerSite.createAt(NAMES, places, "10.99.0.9:6254");
  site.atEnd(takeDown);
  await ip("netns", "add", SWITCH);
  await inSwitch("link", "add", "bridge", "type", "bridge");
  await inSwitch("link", "set", "bridge", "up");
  for (const [i, name] of site.all.entries()) {
    await plugIn(name, name === MASTER ? "10.99.0.9/24" : `10.99.0.${i + 1}/24`);
  }
  for (const name of site.all) site.start(name, inside(name));
  await site.agree(0);
}, PATIENCE_MS);

afterAll(async () => {
  await site?.end();
}, PATIENCE_MS);

function ip(...words: readonly string[]): Promise<string> {
  return must("ip", ...words);
}

function inSwitch(...words: readonly string[]): Promise<string> {
  return ip("-n", SWITCH, ...words);
}

function namespace(name: string): string {
  return `${PREFIX}-${name}`;
}

function inside(name: string): StartOptions {
  return { wrapper: ["ip", "netns", "exec", namespace(name)] };
}

async function plugIn(name: string, address: string): Promise<void> {
  await ip("netns", "add", namespace(name));
  await ip("-n", namespace(name), "link", "set", "lo", "up");
  const peer = ["peer", "name", name, "netns", SWITCH];
  await ip("-n", namespace(name), "link", "add", "eth0", "type", "veth", ...peer);
  await ip("-n", namespace(name), "addr", "add", address, "dev", "eth0");
  await ip("-n", namespace(name), "link", "set", "eth0", "up");
  await inSwitch("link", "set", "dev", name, "master", "bridge", "up");
}

async function takeDown(): Promise<void> {
  for (const name of [...site.all.map(namespace), SWITCH]) await ip("netns", "del", name);
}

/** A node's cable. */
async function setCable(name: string, state: "up" | "down"): Promise<void> {
  await inSwitch("link", "set", "dev", name, state);
}

async function grow(names: readonly string[] = site.all): Promise<void> {
  const { height } = await site.agree(0, names);
  await site.propose();
  await site.agree(height + 1, names);
}

async function expectNoBlock(names: readonly string[], forMs: number): Promise<void> {
  const { height } = await site.agree(0, names);
  await site.propose();
  await Bun.sleep(forMs);
  expect((await site.agree(0, names)).height).toBe(height);
}

test(
  "a validator that pauses is not missed, and goes on where it was",
  async () => {
    await grow();
    site.signal("web1", "SIGSTOP");
    for (let i = 0; i < 3; i++) await grow(site.others("web1"));
    await Bun.sleep(LONG_MS);
    site.signal("web1", "SIGCONT");
    await site.agree(4);
    // Its vote is needed now.
    site.signal("web2", "SIGSTOP");
    await grow(site.others("web2"));
    site.signal("web2", "SIGCONT");
    await grow();
  },
  PATIENCE_MS,
);

test(
  "a validator that is cut off catches up when its cable is back",
  async () => {
    await setCable("db1", "down");
    for (let i = 0; i < 3; i++) await grow(site.others("db1"));
    await Bun.sleep(LONG_MS);
    await grow(site.others("db1"));
    await setCable("db1", "up");
    await grow();
  },
  PATIENCE_MS,
);

test(
  "two and two seal nothing, and all go on with what was proposed when they see each other again",
  async () => {
    const { height } = await site.agree(0);
    await setCable("app1", "down");
    await setCable("db1", "down");
    await expectNoBlock(site.others("app1", "db1"), LONG_MS);
    await setCable("app1", "up");
    await setCable("db1", "up");
    await site.agree(height + 1);
    await grow();
  },
  PATIENCE_MS,
);

test(
  "without the master nothing is sealed; what the four agreed on is, once it is back",
  async () => {
    await setCable(MASTER, "down");
    await expectNoBlock(NAMES, 3000);
    const { height } = await site.agree(0, NAMES);
    await setCable(MASTER, "up");
    await site.agree(height + 1);
    await grow();
  },
  PATIENCE_MS,
);

test(
  "a master that is killed before it seals: what was offered is sealed after its start",
  async () => {
    let died = 0;
    for (let i = 0; i < 20 && died < 3; i++) {
      // With a block of this life it has asked all and may propose.
      await grow();
      const { height } = await site.agree(0);
      await site.propose();
      // The candidate is on its way when the answer comes; votes take some milliseconds.
      await site.kill(MASTER);
      const blocks = site.events(MASTER).filter(({ event }) => event === "ledger-block");
      if ((blocks.at(-1)?.height ?? 0) === height) died++;
      site.start(MASTER, inside(MASTER));
      await site.agree(height + 1);
    }
    expect(died).toBe(3);
    await grow();
  },
  PATIENCE_MS,
);

test(
  "a master that is killed when it has sealed and told nobody: the same block is everybody's",
  async () => {
    const hadSealed = async (sync: number): Promise<boolean> => {
      const { height } = await site.agree(0);
      await site.stop(MASTER);
      const inject = `inject=fsync,fdatasync:signal=SIGKILL:when=${sync}`;
      const trace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"];
      const { wrapper = [] } = inside(MASTER);
      site.start(MASTER, { wrapper: [...wrapper, ...trace, "-e", inject] });
      try {
        await site.until(MASTER, () => true, 2000);
        await site.propose();
        await site.reach(height + 1, [MASTER], 1500);
      } catch {
        // It died of it.
      }
      await site.kill(MASTER);
      const place = ["--dir", site.folder(MASTER)];
      const onDisk = await absJson<{ height: number; block_hash: string }>(
        ...["ledger", "status", ...place],
      );
      const told = await site.agree(0, NAMES);
      site.start(MASTER, inside(MASTER));
      const isSealed = onDisk.height === height + 1 && told.height === height;
      if (isSealed) {
        const tip = await site.agree(height + 1);
        expect([tip.height, tip.block_hash]).toEqual([height + 1, onDisk.block_hash]);
      }
      await grow();
      return isSealed;
    };
    // Which sync of its life that is depends on what it finds on its disk: one fewer after it died
    // of its candidate's. So downwards: the turn after such a death is the right one.
    for (let turn = 0; turn < 3; turn++) {
      for (let sync = 8; sync > 1; sync--) if (await hadSealed(sync)) return;
    }
    throw new Error("it never died between the seal and the line");
  },
  PATIENCE_MS,
);

test(
  "at the end all hold one chain, which verifies, and nobody was proven to lie",
  async () => {
    await site.agree(0);
    const place = ["--dir", site.folder("web1")];
    expect(await absJson<unknown[]>("ledger", "evidence", ...place)).toEqual([]);
    const file = `${site.dir}/chain.jsonl`;
    await abs("ledger", "export", ...place, "--file", file);
    expect(await absJson<{ valid: boolean }>("ledger", "verify", file)).toMatchObject({
      valid: true,
    });
  },
  PATIENCE_MS,
);
