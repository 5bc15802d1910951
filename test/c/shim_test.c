/*
 * shim_test.c - drives every call of the shim under address and undefined-behaviour sanitizers, on
 * null and ring ports: bursts of every size, and the arguments just inside and just outside each
 * bound. What the AEAD and the matcher compute is checked against other libraries in
 * test/shim.test.ts; here it is whether memory is respected. Arrays are allocated to the exact
 * size, so one element too many is seen. Prints "N checks passed"; the first failed check ends it
 * with status 1.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../c/abs_shim.h"

#define POOL_PACKETS 1024
#define ROOM_BYTES 2176
#define HEADROOM_BYTES 128
#define DATA_BYTES_MAX (ROOM_BYTES - HEADROOM_BYTES)
#define KEY_CAPACITY 8

/* EAL keeps copies of the arguments of each start, also of the one that failed. */
ABS_API const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
  return "leak:eal_save_args\n";
}

ABS_API const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
  return "print_suppressions=0";
}

static unsigned int checks;
static uint8_t *pool;
static uint64_t pool_bytes;

#define CHECK(condition) check((condition), #condition, __LINE__)

static void check(int condition, const char *words, int line)
{
  checks++;
  if (condition)
    return;
  (void)fprintf(stderr, "line %d: not so: %s (%s)\n", line, words, abs_last_error());
  exit(1);
}

/* One burst's arrays, each exactly @count long. */
struct burst {
  uint32_t count;
  uint32_t *handle, *offset, *length, *key, *confidential;
  uint8_t *pseudo, *valid;
};

static uint32_t *words(uint32_t count)
{
  uint32_t *array = calloc(count, sizeof(*array));
  CHECK(array != NULL);
  return array;
}

static struct burst burst_of(uint32_t count)
{
  struct burst burst = { .count = count,
                         .handle = words(count),
                         .offset = words(count),
                         .length = words(count),
                         .key = words(count),
                         .confidential = words(count),
                         .pseudo = calloc(count, 16),
                         .valid = calloc(count, 1) };
  return burst;
}

static void burst_free(struct burst *burst)
{
  free(burst->handle);
  free(burst->offset);
  free(burst->length);
  free(burst->key);
  free(burst->confidential);
  free(burst->pseudo);
  free(burst->valid);
}

static void test_order(void)
{
  uint32_t one = 0;
  uint64_t size = 0;
  CHECK(abs_abi_version() == ABS_ABI_VERSION);
  CHECK(abs_last_error()[0] == '\0');
  CHECK(strstr(abs_versions(), "DPDK") != NULL);
  CHECK(abs_pool_map(&size, &size) == ABS_ESTATE);
  CHECK(abs_pool_available() == 0);
  CHECK(abs_alloc_burst(&one, &one, 1) == ABS_ESTATE);
  CHECK(abs_free_burst(&one, 1) == ABS_EINVAL);
  CHECK(abs_ring_create("r", 8) == ABS_ESTATE);
  CHECK(abs_key_set(0, ABS_AES_128_GCM, (const uint8_t *)"0123456789abcdef") == ABS_EINVAL);
  CHECK(abs_seal_burst(&one, &one, &one, &one, 1) == ABS_EINVAL);
  CHECK(abs_hmac_sha256((uint8_t *)&one, 1, 0, 0, (uint8_t *)&one) == ABS_ESTATE);
  CHECK(abs_eal_start(NULL) == ABS_EINVAL);
  CHECK(abs_eal_start("") == ABS_EINVAL);
  char *many = malloc(2 * 70 + 1);
  for (int i = 0; i < 70; i++)
    (void)memcpy(many + 2 * i, "a\n", 3);
  CHECK(abs_eal_start(many) == ABS_EINVAL);
  free(many);
  char *longest = malloc(5000);
  (void)memset(longest, 'a', 4999);
  longest[4999] = '\0';
  CHECK(abs_eal_start(longest) == ABS_EINVAL);
  free(longest);
}

