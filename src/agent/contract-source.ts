/**
 * Contracts of the ledger as sessions use them: terms, state and lifetimes of the SCD, secrets of
 * the provisioning file, each checked against the commitment that the ledger holds of it.
 * docs/provisioning.md "With a ledger"; docs/wire.md "Lifetimes". What cannot be used is told once,
 * by an event. When sessions move is src/session's.
 */
import type { ContractEntry } from "../chain/contract-entry.ts";
import type { ScId } from "../chain/ledger-units.ts";
import { secretCommitment } from "../chain/secret-commitment.ts";
import type { ScdContract } from "../node/scd-watch.ts";
import type { AbsEvent } from "../observe/event-record.ts";
import {
  type Contract,
  type ContractScope,
  type GenerationSecret,
  generationSecret,
  isContractSecret,
} from "../session/contract.ts";
import type { EpochSeconds, PeerIndex, TagIndex } from "../units.ts";
import type { Provisioning } from "./provisioning.ts";
import type { ContractSecrets, LedgerSettings } from "./provisioning-ledger.ts";

/** Why a contract that this agent holds secrets of is not used. */
export type UnusedReason =
  /** The SCD has no such contract: expired, or not there yet. */
  | "not-in-ledger"
  /** This agent is not in its scope. */
  | "out-of-scope"
  /** No secret held here is one that the ledger has a commitment of. */
  | "no-secret";

export type ContractStatus = {
  readonly scId: string;
  readonly state: "active" | "inactive" | "unused";
  readonly reason?: UnusedReason;
  /** Newest in the ledger. */
  readonly generation?: number;
  /** Newest that this agent holds the secret of. */
  readonly using?: number;
  /** Held generations whose secret is another than the ledger's. */
  readonly wrong?: readonly number[];
  readonly endsAt?: EpochSeconds;
};

type Names = Pick<Provisioning, "node" | "peers" | "tags">;
type Found = { readonly status: ContractStatus; readonly contract?: Contract };

export class ContractSource {
  #statuses: readonly ContractStatus[] = [];
  #newest: readonly ScdContract[] = [];

  constructor(
    public settings: LedgerSettings,
    public names: Names,
    readonly write: (event: AbsEvent) => void,
  ) {}

  /** How each contract stands, for `abs agent status`. */
  get statuses(): readonly ContractStatus[] {
    return this.#statuses;
  }

  /** Other secrets, peers or tags count from now on. @returns the contracts they give */
  replace(settings: LedgerSettings, names: Names): readonly Contract[] {
    this.settings = settings;
    this.names = names;
    return this.take(this.#newest);
  }

  /** The SCD as it now is. @returns contracts for the session machine */
  take(scd: readonly ScdContract[]): readonly Contract[] {
    this.#newest = scd;
    const found = this.settings.contracts.map((held) =>
      resolve(
        scd.find(({ scId }) => scId === held.scId),
        held,
        this,
      ),
    );
    const before = this.#statuses;
    this.#statuses = found.map(({ status }) => status);
    for (const { status, contract } of found) {
      const known = before.find(({ scId }) => scId === status.scId);
      if (JSON.stringify(known) !== JSON.stringify(status)) this.#tell(status, contract);
    }
    return found.flatMap(({ contract }) => (contract === undefined ? [] : [contract]));
  }

  #tell(status: ContractStatus, contract: Contract | undefined): void {
    const { scId, state, reason, generation, using, wrong = [], endsAt } = status;
    for (const number of wrong) {
      this.write({ event: "contract-secret-wrong", scId, generation: number });
    }
    if (state === "unused") this.write({ event: "contract-unused", scId, reason });
    else if (state === "inactive") this.write({ event: "contract-inactive", scId });
    else this.write({ event: "contract-active", scId, generation: using });
    if (using !== undefined && using !== generation) {
      this.write({ event: "contract-secret-missing", scId, generation, using, endsAt });
    }
    if (contract?.quickmode !== true) return;
    const message = `Contract ${scId} is unauthenticated: who sees a packet can forge one.`;
    this.write({ event: "warning", message });
  }
}

