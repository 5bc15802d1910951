/**
 * Opens build/libabs_curves.so (c/abs_curves.h): libsecp256k1 for the ledger's signatures
 * (secp256k1.ts) and libsodium's edwards25519 for its VRF (edwards25519.ts), through bun:ffi.
 * Each thread that asks opens an instance of its own: contexts are not shared.
 */
import { dlopen } from "bun:ffi";
import libraryPath from "../../build/libabs_curves.so" with { type: "file" };
import { memoryFilePath } from "../native/memory-file.ts";

/** ABS_CURVES_ABI_VERSION of c/abs_curves.h. */
const ABI_VERSION = 2;
const SEED_BYTES = 32;

export const CURVE_LIBRARY_PATH: string = libraryPath;

/** In the order of c/abs_curves.h, which documents arguments, owners and results. */
function load(path: string) {
  return dlopen(memoryFilePath(path, "libabs_curves"), {
    abs_curves_abi_version: { args: [], returns: "u32" },
    abs_secp_start: { args: ["ptr"], returns: "i32" },
    abs_secp_public_key: { args: ["ptr", "ptr"], returns: "i32" },
    abs_secp_is_public_key: { args: ["ptr"], returns: "i32" },
    abs_secp_sign: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
    abs_secp_verify: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
    abs_secp_verify_many: { args: ["ptr", "ptr", "ptr", "ptr", "u32"], returns: "i32" },
    abs_edwards_is_key: { args: ["ptr"], returns: "i32" },
    abs_edwards_clear_cofactor: { args: ["ptr", "ptr"], returns: "i32" },
    abs_edwards_public_key: { args: ["ptr", "ptr"], returns: "i32" },
    abs_edwards_commit: { args: ["ptr", "ptr", "ptr", "ptr", "ptr", "ptr"], returns: "i32" },
    abs_edwards_respond: { args: ["ptr", "ptr", "ptr", "ptr"], returns: "i32" },
    abs_edwards_recompute: { args: ["ptr", "ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  }).symbols;
}

export type CurveSymbols = ReturnType<typeof load>;

const opened = new Map<string, CurveSymbols>();

/**
 * The library of this thread, opened and started at the first call for `path`.
 *
 * @param path CURVE_LIBRARY_PATH, or another build of it; throws an Error where it does not load
 */
export function curveSymbols(path: string): CurveSymbols {
  const known = opened.get(path);
  if (known !== undefined) return known;
  const symbols = load(path);
  const version = symbols.abs_curves_abi_version();
  if (version !== ABI_VERSION) throw new Error(`interface ${version} instead of ${ABI_VERSION}`);
  const seed = crypto.getRandomValues(new Uint8Array(SEED_BYTES));
  const result = symbols.abs_secp_start(seed);
  seed.fill(0);
  if (result < 0) throw new Error(`the library did not start (${result})`);
  opened.set(path, symbols);
  return symbols;
}
