/*
 * The `bench` face of abs-oracle: how long the C data plane takes for a packet. The load is the one
 * of src/bench/dataplane-load.ts: `flows` UDP flows in a random order, spread over `sessions` peers
 * of one session each. A burst comes from DPDK's null driver, is filled with packets, handled, and
 * sent to the null driver; receiving, handling and sending are timed, filling is not.
 */
#include "oracle.h"

#include <math.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c/abs_shim.h"
#include "../c/shim_internal.h"

#define FLOW_CAPACITY 1000000u /* tables have the agent's size whatever the load */
#define SESSION_SLOTS 4096u
#define FRAME_HEADER_BYTES 42u /* Ethernet, IPv4, UDP */
#define ABS_HEADER_BYTES 32u
#define LOCAL_ADDRESS 0x0a000001u
#define REMOTE_ADDRESS 0x0a010000u
#define LOCAL_PORT 10000u
#define REMOTE_PORT 443u
#define TAG 1u
#define ORDER_MIN 65536u
#define WARM_UP_BURSTS 2000u
#define CLOCK_READINGS 10000u
#define BURSTS_MAX 4000000u
#define WORD_MAX 32

struct run {
  int ingress;
  uint32_t payload, flows, sessions, packets;
};

struct load {
  struct run run;
  struct plane plane;
  uint32_t *order; /* flow numbers, each as often as any other, shuffled */
  uint32_t order_length, next;
  uint64_t *counter; /* of packets sent to us, by session */
};

static struct load load;
static uint16_t port_in, port_out;

/* xorshift32: the order only has to be the same in every run. */
static uint32_t next_random(uint32_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 17;
  return *state ^= *state << 5;
}

static void add_session(struct plane *plane, uint32_t peer)
{
  uint8_t key[16] = { 0 };
  struct pair pair = { .version = 4, .peer = peer, .local = { 0, 0, 0, LOCAL_ADDRESS },
    .remote = { 0, 0, 0, REMOTE_ADDRESS + peer },
    .hash_out = { peer, 1, 2 }, .hash_in = { peer, 3, 4 } };

  plane->session[peer] = (struct session){ .receiver_index = (peer + 1) << 12 | peer,
    .state = SESSION_LIVE, .peer = peer, .tag = TAG, .role = 1, .remote_index = peer + 1,
    .key_out = 2 * peer, .key_in = 2 * peer + 1 };
  for (uint32_t i = 0; i < 2; i++) {
    memcpy(key, &peer, sizeof peer);
    key[15] = (uint8_t)i;
    abs_key_set(2 * peer + i, ABS_AES_128_GCM, key);
  }
  oracle_add_pair(plane, &pair);
  plane->send_session[peer] = peer + 1;
  plane->peer_mtu[peer] = 1468;
}

static int build(const struct run *run)
{
  struct plane *plane = &load.plane;
  uint32_t state = 2463534242u;

  oracle_free(plane);
  oracle_tables(plane, FLOW_CAPACITY, SESSION_SLOTS, SESSION_SLOTS);
  plane->carrier_protocol = 253;
  for (uint32_t peer = 0; peer < run->sessions; peer++)
    add_session(plane, peer);
  for (uint32_t flow = 0; flow < run->flows; flow++) {
    uint32_t peer = flow % run->sessions;
    uint32_t word[FLOW_WORDS] = { [F_REMOTE3] = REMOTE_ADDRESS + peer, [F_LOCAL3] = LOCAL_ADDRESS,
      [F_PORTS] = (LOCAL_PORT + flow / run->sessions) << 16 | REMOTE_PORT, [F_PROTOCOL] = 17,
      [F_STATE] = FLOW_ALLOWED | FLOW_FROM_REMOTE, [F_BINDING] = peer + 1,
      [F_TAG_RULE] = TAG << 16, [F_PEER] = peer << 16 | (peer + 1) };

    if (oracle_add_flow(&plane->flows, word))
      return 1;
  }
  free(load.order);
  free(load.counter);
  load.order_length = run->flows < ORDER_MIN ? ORDER_MIN / run->flows * run->flows : run->flows;
  load.order = malloc(load.order_length * sizeof *load.order);
  load.counter = calloc(run->sessions, sizeof *load.counter);
  if (!load.order || !load.counter)
    abort();
  for (uint32_t i = 0; i < load.order_length; i++)
    load.order[i] = i % run->flows;
  for (uint32_t i = load.order_length - 1; i > 0; i--) {
    uint32_t other = next_random(&state) % (i + 1), flow = load.order[i];

    load.order[i] = load.order[other];
    load.order[other] = flow;
  }
  load.next = 0;
  return 0;
}

