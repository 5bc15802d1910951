import { dlopen } from "bun:ffi";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServiceNotify } from "./service-notify.ts";

const [AF_UNIX, SOCK_DGRAM, MSG_DONTWAIT] = [1, 2, 0x40];
const folder = mkdtempSync(join(tmpdir(), "abs-notify-"));
const { socket, bind, recv, close } = dlopen("libc.so.6", {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" },
  close: { args: ["i32"], returns: "i32" },
}).symbols;

afterAll(() => rmSync(folder, { recursive: true }));

/** systemd's end: what has come, a datagram a line of the list. */
function listen(name: string): { received: () => string[]; close: () => void } {
  const address = new Uint8Array([AF_UNIX, 0, ...Buffer.from(name.replace(/^@/, "\0"))]);
  const descriptor = socket(AF_UNIX, SOCK_DGRAM, 0);
  expect(bind(descriptor, address, address.length)).toBe(0);
  const received = (): string[] => {
    const all: string[] = [];
    for (const bytes = new Uint8Array(4096); ; ) {
      const size = Number(recv(descriptor, bytes, bytes.length, MSG_DONTWAIT));
      if (size <= 0) return all;
      all.push(Buffer.from(bytes.subarray(0, size)).toString());
    }
  };
  return { received, close: () => void close(descriptor) };
}

test.each([join(folder, "notify"), `@abs-notify-${process.pid}`])(
  "systemd hears at %s that the service is ready, lives and stops",
  async (name) => {
    const systemd = listen(name);
    const notify = new ServiceNotify({
      ...{ NOTIFY_SOCKET: name, WATCHDOG_USEC: "30000", WATCHDOG_PID: String(process.pid) },
    });
    expect(notify.signEveryMs).toBe(10);
    notify.ready("it forwards", () => Promise.resolve());
    expect(systemd.received()).toEqual(["READY=1\nSTATUS=it forwards"]);
    await Bun.sleep(100);
    expect(systemd.received()).toContain("WATCHDOG=1");
    notify.stopping();
    expect(systemd.received().at(-1)).toBe("STOPPING=1");
    await Bun.sleep(50);
    expect(systemd.received()).toEqual([]);
    systemd.close();
  },
);

test("what does not answer gives no sign of life, and is asked once", async () => {
  const systemd = listen(join(folder, "silent"));
  const environment = { NOTIFY_SOCKET: join(folder, "silent"), WATCHDOG_USEC: "15000" };
  for (const alive of [
    () => new Promise<void>(() => {}),
    () => Promise.reject(new Error("it is gone")),
  ]) {
    let asked = 0;
    const notify = new ServiceNotify(environment);
    notify.ready("so far", () => {
      asked++;
      return alive();
    });
    await Bun.sleep(60);
    expect([asked, systemd.received()]).toEqual([1, ["READY=1\nSTATUS=so far"]]);
    notify.stopping();
    systemd.received();
  }
  systemd.close();
});

test("nothing is sent where systemd did not start us, or nobody listens", () => {
  expect(new ServiceNotify({ WATCHDOG_USEC: "1000" }).signEveryMs).toBeUndefined();
  const other = { NOTIFY_SOCKET: join(folder, "x"), WATCHDOG_USEC: "1000", WATCHDOG_PID: "1" };
  const notify = new ServiceNotify(other);
  expect(notify.signEveryMs).toBeUndefined();
  for (const one of [
    notify,
    new ServiceNotify({}),
    new ServiceNotify({ NOTIFY_SOCKET: "x".repeat(200) }),
  ]) {
    one.ready("", () => Promise.resolve());
    one.stopping();
  }
});