static void test_start(void)
{
  CHECK(abs_eal_start("abs\n--no-such-option") == ABS_EDPDK);
  CHECK(strstr(abs_last_error(), "Invalid argument") != NULL);
  CHECK(abs_eal_start("abs\n--lcores=0@(0)\n--no-huge\n--no-shconf\n-m\n64\n--iova-mode=va\n"
                      "--no-telemetry\n--no-pci") == 0);
  CHECK(abs_eal_start("abs") == ABS_ESTATE);
  CHECK(abs_pool_create(63, ROOM_BYTES) == ABS_EINVAL);
  CHECK(abs_pool_create(POOL_PACKETS, 511) == ABS_EINVAL);
  CHECK(abs_pool_create(POOL_PACKETS, 16385) == ABS_EINVAL);
  CHECK(abs_pool_create(1048576, ROOM_BYTES) == ABS_EDPDK); /* more than -m allows */
  CHECK(abs_pool_create(POOL_PACKETS, ROOM_BYTES) == 0);
  CHECK(abs_pool_create(POOL_PACKETS, ROOM_BYTES) == ABS_ESTATE);
  uint64_t base = 0;
  CHECK(abs_pool_map(&base, NULL) == ABS_EINVAL);
  CHECK(abs_pool_map(&base, &pool_bytes) == 0);
  pool = (uint8_t *)(uintptr_t)base;
  CHECK(abs_thread_register() == 0);
  CHECK(abs_keys_create(0) == ABS_EINVAL);
  CHECK(abs_keys_create(ABS_KEY_MAX + 1) == ABS_EINVAL);
  CHECK(abs_keys_create(KEY_CAPACITY) == 0);
  CHECK(abs_keys_create(KEY_CAPACITY) == ABS_ESTATE);
}

static void test_packets(uint16_t from, uint16_t to)
{
  for (uint32_t count = 1; count <= ABS_BURST_MAX; count++) {
    struct burst burst = burst_of(count);
    CHECK(abs_alloc_burst(burst.handle, burst.offset, count) == (int32_t)count);
    for (uint32_t i = 0; i < count; i++) {
      burst.length[i] = i % 2 ? DATA_BYTES_MAX : 1;
      (void)memset(pool + burst.offset[i], (int)i, burst.length[i]);
    }
    CHECK(abs_tx_burst(from, 0, burst.handle, burst.offset, burst.length, count) == (int32_t)count);
    CHECK(abs_rx_burst(to, 0, burst.handle, burst.offset, burst.length, count) == (int32_t)count);
    for (uint32_t i = 0; i < count; i++)
      CHECK(pool[burst.offset[i]] == i && burst.length[i] == (i % 2 ? DATA_BYTES_MAX : 1));
    burst.length[count - 1] = DATA_BYTES_MAX + 1;
    CHECK(abs_tx_burst(from, 0, burst.handle, burst.offset, burst.length, count) == ABS_EINVAL);
    CHECK(abs_free_burst(burst.handle, count) == 0);
    burst_free(&burst);
  }
  CHECK(abs_pool_available() == POOL_PACKETS);
}

static void test_port_bounds(uint16_t port)
{
  struct burst burst = burst_of(1);
  CHECK(abs_alloc_burst(burst.handle, burst.offset, 1) == 1);
  burst.length[0] = 60;
  uint32_t *h = burst.handle, *o = burst.offset, *l = burst.length;
  CHECK(abs_rx_burst(port, 0, h, o, l, 0) == ABS_EINVAL);
  CHECK(abs_rx_burst(port, 0, h, o, l, ABS_BURST_MAX + 1) == ABS_EINVAL);
  CHECK(abs_rx_burst(port, 1, h, o, l, 1) == ABS_EINVAL);
  CHECK(abs_rx_burst(ABS_PORT_MAX, 0, h, o, l, 1) == ABS_EINVAL);
  CHECK(abs_rx_burst(65535, 65535, h, o, l, 1) == ABS_EINVAL);
  CHECK(abs_rx_burst(port, 0, NULL, o, l, 1) == ABS_EINVAL);
  CHECK(abs_tx_burst(port, 0, h, o, l, 0) == ABS_EINVAL);
  CHECK(abs_tx_burst(port, 1, h, o, l, 1) == ABS_EINVAL);
  CHECK(abs_tx_burst(ABS_PORT_MAX, 0, h, o, l, 1) == ABS_EINVAL);
  CHECK(abs_alloc_burst(h, o, ABS_BURST_MAX + 1) == ABS_EINVAL);
  CHECK(abs_free_burst(h, ABS_BURST_MAX + 1) == ABS_EINVAL);
  CHECK(abs_port_start(port, 1, 512, 0, 0) == ABS_ESTATE);
  CHECK(abs_port_start(ABS_PORT_MAX, 1, 512, 0, 0) == ABS_EINVAL);
  CHECK(abs_port_stop(12) == ABS_EINVAL);
  CHECK(abs_port_descriptor(port, 0) == ABS_ESTATE);
  CHECK(abs_port_descriptor(port, ABS_QUEUE_MAX) == ABS_EINVAL);
  uint8_t *mac = malloc(6), *name = malloc(4);
  double *counts = malloc(8 * sizeof(*counts));
  CHECK(abs_port_mac(port, mac) == 0);
  CHECK(abs_port_driver(port, name, 4) == 0 && name[3] == '\0'); /* cut, and still ended */
  CHECK(abs_port_stats(port, counts) == 0 && counts[0] > 0);
  CHECK(abs_port_attach("", "") == ABS_EINVAL);
  char long_name[65] = "net_null";
  (void)memset(long_name + 8, '1', 56);
  CHECK(abs_port_attach(long_name, "") == ABS_EINVAL);
  CHECK(abs_port_pair("", 4, (uint16_t *)o) == ABS_EINVAL);
  CHECK(abs_port_pair("p", 0, (uint16_t *)o) == ABS_EINVAL);
  CHECK(abs_port_find(NULL) == ABS_EINVAL);
  free(mac);
  free(name);
  free(counts);
  CHECK(abs_free_burst(h, 1) == 0);
  burst_free(&burst);
}

