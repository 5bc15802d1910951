/**
 * What a command's standard input, or the body of its request, may be: a value of a JSON object, a
 * document in text, or a capture in bytes. docs/api.md "Requests".
 */
import { AbsError } from "../errors.ts";
import { DOCUMENT_BYTES_MAX } from "./command-schemas.ts";

export const CAPTURE_BYTES_MAX = 8 * 1024 * 1024;

type InputKind = {
  /** What a request may call it. */
  readonly mediaTypes: readonly string[];
  readonly bytesMax: number;
  readonly isText: boolean;
};

const KINDS = {
  /** YAML, of which JSON is a part. */
  "application/yaml": {
    mediaTypes: ["application/yaml", "application/json"],
    ...{ bytesMax: DOCUMENT_BYTES_MAX, isText: true },
  },
  /** pcap or pcapng: the first bytes decide. */
  "application/vnd.tcpdump.pcap": {
    mediaTypes: ["application/vnd.tcpdump.pcap", "application/octet-stream"],
    ...{ bytesMax: CAPTURE_BYTES_MAX, isText: false },
  },
} as const satisfies Record<string, InputKind>;

export type StandardInput = {
  /** The property that it fills. */
  readonly property: string;
  /** A request's body is this property as it is; undefined: it is one of a JSON object's. */
  readonly mediaType?: keyof typeof KINDS;
};

const VALUE: InputKind = { mediaTypes: [], bytesMax: DOCUMENT_BYTES_MAX, isText: true };

export function inputKind({ mediaType }: StandardInput): InputKind {
  return mediaType === undefined ? VALUE : KINDS[mediaType];
}

/**
 * What came on standard input.
 * @param bytes undefined: there were more than a command may have, by SSH 1 MiB
 * @throws AbsError INPUT_WRONG
 */
export function standardInputOf(
  input: StandardInput,
  bytes: Uint8Array | undefined,
): string | Uint8Array {
  const { bytesMax, isText } = inputKind(input);
  if (bytes === undefined || bytes.length > bytesMax) throw inputWrong(input, "too long");
  const value = isText ? textOf(input, bytes) : bytes;
  if (value.length === 0) throw inputWrong(input, "empty");
  return value;
}

function textOf(input: StandardInput, bytes: Uint8Array): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw inputWrong(input, "no UTF-8 text", cause);
  }
  return text.trim() === "" ? "" : text;
}

function inputWrong(input: StandardInput, why: string, cause?: unknown): AbsError {
  const { bytesMax, isText } = inputKind(input);
  const what = isText ? "the document" : "the capture";
  const size = `at most ${bytesMax / 1024 / 1024} MiB${isText ? " of UTF-8" : ", by SSH 1 MiB"}`;
  const remedy = `Give ${what} on standard input: \`… < FILE\`, ${size}.`;
  return new AbsError("INPUT_WRONG", `The input is ${why}.`, remedy, cause);
}
