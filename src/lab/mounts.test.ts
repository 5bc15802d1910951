import { expect, test } from "bun:test";
import { mountsBelow } from "./mounts.ts";

const MOUNTINFO = [
  "22 1 0:20 / / rw - ext4 /dev/vda rw",
  "30 22 0:4 net:[4026532000] /run/abs-lab/web/state/ns rw - nsfs nsfs rw",
  "31 22 0:4 net:[4026532001] /run/abs-lab\\0402/ns rw - nsfs nsfs rw",
  "32 22 0:4 net:[4026532002] /run/abs-lab-2/ns rw - nsfs nsfs rw",
].join("\n");

test("only what is mounted at or below the directory is found", () => {
  expect(mountsBelow(MOUNTINFO, "/run/abs-lab")).toEqual(["/run/abs-lab/web/state/ns"]);
  expect(mountsBelow(MOUNTINFO, "/run/abs-lab 2")).toEqual(["/run/abs-lab 2/ns"]);
  expect(mountsBelow(MOUNTINFO, "/run/abs-other")).toEqual([]);
});
