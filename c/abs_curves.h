/*
 * abs_curves.h - the whole interface between TypeScript (bun:ffi) and the two curves of the ledger:
 * secp256k1 for its signatures (libsecp256k1, secp_shim.c) and edwards25519 for its VRF (libsodium,
 * edwards_shim.c); docs/ledger.md "Signatures". build/libabs_curves.so is apart from the shim of
 * abs_shim.h, so that a ledger node starts without DPDK.
 *
 * Conventions. Every byte of a hash, signature or key may come from a stranger: it is judged, never
 * trusted. A call that is used wrongly returns a negative code. Memory is the caller's and is read
 * or written during the call only. Nothing here allocates, prints, or calls back into JavaScript.
 *
 * Shapes of secp256k1. Hash: 32 bytes, what is signed. Secret key: 32 bytes, big-endian. Public
 * key: 33 bytes, compressed (SEC 1 §2.3.3). Signature: 64 bytes, r || s, big-endian, s in the lower
 * half.
 *
 * Shapes of edwards25519. Point: 32 bytes (RFC 8032 §5.1.2). Scalar: 32 bytes, little-endian. Names
 * are RFC 9381's.
 */
#ifndef ABS_CURVES_H
#define ABS_CURVES_H

#include <stdint.h>

#define ABS_CURVES_ABI_VERSION 2

#define ABS_SECP_MANY_MAX 64 /* checks of one call: three quorums of the largest committee */

#define ABS_CURVES_EINVAL (-1) /* no memory given, a count out of range, no such secret key */
#define ABS_CURVES_ESTATE (-2) /* called before abs_secp_start(), or that twice */

#define ABS_CURVES_API __attribute__((visibility("default")))

ABS_CURVES_API uint32_t abs_curves_abi_version(void);
ABS_CURVES_API int32_t abs_secp_start(const uint8_t *seed);
ABS_CURVES_API int32_t abs_secp_public_key(const uint8_t *secret_key, uint8_t *out);
ABS_CURVES_API int32_t abs_secp_is_public_key(const uint8_t *public_key);
ABS_CURVES_API int32_t abs_secp_sign(const uint8_t *hash, const uint8_t *secret_key, uint8_t *out);
ABS_CURVES_API int32_t abs_secp_verify(const uint8_t *hash, const uint8_t *signature,
                                       const uint8_t *public_key);
ABS_CURVES_API int32_t abs_secp_verify_many(const uint8_t *hash, const uint8_t *signature,
                                            const uint8_t *public_key, uint8_t *valid,
                                            uint32_t count);

ABS_CURVES_API int32_t abs_edwards_is_key(const uint8_t *point);
ABS_CURVES_API int32_t abs_edwards_clear_cofactor(const uint8_t *point, uint8_t *out);
ABS_CURVES_API int32_t abs_edwards_public_key(const uint8_t *x, uint8_t *y);
ABS_CURVES_API int32_t abs_edwards_commit(const uint8_t *x, const uint8_t *nonce, const uint8_t *h,
                                          uint8_t *gamma, uint8_t *k_b, uint8_t *k_h);
ABS_CURVES_API int32_t abs_edwards_respond(const uint8_t *x, const uint8_t *nonce,
                                           const uint8_t *c, uint8_t *s);
ABS_CURVES_API int32_t abs_edwards_recompute(const uint8_t *y, const uint8_t *h,
                                             const uint8_t *proof, uint8_t *u, uint8_t *v);

#endif