static void test_rings(void)
{
  int32_t ring = abs_ring_create("ring", 3);
  CHECK(ring == 0 && abs_ring_create("ring", 3) == ABS_EDPDK);
  struct burst burst = burst_of(5);
  CHECK(abs_alloc_burst(burst.handle, burst.offset, 5) == 5);
  for (uint32_t i = 0; i < 5; i++)
    burst.length[i] = 60;
  CHECK(abs_ring_put(0, burst.handle, burst.offset, burst.length, 5) == 3);
  CHECK(abs_free_burst(burst.handle + 3, 2) == 0);
  CHECK(abs_ring_take(0, burst.handle, burst.offset, burst.length, 5) == 3);
  CHECK(abs_ring_take(1, burst.handle, burst.offset, burst.length, 5) == ABS_EINVAL);
  CHECK(abs_ring_put(1, burst.handle, burst.offset, burst.length, 3) == ABS_EINVAL);
  CHECK(abs_free_burst(burst.handle, 3) == 0);
  burst_free(&burst);
}

static void test_proofs(uint32_t algorithm)
{
  uint8_t *bytes = calloc(1, algorithm == ABS_AES_128_GCM ? 16 : 32);
  for (uint32_t key = 0; key < KEY_CAPACITY; key++) {
    bytes[0] = (uint8_t)key;
    CHECK(abs_key_set(key, algorithm, bytes) == 0);
  }
  free(bytes);
  for (uint32_t count = 1; count <= ABS_BURST_MAX; count++) {
    struct burst burst = burst_of(count);
    CHECK(abs_alloc_burst(burst.handle, burst.offset, count) == (int32_t)count);
    for (uint32_t i = 0; i < count; i++) {
      burst.length[i] = (i * 97 + count) % (DATA_BYTES_MAX - 32 + 1);
      burst.key[i] = i % KEY_CAPACITY;
      burst.confidential[i] = i & 1;
      (void)memset(pool + burst.offset[i], 0x5a, 32 + (size_t)burst.length[i]);
      (void)memset(burst.pseudo + 16 * (size_t)i, 0x5a, 16);
    }
    CHECK(abs_seal_burst(burst.key, burst.offset, burst.length, burst.confidential, count) ==
          (int32_t)count);
    pool[burst.offset[0]] ^= 1;
    CHECK(abs_open_burst(burst.key, burst.offset, burst.length, burst.confidential, burst.pseudo,
                         burst.valid, count) == (int32_t)count);
    for (uint32_t i = 0; i < count; i++)
      CHECK(burst.valid[i] == (i > 0) && (i == 0 || burst.length[i] == 0 ||
                                          pool[burst.offset[i] + 32] == 0x5a));
    burst.key[count - 1] = KEY_CAPACITY;
    CHECK(abs_seal_burst(burst.key, burst.offset, burst.length, burst.confidential, count) ==
          ABS_EINVAL);
    burst.key[count - 1] = 0;
    uint32_t offset = burst.offset[count - 1];
    burst.offset[count - 1] = (uint32_t)pool_bytes - 32;
    burst.length[count - 1] = 1;
    CHECK(abs_open_burst(burst.key, burst.offset, burst.length, burst.confidential, burst.pseudo,
                         burst.valid, count) == ABS_EINVAL);
    burst.offset[count - 1] = offset;
    CHECK(abs_free_burst(burst.handle, count) == 0);
    burst_free(&burst);
  }
  CHECK(abs_key_clear(KEY_CAPACITY) == ABS_EINVAL && abs_key_clear(0) == 0);
}

