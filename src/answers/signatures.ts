/** Answers about application signatures. docs/sig-test.md has the fields of a tested flow. */
import { type Static, Type } from "typebox";
import { count, flag, hex, list, maybeSaid, moment, said, texts, word } from "./answer-values.ts";

const sigId = said("id of the signature");
const version = count("of the signature");
const app = said("application that it recognises");
const absentVersion = Type.Union([version, Type.Null()], { description: "null: none" });

export const signaturesAdded = Type.Object({
  signatures: list(
    Type.Object({
      ...{ sig_id: sigId, version, app },
      outcome: word(["added", "unchanged"], "unchanged: this version was there with these words"),
    }),
    "in the order of the document",
  ),
  warnings: texts("what is allowed and hardly meant"),
  published: flag("whether they are published too"),
});

const status = word(
  ["added", "published", "disabled", "decommissioned"],
  "added: never published; decommissioned: for good",
);

const signatureRow = Type.Object({
  ...{ sig_id: sigId, app, newest: version, published: absentVersion, status },
  sealed: flag("published, and on the chain: agents have it"),
});
export type SignatureRow = Static<typeof signatureRow>;

export const signatureRows = list(signatureRow, "by application");

export const signatureShown = Type.Object({
  ...{ sig_id: sigId, version },
  contents: Type.Unknown({ description: "the signature, with the paper's names (Fig. 10)" }),
  versions: list(
    Type.Object({ version, author: said("who added it"), made: moment("when it was added") }),
    "newest first",
  ),
});

export const signatureDifference = Type.Object({
  sig_id: sigId,
  from: version,
  to: version,
  fields: list(
    Type.Object({
      field: said("name of the field"),
      before: maybeSaid("absent: it was not there"),
      after: maybeSaid("absent: it is not there"),
    }),
    "that differ",
  ),
});

export const signaturePublished = Type.Object({
  ...{ sig_id: sigId, version },
  status: word(["published"], "it goes onto the ledger, then to its VMs"),
});

export const signatureWithdrawn = Type.Object({
  sig_id: sigId,
  status: word(["disabled", "decommissioned"], "from now on"),
});

const payload = Type.Union(
  [
    Type.Null(),
    Type.Object({
      length: count("bytes of the first payload"),
      hex: hex("its first bytes"),
      text: said("the same, with a dot for what is no printable ASCII"),
      matched: Type.Optional(
        Type.Object({
          start: count("byte where the match begins"),
          end: count("byte after the match"),
          hex: hex("what matched"),
        }),
      ),
    }),
  ],
  { description: "null: nothing was sent in this direction" },
);

const testedFlow = Type.Object({
  proto: said("`tcp`, `udp`, or a number"),
  src_ip: said("address of its initiator"),
  src_port: count("port of its initiator"),
  dst_ip: said("address of its responder"),
  dst_port: count("port of its responder"),
  first_packet: count("number of its first packet in the capture, from 1"),
  packets: count("in both directions"),
  bytes: count("of payload, in both directions"),
  app: Type.Union([said("name"), Type.Null()], { description: "application; null: unknown" }),
  unknown: maybeSaid("why: `no-payload`, `mid-stream`, `fragment`, `too-short`, `no-match`"),
  signature: Type.Optional(sigId),
  direction: Type.Optional(said("whose payload matched: `request`, `response` or `both`")),
  basis: Type.Optional(said("what it goes by: `payload`, `numbers` or `both`")),
  by_port: Type.Optional(flag("whether a port decided between applications")),
  others: Type.Optional(
    list(
      Type.Object({ app, signature: sigId, why: said("why it is not taken") }),
      "signatures that matched too",
    ),
  ),
  nearest: Type.Optional(
    Type.Object(
      { signature: sigId, why: said("why it did not match") },
      {
        description: "the signature that came nearest",
      },
    ),
  ),
  request: payload,
  response: payload,
  version: absentVersion,
});
export type TestedFlow = Static<typeof testedFlow>;

const byName = (description: string) => Type.Record(Type.String(), Type.Integer(), { description });

export const findings = Type.Object({
  tenant: said("name of the tenant"),
  signatures: count("that were asked"),
  packets: count("in the capture"),
  flows: count("of which `told` has the first"),
  not_ip: count("packets that are not IP"),
  malformed: count("packets that could not be read"),
  fragments: count("fragments of packets"),
  skipped: count("packets that no flow is made of"),
  evicted: count("flows that ended early, since there were too many"),
  apps: byName("flows by application"),
  unknown: byName("flows without one, by reason"),
  warnings: texts("of the draft, and where the capture was not read to its end"),
  told: list(testedFlow, "in the order of their first packets"),
});
export type Findings = Static<typeof findings>;
