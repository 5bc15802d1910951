/**
 * Reading what an agent is to enforce, in a child process (`abs agent read-provisioning`): ten
 * thousand signatures take a second and a hundred megabytes, which must not be the main thread's.
 * The child reads the provisioning file and all that it names, compiles policy and signatures, and
 * answers in frames on its standard output; a frame is a length u32 and a structured clone
 * (bun:jsc), small enough to be taken between two turns of the main thread. Hyperscan's part is
 * another child's, after this one (signature-database.ts).
 */
import { deserialize, serialize } from "bun:jsc";
import { dirname, relative, resolve } from "node:path";
import type { CompiledSignatures } from "../dpi/compile.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { revivedSignature } from "../dpi/signature-clone.ts";
import { AbsError, messageOf } from "../errors.ts";
import type { CompiledPolicy } from "../policy/compile.ts";
import type { Contract, GenerationSecret } from "../session/contract.ts";
import { RsaKeyPair } from "../session/rsa-wrap.ts";
import { KeyPair } from "../session/x25519.ts";
import { FrameReader, frameOf } from "./child-frames.ts";
import { type ChildUrgency, setUrgency } from "./child-urgency.ts";
import { withCommitted } from "./committed-signatures.ts";
import { compileProvisioning } from "./compiled.ts";
import { type PartDigests, partDigestsOf } from "./part-digests.ts";
import { aligned, type Positions } from "./positions.ts";
import { loadUncompiled, type Provisioning } from "./provisioning.ts";

/**
 * What the child's collector is told that the machine has: on a large one it would let 250 MB pass
 * where 170 MB do, for a process that lives for a second.
 */
const CHILD_HEAP_BYTES = 100_000_000;
/** A child that takes longer hangs. */
const READ_MS = 300_000;
/** A frame of so many is taken in a few milliseconds. */
const SIGNATURES_A_FRAME = 500;

export interface PreparationRequest {
  /** Provisioning file. */
  readonly file: string;
  /** Where it will stand, with what is beside it; undefined: there it stands. */
  readonly place?: string | undefined;
  /** Those of the running agent, or of the run before. */
  readonly positions: Positions | undefined;
  /** Commitments of signatures that the running agent uses. */
  readonly inForce: readonly string[];
}

/** All that an agent needs to enforce one provisioning. */
export interface Prepared {
  readonly provisioning: Provisioning;
  readonly policy: CompiledPolicy;
  readonly signatures: CompiledSignatures;
  readonly digests: PartDigests;
}

interface Head {
  readonly provisioning: Omit<Provisioning, "signatures" | "node" | "contracts"> & {
    readonly node: Omit<Provisioning["node"], "staticKey">;
    readonly contracts: readonly PlainContract[];
  };
  readonly policy: CompiledPolicy;
  readonly signatures: Omit<CompiledSignatures, "contents" | "signatures">;
  /** The enabled signatures in winning order, as positions in the list of all. */
  readonly order: Uint32Array;
  readonly digests: PartDigests;
}

/** Key pairs are no plain objects: a clone has lost what they can do. */
type PlainContract = Omit<Contract, "secrets"> & {
  readonly secrets: readonly (Omit<GenerationSecret, "rsa"> & { readonly rsa?: Uint8Array })[];
};

function plainContract({ secrets, ...contract }: Contract): PlainContract {
  const plain = ({ rsa, ...rest }: GenerationSecret) =>
    rsa === undefined ? rest : { ...rest, rsa: rsa.der };
  return { ...contract, secrets: secrets.map(plain) };
}

function revivedContract({ secrets, ...contract }: PlainContract): Contract {
  const revived = ({ rsa, ...rest }: PlainContract["secrets"][number]) =>
    rsa === undefined ? rest : { ...rest, rsa: RsaKeyPair.fromDer(rsa) };
  return { ...contract, secrets: secrets.map(revived) };
}

type Frame =
  | { readonly kind: "head"; readonly head: Head }
  | { readonly kind: "signatures"; readonly signatures: readonly AppSignature[] }
  | { readonly kind: "end" }
  | { readonly kind: "error"; readonly code: string; readonly message: string; remedy: string };

/**
 * Prepares in a child, which `command` runs; `signal` ends it. Throws what reading and compiling
 * throw, or AbsError `NOT_PREPARED` when the child fails otherwise.
 */