/* Ethernet, IPv4 and UDP headers of a packet; `at` is its first byte, `ip_payload` starts at 34. */
static void fill_headers(uint8_t *at, uint32_t source, uint32_t destination, uint32_t ports,
                         uint32_t ip_bytes, uint32_t protocol, uint32_t identification)
{
  uint32_t sum = 0x4500 + ip_bytes + identification + 0x4000 + (64 << 8 | protocol) +
                 (source >> 16) + (source & 0xffff) + (destination >> 16) + (destination & 0xffff);

  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  store32(at, 0x02000000);
  store32(at + 4, 0x00020200);
  store32(at + 8, 0x00000001);
  store32(at + 12, 0x08004500);
  store32(at + 16, ip_bytes << 16 | identification);
  store32(at + 20, 0x40000000 | 64 << 8 | protocol);
  store32(at + 24, (~sum & 0xffff) << 16 | source >> 16);
  store32(at + 28, (source & 0xffff) << 16 | destination >> 16);
  store16(at + 32, destination & 0xffff);
  if (protocol == 17)
    store32(at + 34, ports);
}

/* Where a burst's packets lie and what they say; filling them is not part of the work. */
static void fill(struct rte_mbuf **mbuf, uint32_t count)
{
  const struct run *run = &load.run;
  uint32_t key[ORACLE_BURST], header[ORACLE_BURST], text[ORACLE_BURST], clear[ORACLE_BURST];
  uint32_t inner = 28 + run->payload;

  for (uint32_t i = 0; i < count; i++) {
    uint32_t flow = load.order[load.next], peer = flow % run->sessions;
    uint32_t own_port = LOCAL_PORT + flow / run->sessions, identification = load.next & 0xffff;
    uint8_t *at = rte_pktmbuf_mtod(mbuf[i], uint8_t *), *udp = at + 34;
    uint32_t bytes = FRAME_HEADER_BYTES + run->payload + (run->ingress ? ABS_HEADER_BYTES : 0);

    load.next = load.next + 1 == load.order_length ? 0 : load.next + 1;
    mbuf[i]->data_len = (uint16_t)bytes;
    mbuf[i]->pkt_len = bytes;
    if (!run->ingress) {
      fill_headers(at, LOCAL_ADDRESS, REMOTE_ADDRESS + peer, own_port << 16 | REMOTE_PORT, inner,
                   17, identification);
    } else {
      /* As add_session() says, not read from the tables: that would warm them up, untimed. */
      uint64_t counter = load.counter[peer]++;

      fill_headers(at, REMOTE_ADDRESS + peer, LOCAL_ADDRESS, 0, inner + ABS_HEADER_BYTES, 253,
                   identification);
      udp += ABS_HEADER_BYTES;
      store32(udp, REMOTE_PORT << 16 | own_port);
      store32(at + 34, 0x15110000 | 0x4000);
      store32(at + 38, (peer + 1) << 12 | peer);
      store32(at + 42, (uint32_t)(counter >> 32));
      store32(at + 46, (uint32_t)counter);
      store32(at + 50, peer);
      store32(at + 54, 3);
      store32(at + 58, 4);
      store32(at + 62, inner << 16 | identification);
      key[i] = 2 * peer + 1;
      header[i] = (uint32_t)(at + 34 - shim_pool.base);
      text[i] = 8 + run->payload;
      clear[i] = 0;
    }
    store32(udp + 4, (8 + run->payload) << 16);
  }
  if (run->ingress)
    abs_seal_burst(key, header, text, clear, count);
}

static int compare(const void *left, const void *right)
{
  double l = *(const double *)left, r = *(const double *)right;

  return l < r ? -1 : l > r;
}

/* What two readings of the clock are apart with nothing between them, in µs: the median. */
static double clock_us(void)
{
  static double apart[CLOCK_READINGS];

  for (uint32_t i = 0; i < CLOCK_READINGS; i++) {
    double before = abs_now_us();

    apart[i] = abs_now_us() - before;
  }
  qsort(apart, CLOCK_READINGS, sizeof apart[0], compare);
  return apart[CLOCK_READINGS / 2];
}

