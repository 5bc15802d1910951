/**
 * Signatures that came from another process by structured clone: byte sets lose their class on the
 * way and get it back here. The process that reads signatures is not the one that answers why one
 * missed (nearest-miss.ts).
 */
import { ByteSet } from "./byte-set.ts";
import type { RegexNode } from "./regex.ts";
import type { AppSignature, SignatureContent } from "./signature.ts";

/** `cloned` with its byte sets. */
export function revivedSignature(cloned: AppSignature): AppSignature {
  if (cloned.contents.every(({ expression }) => expression.kind === "bytes")) return cloned;
  return { ...cloned, contents: cloned.contents.map(revivedContent) };
}

function revivedContent(content: SignatureContent): SignatureContent {
  const { expression } = content;
  if (expression.kind === "bytes") return content;
  const { regex } = expression;
  return {
    ...content,
    expression: { kind: "regex", regex: { ...regex, root: revivedNode(regex.root) } },
  };
}

function revivedNode(node: RegexNode): RegexNode {
  switch (node.kind) {
    case "set":
      return { kind: "set", set: ByteSet.fromWords(node.set.words) };
    case "assert":
      return node;
    case "repeat":
      return { ...node, item: revivedNode(node.item) };
    default:
      return { ...node, items: node.items.map(revivedNode) };
  }
}
