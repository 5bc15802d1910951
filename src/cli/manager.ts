/**
 * `abs manager init|serve` and the commands of an administrator. docs/manager.md. `serve` stays in
 * the foreground and prints its events; the others are executed by a running manager, over its
 * manager channel (manager-remote.ts).
 */

import { existsSync } from "node:fs";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { defineCommand } from "citty";
import { ownCommand } from "../agent/own-command.ts";
import { AbsError } from "../errors.ts";
import type { ApiPlace } from "../manager/api/server.ts";
import { serveCaptureTest } from "../manager/capture-test-child.ts";
import { KEY_DAYS_DEFAULT, KEY_DAYS_MAX } from "../manager/key-renewal.ts";
import { inFolder, initManager } from "../manager/manager-folder.ts";
import { managerMetrics } from "../manager/manager-metrics.ts";
import { ManagerProcess } from "../manager/manager-process.ts";
import { readPrivate } from "../manager/private-file.ts";
import { keepMemoryPrivate } from "../native/private-memory.ts";
import { ServiceNotify } from "../native/service-notify.ts";
import { lockFolder } from "../node/folder-lock.ts";
import { epochNow } from "../node/ledger-runner.ts";
import { EventLog } from "../observe/event-log.ts";
import type { MetricsServer } from "../observe/metrics-server.ts";
import type { EventSinks } from "../observe/sinks/event-sinks.ts";
import { fingerprintOf } from "../ssh/ssh-keys.ts";
import { metricsArgument, openMetrics, openSinks, sinksArgument } from "./event-outputs.ts";
import { backup, restore } from "./manager-backup.ts";
import { dataKeyArgument, managerDirArgument, remoteCommands } from "./manager-remote.ts";
import { notes } from "./notes.ts";
import {
  isJsonOutput,
  optionError,
  outputArgument,
  placeOf,
  printResult,
  readCertificate,
  wholeNumberOf,
} from "./options.ts";

const API_DEFAULT = "127.0.0.1:7080";

const PORT_DEFAULT = 7022;

function makeManager(dir: string, address: string, dataKey: string | undefined) {
  const place = placeOf("--address", address);
  const made = initManager({ dir, dataKey, place, now: epochNow() });
  made.database.close();
  return {
    dir,
    ...place,
    host_key: fingerprintOf(made.hostKey.publicKey),
    manager_key: made.keys.ledger.signer.publicKey as string,
  };
}

/** Where agents reach this machine, if that is plain. @throws AbsError MANAGER_ADDRESS_UNCLEAR */
function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const outside = all.filter(({ internal, scopeid }) => !internal && !scopeid);
  const ipv4 = outside.filter(({ family }) => family === "IPv4");
  const [only, ...others] = (ipv4.length > 0 ? ipv4 : outside).map(({ address }) => address);
  if (only !== undefined && others.length === 0) {
    return isIP(only) === 4 ? `${only}:${PORT_DEFAULT}` : `[${only}]:${PORT_DEFAULT}`;
  }
  const found = only === undefined ? "no address" : [only, ...others].join(", ");
  const what = `Where shall agents reach the manager? This machine has ${found}.`;
  const remedy = `Say it with --address HOST:${PORT_DEFAULT}; it goes into every token.`;
  throw new AbsError("MANAGER_ADDRESS_UNCLEAR", what, remedy);
}

const init = defineCommand({
  meta: { name: "init", description: "make a manager: keys, database, the administrator `local`" },
  args: {
    dir: managerDirArgument,
    address: {
      type: "string",
      required: true,
      description: "HOST:PORT where agents and administrators reach it; goes into every token",
    },
    "data-key": dataKeyArgument,
    output: outputArgument,
  },
  run({ args }) {
    keepMemoryPrivate();
    const isJson = isJsonOutput(args.output);
    const made = makeManager(args.dir, args.address, args["data-key"]);
    const lines = Object.entries(made).map(([name, value]) => `${name.padEnd(12)}${value}`);
    printResult(isJson, made, lines.join("\n"));
  },
});

