/**
 * A switch behind ONOS: its REST API, `/onos/v1/flows` (ONOS's document "Appendix B: REST API",
 * section "Flow rules", and its Swagger description). Written from these. ONOS owns the cookies
 * and names each rule itself: ours are those of our application id, and which quarantine a rule is
 * of, is not told; its match is compared.
 */
import { createHash } from "node:crypto";
import type { FlowMatch } from "./flow-match.ts";
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

type Criterion = Readonly<Record<string, unknown>>;

export class OnosTable implements FlowTable {
  readonly #appId: string;
  readonly #device: string;

  constructor(
    private readonly access: RestAccess,
    datapathId: bigint,
    cookies: CookieRange,
  ) {
    // Several managers at one controller: each has its application.
    const owner = createHash("sha256").update(`${cookies.first}`).digest("hex").slice(0, 8);
    this.#appId = `abs.quarantine.${owner}`;
    this.#device = `of:${datapathId.toString(16).padStart(16, "0")}`;
  }

  async installed(): Promise<readonly InstalledRule[]> {
    const path = `/onos/v1/flows/application/${this.#appId}`;
    const answer = await restRequest(this.access, "GET", path);
    const flows = (answer as Record<string, unknown> | undefined)?.["flows"];
    if (!Array.isArray(flows)) throw refused(this.access.url, "it lists no flows");
    if (flows.length > 2 * RULES_MAX) throw refused(this.access.url, "it has too many rules");
    return flows.flatMap((flow) => this.#installedRule(flow));
  }

  async change(adds: readonly DropRule[], removes: readonly InstalledRule[]): Promise<void> {
    const device = encodeURIComponent(this.#device);
    for (const { handle } of removes) {
      const path = `/onos/v1/flows/${device}/${encodeURIComponent(handle)}`;
      await restRequest(this.access, "DELETE", path);
    }
    for (const { match, seconds } of adds) {
      const flow = {
        ...{ priority: DROP_PRIORITY, timeout: Math.ceil(seconds), isPermanent: false },
        ...{ deviceId: this.#device, tableId: 0, treatment: {} },
        selector: { criteria: criteriaOf(match) },
      };
      await restRequest(this.access, "POST", `/onos/v1/flows/${device}?appId=${this.#appId}`, flow);
    }
  }

  #installedRule(flow: unknown): InstalledRule[] {
    if (typeof flow !== "object" || flow === null) return [];
    const words = flow as Record<string, unknown>;
    if (words["deviceId"] !== this.#device || words["appId"] !== this.#appId) return [];
    if (words["state"] === "PENDING_REMOVE" || words["state"] === "REMOVED") return [];
    const selector = words["selector"] as { criteria?: unknown } | undefined;
    const read = readCriteria(selector?.criteria);
    const treatment = words["treatment"] as { instructions?: unknown[] } | undefined;
    // An empty treatment drops; ONOS lists it as one instruction NOACTION.
    const isDrop = (treatment?.instructions ?? []).every(
      (one) => (one as { type?: unknown } | null)?.type === "NOACTION",
    );
    const isOurs = words["priority"] === DROP_PRIORITY && words["isPermanent"] === false;
    return [
      {
        ...{ cookie: undefined, match: read.match, handle: String(words["id"]) },
        isWhole: isDrop && isOurs && !read.hasOthers,
        secondsLeft: Math.max(0, Number(words["timeout"]) - Number(words["life"] ?? 0)),
      },
    ];
  }
}

function criteriaOf(match: FlowMatch): Criterion[] {
  const found: Criterion[] = [];
  const add = (type: string, more: Criterion): void => void found.push({ type, ...more });
  if (match.inPort !== undefined) add("IN_PORT", { port: match.inPort });
  if (match.ethSource !== undefined) add("ETH_SRC", { mac: macText(match.ethSource) });
  if (match.ethType !== undefined) {
    add("ETH_TYPE", { ethType: `0x${match.ethType.toString(16)}` });
  }
  if (match.ipv4Source !== undefined) add("IPV4_SRC", { ip: `${ipText(match.ipv4Source)}/32` });
  if (match.arpSource !== undefined) add("ARP_SPA", { ip: ipText(match.arpSource) });
  if (match.ipv6Source !== undefined) add("IPV6_SRC", { ip: `${ipText(match.ipv6Source)}/128` });
  return found;
}

function readCriteria(given: unknown): { match: FlowMatch; hasOthers: boolean } {
  const found: Record<string, number | string | undefined> = {};
  let hasOthers = !Array.isArray(given);
  for (const one of Array.isArray(given) ? (given as Criterion[]) : []) {
    const address = (length: number) => ipHex(String(one["ip"]).replace(`/${length}`, ""));
    if (one["type"] === "IN_PORT") found["inPort"] = Number(one["port"]);
    else if (one["type"] === "ETH_SRC") found["ethSource"] = hexOfMac(String(one["mac"]));
    else if (one["type"] === "ETH_TYPE") found["ethType"] = Number(one["ethType"]);
    else if (one["type"] === "IPV4_SRC") found["ipv4Source"] = address(32);
    else if (one["type"] === "ARP_SPA") found["arpSource"] = address(32);
    else if (one["type"] === "IPV6_SRC") found["ipv6Source"] = address(128);
    else hasOthers = true;
  }
  return { match: found as FlowMatch, hasOthers };
}
