/**
 * The ways to a real switch: it is called by TCP or TLS, or it calls; certificates that are not
 * trusted, a second caller, and one that is no switch.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import { join } from "node:path";
import { mustRun, waitFor } from "../../src/lab/command.ts";
import { CookieRange } from "../../src/switch/flow-table.ts";
import type { TlsFiles } from "../../src/switch/openflow-link.ts";
import { SwitchKeeper } from "../../src/switch/switch-keeper.ts";
import { parsePlace } from "../../src/switch/switch-place.ts";
import { freePort } from "../free-port.ts";
import { OvsBed } from "./ovs-bed.ts";

const COOKIES = new CookieRange(0x77);
const RULE = { cookie: COOKIES.of(1), match: { inPort: 9 }, seconds: 600 };
let bed: OvsBed;
const keepers: SwitchKeeper[] = [];
const told: string[] = [];

beforeAll(async () => {
  // The switch and this process reach each other on loopback.
  bed = await OvsBed.open(0, { isApart: false });
  await certificates();
  const files = [pem("switch.key"), pem("switch.crt"), pem("ca.crt")];
  await bed.vsctl("set-ssl", ...files);
}, 60_000);

afterAll(async () => {
  for (const keeper of keepers) keeper.stop();
  await bed?.close();
});

function pem(name: string): string {
  return join(bed.dir, name);
}

async function certificates(): Promise<void> {
  for (const ca of ["ca", "stranger"]) {
    const made = ["-keyout", pem(`${ca}.key`), "-out", pem(`${ca}.crt`)];
    const asked = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    await mustRun(["openssl", "req", ...asked, "-days", "2", "-subj", `/CN=${ca}`, ...made]);
  }
  for (const [name, ca] of [
    ["switch", "ca"],
    ["manager", "ca"],
    ["liar", "stranger"],
  ] as const) {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    const out = ["-keyout", pem(`${name}.key`), "-out", pem(`${name}.csr`)];
    await mustRun(["openssl", "req", "-new", ...key, "-subj", `/CN=${name}`, ...out]);
    const by = ["-CA", pem(`${ca}.crt`), "-CAkey", pem(`${ca}.key`), "-CAcreateserial"];
    const crt = ["-in", pem(`${name}.csr`), "-out", pem(`${name}.crt`), "-days", "2"];
    await mustRun(["openssl", "x509", "-req", ...crt, ...by]);
  }
}

function tlsOf(name: string): TlsFiles {
  return { certificate: pem(`${name}.crt`), key: pem(`${name}.key`), ca: pem("ca.crt") };
}

function keep(at: string, tls?: TlsFiles, datapathId?: bigint): SwitchKeeper {
  told.length = 0;
  const keeper = new SwitchKeeper({
    ...{ place: parsePlace(at), tls, datapathId, cookies: COOKIES, wanted: () => [RULE] },
    access: { login: undefined, ca: undefined },
    connected: () => told.push("connected"),
    lost: (why) => told.push(why),
    failed: (why) => told.push(why),
  });
  keepers.push(keeper);
  return keeper;
}

async function untilWanted(keeper: SwitchKeeper): Promise<void> {
  const isSo = () => (keeper.status.state === "as-wanted" ? true : undefined);
  await waitFor("the rules as wanted", isSo, 20_000);
  expect((await bed.rules()).filter((rule) => rule.includes("in_port=9"))).toHaveLength(1);
}

async function end(keeper: SwitchKeeper): Promise<void> {
  await keeper.clear();
  expect((await bed.rules()).filter((rule) => rule.includes("in_port=9"))).toEqual([]);
  await bed.vsctl("del-controller", "br0");
}

test("called by TCP, by TLS, and only with a certificate that it trusts", async () => {
  const [plain, secret] = [await freePort(), await freePort()];
  const places = [`ptcp:${plain}:127.0.0.1`, `pssl:${secret}:127.0.0.1`];
  await bed.vsctl("set-controller", "br0", ...places);
  const tcp = keep(`tcp:127.0.0.1:${plain}`);
  await untilWanted(tcp);
  await tcp.clear();
  const tls = keep(`tls:127.0.0.1:${secret}`, tlsOf("manager"));
  await untilWanted(tls);
  await tls.clear();
  const liar = keep(`tls:127.0.0.1:${secret}`, tlsOf("liar"));
  await waitFor("a refusal", () => (told.length > 0 ? true : undefined), 20_000);
  expect(liar.status.state).toBe("not-connected");
  liar.stop();
  // A switch that somebody else has signed for.
  const wrongCa = keep(`tls:127.0.0.1:${secret}`, { ...tlsOf("manager"), ca: pem("stranger.crt") });
  await waitFor("a refusal", () => (told.length > 0 ? true : undefined), 20_000);
  expect(wrongCa.status.state).toBe("not-connected");
  wrongCa.stop();
  await bed.vsctl("del-controller", "br0");
}, 60_000);

test("called by the switch, over TCP; a second caller is hung up on", async () => {
  const port = await freePort();
  const keeper = keep(`ptcp:${port}`);
  await bed.vsctl("set-controller", "br0", `tcp:127.0.0.1:${port}`);
  await untilWanted(keeper);
  const ended = await new Promise((resolve) => {
    const second = connect(port, "127.0.0.1", () => second.on("close", () => resolve("closed")));
    second.on("error", () => {});
    second.resume();
  });
  expect(ended).toBe("closed");
  expect(keeper.status.state).toBe("as-wanted");
  await end(keeper);
}, 60_000);

test("called by the switch, over TLS", async () => {
  const port = await freePort();
  const keeper = keep(`ptls:${port}`, tlsOf("manager"));
  await bed.vsctl("set-controller", "br0", `ssl:127.0.0.1:${port}`);
  await untilWanted(keeper);
  await end(keeper);
}, 60_000);

test("another datapath than the one that is expected is told nothing", async () => {
  const keeper = keep(`unix:${bed.management}`, undefined, 0x99n);
  await waitFor("a refusal", () => (told.length > 0 ? true : undefined), 20_000);
  expect(told[0]).toContain("which nobody expects here");
  expect((await bed.rules()).filter((rule) => rule.includes("in_port=9"))).toEqual([]);
  keeper.stop();
}, 60_000);

test("what speaks another protocol is given up, and called again", async () => {
  const server = Bun.listen({
    ...{ hostname: "127.0.0.1", port: 0 },
    socket: {
      open: (socket) => void socket.write("SSH-2.0-OpenSSH_9.2\r\n".repeat(9)),
      data: () => {},
    },
  });
  const keeper = keep(`tcp:127.0.0.1:${server.port}`);
  await waitFor("a refusal", () => (told.length > 0 ? true : undefined), 20_000);
  expect(keeper.status.state).toBe("not-connected");
  expect(told).toHaveLength(1);
  keeper.stop();
  server.stop(true);
}, 60_000);