/* One burst; returns the µs of its timed part, or a negative number when a packet went missing. */
static double one_burst(double clock)
{
  struct rte_mbuf *mbuf[ORACLE_BURST], *out[ORACLE_BURST];
  double begin = abs_now_us(), received, filled;
  uint32_t count = rte_eth_rx_burst(port_in, 0, mbuf, ORACLE_BURST), sent;

  received = abs_now_us();
  fill(mbuf, count);
  filled = abs_now_us();
  load.plane.now_us = filled;
  load.plane.now_seconds = (uint32_t)(filled / 1e6);
  sent = load.run.ingress ? oracle_ingress(&load.plane, mbuf, count, out)
                          : oracle_egress(&load.plane, mbuf, count, out);
  if (sent)
    sent = rte_eth_tx_burst(port_out, 0, out, (uint16_t)sent);
  return sent == ORACLE_BURST ? abs_now_us() - filled + received - begin - 2 * clock : -1;
}

static int measure(const struct run *run)
{
  uint32_t bursts = run->packets / ORACLE_BURST;
  double *took = malloc(bursts * sizeof *took), sum = 0, clock = clock_us();

  if (!took)
    abort();
  if ((run->flows != load.run.flows || run->sessions != load.run.sessions) && build(run))
    return 1;
  load.run = *run;
  for (uint32_t i = 0; i < WARM_UP_BURSTS; i++)
    one_burst(clock);
  for (uint32_t i = 0; i < bursts; i++) {
    took[i] = one_burst(clock);
    if (took[i] < 0)
      return oracle_fail("a packet of the load was dropped");
    sum += took[i];
  }
  qsort(took, bursts, sizeof *took, compare);
  printf("{\"ns\":%.3f,\"ns_p50\":%.3f,\"gap_us_p9999\":%.1f}\n",
         sum * 1000 / bursts / ORACLE_BURST, took[bursts / 2] * 1000 / ORACLE_BURST,
         took[(uint32_t)ceil(bursts * 0.9999) - 1]);
  fflush(stdout);
  free(took);
  return 0;
}

static int parse(struct run *run, int count, char **word)
{
  struct { const char *name; uint32_t *value; uint32_t low, high; } table[] = {
    { "--payload", &run->payload, 0, 1400 }, { "--flows", &run->flows, 1, FLOW_CAPACITY },
    { "--sessions", &run->sessions, 1, SESSION_SLOTS },
    { "--packets", &run->packets, ORACLE_BURST, BURSTS_MAX * ORACLE_BURST },
  };

  for (int i = 0; i + 1 < count; i += 2) {
    size_t row = 0;

    if (!strcmp(word[i], "--direction")) {
      run->ingress = !strcmp(word[i + 1], "ingress");
      continue;
    }
    while (row < sizeof table / sizeof *table && strcmp(word[i], table[row].name))
      row++;
    if (row == sizeof table / sizeof *table)
      return oracle_fail("unknown option");
    *table[row].value = (uint32_t)strtoul(word[i + 1], NULL, 10);
    if (*table[row].value < table[row].low || *table[row].value > table[row].high)
      return oracle_fail("an option is out of its range");
  }
  /* More sessions than flows would never be used, and every port must fit. */
  if (count % 2 || run->sessions > run->flows || run->flows / run->sessions > 50000)
    return oracle_fail("options do not fit together");
  return 0;
}

int oracle_bench(int count, char **word)
{
  struct run run = { .payload = 64, .flows = 10000, .sessions = 1000, .packets = 1000000 };
  char line[256], *part[WORD_MAX];
  int serve = count == 1 && !strcmp(word[0], "--serve");

  if (!serve && parse(&run, count, word))
    return 2;
  if (oracle_start() || oracle_null_port("net_null0", &port_in) ||
      oracle_null_port("net_null1", &port_out))
    return 1;
  if (!serve)
    return measure(&run);
  while (fgets(line, sizeof line, stdin)) {
    int parts = 0;

    for (char *at = strtok(line, " \n"); at && parts < WORD_MAX; at = strtok(NULL, " \n"))
      part[parts++] = at;
    if (parse(&run, parts, part) || measure(&run))
      return 1;
  }
  return 0;
}
