/*
 * crypto_shim.c - sealing and opening bursts of DATA packets (docs/wire.md) with intel-ipsec-mb.
 *
 * The library's direct calls need no manager of their own per thread: one manager serves all, as
 * the table of the functions that are fastest on this CPU. Keys are expanded once, by
 * abs_key_set(); a burst touches only them and the packets. Tags are compared in constant time.
 */
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>
#include <rte_prefetch.h>

#include "abs_shim.h"
#include "shim_internal.h"

#define HEADER_BYTES 32 /* of DATA, docs/wire.md */
#define COUNTER_OFFSET 8 /* lane and counter: the nonce's last 8 bytes */
#define PROOF_OFFSET 16
#define PROOF_BYTES 16
#define NONCE_ROOM_BYTES 16 /* the nonce has 12 */
#define TEXT_BYTES_MAX 65535
#define HMAC_BLOCK_BYTES 64
#define HMAC_DIGEST_BYTES 32
#define HMAC_TEXT_BYTES_MAX 2048
#define CACHE_LINE_BYTES 64
#define SHORT_TEXT_BYTES 128

union expanded_key {
  struct gcm_key_data gcm;
  uint8_t chacha[32];
};

static IMB_MGR *library;
static union expanded_key *keys;
static uint8_t *algorithms; /* of each key; 0: no key there */
static uint32_t key_capacity;

/**
 * abs_keys_create - make the table of keys, all empty.
 * @capacity: 1..ABS_KEY_MAX. Memory is touched only where keys are set, about 1 KiB each.
 * Once, by the main thread, before any other call of this file. Returns 0 or a negative code.
 */
int32_t abs_keys_create(uint32_t capacity)
{
  if (capacity == 0 || capacity > ABS_KEY_MAX)
    return shim_fail(ABS_EINVAL, "%u keys: not 1..%d", capacity, ABS_KEY_MAX);
  if (keys != NULL)
    return shim_fail(ABS_ESTATE, "the key table exists already");
  IMB_ARCH architecture = IMB_ARCH_NONE;
  library = alloc_mb_mgr(0);
  if (library == NULL)
    return shim_fail(ABS_ENOMEM, "no memory for intel-ipsec-mb");
  init_mb_mgr_auto(library, &architecture);
  if (imb_get_errno(library) != 0)
    return shim_fail(ABS_ECRYPTO, "intel-ipsec-mb: %s", imb_get_strerror(imb_get_errno(library)));
  void *memory = NULL;
  algorithms = calloc(capacity, 1);
  if (algorithms == NULL ||
      posix_memalign(&memory, CACHE_LINE_BYTES, (size_t)capacity * sizeof(union expanded_key)) != 0)
    return shim_fail(ABS_ENOMEM, "no memory for %u keys", capacity);
  keys = memory;
  key_capacity = capacity;
  return 0;
}

/**
 * abs_key_set - expand a key into the table, replacing what was there.
 * @key: 0..capacity-1; no burst may be using it.
 * @algorithm: ABS_AES_128_GCM (16 bytes), ABS_AES_256_GCM (32) or ABS_CHACHA20_POLY1305 (32).
 * @bytes: the key; not kept.
 * Any one thread at a time. Returns 0 or a negative code.
 */
int32_t abs_key_set(uint32_t key, uint32_t algorithm, const uint8_t *bytes)
{
  if (key >= key_capacity || bytes == NULL)
    return shim_fail(ABS_EINVAL, "key %u: the table has %u", key, key_capacity);
  switch (algorithm) {
  case ABS_AES_128_GCM:
    IMB_AES128_GCM_PRE(library, bytes, &keys[key].gcm);
    break;
  case ABS_AES_256_GCM:
    IMB_AES256_GCM_PRE(library, bytes, &keys[key].gcm);
    break;
  case ABS_CHACHA20_POLY1305:
    (void)memcpy(keys[key].chacha, bytes, sizeof(keys[key].chacha));
    break;
  default:
    return shim_fail(ABS_EINVAL, "algorithm %u is not known", algorithm);
  }
  __atomic_store_n(&algorithms[key], (uint8_t)algorithm, __ATOMIC_RELEASE);
  return 0;
}

/**
 * abs_key_clear - empty a place of the table and overwrite its memory.
 * @key: as abs_key_set(); a later burst that names it is refused. Returns 0 or ABS_EINVAL.
 */
int32_t abs_key_clear(uint32_t key)
{
  if (key >= key_capacity)
    return shim_fail(ABS_EINVAL, "key %u: the table has %u", key, key_capacity);
  if (algorithms[key] == 0)
    return 0;
  __atomic_store_n(&algorithms[key], 0, __ATOMIC_RELEASE);
  imb_clear_mem(&keys[key], sizeof(keys[key]));
  return 0;
}