static void test_hmac(void)
{
  uint8_t *key = calloc(1, 64), *out = malloc(32);
  for (uint32_t length = 0; length <= 2048; length += 31)
    CHECK(abs_hmac_sha256(key, length % 65, (uint32_t)pool_bytes - length, length, out) == 0);
  CHECK(abs_hmac_sha256(key, 65, 0, 1, out) == ABS_EINVAL);
  CHECK(abs_hmac_sha256(key, 64, 0, 2049, out) == ABS_EINVAL);
  CHECK(abs_hmac_sha256(key, 64, (uint32_t)pool_bytes, 1, out) == ABS_EINVAL);
  free(key);
  free(out);
}

/* Appends an entry of abs_match_compile() to @blob; returns where the next begins. */
static uint32_t put_entry(uint8_t *blob, uint32_t at, uint32_t kind, uint32_t id, const char *text,
                          uint32_t size)
{
  const uint32_t word[6] = { kind, id, 2, 0, UINT32_MAX, size };
  (void)memcpy(blob + at, word, sizeof(word));
  (void)memcpy(blob + at + sizeof(word), text, size);
  return at + (uint32_t)sizeof(word) + size;
}

/* Contents 0 and 1: "abc" anywhere with a byte test, and ^x.z with a test of its own. */
static uint8_t *match_entries(uint32_t *size)
{
  uint8_t *blob = malloc(256);
  uint32_t at = put_entry(blob, 0, 4, 0, "abc", 3);
  at = put_entry(blob, at, 1, 0, "abc", 4);
  at = put_entry(blob, at, 2, 1, "^x.z", 5);
  *size = put_entry(blob, at, 1, 1, "^x.z", 5);
  return realloc(blob, *size);
}

static void test_match_set(const uint8_t *entries, uint32_t size)
{
  for (uint32_t part = 1; part < size; part++) {
    uint8_t *cut = malloc(part);
    (void)memcpy(cut, entries, part);
    int32_t made = abs_match_compile(cut, part, 2);
    CHECK(made == ABS_EINVAL || abs_match_release((uint32_t)made) == 0);
    free(cut);
  }
  CHECK(abs_match_compile(entries, size, 0) == ABS_EINVAL);
  CHECK(abs_match_compile(entries, size, 1) == ABS_EINVAL);
  CHECK(abs_match_compile(entries, size, 2) == 0);
  int32_t bytes = abs_match_save(0, NULL, 0);
  CHECK(bytes > 0 && abs_match_save(1, NULL, 0) == ABS_EINVAL);
  uint8_t *saved = malloc((size_t)bytes);
  CHECK(abs_match_save(0, saved, (uint32_t)bytes) == bytes);
  CHECK(abs_match_load(entries, size, 2, NULL, 0) == ABS_EINVAL);
  for (uint32_t part = 0; part < (uint32_t)bytes; part += 37) {
    uint8_t *cut = malloc(part + 1);
    (void)memcpy(cut, saved, part);
    CHECK(abs_match_load(entries, size, 2, cut, part) == ABS_EMATCH);
    free(cut);
  }
  CHECK(abs_match_load(entries, size, 2, saved, (uint32_t)bytes) == 1);
  CHECK(abs_match_release(0) == 0);
  free(saved);
}