function resolve(
  scd: ScdContract | undefined,
  held: ContractSecrets,
  { settings, names }: { readonly settings: LedgerSettings; readonly names: Names },
): Found {
  const { scId, scIdBytes } = held;
  const unused = (reason: UnusedReason, rest: Partial<ContractStatus> = {}): Found => ({
    status: { scId, state: "unused", reason, ...rest },
  });
  const entry = scd?.entry;
  if (scd === undefined || entry === undefined || entry.active === "expired") {
    return unused("not-in-ledger");
  }
  const { generation } = entry;
  const scope = scopeOf(entry, names);
  if (scope === "outside") return unused("out-of-scope", { generation });
  const { secrets, wrong } = checkSecrets(scd, entry, held, settings.overlapSeconds);
  const newest = secrets.at(-1);
  const isWrong = wrong.length === 0 ? {} : { wrong };
  if (newest === undefined) return unused("no-secret", { generation, ...isWrong });
  const status: ContractStatus = {
    ...{ scId, state: entry.active ? "active" : "inactive", generation },
    ...{ using: newest.generation, ...isWrong },
    ...(newest.endsAt === undefined ? {} : { endsAt: newest.endsAt }),
  };
  const contract: Contract = {
    ...{ scId, scIdBytes, algorithm: entry.encryptionAlgo, hash: entry.hashAlgo },
    protection: entry.protection,
    ...{ quickmode: entry.quickmode, state: entry.active ? "true" : "false" },
    ...{ scLifetime: entry.scLifetime, keyregen: entry.keyregen },
    ...{ busySeconds: entry.busySeconds, idleSeconds: entry.idleSeconds, secrets },
    ...(scope === undefined ? {} : { scope }),
  };
  return { status, contract };
}

/**
 * Secrets that the ledger vouches for. A generation ends `overlapSeconds` after the block that
 * brought the next one, by everybody's reckoning alike; one that is not in the ledger yet waits.
 */
function checkSecrets(
  { scId, generations }: ScdContract,
  { encryptionAlgo }: ContractEntry,
  held: ContractSecrets,
  overlapSeconds: number,
): { readonly secrets: GenerationSecret[]; readonly wrong: number[] } {
  const secrets: GenerationSecret[] = [];
  const wrong: number[] = [];
  for (const { generation, secret } of held.secrets) {
    const known = generations.find((one) => one.generation === generation);
    if (known === undefined) continue;
    const isIssued = secretCommitment(scId as ScId, generation, secret) === known.commitment;
    if (!isIssued || !isContractSecret(encryptionAlgo, secret)) {
      wrong.push(generation);
      continue;
    }
    const next = generations.find((one) => one.generation > generation);
    const endsAt = next && ((next.since + overlapSeconds) as EpochSeconds);
    const given = { generation, secret, ...(endsAt === undefined ? {} : { endsAt }) };
    secrets.push(generationSecret(encryptionAlgo, given));
  }
  return { secrets, wrong };
}

/** Who of those this agent knows is in the scope; undefined: everyone. */
function scopeOf(
  { scope }: ContractEntry,
  { node, peers, tags }: Names,
): ContractScope | undefined | "outside" {
  const { agents, groups, applications } = scope;
  const isEveryone = agents.length + groups.length === 0;
  const isIn = (one: { readonly id: string; readonly groups: readonly string[] }): boolean =>
    agents.includes(one.id) || one.groups.some((group) => groups.includes(group));
  if (!isEveryone && !isIn(node)) return "outside";
  if (isEveryone && applications.length === 0) return undefined;
  const indexes = <T>(list: readonly T[], test: (one: T) => boolean): number[] =>
    list.flatMap((one, i) => (test(one) ? [i] : []));
  return {
    peers: isEveryone ? undefined : new Set(indexes(peers, isIn) as PeerIndex[]),
    tags:
      applications.length === 0
        ? undefined
        : new Set(indexes(tags, ({ name }) => applications.includes(name)) as TagIndex[]),
  };
}
