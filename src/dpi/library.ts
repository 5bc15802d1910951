/**
 * The built-in signatures (signatures/*.json), bundled into the executable so that they need no
 * file at run time. One file an application, named for it; a file holds one signature for each way
 * the application begins.
 */

import dns from "../../signatures/dns.json";
import http from "../../signatures/http.json";
import iperf3 from "../../signatures/iperf3.json";
import mysql from "../../signatures/mysql.json";
import ntp from "../../signatures/ntp.json";
import ping from "../../signatures/ping.json";
import postgresql from "../../signatures/postgresql.json";
import redis from "../../signatures/redis.json";
import ssh from "../../signatures/ssh.json";
import tls from "../../signatures/tls.json";
import { parseSignatures } from "./schema.ts";
import type { AppSignature } from "./signature.ts";

const FILES: Readonly<Record<string, unknown>> = {
  dns,
  http,
  iperf3,
  mysql,
  ntp,
  ping,
  postgresql,
  redis,
  ssh,
  tls,
};

/** Names of the applications in the library. */
export function libraryNames(): string[] {
  return Object.keys(FILES);
}

/** The signatures of one application; empty when the library has none. */
export function librarySignature(app: string): AppSignature[] {
  if (!Object.hasOwn(FILES, app)) return [];
  return parseSignatures(JSON.stringify(FILES[app], null, 2), `signatures/${app}.json`);
}

/** All of them. */
export function librarySignatures(): AppSignature[] {
  return libraryNames().flatMap(librarySignature);
}
