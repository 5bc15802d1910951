/*
 * abs_secp.h - the whole interface between TypeScript (bun:ffi) and libsecp256k1: the ledger's
 * signatures, docs/ledger.md "Signatures". build/libabs_secp.so is apart from the shim of
 * abs_shim.h, so that a ledger node starts without DPDK.
 *
 * Conventions. Every byte of a hash, signature or key may come from a stranger: it is judged, never
 * trusted. A call that is used wrongly returns a negative code. Memory is the caller's and is read
 * or written during the call only. Nothing here allocates, prints, or calls back into JavaScript.
 *
 * Shapes. Hash: 32 bytes, what is signed. Secret key: 32 bytes, big-endian. Public key: 33 bytes,
 * compressed (SEC 1 §2.3.3). Signature: 64 bytes, r || s, big-endian, s in the lower half.
 */
#ifndef ABS_SECP_H
#define ABS_SECP_H

#include <stdint.h>

#define ABS_SECP_ABI_VERSION 1

#define ABS_SECP_MANY_MAX 64 /* checks of one call: three quorums of the largest committee */

#define ABS_SECP_EINVAL (-1) /* no memory given, a count out of range, or no such secret key */
#define ABS_SECP_ESTATE (-2) /* called before abs_secp_start(), or that called twice */

#define ABS_SECP_API __attribute__((visibility("default")))

ABS_SECP_API uint32_t abs_secp_abi_version(void);
ABS_SECP_API int32_t abs_secp_start(const uint8_t *seed);
ABS_SECP_API int32_t abs_secp_public_key(const uint8_t *secret_key, uint8_t *out);
ABS_SECP_API int32_t abs_secp_is_public_key(const uint8_t *public_key);
ABS_SECP_API int32_t abs_secp_sign(const uint8_t *hash, const uint8_t *secret_key, uint8_t *out);
ABS_SECP_API int32_t abs_secp_verify(const uint8_t *hash, const uint8_t *signature,
                                     const uint8_t *public_key);
ABS_SECP_API int32_t abs_secp_verify_many(const uint8_t *hash, const uint8_t *signature,
                                          const uint8_t *public_key, uint8_t *valid,
                                          uint32_t count);

#endif