const serve = defineCommand({
  meta: {
    name: "serve",
    description:
      "run the manager. Events go to standard output, one JSON object a line. " +
      "It makes the manager first if there is none.",
  },
  args: {
    dir: managerDirArgument,
    address: {
      type: "string",
      description: "HOST:PORT for `init`, if there is no manager yet; else this machine's address",
    },
    listen: { type: "string", description: "HOST:PORT to listen on, if not all at that port" },
    "data-key": dataKeyArgument,
    api: { type: "string", description: `HOST:PORT of the HTTP API, or off (${API_DEFAULT})` },
    "api-cert": { type: "string", description: "PEM file: the API speaks TLS with it" },
    "api-key": { type: "string", description: "PEM file of the certificate's private key" },
    events: { type: "string", description: "append events to this file instead" },
    sinks: sinksArgument,
    "key-days": {
      type: "string",
      default: String(KEY_DAYS_DEFAULT),
      description: "days after which an agent's SSH key and certificate are renewed",
    },
    metrics: metricsArgument,
  },
  async run({ args }) {
    keepMemoryPrivate();
    const keyDays = wholeNumberOf("--key-days", args["key-days"], 1, KEY_DAYS_MAX);
    const listen = args.listen === undefined ? undefined : placeOf("--listen", args.listen);
    const dataKey = args["data-key"];
    if (!existsSync(inFolder(args.dir, "database"))) {
      const made = makeManager(args.dir, args.address ?? ownAddress(), dataKey);
      const where = `agents reach it at ${made.host} port ${made.port}`;
      notes.success(`A new manager in ${args.dir}; ${where}; its host key is ${made.host_key}.`);
    }
    const api = apiPlace(args.api ?? API_DEFAULT, args["api-cert"], args["api-key"]);
    const isApiOptional = args.api === undefined;
    const events = new EventLog(args.events, { role: "manager" });
    let sinks: EventSinks | undefined;
    let metrics: MetricsServer | undefined;
    try {
      lockFolder(inFolder(args.dir, "lock"));
      sinks = openSinks(args.sinks, events);
      metrics = openMetrics(args.metrics, events);
      const manager = await ManagerProcess.start({
        ...{ dir: args.dir, dataKey, listen, events, api, isApiOptional, keyDays },
        captureTests: { program: [...ownCommand(), "manager", "test-capture"] },
      });
      metrics?.serve({
        families: () => managerMetrics(manager, sinks),
        ready: async () => manager.state.tenants.list(),
      });
      const notify = new ServiceNotify();
      notify.ready("agents and administrators are served", () => Promise.resolve());
      await new Promise<void>((resolve) => {
        for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, resolve);
      });
      notify.stopping();
      await manager.stop();
    } finally {
      await metrics?.close();
      await sinks?.close();
      events.close();
    }
    process.exit(0);
  },
});

/** Started by the manager: see manager/capture-tests.ts. */
const testCapture = defineCommand({
  meta: { name: "test-capture", hidden: true },
  run: serveCaptureTest,
});

/** @throws AbsError OPTION_INVALID, TLS_FILE_UNREADABLE, and of a key that others may read */
function apiPlace(text: string, cert?: string, key?: string): ApiPlace | undefined {
  if (text === "off") return undefined;
  const place = placeOf("--api", text);
  if (cert === undefined && key === undefined) return place;
  if (cert === undefined || key === undefined) {
    throw optionError("--api-cert and --api-key belong together.", "Give both.");
  }
  return { ...place, tls: { cert: readCertificate(cert), key: readPrivate(key) } };
}

export const managerCommand = defineCommand({
  meta: { name: "manager", description: "the manager: enrol agents, run tenants from one place" },
  subCommands: {
    ...{ init, serve, backup, restore, "test-capture": testCapture },
    ...remoteCommands(),
  },
});
