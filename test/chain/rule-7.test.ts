/**
 * Rule 7: in a later view a validator votes for the hash of the highest prepared certificate among
 * q ROUND_CHANGEs, and for no other, though the master offered both.
 */
import { expect, test } from "bun:test";
import { draftBlock } from "../../src/chain/apply-block.ts";
import { committeeHash } from "../../src/chain/certificate-codec.ts";
import { committeeOf } from "../../src/chain/chain-state.ts";
import { vrfAlpha } from "../../src/chain/choosing.ts";
import { KeyRing } from "../../src/chain/key-ring.ts";
import type { Attempt, NodeId } from "../../src/chain/ledger-units.ts";
import { NO_HASH } from "../../src/chain/ledger-units.ts";
import { justificationHash } from "../../src/chain/message-parts.ts";
import { nodeIdOf, signMessage } from "../../src/chain/message-signing.ts";
import type { LedgerMessage } from "../../src/chain/message-types.ts";
import { createValidator, step } from "../../src/chain/participant.ts";
import { Disk } from "../../src/sim/disk.ts";
import { Prng } from "../../src/sim/prng.ts";
import { contractOf, START_SECONDS, World } from "../../src/sim/world.ts";

const world = new World({
  ...{ seed: 1, validators: 4, nodes: 4, heights: 1, isReal: false, faults: [], lies: [] },
});
const { genesis, crypto } = world;
const committee = committeeOf(genesis, 0 as Attempt);
const at = { ms: 0, epoch: START_SECONDS };

/** Of a seat, or of the master. */
function keysOf(seat: number) {
  const id = committee[seat];
  return world.nodes.find(({ signer }) => nodeIdOf(signer.publicKey) === id) ?? world.master;
}

function say(seat: number, kind: string, words: object, view: number): LedgerMessage {
  const { signer } = keysOf(seat);
  const place = { chainId: genesis.chainId, term: 1, height: 1, attempt: 0, view };
  const draft = { kind, ...place, signer: nodeIdOf(signer.publicKey), ...words };
  return signMessage(signer, draft as never) as LedgerMessage;
}

function candidate(sequence: number): LedgerMessage & { readonly kind: "CANDIDATE" } {
  const body = { contracts: [contractOf(new Prng(sequence))], records: [] };
  const plan = { term: genesis.core.term, timestamp: START_SECONDS, body };
  const drafted = draftBlock(genesis, plan, crypto);
  if ("fault" in drafted) throw new Error(drafted.fault);
  const words = { sequence, core: drafted.core, body, abandons: [] };
  return say(-1, "CANDIDATE", { ...words, parent: undefined, redraw: undefined }, 0) as never;
}

function prePrepare(seat: number, hash: string, view: number, justification: LedgerMessage[]) {
  const place = { chainId: genesis.chainId, height: 1, attempt: 0, view } as never;
  const vrfProof = keysOf(seat).vrf.prove(vrfAlpha(place, genesis.seed));
  const bound = justification.length === 0 ? NO_HASH : justificationHash(justification as never);
  const words = { blockHash: hash, committeeHash: committeeHash(committee), vrfProof };
  const rest = { justificationHash: bound, committee, justification };
  return say(seat, "PRE_PREPARE", { ...words, ...rest }, view);
}

/** The certificate of view 0: the leader's PRE_PREPARE and the PREPAREs of seats 1 and 2. */
function certificate(hash: string) {
  const first = prePrepare(0, hash, 0, []) as LedgerMessage & { readonly kind: "PRE_PREPARE" };
  const votes = [1, 2].map((seat) => say(seat, "PREPARE", { blockHash: hash }, 0));
  const { term, height, attempt, view, committeeHash: seats, vrfProof } = first;
  return {
    ...{ term, height, attempt, view, blockHash: hash, committeeHash: seats, vrfProof },
    justificationHash: NO_HASH,
    leaderSignature: first.signature,
    bitmap: 0b110,
    signatures: votes.map((vote) => ("signature" in vote ? vote.signature : new Uint8Array())),
  };
}

test.each([
  { name: "the prepared hash", proposed: 0, votes: 1 },
  { name: "another hash", proposed: 1, votes: 0 },
])("in view 1 a validator is asked for $name: $votes votes", ({ proposed, votes }) => {
  const disk = new Disk(genesis);
  const base = { crypto, chain: genesis, below: undefined, tipProof: undefined, history: disk };
  const more = { log: [], wasWiped: false, checkpoint: undefined, checkPeriodMs: 60_000 };
  const validator = createValidator({ keys: KeyRing.of(keysOf(3)), ...base, ...more });
  const both = [candidate(0), candidate(1)];
  const hashes = both.map((message) => {
    const drafted = draftBlock(
      genesis,
      { term: genesis.core.term, timestamp: START_SECONDS, body: message.body },
      crypto,
    );
    return "fault" in drafted ? "" : drafted.next.blockHash;
  });
  const changes = [0, 1, 2].map((seat) => {
    const prepared = seat === 2 ? certificate(hashes[0] ?? "") : undefined;
    return say(seat, "ROUND_CHANGE", { prepared }, 1);
  });
  const proposal = prePrepare(1, hashes[proposed] ?? "", 1, changes);
  const outputs = [...both, proposal].flatMap((message) =>
    step(validator, { kind: "message", at, from: message.signer as NodeId, message }),
  );
  const sent = outputs.filter(
    (output) => output.kind === "send" && output.message.kind === "PREPARE",
  );
  expect(sent.length).toBe(votes);
});
