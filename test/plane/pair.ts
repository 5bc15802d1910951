/**
 * Two agents, `web` and `db`, of one tenant with one application, joined by rings: the smallest
 * whole system. Frames put in at one VM's kernel end come out at the other's, through both data
 * planes.
 */
import { randomUUID } from "node:crypto";
import { generateContractSecret, generateKeyPair, generateTag } from "../../src/agent/keys.ts";
import type { UpdateResult } from "../../src/agent/updates.ts";
import type { Ends } from "./frames.ts";
import { FarEnd, givePorts, Machine, poolAvailable, portPair } from "./machine.ts";

export const WEB_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
export const DB_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
export const WEB_IP = Uint8Array.of(10, 0, 0, 1);
export const DB_IP = Uint8Array.of(10, 0, 0, 2);
export const WEB_IP6 = Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
export const DB_IP6 = Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);

export const WEB_TO_DB: Ends = { fromMac: WEB_MAC, toMac: DB_MAC, from: WEB_IP, to: DB_IP };
export const WEB_TO_DB6: Ends = { fromMac: WEB_MAC, toMac: DB_MAC, from: WEB_IP6, to: DB_IP6 };

export interface PairOptions {
  readonly mode?: "full" | "quick";
  readonly stage?: "observe" | "warn" | "enforce";
  readonly carrier?: "ip" | "udp";
  readonly protection?: "integrity" | "confidential";
  readonly algorithm?: string;
  readonly hash?: string;
  readonly quickmode?: boolean;
  readonly busytime?: number;
  readonly idletime?: number;
  readonly refuse?: "drop" | "reject";
  readonly serverFirst?: boolean;
  /** Rules of db beside the one that lets app1 of web reach TCP and UDP 6379. */
  readonly dbRules?: readonly object[];
  /** Applications that web may claim. */
  readonly webTags?: readonly string[];
  /** Files that flows are kept in, so that they outlive a restart. */
  readonly flowFiles?: { readonly web?: string; readonly db?: string };
  /** When the test begins, in microseconds of the monotonic clock. */
  readonly startUs?: number;
  /** Changes the provisioning files before they are used. */
  readonly edit?: (web: NodeFile, db: NodeFile) => void;
}

/** A provisioning file, as far as tests change it. */
export interface NodeFile {
  node: Record<string, unknown>;
  peers: Record<string, unknown>[];
  policy: { version: number; defaults: Record<string, unknown>; rules: object[] };
  signatures: object[];
  tags: { name: string; tag: string }[];
  tenant: { name: string; tag: string };
  contracts: Record<string, unknown>[];
  [key: string]: unknown;
}

export type Side = "web" | "db";

const WEB_ADDRESSES = ["10.0.0.1", "fd00::1"];
const DB_ADDRESSES = ["10.0.0.2", "fd00::2"];

export class Pair {
  web: Machine;
  db: Machine;
  readonly webKernel: FarEnd;
  readonly dbKernel: FarEnd;
  /** Where the switch is: what it carries can be looked at, lost, changed and injected. */
  readonly webWire: FarEnd;
  readonly dbWire: FarEnd;
  readonly carried: { readonly from: Side; readonly frame: Uint8Array }[] = [];
  /** Returns what the switch carries in place of a frame: usually itself. */
  carry: (frame: Uint8Array, from: Side) => readonly Uint8Array[] = (frame) => [frame];
  nowUs: number;
  wallMs = 1_700_000_000_000;
  readonly provisioning: { web: NodeFile; db: NodeFile };
  /** Frames sent so far are counted, but only kept while this is set. */
  keepsCarried = true;
  readonly #ports: { readonly [port: string]: readonly [number, number] };

  constructor(readonly options: PairOptions = {}) {
    this.provisioning = provision(options);
    const ports = { webIn: portPair(), webOut: portPair(), dbIn: portPair(), dbOut: portPair() };
    this.#ports = ports;
    this.webKernel = new FarEnd(ports.webIn[1]);
    this.webWire = new FarEnd(ports.webOut[1]);
    this.dbKernel = new FarEnd(ports.dbIn[1]);
    this.dbWire = new FarEnd(ports.dbOut[1]);
    this.nowUs = options.startUs ?? 1e9;
    this.web = this.#machine("web");
    this.db = this.#machine("db");
  }

