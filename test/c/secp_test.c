/*
 * secp_test.c - drives every call of secp_shim.c under address and undefined-behaviour sanitizers:
 * order of calls, arguments just inside and just outside each bound, and arrays of the exact size,
 * so one byte too many is seen. What is computed is checked against noble and published vectors in
 * test/chain/secp256k1.test.ts. Prints "N checks passed"; the first failed check ends it with
 * status 1.
 */
#include "../../c/abs_curves.h"
#include "check.h"

static void test_order(uint8_t *hash, uint8_t *secret_key, uint8_t *signature, uint8_t *public_key)
{
  uint8_t valid = 7;
  CHECK(abs_curves_abi_version() == ABS_CURVES_ABI_VERSION);
  CHECK(abs_secp_public_key(secret_key, public_key) == ABS_CURVES_ESTATE);
  CHECK(abs_secp_is_public_key(public_key) == ABS_CURVES_ESTATE);
  CHECK(abs_secp_sign(hash, secret_key, signature) == ABS_CURVES_ESTATE);
  CHECK(abs_secp_verify(hash, signature, public_key) == ABS_CURVES_ESTATE);
  CHECK(abs_secp_verify_many(hash, signature, public_key, &valid, 1) == ABS_CURVES_ESTATE);
  CHECK(valid == 7);
  CHECK(abs_secp_start(NULL) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_start(hash) == 0 && abs_secp_start(hash) == ABS_CURVES_ESTATE);
}

static void test_bounds(uint8_t *hash, uint8_t *secret_key, uint8_t *signature, uint8_t *public_key)
{
  uint8_t *bad_key = bytes_of(32, 0);
  uint8_t valid = 7;
  CHECK(abs_secp_public_key(bad_key, public_key) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_sign(hash, bad_key, signature) == ABS_CURVES_EINVAL);
  (void)memset(bad_key, 0xff, 32);
  CHECK(abs_secp_public_key(bad_key, public_key) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_sign(hash, bad_key, signature) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_public_key(NULL, public_key) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_public_key(secret_key, NULL) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_is_public_key(NULL) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_sign(NULL, secret_key, signature) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_sign(hash, NULL, signature) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_sign(hash, secret_key, NULL) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_verify(NULL, signature, public_key) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_verify(hash, NULL, public_key) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_verify(hash, signature, NULL) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_verify_many(hash, signature, public_key, NULL, 1) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_verify_many(hash, signature, public_key, &valid, 0) == ABS_CURVES_EINVAL);
  CHECK(abs_secp_verify_many(hash, signature, public_key, &valid, ABS_SECP_MANY_MAX + 1) ==
        ABS_CURVES_EINVAL);
  CHECK(valid == 7);
  free(bad_key);
}

/* Every size of call, the last signature wrong. */
static void test_many(const uint8_t *secret_key, const uint8_t *public_key)
{
  for (uint32_t count = 1; count <= ABS_SECP_MANY_MAX; count++) {
    uint8_t *hash = bytes_of(32 * (size_t)count, 0);
    uint8_t *signature = bytes_of(64 * (size_t)count, 0);
    uint8_t *keys = bytes_of(33 * (size_t)count, 0);
    uint8_t *valid = bytes_of(count, 7);
    for (size_t i = 0; i < count; i++) {
      (void)memset(hash + 32 * i, (int)i, 32);
      (void)memcpy(keys + 33 * i, public_key, 33);
      CHECK(abs_secp_sign(hash + 32 * i, secret_key, signature + 64 * i) == 0);
    }
    signature[64 * (size_t)count - 1] ^= 1;
    CHECK(abs_secp_verify_many(hash, signature, keys, valid, count) == (int32_t)count - 1);
    for (uint32_t i = 0; i < count; i++)
      CHECK(valid[i] == (i < count - 1));
    free(hash);
    free(signature);
    free(keys);
    free(valid);
  }
}

int main(void)
{
  uint8_t *hash = bytes_of(32, 0xff); /* past the order of the curve */
  uint8_t *secret_key = bytes_of(32, 1);
  uint8_t *signature = bytes_of(64, 0);
  uint8_t *public_key = bytes_of(33, 0);
  test_order(hash, secret_key, signature, public_key);
  test_bounds(hash, secret_key, signature, public_key);
  (void)memset(public_key, 0, 33);
  CHECK(abs_secp_is_public_key(public_key) == 0);
  CHECK(abs_secp_public_key(secret_key, public_key) == 0);
  CHECK(abs_secp_is_public_key(public_key) == 1);
  CHECK(abs_secp_sign(hash, secret_key, signature) == 0);
  CHECK(abs_secp_verify(hash, signature, public_key) == 1);
  hash[0] ^= 1;
  CHECK(abs_secp_verify(hash, signature, public_key) == 0);
  public_key[0] = 4;
  CHECK(abs_secp_verify(hash, signature, public_key) == 0);
  CHECK(abs_secp_public_key(secret_key, public_key) == 0);
  test_many(secret_key, public_key);
  free(hash);
  free(secret_key);
  free(signature);
  free(public_key);
  printf("%u checks passed\n", checks);
  return 0;
}