/* Asks for the key's memory: round keys, and as many powers of the hash key as the text needs. */
static inline void prefetch_key(uint32_t key, uint32_t text_length)
{
  const uint8_t *line = (const uint8_t *)&keys[key];
  const uint8_t *end = line + sizeof(*keys);
  const uint8_t *powers = text_length < SHORT_TEXT_BYTES ? end - 3 * CACHE_LINE_BYTES : line;
  for (const uint8_t *at = line; at < line + 4 * CACHE_LINE_BYTES; at += CACHE_LINE_BYTES)
    rte_prefetch0(at);
  for (const uint8_t *at = powers; at < end; at += CACHE_LINE_BYTES)
    rte_prefetch0(at);
}

/* Checks every packet of a burst before any is touched. */
static inline int32_t check_burst(const uint32_t *key, const uint32_t *header,
                                  const uint32_t *text_length, uint32_t count)
{
  for (uint32_t i = 0; i < count; i++) {
    if (key[i] >= key_capacity || algorithms[key[i]] == 0)
      return shim_fail(ABS_EINVAL, "packet %u: there is no key %u", i, key[i]);
    if (text_length[i] > TEXT_BYTES_MAX ||
        !shim_in_pool(header[i], HEADER_BYTES + text_length[i]))
      return shim_fail(ABS_EINVAL, "packet %u: %u bytes at %u leave the pool", i, text_length[i],
                       header[i]);
  }
  return 0;
}

/*
 * The nonces of a burst. They are written well before they are read, because the library reads 16
 * bytes at once and the CPU would wait for the smaller writes to reach the cache.
 */
static inline void make_nonces(uint8_t nonce[][NONCE_ROOM_BYTES], const uint32_t *header,
                               uint32_t count)
{
  for (uint32_t i = 0; i < count; i++) {
    (void)memset(nonce[i], 0, NONCE_ROOM_BYTES);
    (void)memcpy(nonce[i] + 4, shim_pool.base + header[i] + COUNTER_OFFSET, 8);
  }
}

/* One AEAD call: @sealing encrypts, otherwise decrypts; @tag: out, the computed one. */
static inline void run_aead(uint32_t key, int sealing, const uint8_t *nonce, uint8_t *header,
                            uint64_t text_length, uint32_t confidential, uint8_t *tag)
{
  uint8_t *text = header + HEADER_BYTES;
  uint64_t covered = confidential ? HEADER_BYTES : HEADER_BYTES + text_length;
  uint64_t length = confidential ? text_length : 0;
  struct gcm_key_data *gcm = &keys[key].gcm;
  struct gcm_context_data gcm_state;
  struct chacha20_poly1305_context_data state;
  switch (algorithms[key]) {
  case ABS_AES_128_GCM:
    if (sealing)
      IMB_AES128_GCM_ENC(library, gcm, &gcm_state, text, text, length, nonce, header, covered, tag,
                         PROOF_BYTES);
    else
      IMB_AES128_GCM_DEC(library, gcm, &gcm_state, text, text, length, nonce, header, covered, tag,
                         PROOF_BYTES);
    break;
  case ABS_AES_256_GCM:
    if (sealing)
      IMB_AES256_GCM_ENC(library, gcm, &gcm_state, text, text, length, nonce, header, covered, tag,
                         PROOF_BYTES);
    else
      IMB_AES256_GCM_DEC(library, gcm, &gcm_state, text, text, length, nonce, header, covered, tag,
                         PROOF_BYTES);
    break;
  default:
    IMB_CHACHA20_POLY1305_INIT(library, keys[key].chacha, &state, nonce, header, covered);
    if (sealing && length > 0)
      IMB_CHACHA20_POLY1305_ENC_UPDATE(library, keys[key].chacha, &state, text, text, length);
    else if (length > 0)
      IMB_CHACHA20_POLY1305_DEC_UPDATE(library, keys[key].chacha, &state, text, text, length);
    IMB_CHACHA20_POLY1305_ENC_FINALIZE(library, &state, tag, PROOF_BYTES);
  }
}

/**
 * abs_seal_burst - compute the proofs of a burst of DATA packets and write them.
 * @key: @count key numbers. @header: @count offsets of ABS headers; bytes 0-15 and the 16 bytes
 * that stand for the proof (wire.md) are in place. @text_length: @count, bytes behind the header,
 * 0..65535.
 * @confidential: @count, 0: header and text are authenticated; 1: the text is encrypted too.
 * @count: 1..ABS_BURST_MAX.
 * Any thread that owns the packets. Returns @count; or a negative code, and no packet was touched.
 */