  #machine(side: Side, lastStamp?: Uint8Array): Machine {
    const isWeb = side === "web";
    const flowFile = this.options.flowFiles?.[side];
    return new Machine({
      provisioning: this.provisioning[side],
      address: isWeb ? WEB_IP : DB_IP,
      address6: isWeb ? WEB_IP6 : DB_IP6,
      mac: isWeb ? WEB_MAC : DB_MAC,
      insidePort: this.#ports[`${side}In`]?.[0] ?? -1,
      outsidePort: this.#ports[`${side}Out`]?.[0] ?? -1,
      ...(lastStamp && { lastStamp }),
      ...(flowFile && { flowFile }),
    });
  }

  /** Kills an agent and starts another in its place, with the stamp that it had saved. */
  restart(side: Side): Machine {
    const before = this[side];
    before.close();
    this[side] = this.#machine(side, before.lastStamp);
    return this[side];
  }

  /** Frees all that both agents and the wires hold; returns the buffers available then. */
  close(): number {
    this.web.close();
    this.db.close();
    for (const ports of Object.values(this.#ports)) givePorts(ports);
    return poolAvailable();
  }

  /** Lets everything settle for `us` microseconds, in steps of at most `stepUs`. */
  run(us: number, stepUs = 10_000): void {
    const end = this.nowUs + us;
    do {
      for (let turn = 0; turn < 8; turn++) {
        this.web.turn(this.nowUs, this.wallMs);
        this.db.turn(this.nowUs, this.wallMs);
        if (!this.#carryAll()) break;
      }
      const step = Math.min(stepUs, Math.max(1, end - this.nowUs));
      this.nowUs += step;
      this.wallMs += step / 1000;
    } while (this.nowUs < end);
  }

  /** What arrived at db after web's kernel sent `frames`. */
  webSends(...frames: readonly Uint8Array[]): Uint8Array[] {
    this.webKernel.send(...frames);
    this.run(20_000);
    return this.dbKernel.receive();
  }

  dbSends(...frames: readonly Uint8Array[]): Uint8Array[] {
    this.dbKernel.send(...frames);
    this.run(20_000);
    return this.webKernel.receive();
  }

  /** Changes an agent's provisioning while it runs; resolves when it is in force, or refused. */
  async update(side: Side, edit: (file: NodeFile) => void): Promise<UpdateResult> {
    const file = structuredClone(this.provisioning[side]);
    edit(file);
    let isDone = false;
    const update = this[side].update(file).finally(() => {
      isDone = true;
    });
    update.catch(() => {});
    while (!isDone) {
      await new Promise((resolve) => setImmediate(resolve));
      this.run(1_000);
    }
    const result = await update;
    this.provisioning[side] = file;
    return result;
  }

  #carryAll(): boolean {
    let moved = false;
    for (const from of ["web", "db"] as const) {
      const [source, target] =
        from === "web" ? [this.webWire, this.dbWire] : [this.dbWire, this.webWire];
      for (const frame of source.receive()) {
        moved = true;
        if (this.keepsCarried) this.carried.push({ from, frame });
        target.send(...this.carry(frame, from));
      }
    }
    return moved;
  }
}

export function provision(options: PairOptions): { web: NodeFile; db: NodeFile } {
  const webKeys = generateKeyPair();
  const dbKeys = generateKeyPair();
  const tenant = { name: "a", tag: generateTag() };
  const tags = ["app1", "app2"].map((name) => ({ name, tag: generateTag() }));
  const webTags = options.webTags ?? ["app1"];
  const { scId, secret } = generateContractSecret();
  const contracts = [
    {
      "sc-id": scId,
      encryption_algo: options.algorithm ?? "aes-128-gcm",
      hash_algo: options.hash ?? "sha256",
      protection: options.protection ?? "integrity",
      quickmode: options.quickmode ?? false,
      active: true,
      "sc-lifetime": 4_000_000_000,
      lifetime: {
        keyregen: 4_000_000_000,
        busytime: options.busytime ?? 600,
        idletime: options.idletime ?? 180,
      },
      secrets: [{ generation: 1, secret }],
    },
  ];
  const common = { mode: options.mode ?? "full", carrier: options.carrier ?? "ip" };
  const node = { ...common, stage: options.stage ?? "enforce" };
  const signature = {
    sig_id: randomUUID(),
    app_name: "app1",
    version: 1,
    status: "enabled",
    src_ip: "any",
    src_port: "any",
    dst_ip: "any",
    dst_port: "any",
    proto_type: ["tcp", "udp"],
    contents: [{ offset: 0, depth: 4, expr: "APP1" }],
  };
  const shared = { version: 1, tenant, tags, contracts, signatures: [signature] };
  const defaults = { inbound: "deny", outbound: "allow", stage: node.stage };
  const open = {
    id: "app1-in",
    direction: "in",
    from: { agent: "web" },
    app: "app1",
    to: { protocol: ["tcp", "udp"], port: 6379 },
    action: "allow",
    serverFirst: options.serverFirst ?? false,
  };
  const files = {
    web: {
      ...structuredClone(shared),
      node: { ...node, id: "web", staticKey: webKeys.secretKey, tags: webTags },
      peers: [peer("db", DB_ADDRESSES, dbKeys.publicKey, ["app1"], common)],
      policy: { version: 1, defaults: { ...defaults }, rules: [] as object[] },
    },
    db: {
      ...structuredClone(shared),
      node: { ...node, id: "db", staticKey: dbKeys.secretKey, tags: ["app1"] },
      peers: [peer("web", WEB_ADDRESSES, webKeys.publicKey, webTags, common)],
      policy: {
        version: 1,
        defaults: { ...defaults, outbound: "deny", refuse: options.refuse ?? "drop" },
        rules: [open, ...(options.dbRules ?? [])],
      },
    },
  };
  options.edit?.(files.web, files.db);
  return files;
}

function peer(
  id: string,
  addresses: readonly string[],
  staticKey: string,
  tags: readonly string[],
  common: object,
): Record<string, unknown> {
  return { id, addresses, staticKey, tags, ...common };
}

/**
 * Plays a scenario on a fresh pair, then lets six seconds pass and looks for buffers that were
 * lost: whatever happened, every one is back in the pool.
 */
export function play(options: PairOptions, scenario: (pair: Pair) => void): void {
  const pair = new Pair(options);
  const before = poolAvailable();
  try {
    scenario(pair);
  } finally {
    end(pair, before);
  }
}

/** As play(), for a scenario that waits for updates. */
export async function playUpdates(
  options: PairOptions,
  scenario: (pair: Pair) => Promise<void>,
): Promise<void> {
  const pair = new Pair(options);
  const before = poolAvailable();
  try {
    await scenario(pair);
  } finally {
    end(pair, before);
  }
}

function end(pair: Pair, before: number): void {
  pair.run(6_000_000, 100_000);
  const held = pair.web.plane.holds.count + pair.db.plane.holds.count;
  pair.webKernel.receive();
  pair.dbKernel.receive();
  const after = pair.close();
  if (held !== 0) throw new Error(`${held} packets are held for more than six seconds`);
  if (after !== before) throw new Error(`${before - after} buffers were lost`);
}
