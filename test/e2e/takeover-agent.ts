/**
 * The smallest agent for takeover.test.ts: takes an interface over and follows it, without any data
 * plane. Arguments come as JSON; events go to standard output as lines of JSON; `open` or `closed`
 * on standard input ends it. With `guard --state DIR` it is the guard instead, and with
 * `restore --state DIR` it gives back what an earlier one left.
 */

import { dlopen, FFIType } from "bun:ffi";
import { existsSync, openSync, readFileSync } from "node:fs";
import { AbsError, messageOf } from "../../src/errors.ts";
import { runGuard } from "../../src/takeover/guard.ts";
import { Monitor } from "../../src/takeover/monitor.ts";
import { recoverLeftover } from "../../src/takeover/recovery.ts";
import type { OnStop } from "../../src/takeover/state-file.ts";
import { takeOver } from "../../src/takeover/takeover.ts";

export type AgentArguments = {
  readonly kind: "tap" | "veth";
  readonly name: string;
  readonly outside: string;
  readonly stateDir: string;
  readonly onStop: OnStop;
  /** The step after which the process kills itself, and its guard first when asked to. */
  readonly killAfter?: string;
  readonly killGuardToo?: boolean;
  /** Another program than this one as the guard. */
  readonly guard?: readonly string[];
  /** The way back begins by itself. */
  readonly stopAtOnce?: OnStop;
};

const MTU_REDUCTION_BYTES = 32;
const TUNSETIFF = 0x400454ca;
const IFF_TAP_NO_PI = 0x1002;

function emit(event: string, fields: object = {}): void {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

/** A TAP that lives as long as this process, as DPDK's does. */
function createTap(name: string): void {
  const libc = dlopen("libc.so.6", {
    ioctl: { args: [FFIType.i32, FFIType.u64, FFIType.pointer], returns: FFIType.i32 },
  }).symbols;
  const request = new Uint8Array(40);
  request.set(new TextEncoder().encode(name));
  new DataView(request.buffer).setUint16(16, IFF_TAP_NO_PI, true);
  if (libc.ioctl(openSync("/dev/net/tun", "r+"), TUNSETIFF, request) !== 0) {
    throw new Error("TUNSETIFF failed");
  }
}

async function runAgent(options: AgentArguments): Promise<void> {
  const startedAt = performance.now();
  const takeover = await takeOver({
    inside: { kind: options.kind, name: options.name },
    outside: options.outside,
    stateDir: options.stateDir,
    onStop: options.onStop,
    mtuReductionBytes: MTU_REDUCTION_BYTES,
    guardCommand: options.guard ?? [process.execPath, import.meta.path, "guard"],
    createInside: () => createTap(options.name),
    warn: (sentence) => emit("warning", { sentence }),
    afterStep: (step) => {
      if (step !== options.killAfter) return;
      const pidFile = `${options.stateDir}/guard.pid`;
      if (options.killGuardToo === true && existsSync(pidFile)) {
        process.kill(Number(readFileSync(pidFile, "utf8")), 9);
      }
      process.kill(process.pid, 9);
    },
  });
  emit("ready", {
    milliseconds: performance.now() - startedAt,
    resumed: takeover.resumed,
    mac: takeover.mac,
    insideMtu: takeover.insideMtu,
    guardPid: takeover.guardPid,
    interfaces: takeover.inPrivateNamespace(() => interfaceNames()),
    home: interfaceNames(),
  });
  if (options.stopAtOnce !== undefined) {
    await takeover.restore(options.stopAtOnce);
    return;
  }
  const monitor = new Monitor(takeover, MTU_REDUCTION_BYTES, {
    addresses: (addresses) => emit("addresses", { addresses: addresses.map((a) => a.toHex()) }),
    link: (status) => emit("link", status),
    refused: (sentence) => emit("refused", { sentence }),
    lost: (error) => emit("lost", { code: error.code }),
  });
  monitor.start();
  emit("following");
  const mode = await firstLine();
  monitor.stop();
  const stoppedAt = performance.now();
  await takeover.restore(mode === "closed" ? "closed" : "open");
  emit("stopped", { milliseconds: performance.now() - stoppedAt });
}

/** Names of the interfaces where this thread is, from the kernel's own list. */
function interfaceNames(): string[] {
  const text = readFileSync("/proc/thread-self/net/dev", "utf8");
  return [...text.matchAll(/^\s*(\S+):/gm)].map((match) => match[1] ?? "").sort();
}

async function firstLine(): Promise<string> {
  for await (const line of console) return line;
  return "";
}

const [command, ...rest] = process.argv.slice(2);
try {
  const stateDir = rest[rest.indexOf("--state") + 1] ?? "";
  if (command === "guard") process.exit(runGuard(stateDir));
  if (command === "restore") {
    emit("restored", { any: recoverLeftover(stateDir, (s) => emit("warning", { sentence: s })) });
    process.exit(0);
  }
  await runAgent(JSON.parse(command ?? "") as AgentArguments);
  process.exit(0);
} catch (thrown) {
  const code = thrown instanceof AbsError ? thrown.code : "";
  emit("error", {
    code,
    message: messageOf(thrown),
    stack: thrown instanceof Error ? thrown.stack : "",
  });
  process.exit(1);
}
