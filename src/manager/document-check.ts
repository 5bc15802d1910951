/**
 * Policy and signatures before they are distributed: read as an agent reads them, and compiled for
 * every agent of the tenant, so that what no agent could put in force is refused here, to the one
 * who wrote it. docs/manager.md "Policy and signatures".
 */
import { parse } from "yaml";
import { compileSignatures } from "../dpi/compile.ts";
import { librarySignature } from "../dpi/library.ts";
import { readSignature } from "../dpi/schema.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { compilePolicy } from "../policy/compile.ts";
import { parsePolicy } from "../policy/schema.ts";
import { parseDocument } from "../store/document.ts";
import type { ManagerState } from "./manager-state.ts";
import type { MappedNode } from "./mapping-service.ts";

/** How the input is called in complaints. */
const INPUT = "input";

/** @throws AbsError POLICY_INVALID */
export function checkPolicy(state: ManagerState, tenant: string, text: string): void {
  const policy = parsePolicy(text, INPUT);
  const nodes = state.nodes.list(tenant).filter((node) => node.state === "enrolled");
  const apps = ["", ...state.tenants.applicationTags(tenant).map(({ name }) => name)];
  const known = state.knownNames(tenant);
  const partyOf = ({ name, groups, mode }: MappedNode) => ({ id: name, groups, mode });
  for (const node of nodes) {
    const own = { ...partyOf(node), stage: node.stage };
    const peers = nodes.filter((other) => other !== node).map(partyOf);
    compilePolicy(policy, { own, peers, apps, otherTenants: [], known });
  }
}

export type CheckedSignatures = {
  /** A JSON list, as agents get it. */
  readonly body: string;
  /** Names of the applications that they tell. */
  readonly apps: readonly string[];
};

/**
 * A list of signatures, or of `{ builtin: NAME }`, in YAML or JSON.
 * @throws AbsError SIGNATURE_INVALID
 */
export function checkSignatures(text: string): CheckedSignatures {
  const list = parseDocument(text, INPUT, "SIGNATURE");
  const read = list.list().map((item) => {
    if (!item.keys().includes("builtin")) return [readSignature(item)];
    const name = item.map(["builtin"]).need("builtin");
    const found = librarySignature(name.string());
    if (found.length > 0) return found;
    return name.fail(`the library has no signature of "${name.string()}".`, "See `abs sig list`.");
  });
  const signatures: AppSignature[] = read.flat();
  const apps = [...new Set(signatures.map(({ app }) => app))].sort();
  compileSignatures(signatures, (app) => apps.indexOf(app) + 1);
  return { body: JSON.stringify(parse(text)), apps };
}
