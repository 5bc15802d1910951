/*
 * abs_shim.h - the whole interface between TypeScript (bun:ffi) and C.
 *
 * The shim moves handles, offsets and counts and hands byte ranges to DPDK, intel-ipsec-mb and
 * Hyperscan. It holds no policy, parses nothing a stranger wrote, allocates nothing per packet,
 * never prints or exits and never calls back into JavaScript.
 *
 * Conventions. A failing call returns a negative code below; abs_last_error() has the words.
 * "handle" is an mbuf: its distance in bytes from the pool's base (uint32_t, never 0).
 * "offset" is bytes from the pool's base to a byte of a packet. The pool is smaller than 4 GiB.
 * 64-bit values cross as double or through memory, because a u64 result costs a BigInt.
 * Arrays are caller-owned; a burst holds 1..ABS_BURST_MAX packets.
 */
#ifndef ABS_SHIM_H
#define ABS_SHIM_H

#include <stdint.h>

#define ABS_BURST_MAX 64
#define ABS_PORT_MAX 16
#define ABS_QUEUE_MAX 16
#define ABS_KEY_MAX 16384
#define ABS_DATABASE_MAX 8
#define ABS_CONTENT_MAX 131072
#define ABS_RING_MAX 64
#define ABS_ABI_VERSION 2

#define ABS_EINVAL (-1)   /* an argument is out of its documented range */
#define ABS_EDPDK (-2)    /* DPDK refused; abs_last_error() says what and why */
#define ABS_ENOMEM (-3)   /* memory could not be had */
#define ABS_ESTATE (-4)   /* called in the wrong order, or twice */
#define ABS_ECRYPTO (-5)  /* intel-ipsec-mb refused */
#define ABS_EMATCH (-6)   /* Hyperscan refused; abs_last_error() says which expression and why */

#define ABS_API __attribute__((visibility("default")))

/* ---- dpdk_shim.c ---- */
ABS_API uint32_t abs_abi_version(void);
ABS_API const char *abs_last_error(void);
ABS_API const char *abs_versions(void);
ABS_API int32_t abs_eal_start(const char *arguments);
ABS_API int32_t abs_pool_create(uint32_t packets, uint32_t room_bytes);
ABS_API int32_t abs_pool_map(uint64_t *base, uint64_t *size_bytes);
ABS_API uint32_t abs_pool_available(void);
ABS_API int32_t abs_port_attach(const char *name, const char *arguments);
ABS_API int32_t abs_port_find(const char *name);
ABS_API int32_t abs_port_pair(const char *name, uint32_t slots, uint16_t *out);
ABS_API int32_t abs_port_start(uint16_t port, uint16_t queues, uint16_t descriptors, uint32_t mtu,
                               uint32_t promiscuous);
ABS_API int32_t abs_port_stop(uint16_t port);
ABS_API int32_t abs_port_descriptor(uint16_t port, uint16_t queue);
ABS_API int32_t abs_port_mac(uint16_t port, uint8_t *out);
ABS_API int32_t abs_port_driver(uint16_t port, uint8_t *out, uint32_t size_bytes);
ABS_API int32_t abs_port_stats(uint16_t port, double *out);
ABS_API int32_t abs_rx_burst(uint16_t port, uint16_t queue, uint32_t *handle, uint32_t *offset,
                             uint32_t *length, uint32_t max);
ABS_API int32_t abs_tx_burst(uint16_t port, uint16_t queue, const uint32_t *handle,
                             const uint32_t *offset, const uint32_t *length, uint32_t count);
ABS_API int32_t abs_alloc_burst(uint32_t *handle, uint32_t *offset, uint32_t count);
ABS_API int32_t abs_free_burst(const uint32_t *handle, uint32_t count);
ABS_API int32_t abs_ring_create(const char *name, uint32_t slots);
ABS_API int32_t abs_ring_put(uint32_t ring, const uint32_t *handle, const uint32_t *offset,
                             const uint32_t *length, uint32_t count);
ABS_API int32_t abs_ring_take(uint32_t ring, uint32_t *handle, uint32_t *offset, uint32_t *length,
                              uint32_t max);
ABS_API int32_t abs_thread_register(void);
ABS_API int32_t abs_thread_unregister(void);
ABS_API int32_t abs_wait(const int32_t *descriptor, uint32_t count, uint32_t timeout_us);
ABS_API double abs_now_us(void);

/* ---- crypto_shim.c ---- */
#define ABS_AES_128_GCM 1
#define ABS_AES_256_GCM 2
#define ABS_CHACHA20_POLY1305 3
ABS_API int32_t abs_keys_create(uint32_t capacity);
ABS_API int32_t abs_key_set(uint32_t key, uint32_t algorithm, const uint8_t *bytes);
ABS_API int32_t abs_key_clear(uint32_t key);
ABS_API int32_t abs_seal_burst(const uint32_t *key, const uint32_t *header,
                               const uint32_t *text_length, const uint32_t *confidential,
                               uint32_t count);
ABS_API int32_t abs_open_burst(const uint32_t *key, const uint32_t *header,
                               const uint32_t *text_length, const uint32_t *confidential,
                               const uint8_t *pseudo, uint8_t *valid, uint32_t count);
ABS_API int32_t abs_hmac_sha256(const uint8_t *key, uint32_t key_bytes, uint32_t offset,
                                uint32_t length, uint8_t *out);

/* ---- match_set_shim.c and match_shim.c ---- */
ABS_API int32_t abs_match_check(const char *expression, uint32_t flags);
ABS_API int32_t abs_match_compile(const uint8_t *entries, uint32_t size_bytes, uint32_t count);
ABS_API int32_t abs_match_load(const uint8_t *entries, uint32_t size_bytes, uint32_t count,
                               const uint8_t *saved, uint32_t saved_bytes);
ABS_API int32_t abs_match_save(uint32_t database, uint8_t *out, uint32_t max);
ABS_API int32_t abs_match_release(uint32_t database);
ABS_API int32_t abs_match_prepare(uint32_t database);
ABS_API int32_t abs_match_burst(uint32_t database, const uint8_t *base, const uint32_t *offset,
                                const uint32_t *length, uint32_t count, uint32_t *match,
                                uint32_t match_max);
ABS_API int32_t abs_match_test(uint32_t database, uint32_t id, const uint8_t *text,
                               uint32_t length, uint32_t from);

#endif
