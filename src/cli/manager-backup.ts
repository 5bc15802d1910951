/** `abs manager backup|restore`. docs/manager.md "Backup", "Restore". They work on this machine. */

import { defineCommand } from "citty";
import { makeBackup } from "../manager/backup.ts";
import { restoreManager } from "../manager/restore.ts";
import { keepMemoryPrivate } from "../native/private-memory.ts";
import { epochNow } from "../node/ledger-runner.ts";
import { dataKeyArgument, managerDirArgument } from "./manager-remote.ts";
import { isJsonOutput, outputArgument, printResult } from "./options.ts";

const fileArgument = { type: "positional", required: true, description: "the backup" } as const;

export const backup = defineCommand({
  meta: {
    name: "backup",
    description:
      "write the database and the ledgers into one file, while the manager runs or not. The data " +
      "key is not in it: keep that apart",
  },
  args: {
    file: fileArgument,
    dir: managerDirArgument,
    "data-key": dataKeyArgument,
    output: outputArgument,
  },
  run({ args }) {
    keepMemoryPrivate();
    const isJson = isJsonOutput(args.output);
    const { dir, file } = args;
    const done = makeBackup({ dir, dataKey: args["data-key"], file, now: epochNow() });
    const { sizeBytes, ledgers, dataKey } = done;
    const text = [
      `${file}: ${sizeBytes} bytes, ${ledgers} ledgers`,
      `The data key ${dataKey} is not in it, and without it the backup is worth nothing:`,
      "keep a copy of that file too, apart from the backup.",
    ];
    const value = { file, size_bytes: sizeBytes, ledgers, data_key: dataKey };
    printResult(isJson, value, text.join("\n"));
  },
});

export const restore = defineCommand({
  meta: { name: "restore", description: "a manager from its backup, in an empty folder" },
  args: {
    file: fileArgument,
    dir: managerDirArgument,
    "data-key": dataKeyArgument,
    stopped: {
      type: "boolean",
      description: "the manager did not run any more after the backup was made",
    },
    output: outputArgument,
  },
  async run({ args }) {
    keepMemoryPrivate();
    const isJson = isJsonOutput(args.output);
    const { dir, file } = args;
    const words = { file, dir, dataKey: args["data-key"], now: epochNow() };
    const done = await restoreManager({ ...words, wasStopped: args.stopped === true });
    const madeAt = new Date(done.madeAt * 1000).toISOString();
    const text = [
      `${dir}: ${done.tenants.length} tenants, ${done.agents} agents, as of ${madeAt}`,
      ...(args.stopped === true ? [] : ["Unused tokens are void: invite again."]),
      "Be sure that the old manager does not run, then: abs manager serve",
    ];
    const value = { dir, made_at: madeAt, tenants: done.tenants, agents: done.agents };
    printResult(isJson, value, text.join("\n"));
  },
});
