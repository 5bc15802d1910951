/**
 * `abs manager init|serve` and the commands of an administrator. docs/manager.md. `serve` stays in
 * the foreground and prints its events; the others are executed by a running manager, over its
 * manager channel (manager-remote.ts).
 */
import { existsSync } from "node:fs";
import { defineCommand } from "citty";
import { inFolder, initManager } from "../manager/manager-folder.ts";
import { ManagerProcess } from "../manager/manager-process.ts";
import { lockFolder } from "../node/folder-lock.ts";
import { epochNow } from "../node/ledger-runner.ts";
import { EventLog } from "../observe/event-log.ts";
import { fingerprintOf, sshPublicKey } from "../ssh/ssh-keys.ts";
import { managerDirArgument, remoteCommands } from "./manager-remote.ts";
import { notes } from "./notes.ts";
import { isJsonOutput, outputArgument, placeOf, printResult } from "./options.ts";

const dataKeyArgument = {
  type: "string",
  description: "file of the data key that secrets are sealed with (DIR/data.key)",
} as const;

function makeManager(dir: string, address: string, dataKey: string | undefined) {
  const place = placeOf("--address", address);
  const made = initManager({ dir, dataKey, place, now: epochNow() });
  made.database.close();
  return {
    dir,
    ...place,
    host_key: fingerprintOf(sshPublicKey(made.hostSeed)),
    manager_key: made.keys.ledger.signer.publicKey as string,
  };
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
      "With --address it makes the manager first if there is none.",
  },
  args: {
    dir: managerDirArgument,
    address: { type: "string", description: "HOST:PORT for `init`, if there is no manager yet" },
    listen: { type: "string", description: "HOST:PORT to listen on, if not all at that port" },
    "data-key": dataKeyArgument,
    events: { type: "string", description: "append events to this file instead" },
  },
  async run({ args }) {
    const listen = args.listen === undefined ? undefined : placeOf("--listen", args.listen);
    const dataKey = args["data-key"];
    if (args.address !== undefined && !existsSync(inFolder(args.dir, "database"))) {
      const made = makeManager(args.dir, args.address, dataKey);
      notes.success(`A new manager in ${args.dir}; its host key is ${made.host_key}.`);
    }
    const events = new EventLog(args.events);
    try {
      lockFolder(inFolder(args.dir, "lock"));
      const manager = await ManagerProcess.start({ dir: args.dir, dataKey, listen, events });
      await new Promise<void>((resolve) => {
        for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, resolve);
      });
      await manager.stop();
    } finally {
      events.close();
    }
    process.exit(0);
  },
});

export const managerCommand = defineCommand({
  meta: { name: "manager", description: "the manager: enrol agents, run tenants from one place" },
  subCommands: { init, serve, ...remoteCommands() },
});
