/** Answers about Security Contracts. docs/manager.md "Contracts". */
import { type Static, Type } from "typebox";
import { count, list, moment, word } from "./answer-values.ts";

const UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
const scId = Type.String({ description: "id of the contract", pattern: UUID });
const generation = count("of its secret: how many it has had, with this one");

const contractRow = Type.Object({
  "sc-id": scId,
  encryption: word(
    ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305", "rsa256"],
    "algorithm that sessions under it use",
  ),
  protection: word(["integrity", "confidential"], "confidential: packets are encrypted as well"),
  active: Type.Union([Type.Boolean(), Type.Literal("expired")], {
    description: "whether sessions may use it; expired: never again",
  }),
  generation,
  keyregen: moment("when it gets its next secret"),
  until: moment("end of its lifetime"),
});
export type ContractRow = Static<typeof contractRow>;

export const contractRows = list(contractRow, "as they were issued");

export const contractIssued = Type.Object({ "sc-id": scId });
export const contractRegenerated = Type.Object({ "sc-id": scId, generation });
export const contractExpired = Type.Object({ expired: scId });
