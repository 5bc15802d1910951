/** Answers about quarantine. docs/manager.md "Quarantine". */
import { type Static, Type } from "typebox";
import { count, list, moment, said, tenantName, texts } from "./answer-values.ts";
import { switchState } from "./switches.ts";

const quarantine = {
  number: count("of the quarantine, from 1"),
  host: said("name of the agent, or what the VM was named by: an address, a MAC, SWITCH:NUMBER"),
  tenant: Type.Optional(tenantName),
  addresses: texts("of the VM"),
  macs: texts("of the VM"),
  ports: texts("OpenFlow ports that it hangs on, each SWITCH:NUMBER"),
  reason: said("why, for the record"),
  by: said("who began it; `evidence`: refused packets did"),
  since: moment("when it began"),
  until: moment("when it ends by itself; `released`: not before it is released", "released"),
};

const switches = Type.Record(Type.String(), switchState, {
  description: "how each switch is after it was told, by its name",
});

const quarantineRow = Type.Object({
  ...quarantine,
  over: Type.Optional(moment("with `all`: when it was over; `-`: it holds")),
  why: Type.Optional(said("with `all`, where it is over: `time-out`, or who released it and why")),
});
export type QuarantineRow = Static<typeof quarantineRow>;

export const quarantineRows = list(
  quarantineRow,
  "in the order in which they began; with `all`, newest first",
);

export const quarantineBegun = Type.Object({ ...quarantine, switches });

export const quarantineReleased = Type.Object({
  released: count("number of the quarantine"),
  switches,
});

export const quarantineTerms = Type.Object({
  violations: count("refused packets, each with the proof of who sent it; 0: by hand only"),
  window_seconds: count("within so many seconds"),
  seconds: count("how many seconds a VM stays in quarantine"),
  reporters: count("agents that must have refused some"),
});
