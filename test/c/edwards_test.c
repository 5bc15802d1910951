/*
 * edwards_test.c - drives every call of edwards_shim.c under address and undefined-behaviour
 * sanitizers: missing arguments, encodings of every first and last byte, and arrays of the exact
 * size, so one byte too many is seen. What is computed is checked against noble and RFC 9381's
 * vectors in test/chain/edwards25519.test.ts. Prints "N checks passed"; the first failed check ends
 * it with status 1.
 */
#include "../../c/abs_curves.h"
#include "check.h"

/* One of each shape; outputs are filled with 7. */
struct shapes {
  uint8_t *x, *nonce, *c, *y, *h, *gamma, *k_b, *k_h, *s, *proof, *u, *v;
};

static struct shapes make_shapes(void)
{
  struct shapes made = {
    .x = bytes_of(32, 0x5a), .nonce = bytes_of(64, 0xff), .c = bytes_of(16, 0xff),
    .y = bytes_of(32, 7), .h = bytes_of(32, 7), .gamma = bytes_of(32, 7),
    .k_b = bytes_of(32, 7), .k_h = bytes_of(32, 7), .s = bytes_of(32, 7),
    .proof = bytes_of(80, 7), .u = bytes_of(32, 7), .v = bytes_of(32, 7),
  };
  return made;
}

static void free_shapes(const struct shapes *made)
{
  uint8_t *const all[] = {made->x, made->nonce, made->c, made->y, made->h, made->gamma, made->k_b,
                          made->k_h, made->s, made->proof, made->u, made->v};
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
    free(all[i]);
}

/* c*Y = s*B - U and c*Gamma = s*H - V hold of what commit and respond gave. */
static void test_proof(const struct shapes *of)
{
  CHECK(abs_edwards_public_key(of->x, of->y) == 0 && abs_edwards_is_key(of->y) == 1);
  CHECK(abs_edwards_clear_cofactor(of->y, of->h) == 1 && memcmp(of->h, of->y, 32) != 0);
  CHECK(abs_edwards_commit(of->x, of->nonce, of->h, of->gamma, of->k_b, of->k_h) == 0);
  CHECK(abs_edwards_respond(of->x, of->nonce, of->c, of->s) == 0);
  (void)memcpy(of->proof, of->gamma, 32);
  (void)memcpy(of->proof + 32, of->c, 16);
  (void)memcpy(of->proof + 48, of->s, 32);
  CHECK(abs_edwards_recompute(of->y, of->h, of->proof, of->u, of->v) == 1);
  CHECK(memcmp(of->u, of->k_b, 32) == 0 && memcmp(of->v, of->k_h, 32) == 0);
  of->proof[48] ^= 1;
  CHECK(abs_edwards_recompute(of->y, of->h, of->proof, of->u, of->v) == 1);
  CHECK(memcmp(of->u, of->k_b, 32) != 0 && memcmp(of->v, of->k_h, 32) != 0);
}

static void test_missing(const struct shapes *of)
{
  CHECK(abs_edwards_is_key(NULL) == ABS_CURVES_EINVAL);
  CHECK(abs_edwards_clear_cofactor(NULL, of->u) == ABS_CURVES_EINVAL);
  CHECK(abs_edwards_clear_cofactor(of->y, NULL) == ABS_CURVES_EINVAL);
  CHECK(abs_edwards_public_key(NULL, of->u) == ABS_CURVES_EINVAL);
  CHECK(abs_edwards_public_key(of->x, NULL) == ABS_CURVES_EINVAL);
  for (int absent = 0; absent < 6; absent++) {
    uint8_t *given[] = {of->x, of->nonce, of->h, of->gamma, of->k_b, of->k_h};
    given[absent] = NULL;
    CHECK(abs_edwards_commit(given[0], given[1], given[2], given[3], given[4], given[5]) ==
          ABS_CURVES_EINVAL);
  }
  for (int absent = 0; absent < 4; absent++) {
    uint8_t *given[] = {of->x, of->nonce, of->c, of->s};
    given[absent] = NULL;
    CHECK(abs_edwards_respond(given[0], given[1], given[2], given[3]) == ABS_CURVES_EINVAL);
  }
  for (int absent = 0; absent < 5; absent++) {
    uint8_t *given[] = {of->y, of->h, of->proof, of->u, of->v};
    given[absent] = NULL;
    CHECK(abs_edwards_recompute(given[0], given[1], given[2], given[3], given[4]) ==
          ABS_CURVES_EINVAL);
  }
}

/* What is refused leaves the outputs alone. */
static void test_refused(const struct shapes *of)
{
  uint8_t *outside = bytes_of(32, 0xff);
  uint8_t *out = bytes_of(32, 7), *before = bytes_of(32, 7);
  CHECK(abs_edwards_is_key(outside) == 0);
  CHECK(abs_edwards_clear_cofactor(outside, out) == 0);
  CHECK(abs_edwards_public_key(outside, out) == ABS_CURVES_EINVAL);
  CHECK(abs_edwards_commit(outside, of->nonce, of->h, out, out, out) == ABS_CURVES_EINVAL);
  CHECK(abs_edwards_commit(of->x, of->nonce, outside, out, out, out) == ABS_CURVES_EINVAL);
  CHECK(abs_edwards_recompute(outside, of->h, of->proof, out, out) == 0);
  CHECK(abs_edwards_recompute(of->y, outside, of->proof, out, out) == 0);
  (void)memset(of->proof + 48, 0xff, 32);
  CHECK(abs_edwards_recompute(of->y, of->h, of->proof, out, out) == 0);
  (void)memset(of->proof, 0xff, 80);
  CHECK(abs_edwards_recompute(of->y, of->h, of->proof, out, out) == 0);
  CHECK(memcmp(out, before, 32) == 0);
  free(outside);
  free(out);
  free(before);
}

/* Every first and last byte around runs of 0 and of ff: near 0, near the prime, either sign. */
static void test_encodings(const struct shapes *of)
{
  uint8_t *point = bytes_of(32, 0);
  for (int filler = 0; filler <= 0xff; filler += 0xff) {
    (void)memset(point, filler, 32);
    for (int first = 0; first <= 0xff; first++) {
      for (int last = 0; last <= 0xff; last++) {
        point[0] = (uint8_t)first;
        point[31] = (uint8_t)last;
        int32_t is_point = abs_edwards_clear_cofactor(point, of->u);
        CHECK(is_point == 0 || is_point == 1);
        CHECK(abs_edwards_is_key(point) <= is_point);
        (void)memcpy(of->proof, point, 32);
        (void)memset(of->proof + 48, 0, 32);
        if (last % 16 == 15)
          CHECK(abs_edwards_recompute(of->y, of->h, of->proof, of->u, of->v) == is_point);
      }
    }
  }
  free(point);
}

int main(void)
{
  struct shapes made = make_shapes();
  test_proof(&made);
  test_missing(&made);
  test_refused(&made);
  test_encodings(&made);
  free_shapes(&made);
  printf("%u checks passed\n", checks);
  return 0;
}
