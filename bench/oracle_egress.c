/*
 * Egress of abs-oracle: what src/dataplane/egress.ts and sealer.ts do with a packet of an allowed
 * flow, on the `ip` carrier. Passes over the burst, so that each pass finds in the cache what the
 * one before it asked for. Packets that would need the slow path are dropped.
 */
#include "oracle.h"

#include <rte_prefetch.h>
#include <string.h>

#include "../c/abs_shim.h"
#include "../c/shim_internal.h"

#define ABS_HEADER_BYTES 32u
#define DONT_FRAGMENT 0x4000u
#define DATA_WORD 0x15000000u

struct job {
  struct parsed packet;
  uint32_t start, length, slot, pair;
};

/* The sum of 16-bit words folded into 16 bits (RFC 1071). */
static inline uint32_t fold(uint32_t sum)
{
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

void oracle_rewrite_ipv4(uint8_t *ip, uint32_t total_length, uint32_t fragment, uint32_t protocol)
{
  uint32_t life = load16(ip + 8), new_life = (life & 0xff00) | protocol;
  uint32_t sum = (~load16(ip + 10) & 0xffff) + (~load16(ip + 2) & 0xffff) + total_length +
                 (~load16(ip + 6) & 0xffff) + fragment + (~life & 0xffff) + new_life;

  store16(ip + 2, total_length);
  store16(ip + 6, fragment);
  store16(ip + 8, new_life);
  store16(ip + 10, ~fold(sum));
}

/* Parses a burst and notes the keys of its flows; what is not to be looked up has protocol 0. */
static void parse_burst(struct rte_mbuf **mbuf, struct job *job, struct flow_key *key,
                        uint32_t count)
{
  const uint8_t *base = shim_pool.base;

  for (uint32_t i = 0; i < count; i++) {
    struct job *j = &job[i];
    struct parsed *p = &j->packet;

    if (i + 4 < count)
      rte_prefetch0(rte_pktmbuf_mtod(mbuf[i + 4], void *));
    j->start = (uint32_t)(rte_pktmbuf_mtod(mbuf[i], uint8_t *) - base);
    j->length = mbuf[i]->data_len;
    if (!oracle_parse(base, j->start, j->start + j->length, p))
      p->uncommon = 1;
    if (p->uncommon) {
      key[i].protocol = 0;
      continue;
    }
    key[i].remote3 = p->destination[3];
    key[i].local3 = p->source[3];
    key[i].ports = p->source_port << 16 | p->destination_port;
    key[i].protocol = p->protocol_word;
    if (p->version == 6) {
      memcpy(key[i].remote, p->destination, 12);
      memcpy(key[i].local, p->source, 12);
    }
  }
}

/* Verdict: 1 seal under job->slot, 2 send as it is, 0 drop. */
static inline int decide(struct plane *plane, struct job *job, uint32_t *word)
{
  const struct parsed *p = &job->packet;
  uint32_t binding, peer;

  if (!word || p->tcp_changes)
    return 0;
  if ((word[F_STATE] & 0xff) == FLOW_OUTSIDE) {
    word[F_SEEN] = plane->now_seconds;
    return 2;
  }
  binding = word[F_BINDING];
  if ((word[F_STATE] & 0xff) != FLOW_ALLOWED || !binding || !plane->send_session[binding - 1])
    return 0;
  peer = (word[F_PEER] & 0xffff) - 1;
  if (p->ip_end - p->ip_start > plane->peer_mtu[peer])
    return 0;
  if (load16(shim_pool.base + job->start + 6) != plane->own_mac_high ||
      load32(shim_pool.base + job->start + 8) != plane->own_mac_low)
    return 0;
  word[F_SEEN] = plane->now_seconds;
  job->slot = plane->send_session[binding - 1] - 1;
  job->pair = word[F_PEER] >> 16;
  rte_prefetch0(&plane->session[job->slot]);
  rte_prefetch0(&plane->session[job->slot].counter[plane->lane]);
  rte_prefetch0(plane->pair[job->pair].hash_out);
  return 1;
}

/* Moves the headers to make room, writes both headers; returns the offset of the ABS header. */
static inline uint32_t craft(struct plane *plane, struct job *job, struct rte_mbuf *mbuf)
{
  const struct parsed *p = &job->packet;
  struct session *session = &plane->session[job->slot];
  const uint32_t *hash = plane->pair[job->pair].hash_out;
  uint8_t *start = shim_pool.base + job->start, *header, *ip;
  uint32_t bytes = p->payload_start - job->start, length = p->ip_end - p->ip_start, pseudo_end;
  uint64_t counter = session->counter[plane->lane]++;

  if (bytes == 34)
    memmove(start - ABS_HEADER_BYTES, start, 34);
  else
    memmove(start - ABS_HEADER_BYTES, start, bytes);
  ip = shim_pool.base + p->ip_start - ABS_HEADER_BYTES;
  if (p->version == 4) {
    oracle_rewrite_ipv4(ip, length + ABS_HEADER_BYTES, DONT_FRAGMENT, plane->carrier_protocol);
    pseudo_end = length << 16 | p->identification;
  } else {
    store16(ip + 4, length - 40 + ABS_HEADER_BYTES);
    ip[6] = (uint8_t)plane->carrier_protocol;
    pseudo_end = (length - 40) << 16;
  }
  session->last_sent_us = plane->now_us;
  header = shim_pool.base + p->payload_start - ABS_HEADER_BYTES;
  store32(header, DATA_WORD | (uint32_t)p->protocol << 16 | p->fragment);
  store32(header + 4, session->remote_index);
  store32(header + 8, plane->lane << 24 | (uint32_t)(counter >> 32));
  store32(header + 12, (uint32_t)counter);
  store32(header + 16, hash[0]);
  store32(header + 20, hash[1]);
  store32(header + 24, hash[2]);
  store32(header + 28, pseudo_end);
  mbuf->data_off = (uint16_t)(mbuf->data_off - ABS_HEADER_BYTES);
  mbuf->data_len = (uint16_t)(p->ip_end - job->start + ABS_HEADER_BYTES);
  mbuf->pkt_len = mbuf->data_len;
  return p->payload_start - ABS_HEADER_BYTES;
}

uint32_t oracle_egress(struct plane *plane, struct rte_mbuf **mbuf, uint32_t count,
                       struct rte_mbuf **out)
{
  struct job job[ORACLE_BURST];
  static struct flow_key flow_key[ORACLE_BURST];
  uint32_t *flow[ORACLE_BURST];
  int verdict[ORACLE_BURST];
  uint32_t key[ORACLE_BURST], header[ORACLE_BURST], text[ORACLE_BURST], confidential[ORACLE_BURST];
  uint32_t sent = 0, sealed = 0;

  parse_burst(mbuf, job, flow_key, count);
  oracle_find_flows(&plane->flows, flow_key, count, flow);
  for (uint32_t i = 0; i < count; i++)
    verdict[i] = decide(plane, &job[i], flow[i]);
  for (uint32_t i = 0; i < count; i++) {
    const struct session *session = &plane->session[job[i].slot];

    if (!verdict[i]) {
      rte_pktmbuf_free(mbuf[i]);
      continue;
    }
    out[sent++] = mbuf[i];
    if (verdict[i] == 2)
      continue;
    header[sealed] = craft(plane, &job[i], mbuf[i]);
    key[sealed] = session->key_out;
    text[sealed] = job[i].packet.ip_end - job[i].packet.payload_start;
    confidential[sealed++] = session->confidential_out;
  }
  if (sealed)
    abs_seal_burst(key, header, text, confidential, sealed);
  return sent;
}