export async function prepare(
  request: PreparationRequest,
  command: readonly string[],
  signal?: AbortSignal,
  urgency: ChildUrgency = "now",
): Promise<Prepared> {
  const child = Bun.spawn([...command], {
    stdin: Buffer.from(JSON.stringify(request)),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, BUN_JSC_forceRAMSize: String(CHILD_HEAP_BYTES) },
    timeout: READ_MS,
    ...(signal === undefined ? {} : { signal }),
  });
  setUrgency(child.pid, urgency);
  const words = new Response(child.stderr).text();
  const reader = new FrameReader();
  let head: Head | undefined;
  const signatures: AppSignature[] = [];
  let isWhole = false;
  for await (const bytes of child.stdout) {
    reader.add(bytes);
    for (let body = reader.next(); body !== undefined; body = reader.next()) {
      const frame = deserialize(body.buffer as ArrayBuffer) as Frame;
      if (frame.kind === "error") throw new AbsError(frame.code, frame.message, frame.remedy);
      if (frame.kind === "head") head = frame.head;
      if (frame.kind === "signatures") signatures.push(...frame.signatures.map(revivedSignature));
      if (frame.kind === "end") isWhole = true;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const code = await child.exited;
  if (isWhole && head !== undefined) return preparedOf(head, signatures);
  const why = (await words).trim() || `it ended with ${child.signalCode ?? code}`;
  throw new AbsError(
    "NOT_PREPARED",
    `The child process that reads policy and signatures failed: ${why}`,
    "Run `abs sig lint` on the signature files; it names what is wrong.",
  );
}

function preparedOf(head: Head, all: readonly AppSignature[]): Prepared {
  const { provisioning, policy, signatures, order, digests } = head;
  const node = { ...provisioning.node, staticKey: new KeyPair(provisioning.node.staticSecret) };
  const contracts = provisioning.contracts.map(revivedContract);
  const ranked = [...order].flatMap((i) => all[i] ?? []);
  return {
    provisioning: { ...provisioning, node, contracts, signatures: all },
    policy,
    signatures: { ...signatures, contents: [], signatures: ranked },
    digests,
  };
}

/** The child: a PreparationRequest on standard input, frames on standard output. */
export async function servePreparation(): Promise<void> {
  const output = Bun.stdout.writer();
  const send = (frame: Frame) =>
    output.write(frameOf(serialize(frame, { binaryType: "nodebuffer" })));
  try {
    const request: PreparationRequest = JSON.parse(await Bun.stdin.text());
    for (const frame of framesOf(request)) {
      send(frame);
      await output.flush();
    }
  } catch (error) {
    const { code, remedy } =
      error instanceof AbsError ? error : { code: "NOT_PREPARED", remedy: "" };
    send({ kind: "error", code, message: messageOf(error), remedy });
    process.exitCode = 1;
  }
  await output.end();
}

/** As if it had been read where it will stand: the ledger's folder stays in its place. */
function placedAt(provisioning: Provisioning, file: string): Provisioning {
  const { ledger } = provisioning;
  if (ledger === undefined) return { ...provisioning, file };
  const beside = relative(dirname(provisioning.file), ledger.directory);
  return {
    ...provisioning,
    file,
    ledger: { ...ledger, directory: resolve(dirname(file), beside) },
  };
}

function* framesOf(request: PreparationRequest): Generator<Frame> {
  const loaded = loadUncompiled(request.file);
  const placed = request.place === undefined ? loaded : placedAt(loaded, request.place);
  const read = withCommitted(placed, request.inForce);
  Bun.gc(true); // the files' trees are as large as what was read
  const digests = partDigestsOf(read);
  Bun.gc(true);
  const provisioning = request.positions === undefined ? read : aligned(read, request.positions);
  const { policy, signatures } = compileProvisioning(provisioning);
  const { signatures: all, node, contracts, ...rest } = provisioning;
  const { staticKey: _, ...plainNode } = node;
  const { contents: __, signatures: ranked, ...compiled } = signatures;
  const position = new Map(all.map((signature, i) => [signature, i]));
  yield {
    kind: "head",
    head: {
      provisioning: { ...rest, node: plainNode, contracts: contracts.map(plainContract) },
      policy,
      signatures: compiled,
      order: Uint32Array.from(ranked, (signature) => position.get(signature) ?? 0),
      digests,
    },
  };
  for (let at = 0; at < all.length; at += SIGNATURES_A_FRAME) {
    yield { kind: "signatures", signatures: all.slice(at, at + SIGNATURES_A_FRAME) };
  }
  yield { kind: "end" };
}
