/**
 * What an agent learns of its neighbours from themselves, while its manager cannot say it:
 * newcomers with a certificate of the manager, and modes. docs/manager.md "Discovery". Written into
 * its provisioning file as a state is: beside, checked, and then in its place; the next state
 * replaces it.
 */
import { mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "../chain/canonical-json.ts";
import { canonicalJson } from "../chain/canonical-json.ts";
import type { AgentMode } from "../chain/discovery.ts";
import type { IdentityCertificate } from "../chain/identity-certificate.ts";
import type { NodeSecrets } from "../node/node-keys.ts";
import {
  agentFile,
  linkStores,
  NEXT_FOLDER,
  type StagedFolder,
  writeNew,
  writing,
} from "./agent-folder.ts";

export type FoundPeer = { readonly certificate: IdentityCertificate; readonly mode: AgentMode };

type PeerEntry = JsonObject & { readonly staticKey: string; readonly otherStaticKey?: string };
type ProvisioningFile = JsonObject & {
  readonly node: JsonObject;
  readonly peers: readonly PeerEntry[];
  readonly tags: readonly { readonly name: string }[];
};

/** Stages the folder's own provisioning file with these peers in it. */
export function amendAgentFolder(dir: string, found: readonly FoundPeer[]): StagedFolder {
  return stageProvisioning(dir, (file) => ({ ...file, peers: mergedPeers(file, found) }));
}

function stageProvisioning(
  dir: string,
  change: (file: ProvisioningFile) => JsonObject,
): StagedFolder {
  const place = agentFile(dir, "provisioning");
  const file = JSON.parse(readFileSync(place, "utf8")) as ProvisioningFile;
  const next = join(dir, NEXT_FOLDER);
  writing(dir, () => {
    rmSync(next, { recursive: true, force: true });
    mkdirSync(next, { mode: 0o700 });
    writeNew(agentFile(next, "provisioning"), canonicalJson(change(file)));
    linkStores(next);
  });
  const settle = (): void => {
    writing(dir, () => {
      renameSync(agentFile(next, "provisioning"), place);
      rmSync(next, { recursive: true });
    });
  };
  return { provisioning: agentFile(next, "provisioning"), place, settle };
}

/** Stages the folder's own provisioning file with the next session key beside the present one. */
export function stageNextSessionKey(
  dir: string,
  { session_secret_next }: NodeSecrets,
): StagedFolder {
  return stageProvisioning(dir, (file) => {
    const next = session_secret_next === undefined ? {} : { otherStaticKey: session_secret_next };
    return { ...file, node: { ...file.node, ...next } };
  });
}

function mergedPeers(file: ProvisioningFile, found: readonly FoundPeer[]): JsonObject[] {
  const byKey = new Map(found.map((one) => [one.certificate.sessionPub, one]));
  const known = file.peers.map((peer): JsonObject => {
    const keys = [peer.staticKey, peer.otherStaticKey ?? ""];
    const mode = keys.map((key) => byKey.get(key)?.mode).find((said) => said !== undefined);
    for (const key of keys) byKey.delete(key);
    return mode === undefined ? peer : { ...peer, mode };
  });
  const tags = new Set(file.tags.map(({ name }) => name));
  const added = [...byKey.values()].map(({ certificate, mode }): JsonObject => {
    const { nodeId, addresses, carrier, sessionPub, applicationTags } = certificate;
    // Name and groups are the manager's to say: until then no rule that needs them applies.
    return {
      ...{ id: nodeId, addresses, carrier, mode, staticKey: sessionPub, groups: [] },
      tags: applicationTags.filter((tag) => tags.has(tag)),
    };
  });
  return [...known, ...added];
}
