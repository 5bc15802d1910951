/*
 * Ingress of abs-oracle: what src/dataplane/ingress.ts does with a DATA packet, on the `ip`
 * carrier: the checks of docs/wire.md "DATA" in their order, proofs of a burst in one call,
 * restoring, and the verdict of the flow. Packets that would need the slow path are dropped.
 */
#include "oracle.h"

#include <rte_prefetch.h>
#include <string.h>

#include "../c/abs_shim.h"
#include "../c/shim_internal.h"

#define ABS_HEADER_BYTES 32u
#define ABS_DATA 0x15u /* version 1, flag 5 */
#define NO_NEXT_HEADER 59u

struct job {
  struct parsed packet;
  struct rte_mbuf *mbuf;
  uint32_t start, header, slot, pair, lane, hash; /* hash: of the address pair */
  uint64_t counter;
};

static inline struct window *window_of(const struct plane *plane, const struct job *job)
{
  return &plane->window[job->slot * ORACLE_LANES + job->lane];
}

/* Parses, checks the header, and asks for session and address pair. 0: drop. */
static inline int admit(struct plane *plane, struct job *job)
{
  const uint8_t *header;
  struct parsed *p = &job->packet;
  uint32_t lane_and_high;

  if (!oracle_parse(shim_pool.base, job->start, job->start + job->mbuf->data_len, p) ||
      p->uncommon || p->protocol != plane->carrier_protocol ||
      p->ip_end - p->payload_start < ABS_HEADER_BYTES)
    return 0;
  job->header = p->payload_start;
  header = shim_pool.base + job->header;
  lane_and_high = load32(header + 8);
  job->lane = lane_and_high >> 24;
  if (header[0] != ABS_DATA || job->lane >= ORACLE_LANES)
    return 0;
  job->counter = (uint64_t)(lane_and_high & 0xffffff) << 32 | load32(header + 12);
  job->slot = load32(header + 4) & (plane->slots - 1);
  job->hash = oracle_pair_hash(p->destination, p->source) & plane->pair_mask;
  rte_prefetch0(&plane->session[job->slot]);
  rte_prefetch0(&plane->pair_slot[job->hash]);
  return 1;
}

/* Session by index, then the address pair, which must be one of the session's peer. 0: drop. */
static inline int find_session(struct plane *plane, struct job *job)
{
  const struct session *session = &plane->session[job->slot];
  const struct parsed *p = &job->packet;
  struct window *window = window_of(plane, job);
  uint32_t entry, slot = job->hash;

  if (session->receiver_index != load32(shim_pool.base + job->header + 4) || !session->state)
    return 0;
  rte_prefetch0(&window->end);
  rte_prefetch0(&window->bit[job->counter / 64 % ORACLE_RING_WORDS]);
  while ((entry = plane->pair_slot[slot])) {
    const struct pair *pair = &plane->pair[entry - 1];

    if (pair->version == p->version && !memcmp(pair->local, p->destination, 16) &&
        !memcmp(pair->remote, p->source, 16)) {
      job->pair = entry - 1;
      return pair->peer == session->peer;
    }
    slot = (slot + 1) & plane->pair_mask;
  }
  return 0;
}

static inline int window_check(const struct window *window, uint64_t counter)
{
  if (counter >= window->end)
    return 1;
  if (window->end - counter > ORACLE_WINDOW_PACKETS)
    return 0;
  return !(window->bit[counter / 64 % ORACLE_RING_WORDS] >> (counter % 64) & 1);
}

/* As window_check(), and the counter is used up. */
static inline int window_mark(struct window *window, uint64_t counter)
{
  uint64_t word = counter / 64;

  if (!window_check(window, counter))
    return 0;
  if (counter >= window->end) {
    uint64_t old = window->end ? (window->end - 1) / 64 : 0, words = ORACLE_RING_WORDS;
    uint64_t first = word - old < words ? old + 1 : word - words + 1;

    for (uint64_t i = first; i <= word && word != old; i++)
      window->bit[i % words] = 0;
    window->end = counter + 1;
  }
  window->bit[word % ORACLE_RING_WORDS] |= 1ull << (counter % 64);
  return 1;
}

/* Calls for the proofs of all jobs at once. */
static void open_jobs(struct plane *plane, struct job **job, uint32_t jobs, uint8_t *valid)
{
  uint32_t key[ORACLE_BURST], header[ORACLE_BURST], text[ORACLE_BURST], confidential[ORACLE_BURST];
  uint8_t pseudo[16 * ORACLE_BURST];

  for (uint32_t i = 0; i < jobs; i++) {
    const struct parsed *p = &job[i]->packet;
    const struct session *session = &plane->session[job[i]->slot];
    const uint32_t *hash = plane->pair[job[i]->pair].hash_in;
    uint32_t length = p->ip_end - p->ip_start - ABS_HEADER_BYTES;

    key[i] = session->key_in;
    header[i] = job[i]->header;
    text[i] = p->ip_end - job[i]->header - ABS_HEADER_BYTES;
    confidential[i] = session->confidential_in;
    store32(pseudo + 16 * i, hash[0]);
    store32(pseudo + 16 * i + 4, hash[1]);
    store32(pseudo + 16 * i + 8, hash[2]);
    store32(pseudo + 16 * i + 12, (p->version == 4 ? length : text[i]) << 16 | p->identification);
  }
  abs_open_burst(key, header, text, confidential, pseudo, valid, jobs);
}

