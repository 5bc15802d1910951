/*
 * Tables of abs-oracle: flows by DPDK's rte_hash with CRC-32C in hardware, IPv4 and IPv6 apart as
 * in DPDK's own l3fwd, looked up a burst at a time with prefetches; address pairs by a small table.
 */
#include "oracle.h"

#include <nmmintrin.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_prefetch.h>
#include <stdlib.h>
#include <string.h>

/* Zeroed memory of whole cache lines; large pieces come from the kernel untouched, as in Bun. */
static void *zeroed(size_t bytes)
{
  size_t rounded = (bytes + 63) / 64 * 64;
  void *memory = aligned_alloc(64, rounded);

  if (!memory)
    abort();
  return memset(memory, 0, rounded);
}

static uint32_t slots_for(uint32_t entries)
{
  uint32_t slots = 4;

  while (slots < 2 * entries)
    slots *= 2;
  return slots;
}

static struct rte_hash *make_hash(const char *name, uint32_t capacity, uint32_t key_bytes)
{
  struct rte_hash_parameters parameters = { .name = name, .entries = capacity,
    .key_len = key_bytes, .hash_func = rte_hash_crc, .socket_id = SOCKET_ID_ANY };
  struct rte_hash *hash = rte_hash_create(&parameters);

  if (!hash)
    abort();
  return hash;
}

void oracle_tables(struct plane *plane, uint32_t capacity, uint32_t slots, uint32_t pairs)
{
  plane->flows.flow = zeroed(capacity * sizeof(struct flow));
  plane->flows.by_ipv4 = make_hash("flows4", capacity, FLOW_KEY4_BYTES);
  plane->flows.by_ipv6 = make_hash("flows6", capacity, sizeof(struct flow_key));
  plane->flows.capacity = capacity;
  plane->own_mac_high = OWN_MAC_HIGH;
  plane->own_mac_low = OWN_MAC_LOW;
  plane->session = zeroed(slots * sizeof(struct session));
  plane->window = zeroed((size_t)slots * ORACLE_LANES * sizeof(struct window));
  plane->slots = slots;
  plane->pair = zeroed(pairs * sizeof(struct pair));
  plane->pair_slot = zeroed(slots_for(pairs) * sizeof(uint32_t));
  plane->pair_mask = slots_for(pairs) - 1;
  plane->send_session = zeroed(65536 * sizeof(uint32_t));
  plane->peer_mtu = zeroed(65536 * sizeof(uint32_t));
}

void oracle_free(struct plane *plane)
{
  free(plane->flows.flow);
  rte_hash_free(plane->flows.by_ipv4);
  rte_hash_free(plane->flows.by_ipv6);
  free(plane->session);
  free(plane->window);
  free(plane->pair);
  free(plane->pair_slot);
  free(plane->send_session);
  free(plane->peer_mtu);
  memset(plane, 0, sizeof *plane);
}

uint32_t oracle_pair_hash(const uint32_t *local, const uint32_t *remote)
{
  uint64_t hash = _mm_crc32_u64(0, (uint64_t)local[3] << 32 | remote[3]);

  if (local[0] | local[1] | local[2] | remote[0] | remote[1] | remote[2]) {
    hash = _mm_crc32_u64(hash, (uint64_t)local[0] << 32 | local[1]);
    hash = _mm_crc32_u64(hash, (uint64_t)local[2] << 32 | remote[0]);
    hash = _mm_crc32_u64(hash, (uint64_t)remote[1] << 32 | remote[2]);
  }
  return (uint32_t)hash;
}

int oracle_add_flow(struct flow_table *flows, const uint32_t *word)
{
  struct flow_key key = { word[F_REMOTE3], word[F_LOCAL3], word[F_PORTS], word[F_PROTOCOL],
    { word[F_REMOTE0], word[F_REMOTE0 + 1], word[F_REMOTE0 + 2] },
    { word[F_LOCAL0], word[F_LOCAL0 + 1], word[F_LOCAL0 + 2] } };
  struct rte_hash *hash = key.protocol & FLOW_IPV6 ? flows->by_ipv6 : flows->by_ipv4;
  uint32_t number = flows->count;

  if (number == flows->capacity || rte_hash_add_key_data(hash, &key, (void *)(uintptr_t)number))
    return oracle_fail("no room for a flow");
  memcpy(flows->flow[number].word, word, sizeof(struct flow));
  flows->count++;
  return 0;
}

/* Looks up the keys numbered `index` in one table. */
static void find_in(const struct flow_table *flows, const struct rte_hash *hash,
                    const struct flow_key *key, const uint8_t *index, uint32_t count,
                    uint32_t **out)
{
  const void *wanted[ORACLE_BURST];
  void *number[ORACLE_BURST];
  uint64_t hits = 0;

  if (!count)
    return;
  for (uint32_t i = 0; i < count; i++)
    wanted[i] = &key[index[i]];
  rte_hash_lookup_bulk_data(hash, wanted, count, &hits, number);
  for (uint32_t i = 0; i < count; i++) {
    if (!(hits >> i & 1))
      continue;
    out[index[i]] = flows->flow[(uintptr_t)number[i]].word;
    rte_prefetch0(out[index[i]]);
  }
}

void oracle_find_flows(const struct flow_table *flows, const struct flow_key *key, uint32_t count,
                       uint32_t **out)
{
  uint8_t ipv4[ORACLE_BURST], ipv6[ORACLE_BURST];
  uint32_t count4 = 0, count6 = 0;

  for (uint32_t i = 0; i < count; i++) {
    out[i] = NULL;
    if (key[i].protocol & FLOW_IPV6)
      ipv6[count6++] = (uint8_t)i;
    else if (key[i].protocol)
      ipv4[count4++] = (uint8_t)i;
  }
  find_in(flows, flows->by_ipv4, key, ipv4, count4, out);
  find_in(flows, flows->by_ipv6, key, ipv6, count6, out);
}

void oracle_add_pair(struct plane *plane, const struct pair *pair)
{
  uint32_t slot = oracle_pair_hash(pair->local, pair->remote) & plane->pair_mask;

  plane->pair[plane->pairs++] = *pair;
  while (plane->pair_slot[slot])
    slot = (slot + 1) & plane->pair_mask;
  plane->pair_slot[slot] = plane->pairs;
}
