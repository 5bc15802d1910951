/*
 * secp_shim.c - ECDSA over secp256k1 by libsecp256k1: keys, signing, checking one or many.
 *
 * One context, made and randomised once in memory of its own; after that it is only read, so that
 * any thread may call. Signing does not depend on secrets in time or in the memory it touches
 * (libsecp256k1's property), and nonces are RFC 6979's: the same hash and key give the same bytes.
 */
#include <stddef.h>
#include <string.h>

#include <secp256k1.h>
#include <secp256k1_preallocated.h>

#include "abs_curves.h"

#define HASH_BYTES 32
#define PUBLIC_KEY_BYTES 33
#define SIGNATURE_BYTES 64
#define CONTEXT_BYTES_MAX 1024 /* libsecp256k1 0.2.0 takes 208 */
#define PARSED_KEYS 256        /* a power of two; a committee has 20 and a master */

static _Alignas(16) uint8_t context_memory[CONTEXT_BYTES_MAX];
static secp256k1_context *context;

/* The library's own would print and abort. The offending call returns 0 as well, which we see. */
static void ignore_illegal_argument(const char *message, void *data)
{
  (void)message;
  (void)data;
}

/** abs_curves_abi_version - ABS_CURVES_ABI_VERSION of this build. Any thread. */
uint32_t abs_curves_abi_version(void)
{
  return ABS_CURVES_ABI_VERSION;
}

/**
 * abs_secp_start - make the context and blind its arithmetic with secrets against side channels.
 * @seed: 32 random bytes, not kept. They change no result.
 * Once, before any other call but abs_curves_abi_version(). Returns 0 or a negative code.
 * A library that finds itself miscompiled aborts: it is not to be trusted with keys.
 */
int32_t abs_secp_start(const uint8_t *seed)
{
  if (context != NULL)
    return ABS_CURVES_ESTATE;
  if (seed == NULL ||
      secp256k1_context_preallocated_size(SECP256K1_CONTEXT_NONE) > sizeof(context_memory))
    return ABS_CURVES_EINVAL;
  secp256k1_context *made =
    secp256k1_context_preallocated_create(context_memory, SECP256K1_CONTEXT_NONE);
  secp256k1_context_set_illegal_callback(made, ignore_illegal_argument, NULL);
  if (secp256k1_context_randomize(made, seed) != 1)
    return ABS_CURVES_EINVAL;
  context = made;
  return 0;
}

/**
 * abs_secp_public_key - the public key of a secret one.
 * @secret_key: 32 bytes. @out: out, 33 bytes; unspecified on failure.
 * Any thread. Returns 0, ABS_CURVES_EINVAL when @secret_key is not 1..order-1, or
 * ABS_CURVES_ESTATE.
 */
int32_t abs_secp_public_key(const uint8_t *secret_key, uint8_t *out)
{
  secp256k1_pubkey point;
  size_t length = PUBLIC_KEY_BYTES;
  if (context == NULL)
    return ABS_CURVES_ESTATE;
  if (secret_key == NULL || out == NULL ||
      secp256k1_ec_pubkey_create(context, &point, secret_key) != 1)
    return ABS_CURVES_EINVAL;
  (void)secp256k1_ec_pubkey_serialize(context, out, &length, &point, SECP256K1_EC_COMPRESSED);
  return 0;
}

/**
 * abs_secp_is_public_key - whether bytes are a point of the curve in compressed form.
 * @public_key: 33 bytes. Any thread. Returns 1, 0, or a negative code.
 */
int32_t abs_secp_is_public_key(const uint8_t *public_key)
{
  secp256k1_pubkey point;
  if (context == NULL)
    return ABS_CURVES_ESTATE;
  if (public_key == NULL)
    return ABS_CURVES_EINVAL;
  return secp256k1_ec_pubkey_parse(context, &point, public_key, PUBLIC_KEY_BYTES);
}

/**
 * abs_secp_sign - sign a hash; the nonce is RFC 6979's with SHA-256 and without extra entropy.
 * @hash: 32 bytes. @secret_key: 32 bytes. @out: out, 64 bytes with low s; unspecified on failure.
 * Any thread. Returns 0, ABS_CURVES_EINVAL when @secret_key is not 1..order-1, or
 * ABS_CURVES_ESTATE.
 */
