/** What a node says of the committee it hears: counts that `abs ledger status` shows. */
import { expect, test } from "bun:test";
import { committeeReach } from "../../src/node/committee-reach.ts";
import { ChainBuilder, standInKeys } from "../chain/chain-builder.ts";

const { state, nodes } = new ChainBuilder(standInKeys(1), 4);
const [first = "", ...rest] = nodes.keys();
const heard = (silentMs: number | undefined) => rest.map((nodeId) => ({ nodeId, silentMs }));

const cases = [
  { name: "the master hears three of four", self: "master", peers: heard(100), reachable: 3 },
  { name: "a validator hears itself", self: first, peers: heard(2_000), reachable: 4 },
  {
    name: "a peer that has been silent is not heard",
    self: first,
    peers: heard(5_000),
    reachable: 1,
  },
  { name: "nor one without a connection", self: "master", peers: heard(undefined), reachable: 0 },
  { name: "a stranger is of no committee", self: "x", peers: heard(0).slice(1), reachable: 2 },
];
test.each(cases)("$name", ({ self, peers, reachable }) => {
  expect(committeeReach(state, self, peers)).toEqual({ committee: 4, quorum: 3, reachable });
});
