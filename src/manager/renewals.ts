/**
 * Renewals under way: an agent's next keys and identity certificate, from the wish for them to the
 * block that has them. docs/manager.md "Keys". A row is a step of the talk that
 * docs/manager-channel.md "Renewal" has: asked, certified, agreed to by the agent; it goes when the
 * ledger has the certificate. So whoever is killed anywhere begins where the row stands.
 */
import type { Database } from "bun:sqlite";
import {
  decodeSignedCertificate,
  encodeSignedCertificate,
  type SignedCertificate,
} from "../chain/identity-certificate.ts";
import type { Signature } from "../chain/ledger-units.ts";
import type { Agreement, KeyKind, OfferedKeys } from "../channel/renewal-messages.ts";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";
import { NEXT_VERSION } from "./mapping-service.ts";

export type Renewal = {
  readonly nodeId: string;
  readonly askedAt: EpochSeconds;
  readonly kinds: readonly KeyKind[];
  /** Over the keys that were offered. */
  readonly certificate: SignedCertificate | undefined;
  /** Of the ledger keys, for KEY_ROTATE; undefined: the agent has not agreed yet. */
  readonly agreement: Agreement | undefined;
};

type Row = {
  readonly node_id: string;
  readonly asked_at: number;
  readonly certificate: Uint8Array | null;
  readonly signature: string | null;
  readonly new_signature: string | null;
  readonly kinds: string;
};

export class Renewals {
  constructor(private readonly database: Database) {}

  find(nodeId: string): Renewal | undefined {
    const row = this.database.query("SELECT * FROM renewal WHERE node_id = ?").get(nodeId);
    return row === null ? undefined : renewalOf(row as Row);
  }

  /** All, or those of one tenant. */
  list(tenant?: string): Renewal[] {
    const rows =
      tenant === undefined
        ? this.database.query("SELECT * FROM renewal").all()
        : this.database
            .query("SELECT renewal.* FROM renewal JOIN node USING (node_id) WHERE tenant = ?")
            .all(tenant);
    return (rows as Row[]).map(renewalOf);
  }

  /**
   * Whether that is new: one that is under way goes on, of more kinds before its certificate. A
   * session key is not asked for while the one before the present is good too.
   */
  ask(nodeId: string, asked: readonly KeyKind[], now: EpochSeconds): boolean {
    const kinds = asked.filter((kind) => kind !== "session" || !this.#hasTwoSessionKeys(nodeId));
    if (kinds.length === 0) return false;
    const before = this.find(nodeId);
    const wanted = [...new Set([...kinds, ...(before?.kinds ?? [])])].sort();
    const query = this.database.query(
      `INSERT INTO renewal (node_id, asked_at, kinds) VALUES (?1, ?2, ?3)
       ON CONFLICT DO UPDATE SET kinds = ?3 WHERE certificate IS NULL`,
    );
    query.run(nodeId, now, JSON.stringify(wanted));
    return before === undefined;
  }

  #hasTwoSessionKeys(nodeId: string): boolean {
    const query = this.database.query(
      "SELECT 1 FROM node WHERE node_id = ? AND session_old IS NOT NULL",
    );
    return query.get(nodeId) !== null;
  }

  /** An offer that came again gets another certificate, as long as the agent has not agreed. */
  certify(nodeId: string, signed: SignedCertificate): void {
    this.database
      .query("UPDATE renewal SET certificate = ? WHERE node_id = ? AND signature IS NULL")
      .run(encodeSignedCertificate(signed), nodeId);
  }

  agree(nodeId: string, { oldSignature, newSignature }: Agreement): void {
    this.database
      .query("UPDATE renewal SET signature = ?, new_signature = ? WHERE node_id = ?")
      .run(oldSignature.toHex(), newSignature.toHex(), nodeId);
  }

  /**
   * The ledger has it: from now on the agent is known by the new keys and certificate, by the old
   * SSH key until it comes with the new one, and by the old session key until all know the new one
   * (session-overlaps.ts). Within a transaction of the caller's.
   */
  settle({ nodeId, kinds, certificate: signed }: Renewal, now: EpochSeconds): void {
    if (signed === undefined) return;
    const { sshPub, ledgerPub, vrfPub, sessionPub, seq } = signed.certificate;
    this.database
      .query("UPDATE node SET certificate = ?, seq = ? WHERE node_id = ?")
      .run(encodeSignedCertificate(signed), seq, nodeId);
    if (kinds.includes("ssh")) {
      this.database
        .query("UPDATE node SET ssh_old = ssh_pub, ssh_pub = ?, ssh_since = ? WHERE node_id = ?")
        .run(sshPub, now, nodeId);
    }
    if (kinds.includes("ledger")) {
      this.database
        .query("UPDATE node SET ledger_pub = ?, vrf_pub = ?, ledger_since = ? WHERE node_id = ?")
        .run(ledgerPub, vrfPub, now, nodeId);
    }
    if (kinds.includes("session")) {
      // Agents hear of it with the next version.
      this.database
        .query(
          `UPDATE node SET session_old = session_pub, session_pub = ?, session_since = ?,
           session_from = ${NEXT_VERSION}, session_alone = NULL WHERE node_id = ?`,
        )
        .run(sessionPub, now, nodeId);
    }
    this.cancel(nodeId);
  }

  cancel(nodeId: string): void {
    this.database.query("DELETE FROM renewal WHERE node_id = ?").run(nodeId);
  }

  /** Whether an agent has, had until now, or was certified with one of these keys. */
  areTaken(keys: OfferedKeys, nodeId: string): boolean {
    const { ledgerPub: ledger = "", vrfPub: vrf = "", sshPub: ssh = "", sessionPub = "" } = keys;
    const offered = [ledger, vrf, ssh, sessionPub];
    const query = this.database.query(
      `SELECT 1 FROM node WHERE ledger_pub = ?1 OR vrf_pub = ?2 OR ssh_pub = ?3
       OR session_pub = ?4 OR session_old = ?4 OR (ssh_old = ?3 AND node_id != ?5)`,
    );
    if (query.get(...offered, nodeId) !== null) return true;
    return this.list().some(({ nodeId: other, certificate: signed }) => {
      if (other === nodeId || signed === undefined) return false;
      const { certificate } = signed;
      const theirs = [certificate.ledgerPub, certificate.vrfPub, certificate.sshPub];
      return [...theirs, certificate.sessionPub].some((key, i) => key === offered[i]);
    });
  }
}

function renewalOf(row: Row): Renewal {
  const { node_id: nodeId, signature: old, new_signature: fresh } = row;
  const isAgreed = old !== null && fresh !== null;
  return {
    ...{ nodeId, askedAt: row.asked_at as EpochSeconds, kinds: JSON.parse(row.kinds) },
    certificate: row.certificate === null ? undefined : certificateIn(nodeId, row.certificate),
    agreement: isAgreed
      ? { oldSignature: signatureIn(old), newSignature: signatureIn(fresh) }
      : undefined,
  };
}

function signatureIn(hex: string): Signature {
  return Uint8Array.fromHex(hex) as Signature;
}

function certificateIn(nodeId: string, bytes: Uint8Array): SignedCertificate {
  const read = decodeSignedCertificate(bytes);
  if ("signed" in read) return read.signed;
  const what = `The renewed certificate of ${nodeId} is damaged: ${read.complaint}.`;
  throw new AbsError("DATABASE_DAMAGED", what, "Restore the database from a backup.");
}
