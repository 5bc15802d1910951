/*
 * edwards_shim.c - the edwards25519 arithmetic of the VRF (RFC 9381 §5, suite 0x03) by libsodium's
 * group functions; hashing and the order of the steps are src/chain/ecvrf.ts.
 *
 * The group functions are those inside libsodium (private/ed25519_ref10.h), built from the same
 * source as this: its public ones refuse points outside the prime-order subgroup, which RFC 9381
 * and noble accept, and nodes must agree on every verdict. What uses a secret (x, the nonce) takes
 * the same time for every secret; what judges proofs does not have to. Stateless.
 */
#include <stddef.h>
#include <string.h>

#include <private/ed25519_ref10.h>

#include "abs_curves.h"

#define POINT_BYTES 32
#define SCALAR_BYTES 32
#define CHALLENGE_BYTES 16
#define NONCE_BYTES 64 /* a SHA-512, reduced here */

static const uint8_t zero[SCALAR_BYTES];

/* Whether @bytes, decoded to @point or its negative, are how RFC 8032 §5.1.3 wants it encoded: the
 * decoders take a y past the prime, and a sign where x is 0. */
static int is_strict(const uint8_t *bytes, const ge25519_p3 *point)
{
  return ge25519_is_canonical(bytes) == 1 && !(bytes[31] >> 7 && fe25519_iszero(point->X));
}

static int decode(ge25519_p3 *point, const uint8_t *bytes)
{
  return ge25519_frombytes(point, bytes) == 0 && is_strict(bytes, point);
}

/* -P of what is encoded; time depends on it. */
static int decode_negated(ge25519_p3 *negated, const uint8_t *bytes)
{
  return ge25519_frombytes_negate_vartime(negated, bytes) == 0 && is_strict(bytes, negated);
}

/* @point = @point + @other; right for every pair, also equal ones. */
static void add(ge25519_p3 *point, const ge25519_p3 *other)
{
  ge25519_cached cached;
  ge25519_p1p1 sum;
  ge25519_p3_to_cached(&cached, other);
  ge25519_add(&sum, point, &cached);
  ge25519_p1p1_to_p3(point, &sum);
}

/* @point = @scalar * @base; time depends on both. @scalar < 2^253. */
static void multiply_public(ge25519_p3 *point, const uint8_t *scalar, const ge25519_p3 *base)
{
  ge25519_p2 product;
  ge25519_p1p1 completed;
  ge25519_double_scalarmult_vartime(&product, scalar, base, zero);
  /* ((X:Z),(Y:Z)) is the same point: from there the library goes on to extended coordinates. */
  memcpy(completed.X, product.X, sizeof(fe25519));
  memcpy(completed.Y, product.Y, sizeof(fe25519));
  memcpy(completed.Z, product.Z, sizeof(fe25519));
  memcpy(completed.T, product.Z, sizeof(fe25519));
  ge25519_p1p1_to_p3(point, &completed);
}

/* @out = @scalar * @base, encoded; takes the same time for every scalar. @scalar < 2^255. */
static void multiply_secret(uint8_t *out, const uint8_t *scalar, const ge25519_p3 *base)
{
  ge25519_p3 product;
  ge25519_scalarmult(&product, scalar, base);
  ge25519_p3_tobytes(out, &product);
}

/**
 * abs_edwards_is_key - whether bytes are a public key that may be used, RFC 9381 §5.4.5.
 * @point: 32 bytes. Any thread. Returns 1; 0 for what is no point or one of small order; or
 * ABS_CURVES_EINVAL.
 */
int32_t abs_edwards_is_key(const uint8_t *point)
{
  ge25519_p3 decoded;
  if (point == NULL)
    return ABS_CURVES_EINVAL;
  return decode(&decoded, point) && ge25519_has_small_order(point) == 0;
}

/**
 * abs_edwards_clear_cofactor - eight times a point, RFC 9381 §5.4.1.1 and §5.2.
 * @point: 32 bytes. @out: out, 32 bytes, which may be 1, the neutral point; untouched when 0.
 * Any thread. Returns 1, 0 when @point is none, or ABS_CURVES_EINVAL.
 */
int32_t abs_edwards_clear_cofactor(const uint8_t *point, uint8_t *out)
{
  ge25519_p3 cleared;
  if (point == NULL || out == NULL)
    return ABS_CURVES_EINVAL;
  if (!decode(&cleared, point))
    return 0;
  for (int doubling = 0; doubling < 3; doubling++)
    add(&cleared, &cleared);
  ge25519_p3_tobytes(out, &cleared);
  return 1;
}

