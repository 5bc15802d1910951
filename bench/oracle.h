/*
 * abs-oracle: the data plane's work in C, to compare speed and bytes with src/dataplane; oracle.c.
 *
 * Tables have the capacities and the contents of the TypeScript ones: a flow record is the same 16
 * words, a replay window has the same number of packets. Addresses are four words, an IPv4 address
 * is in word 3. Offsets count from the pool's base.
 */
#ifndef ABS_ORACLE_H
#define ABS_ORACLE_H

#include <rte_mbuf.h>
#include <stdint.h>

#define ORACLE_BURST 64
#define ORACLE_LANES 16
#define ORACLE_WINDOW_PACKETS 4096
/* More words than the window needs: a word is cleared as a whole when it is entered (RFC 6479). */
#define ORACLE_RING_WORDS (2 * ORACLE_WINDOW_PACKETS / 64)

/* Words of a flow record and its states, as src/dataplane/flow-table.ts. */
enum {
  F_REMOTE3, F_LOCAL3, F_PORTS, F_PROTOCOL, F_REMOTE0, F_LOCAL0 = 7, F_STATE = 10, F_BINDING,
  F_TAG_RULE, F_PEER, F_SEEN, F_LINK, FLOW_WORDS
};
#define FLOW_ALLOWED 4u
#define FLOW_OUTSIDE 6u
#define FLOW_FROM_REMOTE 0x100u
#define FLOW_IPV6 0x100u
#define SESSION_LIVE 2u

struct flow {
  uint32_t word[FLOW_WORDS];
} __attribute__((aligned(64)));

struct rte_hash;

struct flow_table {
  struct flow *flow;
  struct rte_hash *by_ipv4, *by_ipv6; /* key to flow number */
  uint32_t count, capacity;
};

/* A flow's key; an IPv4 key is its first 16 bytes. */
struct flow_key {
  uint32_t remote3, local3, ports, protocol;
  uint32_t remote[3], local[3];
};
#define FLOW_KEY4_BYTES 16u

struct session {
  uint32_t receiver_index, state, peer, tag;
  uint32_t role, remote_index, key_out, key_in;
  uint32_t confidential_out, confidential_in;
  double last_sent_us, last_received_us;
  uint64_t counter[ORACLE_LANES];
} __attribute__((aligned(64)));

struct window {
  uint64_t end; /* one more than the greatest counter seen */
  uint64_t bit[ORACLE_RING_WORDS];
};

struct pair { /* an own address and one of a peer's */
  uint32_t local[4], remote[4];
  uint32_t version, peer;
  uint32_t hash_out[3], hash_in[3];
} __attribute__((aligned(64)));

/* This VM in bench and comparison: 02:00:00:00:00:01, as in src/bench/bench-plane.ts. */
#define OWN_MAC_HIGH 0x0200u
#define OWN_MAC_LOW 0x00000001u

struct plane {
  struct flow_table flows;
  struct session *session; /* by slot */
  struct window *window;   /* by slot * ORACLE_LANES + lane */
  struct pair *pair;
  uint32_t *pair_slot; /* pair number + 1 */
  uint32_t *send_session; /* by binding: slot + 1 */
  uint32_t *peer_mtu;     /* by peer: greatest inner IP packet */
  uint32_t sessions, pairs, pair_mask, slots;
  uint32_t carrier_protocol, lane, now_seconds;
  uint32_t own_mac_high, own_mac_low; /* of this VM: first two bytes, last four */
  double now_us;
};

/* ---- oracle_tables.c ---- */

/* Makes empty tables for so many entries; the index of flows is sized for `capacity` of them. */
void oracle_tables(struct plane *plane, uint32_t capacity, uint32_t slots, uint32_t pairs);
void oracle_free(struct plane *plane);
int oracle_add_flow(struct flow_table *flows, const uint32_t *word);
void oracle_add_pair(struct plane *plane, const struct pair *pair);
/*
 * The flows of a burst of keys: `out` gets each one's record, its line on the way into the cache,
 * or NULL. A key of protocol word 0 is not looked up.
 */
void oracle_find_flows(const struct flow_table *flows, const struct flow_key *key, uint32_t count,
                       uint32_t **out);
uint32_t oracle_pair_hash(const uint32_t *local, const uint32_t *remote);

/* ---- oracle_parse.c ---- */

struct parsed {
  uint32_t ip_start, payload_start, ip_end; /* IP header, its payload, end by its length field */
  uint32_t identification, fragment;
  uint32_t source[4], destination[4];
  uint32_t source_port, destination_port;
  uint32_t protocol_word; /* as F_PROTOCOL: transport protocol, IPv6 flag, VLAN id; never 0 */
  uint8_t version, protocol, tcp_changes, uncommon;
};

/* Parses the frame in [start, end); 0: malformed. `uncommon`: the slow path has to decide. */
int oracle_parse(const uint8_t *base, uint32_t start, uint32_t end, struct parsed *out);

/* ---- oracle_egress.c, oracle_ingress.c ---- */

/*
 * Handle a burst; packets to send are in `out` in order, their data described by the mbuf. All
 * others are freed. Return how many are in `out`.
 */
uint32_t oracle_egress(struct plane *plane, struct rte_mbuf **mbuf, uint32_t count,
                       struct rte_mbuf **out);
uint32_t oracle_ingress(struct plane *plane, struct rte_mbuf **mbuf, uint32_t count,
                        struct rte_mbuf **out);

/* Writes the three words of an IPv4 header that crafting changes, and its checksum (RFC 1624). */
void oracle_rewrite_ipv4(uint8_t *ip, uint32_t total_length, uint32_t fragment, uint32_t protocol);

/* ---- oracle.c, oracle_bench.c, oracle_apply.c, forward.c ---- */

int oracle_fail(const char *words);

/* Starts EAL without huge pages and without PCI, makes the pool and the key table. */
int oracle_start(void);
/* Attaches a device to this namespace and starts it with one queue each way. */
int oracle_port(const char *name, const char *arguments, uint16_t *port);
int oracle_null_port(const char *name, uint16_t *port);

int oracle_bench(int count, char **word);
int oracle_apply(int count, char **word);
int oracle_forward(int count, char **word);

/* ---- bytes ---- */

static inline uint32_t load32(const uint8_t *at)
{
  uint32_t value;
  __builtin_memcpy(&value, at, sizeof value);
  return __builtin_bswap32(value);
}

static inline uint32_t load16(const uint8_t *at)
{
  uint16_t value;
  __builtin_memcpy(&value, at, sizeof value);
  return __builtin_bswap16(value);
}

static inline void store32(uint8_t *at, uint32_t value)
{
  value = __builtin_bswap32(value);
  __builtin_memcpy(at, &value, sizeof value);
}

static inline void store16(uint8_t *at, uint32_t value)
{
  uint16_t half = __builtin_bswap16((uint16_t)value);
  __builtin_memcpy(at, &half, sizeof half);
}

#endif
