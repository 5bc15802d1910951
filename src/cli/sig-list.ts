/** `abs sig list [FILE…]`: one line a signature; the built-in library without a file. */
import { defineCommand } from "citty";
import { formatTable } from "../bench/table.ts";
import { fieldsOf, portWords, protocolsOf } from "../sig/signature-words.ts";
import { outputArgument, print, signaturesOf } from "./sig-output.ts";

export const sigListCommand = defineCommand({
  meta: {
    name: "list",
    description: "signatures, one a line. Examples: `abs sig list`; `abs sig list --app mysql`",
  },
  args: {
    file: { type: "positional", required: false, description: "files; default: the library" },
    app: { type: "string", description: "only this application" },
    ...outputArgument,
  },
  run({ args }) {
    const sources = args._.length === 0 ? ["library"] : args._;
    const all = sources.flatMap(signaturesOf);
    const signatures = all.filter(({ app }) => args.app === undefined || app === args.app);
    print(args.output, signatures.map(fieldsOf), () =>
      formatTable(
        ["sig_id", "app", "protocol", "usual ports", "contents", "status", "version"],
        signatures.map((signature) => [
          signature.id,
          signature.app,
          protocolsOf(signature),
          portWords(signature.usualPorts) ?? "",
          String(signature.contents.length),
          signature.status,
          String(signature.version),
        ]),
      ),
    );
  },
});
