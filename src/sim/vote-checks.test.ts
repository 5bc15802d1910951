import { expect, test } from "bun:test";
import type { PreparedCertificate } from "../chain/certificate.ts";
import type {
  Attempt,
  BlockHash,
  Hash,
  Height,
  NodeId,
  Signature,
  VrfProof,
} from "../chain/ledger-units.ts";
import { signMessage } from "../chain/message-signing.ts";
import type { SignedMessage } from "../chain/message-types.ts";
import type { OwnVote } from "../chain/step-types.ts";
import { VoteChecks } from "./vote-checks.ts";
import { World } from "./world.ts";

const world = new World({
  ...{ seed: 1, validators: 4, nodes: 4, heights: 1, isReal: false, faults: [], lies: [] },
});
const keys = world.nodes[0] ?? world.master;
const nodeId = world.nodeIds[0] ?? ("" as NodeId);
const A = "a".repeat(64) as BlockHash;
const B = "b".repeat(64) as BlockHash;

type Place = { readonly attempt?: number; readonly view?: number };

function say(kind: string, place: Place, words: object): OwnVote {
  const header = { chainId: world.genesis.chainId, term: 1, height: 1, signer: nodeId };
  const draft = { kind, ...header, attempt: 0, view: 0, ...place, ...words };
  return signMessage<SignedMessage>(keys.signer, draft as never) as OwnVote;
}
const prepare = (hash: BlockHash, place: Place = {}) => say("PREPARE", place, { blockHash: hash });
const commit = (hash: BlockHash, place: Place = {}) => say("COMMIT", place, { blockHash: hash });
const change = (view: number, prepared?: PreparedCertificate) =>
  say("ROUND_CHANGE", { view }, { prepared });
const abandon = (attempt: number) => say("ABANDON", { attempt }, { highest: undefined });

function certificate(hash: BlockHash, { attempt = 0, view = 0 }: Place = {}): PreparedCertificate {
  return {
    ...{ term: 1, height: 1, attempt, view, blockHash: hash, bitmap: 0, signatures: [] },
    committeeHash: A as string as Hash,
    vrfProof: new Uint8Array(80) as VrfProof,
    justificationHash: A as string as Hash,
    leaderSignature: new Uint8Array(64) as Signature,
  } as unknown as PreparedCertificate;
}

/** All of it saved first, with the lock of every COMMIT, then sent in this order. */
function send(messages: readonly OwnVote[]): (string | undefined)[] {
  const checks = new VoteChecks();
  return messages.map((message) => {
    if (message.kind === "COMMIT") {
      const lock = certificate(message.blockHash, message);
      checks.saved(nodeId, { kind: "lock", height: message.height, certificate: lock });
    }
    return checks.saved(nodeId, { kind: "sent", message }) ?? checks.check(nodeId, message);
  });
}

const cases = [
  { name: "a vote and its repeat", messages: [prepare(A), prepare(A), commit(A)], rule: undefined },
  { name: "two PREPAREs", messages: [prepare(A), prepare(B)], rule: "rule 2" },
  { name: "two COMMITs", messages: [commit(A), commit(B)], rule: "rule 2" },
  { name: "two views", messages: [prepare(A), prepare(B, { view: 1 })], rule: undefined },
  { name: "PREPARE below", messages: [change(2), prepare(A, { view: 1 })], rule: "rule 6" },
  {
    name: "PREPARE in the target",
    messages: [change(2), prepare(A, { view: 2 })],
    rule: undefined,
  },
  { name: "an old vote again", messages: [prepare(A), change(1), prepare(A)], rule: undefined },
  { name: "a hidden lock", messages: [commit(A), change(1)], rule: "rule 7" },
  { name: "a shown lock", messages: [commit(A), change(1, certificate(A))], rule: undefined },
  {
    name: "a rewritten ROUND_CHANGE",
    messages: [change(1), change(1, certificate(A))],
    rule: "rule 7",
  },
  { name: "a vote after ABANDON", messages: [abandon(0), prepare(A)], rule: "ABANDON" },
  { name: "a later attempt", messages: [abandon(0), prepare(A, { attempt: 1 })], rule: undefined },
];

test.each(cases)("an honest node says: $name → $rule", ({ messages, rule }) => {
  const answers = send(messages);
  expect(answers.slice(0, -1).filter((answer) => answer !== undefined)).toEqual([]);
  if (rule === undefined) expect(answers.at(-1)).toBeUndefined();
  else expect(answers.at(-1)).toContain(rule);
});

test("a vote that was not synced, and a COMMIT whose lock was not, are noticed", () => {
  expect(new VoteChecks().check(nodeId, prepare(A))).toContain("before it was synced");
  const checks = new VoteChecks();
  const message = commit(A);
  checks.saved(nodeId, { kind: "sent", message });
  expect(checks.check(nodeId, message)).toContain("before its lock");
});

test("a vote after an answer to a survey is noticed, until the survey is given back", () => {
  const checks = new VoteChecks();
  const freeze = (survey: number, isOn: boolean) => {
    const nonce = `${survey}`.repeat(64) as Hash;
    const place = { height: 1 as Height, survey: survey as Attempt, nonce };
    return checks.saved(nodeId, { kind: "freeze", ...place, isOn });
  };
  const vote = () => checks.saved(nodeId, { kind: "sent", message: prepare(A) });
  expect(freeze(2, true)).toBeUndefined();
  expect(vote()).toContain("freeze");
  freeze(1, false);
  expect(vote()).toContain("freeze");
  freeze(2, false);
  expect(vote()).toBeUndefined();
});

test("what others said is not held against the one who passes it on", () => {
  expect(new VoteChecks().check("0".repeat(32) as NodeId, prepare(A))).toBeUndefined();
});
