/**
 * Reads what `--sinks FILE` says: where events go besides the event log. docs/events.md "Sinks",
 * docs/schemas/sinks.schema.json. YAML or JSON; unknown keys and impossible values are errors with
 * file, line and column. Files it names count from its own folder.
 */
import { readFileSync } from "node:fs";
import { messageOf } from "../../errors.ts";
import { type DocumentMap, type DocumentNode, loadDocument } from "../../store/document.ts";
import { besideDocument, requirePrivate } from "../../store/secret-file.ts";
import { EVENT_CLASSES, type EventClass } from "../event-kinds.ts";
import type { FilePlan } from "./file-transport.ts";
import type { NatsPlan } from "./nats-transport.ts";
import { FACILITIES } from "./syslog-message.ts";
import type { SyslogPlace } from "./syslog-transport.ts";

export const FORMATS = ["abs", "ecs", "ocsf", "cef"] as const;
export type EventFormat = (typeof FORMATS)[number];

type Way =
  | ({ readonly type: "file" } & FilePlan)
  | ({
      readonly type: "syslog";
      readonly over: SyslogOver;
      readonly facility: number;
    } & SyslogPlace)
  | {
      readonly type: "webhook";
      readonly url: string;
      readonly token?: string;
      readonly ca?: string;
    }
  | ({ readonly type: "nats" } & NatsPlan);
export type SyslogOver = "udp" | "tcp" | "tls";

export type SinkPlan = {
  readonly name: string;
  readonly format: EventFormat;
  readonly classes: readonly EventClass[];
  readonly way: Way;
};

export type SinksPlan = {
  /** Folder where events wait for their sinks. */
  readonly spool: string;
  /** Bytes that may wait in each of a sink's four lanes. */
  readonly laneBytes: number;
  readonly sinks: readonly SinkPlan[];
};

const TYPES = ["file", "syslog", "webhook", "nats"] as const;
const COMMON = ["name", "type", "format", "classes"];
const KEYS: Readonly<Record<(typeof TYPES)[number], readonly string[]>> = {
  file: ["path", "maxBytes", "keep"],
  syslog: ["url", "ca", "facility"],
  webhook: ["url", "ca", "tokenFile"],
  nats: ["url", "ca", "subject", "tokenFile", "credentialsFile"],
};
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const SUBJECT = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
const LANE_BYTES = 64 * 1024 * 1024;
const FILE_BYTES = 64 * 1024 * 1024;
const BYTES_MIN = 1024 * 1024;
const BYTES_MAX = 1024 ** 4;
const SINKS_MAX = 16;
const PORTS: Readonly<Record<string, number>> = { udp: 514, tcp: 601, tls: 6514, nats: 4222 };

/** @throws AbsError SINKS_UNREADABLE, SINKS_INVALID, SECRET_FILE_OPEN */
export function readSinks(file: string): SinksPlan {
  const map = loadDocument(file, "SINKS").map(["version", "spool", "laneBytes", "sinks"]);
  const version = map.need("version");
  if (version.integer(0, 1_000_000) !== 1) version.fail("unknown version.", "Use version 1.");
  const spool = map.need("spool");
  const list = map.need("sinks");
  const sinks = list.list().map(readSink);
  if (sinks.length > SINKS_MAX) list.fail(`more than ${SINKS_MAX} sinks.`, "Leave some out.");
  const names = sinks.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) list.fail(`two sinks are named ${twice}.`, "Rename one.");
  return {
    spool: besideDocument(spool, spool.string()),
    laneBytes: map.get("laneBytes")?.integer(BYTES_MIN, BYTES_MAX) ?? LANE_BYTES,
    sinks,
  };
}

function readSink(node: DocumentNode): SinkPlan {
  const any = node.map([...COMMON, ...Object.values(KEYS).flat()]);
  const type = any.need("type").oneOf(TYPES);
  const map = node.map([...COMMON, ...KEYS[type]]);
  const name = map.need("name");
  if (!NAME.test(name.string())) {
    name.fail("no good name.", "Use letters, digits, dots and dashes, at most 64.");
  }
  return {
    name: name.string(),
    format: map.get("format")?.oneOf(FORMATS) ?? "abs",
    classes:
      map
        .get("classes")
        ?.list()
        .map((one) => one.oneOf(EVENT_CLASSES)) ?? EVENT_CLASSES,
    way: WAYS[type](map),
  };
}

const WAYS: Readonly<Record<(typeof TYPES)[number], (map: DocumentMap) => Way>> = {
  file: (map) => {
    const path = map.need("path");
    return {
      type: "file",
      path: besideDocument(path, path.string()),
      maxBytes: map.get("maxBytes")?.integer(BYTES_MIN, BYTES_MAX) ?? FILE_BYTES,
      keep: map.get("keep")?.integer(0, 1000) ?? 5,
    };
  },
  syslog: (map) => {
    const { url, ca } = placeOf(map, ["udp", "tcp", "tls"]);
    const over = url.protocol.slice(0, -1) as SyslogOver;
    const facility = map.get("facility")?.oneOf([...FACILITIES.keys()]) ?? "local0";
    return {
      ...{ type: "syslog", over, facility: FACILITIES.get(facility) ?? 16 },
      ...{ host: hostOf(url), port: Number(url.port) || (PORTS[over] ?? 0), ...ca },
    };
  },
  webhook: (map) => {
    const { url, ca } = placeOf(map, ["http", "https"]);
    return { type: "webhook", url: url.href, ...ca, ...secretOf(map, "tokenFile", "token") };
  },
  nats: (map) => {
    const { url, ca } = placeOf(map, ["nats", "tls"]);
    const subject = map.get("subject");
    if (subject !== undefined && !SUBJECT.test(subject.string())) {
      subject.fail("no subject of NATS.", "Write words joined by dots, without wildcards.");
    }
    const port = Number(url.port) || (PORTS["nats"] ?? 0);
    return {
      ...{ type: "nats", url: `${url.protocol}//${url.hostname}:${port}`, ...ca },
      ...{ subject: subject?.string() ?? "abs.events", ...secretOf(map, "tokenFile", "token") },
      ...secretOf(map, "credentialsFile", "credentials"),
    };
  },
};

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}

/** A URL without anything secret in it, and the certificates that are trusted there. */
function placeOf(map: DocumentMap, schemes: readonly string[]) {
  const node = map.need("url");
  const text = node.string();
  const remedy = `Write ${schemes.map((scheme) => `${scheme}://HOST:PORT`).join(" or ")}.`;
  const url = URL.canParse(text) ? new URL(text) : node.fail("no URL.", remedy);
  if (!schemes.includes(url.protocol.slice(0, -1)) || url.hostname === "") {
    node.fail("not a URL of this kind of sink.", remedy);
  }
  if (url.username !== "" || url.password !== "") {
    node.fail("a secret in a URL.", "Give it in a file of mode 600: tokenFile.");
  }
  const ca = map.get("ca");
  return { url, ca: ca === undefined ? {} : { ca: readText(ca) } };
}

function secretOf<T extends string>(map: DocumentMap, key: string, name: T) {
  const node = map.get(key);
  if (node === undefined) return {} as { readonly [K in T]?: string };
  requirePrivate(besideDocument(node, node.string()));
  return { [name]: readText(node).trim() } as { readonly [K in T]?: string };
}

function readText(node: DocumentNode): string {
  try {
    return readFileSync(besideDocument(node, node.string()), "utf8");
  } catch (thrown) {
    return node.fail(`${node.string()} cannot be read: ${messageOf(thrown)}.`, "Check the path.");
  }
}
