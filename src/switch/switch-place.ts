/**
 * Where a switch, or its controller, is reached: `tcp:HOST:PORT`, `tls:HOST:PORT` and `unix:PATH`
 * are called, `ptcp:PORT[:HOST]` and `ptls:PORT[:HOST]` wait for the switch to call (the words of
 * Open vSwitch, ovs-vsctl(8) "Controller Connectivity"); `http(s)://…` is a controller's REST API.
 */
import { AbsError } from "../errors.ts";

export const CONTROLLERS = ["ryu", "onos"] as const;

export type SwitchPlace =
  | { readonly kind: "call"; readonly host: string; readonly port: number; readonly tls: boolean }
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "wait"; readonly host: string; readonly port: number; readonly tls: boolean }
  | {
      readonly kind: "rest";
      readonly controller: (typeof CONTROLLERS)[number];
      readonly url: string;
    };

const REMEDY =
  "Write tcp:HOST:PORT, tls:HOST:PORT, unix:PATH, ptcp:PORT[:HOST], ptls:PORT[:HOST], " +
  "ryu+http://HOST:PORT or onos+http://HOST:PORT (https as well).";

/** @throws AbsError SWITCH_PLACE */
export function parsePlace(text: string): SwitchPlace {
  const rest = /^(ryu|onos)\+(https?:\/\/[^/@?#\s]+)\/?$/.exec(text);
  if (rest !== null && URL.canParse(rest[2] ?? "")) {
    const controller = rest[1] === "ryu" ? "ryu" : "onos";
    return { kind: "rest", controller, url: rest[2] ?? "" };
  }
  const path = /^unix:(\/.{1,100})$/.exec(text);
  if (path !== null) return { kind: "path", path: path[1] ?? "" };
  const call = /^(tcp|tls):(\[[0-9a-fA-F:.]+\]|[^:\s[\]]+):(\d{1,5})$/.exec(text);
  if (call !== null) return tcpPlace("call", call[1] === "tls", call[2], call[3], text);
  const wait = /^p(tcp|tls):(\d{1,5})(?::(\[[0-9a-fA-F:.]+\]|[^:\s[\]]+))?$/.exec(text);
  if (wait !== null) return tcpPlace("wait", wait[1] === "tls", wait[3], wait[2], text);
  throw wrong(text);
}

function tcpPlace(
  kind: "call" | "wait",
  tls: boolean,
  host = "127.0.0.1",
  digits = "",
  text = "",
): SwitchPlace {
  const port = Number(digits);
  if (port < 1 || port > 65_535) throw wrong(text);
  return { kind, tls, host: host.replace(/^\[|\]$/g, ""), port };
}

function wrong(text: string): AbsError {
  return new AbsError("SWITCH_PLACE", `A switch cannot be at "${text}".`, REMEDY);
}
