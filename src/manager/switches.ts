/** The switches that are told of quarantine: where each is, and how the manager logs in. */
import type { Database } from "bun:sqlite";
import { AbsError } from "../errors.ts";
import type { TlsFiles } from "../switch/openflow-link.ts";
import type { EpochSeconds } from "../units.ts";
import type { Sealer } from "./sealer.ts";

export type SwitchEntry = {
  readonly name: string;
  /** As parsePlace() reads it. */
  readonly place: string;
  /** 16 hexadecimal digits. */
  readonly datapath: string | undefined;
  readonly tls: Partial<TlsFiles>;
};

type Row = {
  readonly name: string;
  readonly place: string;
  readonly datapath: string | null;
  readonly tls: string;
};
type LoginRow = { readonly user: string | null; readonly sealed: Uint8Array | null };

export class Switches {
  constructor(
    private readonly database: Database,
    private readonly sealer: Sealer,
  ) {}

  /** @throws AbsError SWITCH_EXISTS */
  add({ name, place, datapath, tls }: SwitchEntry, now: EpochSeconds): void {
    if (this.list().some((one) => one.name === name)) {
      const what = `There is a switch ${name} already.`;
      throw new AbsError("SWITCH_EXISTS", what, "Choose another name, or remove it first.");
    }
    this.database
      .query("INSERT INTO switch (name, place, datapath, tls, made_at) VALUES (?, ?, ?, ?, ?)")
      .run(name, place, datapath ?? null, JSON.stringify(tls), now);
  }

  list(): SwitchEntry[] {
    const query = this.database.query(
      "SELECT name, place, datapath, tls FROM switch ORDER BY name",
    );
    return (query.all() as Row[]).map((row) => ({
      ...{ name: row.name, place: row.place, datapath: row.datapath ?? undefined },
      tls: JSON.parse(row.tls) as Partial<TlsFiles>,
    }));
  }

  /** @throws AbsError SWITCH_ABSENT */
  need(name: string): SwitchEntry {
    const found = this.list().find((one) => one.name === name);
    if (found !== undefined) return found;
    const what = `There is no switch ${name}.`;
    throw new AbsError("SWITCH_ABSENT", what, "`abs manager switch list` names them.");
  }

  remove(name: string): void {
    this.database.query("DELETE FROM switch WHERE name = ?").run(name);
  }

  setLogin(name: string, user: string, password: string): void {
    const sealed = this.sealer.seal(`switch/${name}`, Buffer.from(password));
    this.database
      .query("UPDATE switch SET login_user = ?, login_sealed = ? WHERE name = ?")
      .run(user, sealed, name);
  }

  loginOf(name: string): { readonly user: string; readonly password: string } | undefined {
    const query = this.database.query(
      "SELECT login_user AS user, login_sealed AS sealed FROM switch WHERE name = ?",
    );
    const { user, sealed } = (query.get(name) ?? { user: null, sealed: null }) as LoginRow;
    if (user === null || sealed === null) return undefined;
    const password = Buffer.from(this.sealer.open(`switch/${name}`, sealed)).toString();
    return { user, password };
  }
}
