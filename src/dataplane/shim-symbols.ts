/**
 * The shim's functions as bun:ffi sees them: one line each, in the order of c/abs_shim.h, which
 * documents arguments, owners and results. Pointers are addresses (`addressOf` in shim.ts) or typed
 * arrays; a result below 0 is one of SHIM_ERROR. Nothing here returns u64, which would cost a
 * BigInt.
 */

/** What c/abs_shim.h calls ABS_ABI_VERSION: a shim of another number is refused. */
export const SHIM_ABI_VERSION = 2;

/** The most packets one call moves (ABS_BURST_MAX). */
export const BURST_MAX = 64;
/** ABS_PORT_MAX, ABS_QUEUE_MAX, ABS_KEY_MAX, ABS_DATABASE_MAX, ABS_RING_MAX. */
export const PORT_MAX = 16;
export const QUEUE_MAX = 16;
export const KEY_MAX = 16384;
export const DATABASE_MAX = 8;
export const RING_MAX = 64;

/** Algorithms of abs_key_set. */
export const AES_128_GCM = 1;
export const AES_256_GCM = 2;
export const CHACHA20_POLY1305 = 3;

/** Negative results, by what they mean. */
export const SHIM_ERROR = {
  argument: -1,
  dpdk: -2,
  memory: -3,
  state: -4,
  crypto: -5,
  match: -6,
} as const;

const ptr = "ptr";
const u16 = "u16";
const u32 = "u32";
const i32 = "i32";

/** The table for `dlopen`. */
export const SHIM_SYMBOLS = {
  abs_abi_version: { args: [], returns: u32 },
  abs_last_error: { args: [], returns: "cstring" },
  abs_versions: { args: [], returns: "cstring" },
  abs_eal_start: { args: [ptr], returns: i32 },
  abs_pool_create: { args: [u32, u32], returns: i32 },
  abs_pool_map: { args: [ptr, ptr], returns: i32 },
  abs_pool_available: { args: [], returns: u32 },
  abs_port_attach: { args: [ptr, ptr], returns: i32 },
  abs_port_find: { args: [ptr], returns: i32 },
  abs_port_pair: { args: [ptr, u32, ptr], returns: i32 },
  abs_port_start: { args: [u16, u16, u16, u32, u32], returns: i32 },
  abs_port_stop: { args: [u16], returns: i32 },
  abs_port_descriptor: { args: [u16, u16], returns: i32 },
  abs_port_mac: { args: [u16, ptr], returns: i32 },
  abs_port_driver: { args: [u16, ptr, u32], returns: i32 },
  abs_port_stats: { args: [u16, ptr], returns: i32 },
  abs_rx_burst: { args: [u16, u16, ptr, ptr, ptr, u32], returns: i32 },
  abs_tx_burst: { args: [u16, u16, ptr, ptr, ptr, u32], returns: i32 },
  abs_alloc_burst: { args: [ptr, ptr, u32], returns: i32 },
  abs_free_burst: { args: [ptr, u32], returns: i32 },
  abs_ring_create: { args: [ptr, u32], returns: i32 },
  abs_ring_put: { args: [u32, ptr, ptr, ptr, u32], returns: i32 },
  abs_ring_take: { args: [u32, ptr, ptr, ptr, u32], returns: i32 },
  abs_thread_register: { args: [], returns: i32 },
  abs_thread_unregister: { args: [], returns: i32 },
  abs_wait: { args: [ptr, u32, u32], returns: i32 },
  abs_now_us: { args: [], returns: "f64" },
  abs_keys_create: { args: [u32], returns: i32 },
  abs_key_set: { args: [u32, u32, ptr], returns: i32 },
  abs_key_clear: { args: [u32], returns: i32 },
  abs_seal_burst: { args: [ptr, ptr, ptr, ptr, u32], returns: i32 },
  abs_open_burst: { args: [ptr, ptr, ptr, ptr, ptr, ptr, u32], returns: i32 },
  abs_hmac_sha256: { args: [ptr, u32, u32, u32, ptr], returns: i32 },
  abs_match_check: { args: [ptr, u32], returns: i32 },
  abs_match_compile: { args: [ptr, u32, u32], returns: i32 },
  abs_match_load: { args: [ptr, u32, u32, ptr, u32], returns: i32 },
  abs_match_save: { args: [u32, ptr, u32], returns: i32 },
  abs_match_release: { args: [u32], returns: i32 },
  abs_match_prepare: { args: [u32], returns: i32 },
  abs_match_burst: { args: [u32, ptr, ptr, ptr, u32, ptr, u32], returns: i32 },
  abs_match_test: { args: [u32, u32, ptr, u32, u32], returns: i32 },
} as const;

type Argument<T> = T extends "ptr" ? number | NodeJS.TypedArray : number;
type Result<T> = T extends "cstring" ? { toString(): string } : number;
type Arguments<T extends readonly unknown[]> = { [I in keyof T]: Argument<T[I]> };

/**
 * The opened functions. An address is a plain number here (bun:ffi brands it), because the data
 * plane computes with addresses: that of an array's i-th element is the array's plus i times its
 * width.
 */
export type ShimSymbols = {
  readonly [Name in keyof typeof SHIM_SYMBOLS]: (
    ...args: Arguments<(typeof SHIM_SYMBOLS)[Name]["args"]>
  ) => Result<(typeof SHIM_SYMBOLS)[Name]["returns"]>;
};
