import { expect, test } from "bun:test";
import { filler } from "../../test/fuzz/frames.ts";
import { moveBytes } from "./ip-headers.ts";

test("moveBytes is copyWithin, for all small counts and distances, and touches nothing else", () => {
  for (let count = 0; count <= 19; count++) {
    for (let to = 0; to <= 44; to++) {
      const bytes = Uint8Array.from(filler(64));
      const wanted = bytes.slice().copyWithin(to, 22, 22 + count);
      moveBytes(new DataView(bytes.buffer), 22, to, count);
      expect(bytes).toEqual(wanted);
    }
  }
});