/* Undoes the crafting, parses what was inside, notes the flow's key. 0: drop. */
static inline int restore(struct plane *plane, struct job *job, struct flow_key *key)
{
  struct parsed *p = &job->packet;
  struct session *session = &plane->session[job->slot];
  uint8_t *base = shim_pool.base, *ip = base + p->ip_start;
  uint32_t word0 = load32(base + job->header), protocol = word0 >> 16 & 0xff;
  uint32_t bytes = p->payload_start - job->start, end = p->ip_end;

  if (!window_mark(window_of(plane, job), job->counter))
    return 0;
  session->last_received_us = plane->now_us;
  if (protocol == NO_NEXT_HEADER && end - job->header == ABS_HEADER_BYTES)
    return 0;
  if (p->version == 4) {
    oracle_rewrite_ipv4(ip, load16(ip + 2) - ABS_HEADER_BYTES, word0 & 0xffff, protocol);
  } else {
    store16(ip + 4, load16(ip + 4) - ABS_HEADER_BYTES);
    ip[6] = (uint8_t)protocol;
  }
  if (bytes == 34)
    memmove(base + job->start + ABS_HEADER_BYTES, base + job->start, 34);
  else
    memmove(base + job->start + ABS_HEADER_BYTES, base + job->start, bytes);
  job->start += ABS_HEADER_BYTES;
  job->mbuf->data_off = (uint16_t)(job->mbuf->data_off + ABS_HEADER_BYTES);
  job->mbuf->data_len = (uint16_t)(end - job->start);
  job->mbuf->pkt_len = job->mbuf->data_len;
  if (!oracle_parse(base, job->start, end, p) || p->uncommon || p->tcp_changes)
    return 0;
  key->remote3 = p->source[3];
  key->local3 = p->destination[3];
  key->ports = p->destination_port << 16 | p->source_port;
  key->protocol = p->protocol_word;
  if (p->version == 6) {
    memcpy(key->remote, p->source, 12);
    memcpy(key->local, p->destination, 12);
  }
  return 1;
}

/* Whether the packet's flow is allowed under the session it came by. */
static inline int deliver(const struct plane *plane, const struct job *job, uint32_t *word)
{
  const struct session *session = &plane->session[job->slot];

  if (!word)
    return 0;
  if ((word[F_STATE] & 0xff) != FLOW_ALLOWED || word[F_TAG_RULE] >> 16 != session->tag ||
      (word[F_PEER] & 0xffff) != session->peer + 1 ||
      (session->tag && session->role != !!(word[F_STATE] & FLOW_FROM_REMOTE)))
    return 0;
  word[F_SEEN] = plane->now_seconds;
  return 1;
}

uint32_t oracle_ingress(struct plane *plane, struct rte_mbuf **mbuf, uint32_t count,
                        struct rte_mbuf **out)
{
  struct job job[ORACLE_BURST], *live[ORACLE_BURST];
  static struct flow_key key[ORACLE_BURST];
  uint32_t *flow[ORACLE_BURST];
  uint8_t valid[ORACLE_BURST];
  uint32_t jobs = 0, restored = 0, sent = 0;
  int keep[ORACLE_BURST];

  for (uint32_t i = 0; i < count; i++) {
    if (i + 4 < count)
      rte_prefetch0(rte_pktmbuf_mtod(mbuf[i + 4], void *));
    job[i].mbuf = mbuf[i];
    job[i].start = (uint32_t)(rte_pktmbuf_mtod(mbuf[i], uint8_t *) - shim_pool.base);
    keep[i] = admit(plane, &job[i]);
  }
  for (uint32_t i = 0; i < count; i++)
    keep[i] = keep[i] && find_session(plane, &job[i]);
  for (uint32_t i = 0; i < count; i++) {
    if (keep[i] && window_check(window_of(plane, &job[i]), job[i].counter))
      live[jobs++] = &job[i];
    else
      rte_pktmbuf_free(mbuf[i]);
  }
  if (jobs)
    open_jobs(plane, live, jobs, valid);
  for (uint32_t i = 0; i < jobs; i++) {
    if (valid[i] && restore(plane, live[i], &key[restored]))
      live[restored++] = live[i];
    else
      rte_pktmbuf_free(live[i]->mbuf);
  }
  oracle_find_flows(&plane->flows, key, restored, flow);
  for (uint32_t i = 0; i < restored; i++) {
    if (deliver(plane, live[i], flow[i]))
      out[sent++] = live[i]->mbuf;
    else
      rte_pktmbuf_free(live[i]->mbuf);
  }
  return sent;
}