int32_t abs_seal_burst(const uint32_t *key, const uint32_t *header, const uint32_t *text_length,
                       const uint32_t *confidential, uint32_t count)
{
  if (key == NULL || header == NULL || text_length == NULL || confidential == NULL || count == 0 ||
      count > ABS_BURST_MAX)
    return shim_fail(ABS_EINVAL, "count %u: not 1..%d, or no arrays", count, ABS_BURST_MAX);
  if (check_burst(key, header, text_length, count) < 0)
    return ABS_EINVAL;
  uint8_t nonce[ABS_BURST_MAX][NONCE_ROOM_BYTES];
  uint8_t tag[PROOF_BYTES];
  for (uint32_t i = 0; i < SHIM_PREFETCH_AHEAD && i < count; i++)
    prefetch_key(key[i], text_length[i]);
  make_nonces(nonce, header, count);
  for (uint32_t i = 0; i < count; i++) {
    uint8_t *start = shim_pool.base + header[i];
    if (i + SHIM_PREFETCH_AHEAD < count)
      prefetch_key(key[i + SHIM_PREFETCH_AHEAD], text_length[i + SHIM_PREFETCH_AHEAD]);
    run_aead(key[i], 1, nonce[i], start, text_length[i], confidential[i], tag);
    (void)memcpy(start + PROOF_OFFSET, tag, PROOF_BYTES);
  }
  return (int32_t)count;
}

/**
 * abs_open_burst - check the proofs of a burst of DATA packets.
 * @key, @header, @text_length, @confidential, @count: as abs_seal_burst(); the received proof is in
 *         header bytes 16-31, which are unspecified afterwards.
 * @pseudo: 16 * @count bytes: what stands there while the proof is computed.
 * @valid: out, @count bytes: 1 when the proof is right, else 0 and the text is unspecified.
 * Any thread that owns the packets. Returns @count; or a negative code, and no packet was touched.
 */
int32_t abs_open_burst(const uint32_t *key, const uint32_t *header, const uint32_t *text_length,
                       const uint32_t *confidential, const uint8_t *pseudo, uint8_t *valid,
                       uint32_t count)
{
  if (key == NULL || header == NULL || text_length == NULL || confidential == NULL ||
      pseudo == NULL || valid == NULL || count == 0 || count > ABS_BURST_MAX)
    return shim_fail(ABS_EINVAL, "count %u: not 1..%d, or no arrays", count, ABS_BURST_MAX);
  if (check_burst(key, header, text_length, count) < 0)
    return ABS_EINVAL;
  uint8_t nonce[ABS_BURST_MAX][NONCE_ROOM_BYTES];
  uint64_t received[ABS_BURST_MAX][2];
  uint64_t computed[2];
  for (uint32_t i = 0; i < SHIM_PREFETCH_AHEAD && i < count; i++)
    prefetch_key(key[i], text_length[i]);
  make_nonces(nonce, header, count);
  for (uint32_t i = 0; i < count; i++) {
    uint8_t *proof = shim_pool.base + header[i] + PROOF_OFFSET;
    (void)memcpy(received[i], proof, PROOF_BYTES);
    (void)memcpy(proof, pseudo + (size_t)i * PROOF_BYTES, PROOF_BYTES);
  }
  for (uint32_t i = 0; i < count; i++) {
    if (i + SHIM_PREFETCH_AHEAD < count)
      prefetch_key(key[i + SHIM_PREFETCH_AHEAD], text_length[i + SHIM_PREFETCH_AHEAD]);
    run_aead(key[i], 0, nonce[i], shim_pool.base + header[i], text_length[i], confidential[i],
             (uint8_t *)computed);
    valid[i] = ((received[i][0] ^ computed[0]) | (received[i][1] ^ computed[1])) == 0;
  }
  return (int32_t)count;
}

/**
 * abs_hmac_sha256 - HMAC-SHA-256 (RFC 2104) of a range of the pool.
 * @key: @key_bytes bytes, 0..64. @offset, @length: the range, 0..2048 bytes. @out: out, 32 bytes.
 * Any thread. Returns 0 or a negative code.
 */
int32_t abs_hmac_sha256(const uint8_t *key, uint32_t key_bytes, uint32_t offset, uint32_t length,
                        uint8_t *out)
{
  uint8_t inner[HMAC_BLOCK_BYTES + HMAC_TEXT_BYTES_MAX];
  uint8_t outer[HMAC_BLOCK_BYTES + HMAC_DIGEST_BYTES];
  if (library == NULL)
    return shim_fail(ABS_ESTATE, "there is no key table yet");
  if (key == NULL || out == NULL || key_bytes > HMAC_BLOCK_BYTES || length > HMAC_TEXT_BYTES_MAX ||
      !shim_in_pool(offset, length))
    return shim_fail(ABS_EINVAL, "a key of %u bytes over %u at %u: out of range", key_bytes, length,
                     offset);
  for (uint32_t i = 0; i < HMAC_BLOCK_BYTES; i++) {
    uint8_t byte = i < key_bytes ? key[i] : 0;
    inner[i] = byte ^ 0x36;
    outer[i] = byte ^ 0x5c;
  }
  (void)memcpy(inner + HMAC_BLOCK_BYTES, shim_pool.base + offset, length);
  IMB_SHA256(library, inner, HMAC_BLOCK_BYTES + length, outer + HMAC_BLOCK_BYTES);
  IMB_SHA256(library, outer, sizeof(outer), out);
  return 0;
}
