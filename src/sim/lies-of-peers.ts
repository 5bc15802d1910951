/** Lies of peers: about what they hold, and of nodes in the line about what they pass on. */
import type { Hash } from "../chain/ledger-units.ts";
import type { LedgerMessage } from "../chain/message-types.ts";
import { framesOf, type LiarView, type LieTold, type Speech } from "./lie.ts";
import { resigned } from "./lies-of-votes.ts";

export function lyingDigest(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "DIGEST_RESP") return undefined;
  const scdRoot = liar.prng.bytes(32).toHex() as Hash;
  return framesOf({ ...speech, message: resigned(liar, { ...message, scdRoot }) });
}

/** The line and its acknowledgements, or blocks that others asked for. */
function isPassedOn({ kind }: LedgerMessage): boolean {
  return kind === "SEAL" || kind === "REPL_ACK" || kind === "HEADERS_RESP" || kind === "BODY_RESP";
}

export function lineDrop(_: LiarView, { message }: Speech): LieTold {
  return isPassedOn(message) ? [] : undefined;
}

/** A record or contract less, another contract, or a header of another block. */
export function lineAlter(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind === "SEAL") {
    const { contracts, records } = message.body;
    const body = liar.prng.oneIn(2)
      ? { contracts: contracts.slice(1), records }
      : { contracts: [...contracts, liar.prng.bytes(60)], records };
    return framesOf({ ...speech, message: { ...message, body } });
  }
  if (message.kind !== "BODY_RESP") return undefined;
  const blocks = message.blocks.map(({ core, body }) => ({
    core,
    body: { ...body, contracts: [...body.contracts, liar.prng.bytes(60)] },
  }));
  return blocks.length === 0 ? undefined : framesOf({ ...speech, message: { ...message, blocks } });
}
