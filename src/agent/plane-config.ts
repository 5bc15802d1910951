/**
 * A snapshot as the worker uses it: tables and views over the packed fields. Runs between two
 * bursts, a few times a day; it may allocate. The other half is snapshot-fields.ts.
 */
import type { AddressPairs } from "../dataplane/address-pairs.ts";
import { AddressTable } from "../dataplane/address-table.ts";
import { ROW_WORDS } from "../dataplane/mac-table.ts";
import type { NeighbourGuard } from "../dataplane/neighbour-guard.ts";
import type { PlaneConfig } from "../dataplane/plane-state.ts";
import type { Shim } from "../dataplane/shim.ts";
import { Matcher } from "../dpi/matcher.ts";
import { signatureSnapshotFrom } from "../dpi/snapshot.ts";
import { AbsError } from "../errors.ts";
import { PolicyView } from "../policy/policy-view.ts";
import { policySnapshotFrom } from "../policy/snapshot.ts";
import {
  fieldsOf,
  PAIR_WORDS,
  PEER_ADDRESS_WORDS,
  SETTING,
  type SnapshotFields,
} from "./snapshot-fields.ts";

/** Everything but pairs and neighbours, which are tables of their own. */
export function planeConfig(fields: SnapshotFields, shim: Shim): PlaneConfig {
  const settings = wordsField(fields, "settings");
  const database = settings[SETTING.database];
  if (database > 0) shim.prepareDatabase(database - 1);
  return {
    policy: new PolicyView(policySnapshotFrom(fieldsOf(fields, "policy."))),
    matcher: new Matcher(
      signatureSnapshotFrom(fieldsOf(fields, "signature.")),
      database - 1,
      shim.symbols,
    ),
    peerAddresses: peerAddressTable(wordsField(fields, "peerAddresses")),
    peerCarrier: bytesField(fields, "peerCarrier"),
    peerQuick: bytesField(fields, "peerQuick"),
    ownTags: bytesField(fields, "ownTags"),
    peerTags: wordsField(fields, "peerTags"),
    peerTagWords: settings[SETTING.peerTagWords],
    ownQuick: settings[SETTING.ownQuick],
    ownCarrier: settings[SETTING.ownCarrier],
    carrierProtocol: settings[SETTING.carrierProtocol],
    udpPort: settings[SETTING.udpPort],
    defaultStage: settings[SETTING.defaultStage],
    innerMtu: settings[SETTING.innerMtu],
    mac1Keys: bytesField(fields, "mac1Keys"),
  };
}

/** Takes the pairs of a snapshot into `pairs`; those that are no more belong to nobody. */
export function loadPairs(fields: SnapshotFields, pairs: AddressPairs): void {
  const rows = wordsField(fields, "pairs");
  pairs.peer.fill(-1);
  for (let at = 0; at + PAIR_WORDS <= rows.length; at += PAIR_WORDS) {
    const peer = rows[at + 9];
    const pair =
      rows[at] === 4
        ? pairs.add4(rows[at + 4], rows[at + 8], peer)
        : pairs.add6(
            rows[at + 4],
            rows[at + 8],
            rows[at + 1],
            rows[at + 2],
            rows[at + 3],
            rows[at + 5],
            rows[at + 6],
            rows[at + 7],
            peer,
          );
    if (pair < 0) return;
    for (let i = 0; i < 3; i++) {
      pairs.hashOut[3 * pair + i] = rows[at + 10 + i];
      pairs.hashIn[3 * pair + i] = rows[at + 13 + i];
    }
  }
}

export function loadGuard(fields: SnapshotFields, guard: NeighbourGuard): void {
  const settings = wordsField(fields, "settings");
  const own = wordsField(fields, "ownNeighbours");
  const peers = wordsField(fields, "peerNeighbours");
  guard.own.load(own, own.length / ROW_WORDS);
  guard.bindings.load(peers, peers.length / ROW_WORDS);
  guard.ownMacHigh = settings[SETTING.ownMacHigh];
  guard.ownMacLow = settings[SETTING.ownMacLow];
  guard.allowedVlans.set(wordsField(fields, "vlans"));
}

function peerAddressTable(rows: Uint32Array): AddressTable {
  const count = rows.length / PEER_ADDRESS_WORDS;
  const table = new AddressTable(Math.max(1, count));
  for (let at = 0; at < rows.length; at += PEER_ADDRESS_WORDS) {
    const peer = rows[at + 5];
    if (rows[at] === 4) table.set4(rows[at + 4], peer);
    else table.set6(rows[at + 1], rows[at + 2], rows[at + 3], rows[at + 4], peer);
  }
  return table;
}

function wordsField(fields: SnapshotFields, name: string): Uint32Array {
  const field = fields[name];
  if (field instanceof Uint32Array) return field;
  throw malformed(name);
}

function bytesField(fields: SnapshotFields, name: string): Uint8Array {
  const field = fields[name];
  if (field instanceof Uint8Array) return field;
  throw malformed(name);
}

function malformed(name: string): AbsError {
  const message = `The snapshot has no usable field "${name}".`;
  return new AbsError("SNAPSHOT_MALFORMED", message, "Restart the agent: its threads disagree.");
}
