/**
 * Ports of loopback for programs that are started later, or again: below the range from which the
 * kernel takes the ports of calls, since a call to a port that nobody listens on could be given
 * that same port, meet itself, and keep the program from coming back.
 */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

const FIRST = 10_000;
/** `net.ipv4.ip_local_port_range` begins at 32,768. */
const END = 32_768;
let next = randomInt(FIRST, END);

export async function freePort(): Promise<number> {
  for (let tries = FIRST; tries < END; tries++) {
    const port = next;
    next = port + 1 < END ? port + 1 : FIRST;
    if (await isFree(port)) return port;
  }
  throw new Error("no port is free");
}

/** All different. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let i = 0; i < count; i++) ports.push(await freePort());
  return ports;
}

function isFree(port: number): Promise<boolean> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}
