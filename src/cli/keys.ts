/**
 * `abs keys generate|tag|contract`: the random values of a provisioning file
 * (docs/provisioning.md).
 */
import { defineCommand } from "citty";
import { generateContractSecret, generateKeyPair, generateTag } from "../agent/keys.ts";

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

export const keysCommand = defineCommand({
  meta: {
    name: "keys",
    description: "draw keys, tags and contract secrets for a provisioning file",
  },
  subCommands: {
    generate: defineCommand({
      meta: {
        name: "generate",
        description: "a node's static key pair: keep the secret half secret",
      },
      run: () => print(generateKeyPair()),
    }),
    tag: defineCommand({
      meta: { name: "tag", description: "a tenant tag or application tag" },
      run: () => print({ tag: generateTag() }),
    }),
    contract: defineCommand({
      meta: { name: "contract", description: "an SC-ID and the first secret of a contract" },
      run: () => print(generateContractSecret()),
    }),
  },
});
