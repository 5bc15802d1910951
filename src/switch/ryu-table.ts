/**
 * A switch behind a Ryu or os-ken controller that runs `ofctl_rest` (Ryu's document "ryu.app.
 * ofctl_rest": `/stats/flow/DPID`, `/stats/flowentry/add`, `/stats/flowentry/delete_strict`).
 * Written from that document. Numbers in it are plain JSON: cookies, masks and datapath ids are
 * below 2^53.
 */
import { ETH_TYPE, type FlowMatch } from "./flow-match.ts";
import {
  type CookieRange,
  DROP_PRIORITY,
  type DropRule,
  type FlowTable,
  type InstalledRule,
  RULES_MAX,
} from "./flow-table.ts";
import { hexOfMac, ipHex, ipText, macText } from "./match-text.ts";
import { type RestAccess, refused, restRequest } from "./rest-request.ts";

/** Bits 32 to 52: what is above, `has` looks at. */
const OWNER_MASK = 0x1fffff00000000;
const SEND_FLOW_REMOVED = 1;
const KNOWN = ["in_port", "dl_src", "eth_src", "dl_type", "eth_type"];
const KNOWN_ADDRESSES = ["nw_src", "ipv4_src", "arp_spa", "ipv6_src"];

export class RyuTable implements FlowTable {
  constructor(
    private readonly access: RestAccess,
    private readonly datapathId: bigint,
    private readonly cookies: CookieRange,
  ) {}

  async installed(): Promise<readonly InstalledRule[]> {
    const path = `/stats/flow/${this.datapathId}`;
    const filter = { cookie: Number(this.cookies.first), cookie_mask: OWNER_MASK };
    const answer = await restRequest(this.access, "POST", path, filter);
    const flows = (answer as Record<string, unknown> | undefined)?.[`${this.datapathId}`];
    if (!Array.isArray(flows)) throw refused(this.access.url, "it does not know the datapath");
    if (flows.length > 2 * RULES_MAX) throw refused(this.access.url, "it has too many rules");
    return flows.flatMap((flow) => this.#installedRule(flow));
  }

  async change(adds: readonly DropRule[], removes: readonly InstalledRule[]): Promise<void> {
    for (const rule of removes) {
      const [table, priority] = rule.handle.split("/").map(Number);
      const flow = { cookie_mask: Number.MAX_SAFE_INTEGER, table_id: table, priority };
      await this.#send("delete_strict", rule, flow);
    }
    for (const rule of adds) {
      const flow = { table_id: 0, priority: DROP_PRIORITY, flags: SEND_FLOW_REMOVED, actions: [] };
      await this.#send("add", rule, { ...flow, hard_timeout: Math.ceil(rule.seconds) });
    }
  }

  async #send(
    what: "add" | "delete_strict",
    { cookie = this.cookies.first, match }: Pick<InstalledRule, "cookie" | "match">,
    more: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const body = { dpid: Number(this.datapathId), cookie: Number(cookie), ...more };
    const whole = { ...body, match: ryuMatch(match) };
    await restRequest(this.access, "POST", `/stats/flowentry/${what}`, whole);
  }

  #installedRule(flow: unknown): InstalledRule[] {
    if (typeof flow !== "object" || flow === null) return [];
    const words = flow as Record<string, unknown>;
    const number = (name: string): number => Number(words[name] ?? Number.NaN);
    if (!Number.isSafeInteger(number("cookie"))) return [];
    const cookie = BigInt(number("cookie"));
    if (!this.cookies.has(cookie)) return [];
    const read = readRyuMatch(words["match"]);
    const hard = number("hard_timeout");
    const isDrop = Array.isArray(words["actions"]) && words["actions"].length === 0;
    const isOurs = number("table_id") === 0 && number("priority") === DROP_PRIORITY && hard > 0;
    return [
      {
        ...{ cookie, match: read.match, isWhole: isDrop && isOurs && !read.hasOthers },
        secondsLeft: Math.max(0, hard - number("duration_sec")),
        handle: `${number("table_id")}/${number("priority")}`,
      },
    ];
  }
}

function ryuMatch(match: FlowMatch): Record<string, unknown> {
  return {
    ...(match.inPort === undefined ? {} : { in_port: match.inPort }),
    ...(match.ethSource === undefined ? {} : { eth_src: macText(match.ethSource) }),
    ...(match.ethType === undefined ? {} : { eth_type: match.ethType }),
    ...(match.ipv4Source === undefined ? {} : { ipv4_src: ipText(match.ipv4Source) }),
    ...(match.arpSource === undefined ? {} : { arp_spa: ipText(match.arpSource) }),
    ...(match.ipv6Source === undefined ? {} : { ipv6_src: ipText(match.ipv6Source) }),
  };
}

/** Its answers name the fields as OpenFlow 1.0 did, or as they were asked for. */
function readRyuMatch(given: unknown): { match: FlowMatch; hasOthers: boolean } {
  const words = (typeof given === "object" && given !== null ? given : {}) as Record<
    string,
    unknown
  >;
  const number = (...names: string[]): number | undefined => {
    const found = names.map((name) => words[name]).find((value) => value !== undefined);
    return found === undefined ? undefined : Number(found);
  };
  const text = (...names: string[]): string | undefined => {
    const found = names.map((name) => words[name]).find((value) => value !== undefined);
    return found === undefined ? undefined : String(found);
  };
  const ethType = number("eth_type", "dl_type");
  const v4 = text("ipv4_src", "nw_src");
  const arp = text("arp_spa") ?? (ethType === ETH_TYPE.arp ? text("nw_src") : undefined);
  const match = {
    ...{ inPort: number("in_port"), ethSource: hexOfMac(text("eth_src", "dl_src")), ethType },
    ipv4Source: ethType === ETH_TYPE.ipv4 ? ipHex(v4) : undefined,
    ...{ arpSource: ipHex(arp), ipv6Source: ipHex(text("ipv6_src")) },
  };
  const hasOthers = Object.keys(words).some(
    (name) => ![...KNOWN, ...KNOWN_ADDRESSES].includes(name),
  );
  return { match, hasOthers };
}
