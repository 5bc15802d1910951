/**
 * Flows taken over from the run before (flow-file.ts) get a binding and an address pair again:
 * those numbers are this run's. A flow whose pair or peer is no longer known is forgotten. Once at
 * the start; packets never come here.
 */
import type { AddressPairs } from "./address-pairs.ts";
import {
  F_BINDING,
  F_LOCAL0,
  F_LOCAL1,
  F_LOCAL2,
  F_LOCAL3,
  F_PEER,
  F_PROTOCOL,
  F_REMOTE0,
  F_REMOTE1,
  F_REMOTE2,
  F_REMOTE3,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_FROM_REMOTE,
  FLOW_IPV6,
  FLOW_WORDS,
} from "./flow-table.ts";
import type { PlaneState } from "./plane-state.ts";

export function rebindFlows({ flows, pairs, bindings }: PlaneState): void {
  const { words } = flows;
  const restored = flows.count;
  for (let flow = 0; flow < restored; flow++) {
    const at = flow * FLOW_WORDS;
    if ((words[at + F_STATE] & 0xff) !== FLOW_ALLOWED) continue;
    const pair = pairOfFlow(words, at, pairs);
    const peer = (words[at + F_PEER] & 0xffff) - 1;
    if (pair < 0 || pairs.peer[pair] !== peer) {
      flows.remove(flow);
      continue;
    }
    const tag = words[at + F_TAG_RULE] >>> 16;
    const role = tag !== 0 && (words[at + F_STATE] & FLOW_FROM_REMOTE) !== 0 ? 1 : 0;
    words[at + F_PEER] = (pair << 16) | (peer + 1);
    words[at + F_BINDING] = bindings.of(peer, tag, role) + 1;
  }
}

function pairOfFlow(words: Uint32Array, at: number, pairs: AddressPairs): number {
  if ((words[at + F_PROTOCOL] & FLOW_IPV6) === 0) {
    return pairs.find4(words[at + F_LOCAL3], words[at + F_REMOTE3]);
  }
  return pairs.find6(
    words[at + F_LOCAL3],
    words[at + F_REMOTE3],
    words[at + F_LOCAL0],
    words[at + F_LOCAL1],
    words[at + F_LOCAL2],
    words[at + F_REMOTE0],
    words[at + F_REMOTE1],
    words[at + F_REMOTE2],
  );
}
