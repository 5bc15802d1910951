/*
 * The `apply` face of abs-oracle: tables and packets from standard input, the packets that the C
 * data plane lets out on standard output, so that a test compares them with the TypeScript ones.
 * All input is 32-bit words, least significant byte first (src/bench/oracle-input.ts writes it):
 *   magic, direction (1 ingress), carrier protocol, lane, then how many sessions, bindings, peers,
 *   address pairs, flows and packets follow, each kind in rows;
 *   session: slot, the 10 numbers of struct session, counter, 16 bytes of key out, 16 of key in
 *   binding: slot + 1 | peer: MTU | pair: version, peer, addresses, hashes | flow: its 16 words
 *   packet: length in bytes, then the frame, padded to whole words
 * Output: a row a packet, as on input. AES-128-GCM only.
 */
#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c/abs_shim.h"
#include "../c/shim_internal.h"

#define MAGIC 0x4f534241u
#define INPUT_BYTES_MAX (256u << 20)
#define FLOW_CAPACITY 1000000u
#define SESSION_SLOTS 4096u
#define FRAME_BYTES_MAX 2000u

struct input {
  const uint32_t *word;
  size_t words, next;
};

/* The next `count` words, or the end of the program: the input is this project's own test. */
static const uint32_t *take(struct input *input, size_t count)
{
  const uint32_t *word = input->word + input->next;

  if (count > input->words - input->next)
    exit(oracle_fail("the input ends early"));
  input->next += count;
  return word;
}

static int read_all(struct input *input)
{
  uint8_t *bytes = malloc(INPUT_BYTES_MAX);
  size_t length = 0, n;

  if (!bytes)
    return oracle_fail("no memory for the input");
  while ((n = fread(bytes + length, 1, INPUT_BYTES_MAX - length, stdin)) > 0)
    length += n;
  *input = (struct input){ (const uint32_t *)(const void *)bytes, length / 4, 0 };
  return 0;
}

static void read_session(struct plane *plane, struct input *input)
{
  const uint32_t *w = take(input, 20);
  struct session *session = &plane->session[w[0] & (SESSION_SLOTS - 1)];

  *session = (struct session){ .receiver_index = w[1], .state = w[2], .peer = w[3], .tag = w[4],
    .role = w[5], .remote_index = w[6], .key_out = w[7], .key_in = w[8], .confidential_out = w[9],
    .confidential_in = w[10] };
  session->counter[plane->lane] = w[11];
  if (abs_key_set(w[7], ABS_AES_128_GCM, (const uint8_t *)(w + 12)) ||
      abs_key_set(w[8], ABS_AES_128_GCM, (const uint8_t *)(w + 16)))
    exit(oracle_fail(abs_last_error()));
}

static void read_tables(struct plane *plane, struct input *input, const uint32_t *count)
{
  for (uint32_t i = 0; i < count[0]; i++)
    read_session(plane, input);
  for (uint32_t i = 0; i < count[1]; i++)
    plane->send_session[i & 0xffff] = *take(input, 1);
  for (uint32_t i = 0; i < count[2]; i++)
    plane->peer_mtu[i & 0xffff] = *take(input, 1);
  for (uint32_t i = 0; i < count[3]; i++) {
    const uint32_t *w = take(input, 16);
    struct pair pair = { .version = w[0], .peer = w[1] };

    memcpy(pair.local, w + 2, 16);
    memcpy(pair.remote, w + 6, 16);
    memcpy(pair.hash_out, w + 10, 12);
    memcpy(pair.hash_in, w + 13, 12);
    oracle_add_pair(plane, &pair);
  }
  for (uint32_t i = 0; i < count[4]; i++)
    if (oracle_add_flow(&plane->flows, take(input, FLOW_WORDS)))
      exit(1);
}

static void write_packet(struct rte_mbuf *mbuf)
{
  static const uint8_t padding[4];
  uint32_t length = mbuf->data_len;

  fwrite(&length, 4, 1, stdout);
  fwrite(rte_pktmbuf_mtod(mbuf, void *), 1, length, stdout);
  fwrite(padding, 1, (4 - length % 4) % 4, stdout);
  rte_pktmbuf_free(mbuf);
}

static int apply_burst(struct plane *plane, struct input *input, int ingress, uint32_t count)
{
  struct rte_mbuf *mbuf[ORACLE_BURST], *out[ORACLE_BURST];
  uint32_t sent;

  if (rte_pktmbuf_alloc_bulk(shim_pool.packets, mbuf, count))
    return oracle_fail("no packets left");
  for (uint32_t i = 0; i < count; i++) {
    uint32_t length = *take(input, 1);

    if (length > FRAME_BYTES_MAX)
      return oracle_fail("a frame is too long");
    memcpy(rte_pktmbuf_mtod(mbuf[i], void *), take(input, (length + 3) / 4), length);
    mbuf[i]->data_len = (uint16_t)length;
    mbuf[i]->pkt_len = length;
  }
  sent = ingress ? oracle_ingress(plane, mbuf, count, out) : oracle_egress(plane, mbuf, count, out);
  for (uint32_t i = 0; i < sent; i++)
    write_packet(out[i]);
  return 0;
}

int oracle_apply(int count, char **word)
{
  static struct plane plane;
  struct input input;
  const uint32_t *head;
  uint32_t packets;

  (void)word;
  if (count)
    return oracle_fail("apply takes everything from standard input");
  if (read_all(&input) || oracle_start())
    return 1;
  head = take(&input, 10);
  if (head[0] != MAGIC || head[4] > SESSION_SLOTS || head[7] > SESSION_SLOTS ||
      head[8] > FLOW_CAPACITY)
    return oracle_fail("the input is not of src/bench/oracle-input.ts, or too large");
  oracle_tables(&plane, FLOW_CAPACITY, SESSION_SLOTS, SESSION_SLOTS);
  plane.carrier_protocol = head[2];
  plane.lane = head[3] % ORACLE_LANES;
  read_tables(&plane, &input, head + 4);
  packets = head[9];
  for (uint32_t done = 0; done < packets; done += ORACLE_BURST) {
    uint32_t left = packets - done;

    if (apply_burst(&plane, &input, head[1] == 1, left < ORACLE_BURST ? left : ORACLE_BURST))
      return 1;
  }
  return 0;
}
