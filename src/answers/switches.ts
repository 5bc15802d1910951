/** Answers about the switches at which quarantined VMs are dropped. */
import { Type } from "typebox";
import { count, flag, hex, list, said, word } from "./answer-values.ts";

const name = said("name of the switch");
const at = said("where it or its controller is: tcp:HOST:PORT, ryu+http://HOST:PORT and others");

export const switchState = word(
  ["as-wanted", "not-connected", "behind"],
  "as-wanted: its rules are as they should be; behind: they are not, or not known to be yet",
);

export const switchRows = list(
  Type.Object({
    name,
    at,
    state: switchState,
    rules: count("rules of ours that it had when it was last compared"),
    datapath: hex("its datapath id, 16 digits; empty: not known"),
    why: said("why its rules are not as they should be; empty: they are, or not known"),
  }),
  "by name",
);

export const switchAdded = Type.Object({ name, at });
export const switchLogin = Type.Object({ name, user: said("who the manager is there") });

export const switchRemoved = Type.Object({
  removed: name,
  cleared: flag("whether our rules are gone from it; if not, they end by their time-out"),
});