int32_t abs_secp_sign(const uint8_t *hash, const uint8_t *secret_key, uint8_t *out)
{
  secp256k1_ecdsa_signature signature;
  if (context == NULL)
    return ABS_CURVES_ESTATE;
  if (hash == NULL || secret_key == NULL || out == NULL)
    return ABS_CURVES_EINVAL;
  if (secp256k1_ecdsa_sign(context, &signature, hash, secret_key,
                           secp256k1_nonce_function_rfc6979, NULL) != 1)
    return ABS_CURVES_EINVAL;
  (void)secp256k1_ecdsa_signature_serialize_compact(context, out, &signature);
  return 0;
}

/* Keys with their points, each at the place that its last byte names: finding one takes a square
 * root, a tenth of a check. Only what is a point is kept, so an unused place is no key: byte 0 is 2
 * or 3 in all that are. A thread has its own. */
struct parsed_key {
  uint8_t bytes[PUBLIC_KEY_BYTES];
  secp256k1_pubkey point;
};
static _Thread_local struct parsed_key parsed_keys[PARSED_KEYS];

/* The point of a key, or NULL; good until the next call in this thread. */
static const secp256k1_pubkey *point_of(const uint8_t *public_key)
{
  struct parsed_key *place = &parsed_keys[public_key[PUBLIC_KEY_BYTES - 1] % PARSED_KEYS];
  secp256k1_pubkey point;
  if (memcmp(place->bytes, public_key, PUBLIC_KEY_BYTES) == 0 && public_key[0] != 0)
    return &place->point;
  if (secp256k1_ec_pubkey_parse(context, &point, public_key, PUBLIC_KEY_BYTES) != 1)
    return NULL;
  memcpy(place->bytes, public_key, PUBLIC_KEY_BYTES);
  place->point = point;
  return &place->point;
}

/* 1 only for a signature with low s over @hash by a key that is on the curve. */
static int32_t verify(const uint8_t *hash, const uint8_t *signature, const uint8_t *public_key)
{
  secp256k1_ecdsa_signature parsed;
  const secp256k1_pubkey *point = point_of(public_key);
  return point != NULL &&
         secp256k1_ecdsa_signature_parse_compact(context, &parsed, signature) == 1 &&
         secp256k1_ecdsa_verify(context, &parsed, hash, point) == 1;
}

/**
 * abs_secp_verify - check one signature.
 * @hash: 32 bytes. @signature: 64 bytes. @public_key: 33 bytes. All may be any bytes.
 * Any thread. Returns 1 when valid, 0 when not (high s, r or s of 0 or past the order, a key that
 * is no point of the curve), or a negative code.
 */
int32_t abs_secp_verify(const uint8_t *hash, const uint8_t *signature, const uint8_t *public_key)
{
  if (context == NULL)
    return ABS_CURVES_ESTATE;
  if (hash == NULL || signature == NULL || public_key == NULL)
    return ABS_CURVES_EINVAL;
  return verify(hash, signature, public_key);
}

/**
 * abs_secp_verify_many - check signatures, each by itself: ECDSA has no faster way together.
 * @hash: 32 * @count bytes. @signature: 64 * @count. @public_key: 33 * @count. One after the other.
 * @valid: out, @count bytes: 1 or 0 as abs_secp_verify().
 * @count: 1..ABS_SECP_MANY_MAX.
 * Any thread. Returns how many are valid; or a negative code, and @valid was not touched.
 */
int32_t abs_secp_verify_many(const uint8_t *hash, const uint8_t *signature,
                             const uint8_t *public_key, uint8_t *valid, uint32_t count)
{
  int32_t sum = 0;
  if (context == NULL)
    return ABS_CURVES_ESTATE;
  if (hash == NULL || signature == NULL || public_key == NULL || valid == NULL || count == 0 ||
      count > ABS_SECP_MANY_MAX)
    return ABS_CURVES_EINVAL;
  for (size_t i = 0; i < count; i++) {
    int32_t is_valid = verify(hash + i * HASH_BYTES, signature + i * SIGNATURE_BYTES,
                              public_key + i * PUBLIC_KEY_BYTES);
    valid[i] = (uint8_t)is_valid;
    sum += is_valid;
  }
  return sum;
}