static void test_matching(void)
{
  uint32_t size;
  uint8_t *entries = match_entries(&size);
  test_match_set(entries, size);
  free(entries);
  char *text = malloc(6);
  (void)memcpy(text, "abcxyz", 6);
  uint32_t *offset = words(2), *length = words(2), *match = words(6);
  offset[1] = 3;
  length[0] = 3;
  length[1] = 3;
  uint8_t *base = (uint8_t *)text;
  CHECK(abs_match_burst(1, base, offset, length, 2, match, 2) == ABS_ESTATE);
  CHECK(abs_match_test(1, 1, base, 3, 0) == ABS_ESTATE);
  CHECK(abs_match_prepare(1) == 0 && abs_match_prepare(0) == ABS_EINVAL);
  CHECK(abs_match_burst(1, base, offset, length, 2, match, 2) == 2);
  CHECK(match[0] == 0 && match[1] == 0 && match[2] == 3);
  CHECK(match[3] == 1 && match[4] == 1 && match[5] == 3);
  CHECK(abs_match_burst(1, base, offset, length, 2, match, 1) == 1);
  CHECK(abs_match_burst(1, base, offset, length, 2, match, 0) == ABS_EINVAL);
  CHECK(abs_match_burst(1, base, offset, length, ABS_BURST_MAX + 1, match, 2) == ABS_EINVAL);
  CHECK(abs_match_test(1, 0, base, 3, 0) == 1 && abs_match_test(1, 0, base, 3, 1) == 0);
  CHECK(abs_match_test(1, 0, base, 2, 0) == 0 && abs_match_test(1, 0, base, 6, 7) == 0);
  CHECK(abs_match_test(1, 1, base + 3, 3, 0) == 1 && abs_match_test(1, 1, base, 6, 0) == 0);
  CHECK(abs_match_test(1, 2, base, 3, 0) == ABS_EINVAL);
  CHECK(abs_match_release(1) == 0 && abs_match_release(1) == ABS_EINVAL);
  CHECK(abs_match_release(ABS_DATABASE_MAX) == ABS_EINVAL);
  CHECK(abs_match_check("a(", 0) == ABS_EMATCH && abs_match_check("a", 0) == 0);
  free(text);
  free(offset);
  free(length);
  free(match);
}

/* Sleeps its time although a descriptor has an error, one that can be fetched or one that stays. */
static void test_waiting(void)
{
  struct sockaddr_in closed = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int ends[2];
  int32_t descriptor[2];
  double from = abs_now_us();
  CHECK(abs_wait(NULL, 0, 200) == 0 && abs_now_us() - from >= 200);
  CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
  descriptor[0] = ends[1];
  descriptor[1] = socket(AF_INET, SOCK_DGRAM, 0);
  closed.sin_port = htons(9); /* discard: nobody listens, and ICMP says so */
  CHECK(connect(descriptor[1], (struct sockaddr *)&closed, sizeof(closed)) == 0);
  CHECK(send(descriptor[1], "x", 1, 0) == 1);
  from = abs_now_us();
  CHECK(abs_wait(descriptor, 2, 20000) == 0 && abs_now_us() - from >= 20000);
  CHECK(close(descriptor[0]) == 0 && close(descriptor[1]) == 0);
}

int main(void)
{
  uint16_t pair[2];
  struct burst burst = burst_of(ABS_BURST_MAX);
  test_order();
  test_start();
  CHECK(abs_port_pair("pair", 64, pair) == 0);
  CHECK(abs_port_start(pair[0], 1, 512, 0, 0) == 0 && abs_port_start(pair[1], 1, 512, 0, 1) == 0);
  test_packets(pair[0], pair[1]);
  int32_t null = abs_port_attach("net_null0", "size=64");
  CHECK(null >= 0 && abs_port_attach("net_null0", "size=64") == ABS_ESTATE);
  CHECK(abs_port_start((uint16_t)null, 1, 512, 0, 0) == 0);
  CHECK(abs_rx_burst((uint16_t)null, 0, burst.handle, burst.offset, burst.length, 64) == 64);
  CHECK(abs_tx_burst((uint16_t)null, 0, burst.handle, burst.offset, burst.length, 64) == 64);
  test_port_bounds((uint16_t)null);
  test_rings();
  for (uint32_t algorithm = ABS_AES_128_GCM; algorithm <= ABS_CHACHA20_POLY1305; algorithm++)
    test_proofs(algorithm);
  test_hmac();
  test_matching();
  test_waiting();
  CHECK(abs_wait(NULL, 1, 0) == ABS_EINVAL);
  CHECK(abs_wait((int32_t *)burst.handle, 65, 0) == ABS_EINVAL);
  CHECK(abs_port_stop(pair[0]) == 0 && abs_port_stop(pair[1]) == 0);
  CHECK(abs_port_stop((uint16_t)null) == 0);
  CHECK(abs_pool_available() == POOL_PACKETS);
  CHECK(abs_thread_unregister() == 0);
  burst_free(&burst);
  printf("%u checks passed\n", checks);
  return 0;
}
