/**
 * `abs keys generate|tag|contract`: the random values of a provisioning file
 * (docs/provisioning.md).
 */
import { defineCommand } from "citty";
import { generateContractSecret, generateKeyPair, generateTag } from "../agent/keys.ts";
import { ALGORITHM_NAMES, type AlgorithmName } from "../session/contract.ts";
import { optionError } from "./options.ts";

function algorithmOf(text: string): AlgorithmName {
  const found = ALGORITHM_NAMES.find((name) => name === text);
  if (found !== undefined) return found;
  throw optionError(`--algorithm ${text} is not known.`, `Use ${ALGORITHM_NAMES.join(", ")}.`);
}

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
      args: {
        algorithm: {
          type: "string",
          default: "aes-128-gcm",
          description: "rsa256 has a private key after the 32 bytes; for others no matter",
        },
      },
      run: ({ args }) => print(generateContractSecret(algorithmOf(args.algorithm))),
    }),
  },
});
