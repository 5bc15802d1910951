/**
 * The Debian package: lintian has nothing to say, and on a system of its own, booted with systemd,
 * it installs, runs the agent of a VM as a service that systemd watches, upgrades, and goes without
 * leaving anything behind.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mustRun, runCommand, waitFor } from "../../src/lab/command.ts";
import { namespaceOf } from "../../src/lab/topology.ts";
import { BootedSystem } from "./booted-system.ts";
import { CLIENT, SERVER, stopwatch } from "./harness.ts";
import { ManagerBed, TENANT } from "./manager-bed.ts";

const ROOT = join(import.meta.dir, "../..");
const MINUTE_MS = 60_000;
const PATIENCE_MS = 5 * MINUTE_MS;
const [FIRST, SECOND] = ["0.9.1", "0.9.2"];
const done = stopwatch("e2e package");

let bed: ManagerBed;
let system: BootedSystem;
const packages: string[] = [];

beforeAll(async () => {
  for (const version of [FIRST, SECOND]) {
    const made = await mustRun([`${ROOT}/scripts/deb.sh`, version, `${ROOT}/build/test`], {
      timeoutMs: PATIENCE_MS,
    });
    packages.push(join(ROOT, made.stdout.trim().replace(`${ROOT}/`, "")));
  }
  bed = await ManagerBed.open("package", [CLIENT, SERVER]);
  const directory = bed.site.options.directory;
  const namespace = namespaceOf(bed.site.options.prefix, SERVER.name);
  system = await BootedSystem.boot(`${directory}/debian`, namespace, `${directory}/boot.log`);
  for (const [i, file] of packages.entries()) cpSync(file, `${system.root}/srv/${i}.deb`);
}, 2 * PATIENCE_MS);

afterAll(async () => {
  await system?.shutDown();
  await bed?.close();
  done();
}, PATIENCE_MS);

const STATE = { active: "active", inactive: "inactive" } as const;

async function untilActive(): Promise<void> {
  const isActive = async () =>
    (await system.property("abs-agent", "ActiveState")) === STATE.active || undefined;
  await waitFor("the service abs-agent", isActive, MINUTE_MS, 200);
}

async function untilProven(): Promise<void> {
  await bed.untilAnswered(CLIENT.name, SERVER);
  expect((await bed.ping(CLIENT.name, SERVER, 5)).stdout).toContain("5 received");
}

test(
  "lintian finds neither error nor warning",
  async () => {
    const words = ["lintian", "--allow-root", "--fail-on", "error,warning", packages[0] ?? ""];
    const { code, stdout } = await runCommand(words, { timeoutMs: PATIENCE_MS });
    expect([code, stdout]).toEqual([0, ""]);
    const overrides = readFileSync(join(ROOT, "contrib/deb/lintian-overrides"), "utf8").split("\n");
    expect(overrides.filter((line) => line.startsWith("abs:")).length).toBeLessThanOrEqual(6);
  },
  PATIENCE_MS,
);

test(
  "it installs; nothing is started or enabled by itself; man pages and completions are there",
  async () => {
    await system.must("dpkg", "-i", "/srv/0.deb");
    expect(await system.property("abs-agent", "ActiveState")).toBe(STATE.inactive);
    expect(await system.property("abs-manager", "ActiveState")).toBe(STATE.inactive);
    expect((await system.run(["systemctl", "is-enabled", "abs-agent"])).stdout.trim()).toBe(
      "disabled",
    );
    expect(await system.must("man", "-P", "cat", "abs-agent")).toContain("abs agent run");
    const completion = "/usr/share/bash-completion/completions/abs";
    await system.must("bash", "-c", `. ${completion} && complete -p abs`);
    await system.must("test", "-s", "/usr/lib/x86_64-linux-gnu/wireshark/plugins/abs.lua");
    expect(await system.must("abs", "--version")).not.toBe("");
  },
  PATIENCE_MS,
);

test(
  "the agent runs as a service: ready when it forwards, and the first ping is answered by proof",
  async () => {
    await bed.enrol(CLIENT.name, "--tag", "ping");
    const invited = ["--tenant", TENANT, "--name", SERVER.name, "--tag", "ping"];
    const token = await bed.ask("invite", ...invited);
    await system.must("abs", "agent", "enroll", token);
    await bed.startAgent(CLIENT.name);
    await system.must("systemctl", "enable", "--now", "abs-agent");
    expect(await system.property("abs-agent", "ActiveState")).toBe(STATE.active);
    expect(await system.property("abs-agent", "StatusText")).toBe("packets are forwarded");
    await untilProven();
  },
  PATIENCE_MS,
);

test(
  "an agent that hangs is found by systemd's watchdog, ended, and started anew",
  async () => {
    const dropIn = "/run/systemd/system/abs-agent.service.d";
    await system.must("mkdir", "-p", dropIn);
    const watch = "[Service]\\nWatchdogSec=5\\n";
    await system.must("sh", "-c", `printf '${watch}' > ${dropIn}/watch.conf`);
    await system.must("systemctl", "daemon-reload");
    await system.must("systemctl", "restart", "abs-agent");
    const before = await system.property("abs-agent", "MainPID");
    // It lives longer than the watchdog's patience as long as it is well.
    await Bun.sleep(8000);
    expect(await system.property("abs-agent", "MainPID")).toBe(before);
    await system.must("sh", "-c", `kill -STOP ${before}`);
    const isAnother = async () => {
      const pid = await system.property("abs-agent", "MainPID");
      return (pid !== before && pid !== "0") || undefined;
    };
    await waitFor("another agent", isAnother, MINUTE_MS, 200);
    await untilActive();
    expect(Number(await system.property("abs-agent", "NRestarts"))).toBeGreaterThan(0);
    await untilProven();
  },
  PATIENCE_MS,
);

test(
  "an upgrade keeps options and identity, and what runs is the new program",
  async () => {
    const options = `${system.root}/etc/default/abs-agent`;
    writeFileSync(options, `${readFileSync(options, "utf8")}# ours\n`);
    const before = await system.property("abs-agent", "MainPID");
    await system.must("dpkg", "-i", "/srv/1.deb");
    expect(await system.must("dpkg-query", "-W", "abs")).toBe(`abs\t${SECOND}`);
    await untilActive();
    expect(await system.property("abs-agent", "MainPID")).not.toBe(before);
    expect(readFileSync(options, "utf8")).toContain("# ours");
    await untilProven();
  },
  PATIENCE_MS,
);

test(
  "removed, it gives the interface back; purged, it leaves nothing",
  async () => {
    await system.must("dpkg", "--remove", "abs");
    const links = await system.must("ip", "-br", "address");
    expect(links).toContain(SERVER.ipv4);
    expect(links).not.toContain("abs0");
    expect(existsSync(`${system.root}/etc/default/abs-agent`)).toBe(true);
    await system.must("dpkg", "--purge", "abs");
    const left = await system.must(
      ...["find", "/etc", "/var/lib", "/lib", "/usr", "/run", "-xdev", "-name", "abs*"],
      ...["-not", "-path", "/var/lib/dpkg/*", "-not", "-path", "/run/systemd/*"],
    );
    expect(left).toBe("");
    const failed = await system.must(
      "systemctl",
      "list-units",
      "--failed",
      "--plain",
      "--no-legend",
    );
    expect(failed).not.toContain("abs");
  },
  PATIENCE_MS,
);
