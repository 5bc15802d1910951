/** When a wrong password locks, for how long, and whom. */
import { expect, test } from "bun:test";
import { LoginThrottle } from "./login-throttle.ts";

const SECOND = 1000;

/** Tries again as soon as it may. @returns the waits after each failure, in seconds */
function failTimes(count: number, account: (i: number) => string, source: (i: number) => string) {
  const throttle = new LoginThrottle();
  let now = 0;
  return Array.from({ length: count }, (_, i) => {
    throttle.failed(account(i), source(i), now);
    const waitMs = throttle.waitMs(account(i), source(i), now);
    now += waitMs;
    return waitMs / SECOND;
  });
}

test("one account from one source: five are forgiven, then each lock doubles up to an hour", () => {
  const waits = failTimes(
    14,
    () => "vera",
    () => "192.0.2.1",
  );
  expect(waits).toEqual([0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
});

test("many accounts from one source: twenty are forgiven", () => {
  const waits = failTimes(
    22,
    (i) => `a${i}`,
    () => "192.0.2.1",
  );
  expect(waits.slice(0, 19).every((wait) => wait === 0)).toBe(true);
  expect(waits.slice(19)).toEqual([30, 60, 120]);
});

test("one account from many sources: fifty are forgiven, and no lock is over five minutes", () => {
  const waits = failTimes(
    60,
    () => "vera",
    (i) => `192.0.2.${i}`,
  );
  expect(waits.slice(0, 49).every((wait) => wait === 0)).toBe(true);
  expect(waits.slice(49)).toEqual([30, 60, 120, 240, ...Array(7).fill(300)]);
});

test("a lock is for its source: the same account is free from another one", () => {
  const throttle = new LoginThrottle();
  for (let i = 0; i < 10; i++) throttle.failed("vera", "192.0.2.1", 0);
  expect(throttle.waitMs("vera", "192.0.2.1", 0)).toBeGreaterThan(0);
  expect(throttle.waitMs("vera", "192.0.2.2", 0)).toBe(0);
});

test("the right password, or a day, and all is forgiven", () => {
  const throttle = new LoginThrottle();
  for (let i = 0; i < 4; i++) throttle.failed("vera", "192.0.2.1", 0);
  throttle.succeeded("vera", "192.0.2.1");
  throttle.failed("vera", "192.0.2.1", 0);
  expect(throttle.waitMs("vera", "192.0.2.1", 0)).toBe(0);
  for (let i = 0; i < 3; i++) throttle.failed("vera", "192.0.2.1", 0);
  throttle.failed("vera", "192.0.2.1", 25 * 3600 * SECOND);
  expect(throttle.waitMs("vera", "192.0.2.1", 25 * 3600 * SECOND)).toBe(0);
});