/**
 * abs_edwards_public_key - Y = x*B.
 * @x: 32 bytes, the secret scalar, below 2^255. @y: out, 32 bytes.
 * Any thread. Returns 0 or ABS_CURVES_EINVAL.
 */
int32_t abs_edwards_public_key(const uint8_t *x, uint8_t *y)
{
  ge25519_p3 product;
  if (x == NULL || y == NULL || x[31] >> 7)
    return ABS_CURVES_EINVAL;
  ge25519_scalarmult_base(&product, x);
  ge25519_p3_tobytes(y, &product);
  return 0;
}

/**
 * abs_edwards_commit - the points of a proof, RFC 9381 §5.1 steps 4 and 6.
 * @x: 32 bytes, as above. @nonce: 64 bytes, secret; k is their residue. @h: 32 bytes, a point.
 * @gamma, @k_b, @k_h: out, 32 bytes each: x*H, k*B, k*H; untouched on failure.
 * Any thread. Returns 0 or ABS_CURVES_EINVAL, also when @h is no point.
 */
int32_t abs_edwards_commit(const uint8_t *x, const uint8_t *nonce, const uint8_t *h,
                           uint8_t *gamma, uint8_t *k_b, uint8_t *k_h)
{
  uint8_t k[NONCE_BYTES];
  ge25519_p3 base;
  if (x == NULL || nonce == NULL || h == NULL || gamma == NULL || k_b == NULL || k_h == NULL ||
      x[31] >> 7 || !decode(&base, h))
    return ABS_CURVES_EINVAL;
  memcpy(k, nonce, NONCE_BYTES);
  sc25519_reduce(k);
  multiply_secret(gamma, x, &base);
  multiply_secret(k_h, k, &base);
  (void)abs_edwards_public_key(k, k_b);
  sodium_memzero(k, sizeof(k));
  return 0;
}

/**
 * abs_edwards_respond - s = k + c*x modulo the order, RFC 9381 §5.1 step 8.
 * @x, @nonce: as given to abs_edwards_commit(). @c: 16 bytes. @s: out, 32 bytes.
 * Any thread. Returns 0 or ABS_CURVES_EINVAL.
 */
int32_t abs_edwards_respond(const uint8_t *x, const uint8_t *nonce, const uint8_t *c, uint8_t *s)
{
  uint8_t k[NONCE_BYTES];
  uint8_t challenge[SCALAR_BYTES] = {0};
  if (x == NULL || nonce == NULL || c == NULL || s == NULL)
    return ABS_CURVES_EINVAL;
  memcpy(k, nonce, NONCE_BYTES);
  sc25519_reduce(k);
  memcpy(challenge, c, CHALLENGE_BYTES);
  sc25519_muladd(s, challenge, x, k);
  sodium_memzero(k, sizeof(k));
  return 0;
}

/**
 * abs_edwards_recompute - what a proof commits to, RFC 9381 §5.3 steps 5 and 6.
 * @y: 32 bytes, a key that abs_edwards_is_key() took. @h: 32 bytes, a point.
 * @proof: 80 bytes: Gamma 32, c 16, s 32.
 * @u, @v: out, 32 bytes each: s*B - c*Y and s*H - c*Gamma; untouched when 0.
 * Any thread. Returns 1; 0 when y, h or Gamma is no point or s is not below the order; or
 * ABS_CURVES_EINVAL.
 */
int32_t abs_edwards_recompute(const uint8_t *y, const uint8_t *h, const uint8_t *proof, uint8_t *u,
                              uint8_t *v)
{
  uint8_t c[SCALAR_BYTES] = {0};
  ge25519_p3 base, negated_y, negated_gamma, sum;
  ge25519_p2 product;
  if (y == NULL || h == NULL || proof == NULL || u == NULL || v == NULL)
    return ABS_CURVES_EINVAL;
  const uint8_t *s = proof + POINT_BYTES + CHALLENGE_BYTES;
  if (sc25519_is_canonical(s) == 0 || !decode_negated(&negated_y, y) ||
      !decode_negated(&negated_gamma, proof) || !decode(&base, h))
    return 0;
  memcpy(c, proof + POINT_BYTES, CHALLENGE_BYTES);
  ge25519_double_scalarmult_vartime(&product, c, &negated_y, s);
  ge25519_tobytes(u, &product);
  multiply_public(&sum, s, &base);
  multiply_public(&negated_gamma, c, &negated_gamma);
  add(&sum, &negated_gamma);
  ge25519_p3_tobytes(v, &sum);
  return 1;
}
