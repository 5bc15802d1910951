/*
 * burst_shim.c - bursts of packets: pool, ports, rings. The hot path of the shim.
 *
 * Threads: a port's queue belongs to the one thread that polls it; pool and rings may be used by
 * any number of threads. Arguments are checked before anything is moved, so a call that returns
 * ABS_EINVAL has changed no packet's owner.
 */
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>
#include <rte_ring.h>

#include "abs_shim.h"
#include "shim_internal.h"

#define NAME_BYTES_MAX 24 /* DPDK puts prefixes before it and allows 32 in all */

static struct rte_ring *rings[ABS_RING_MAX];
static uint32_t ring_count;

/* ---- handles and mbufs, the pool ---- */

/* The mbuf of a handle, or NULL when @handle does not name one of the pool. */
static inline struct rte_mbuf *mbuf_of(uint32_t handle)
{
  if (handle == 0 || handle % RTE_CACHE_LINE_SIZE != 0 ||
      !shim_in_pool(handle, sizeof(struct rte_mbuf)))
    return NULL;
  struct rte_mbuf *mbuf = (struct rte_mbuf *)(void *)(shim_pool.base + handle);
  return mbuf->pool == shim_pool.packets ? mbuf : NULL;
}

/* Offset of the first byte of the mbuf's buffer, headroom included. */
static inline uint32_t buffer_of(const struct rte_mbuf *mbuf)
{
  return (uint32_t)((uint8_t *)mbuf->buf_addr - shim_pool.base);
}

/* Turns mbufs into handles, offsets and lengths (unless NULL); asks for the first bytes. */
static inline void report_burst(struct rte_mbuf **mbuf, uint32_t *handle, uint32_t *offset,
                                uint32_t *length, uint32_t count)
{
  for (uint32_t i = 0; i < count; i++) {
    handle[i] = (uint32_t)((uint8_t *)mbuf[i] - shim_pool.base);
    offset[i] = buffer_of(mbuf[i]) + mbuf[i]->data_off;
    if (length != NULL)
      length[i] = mbuf[i]->data_len;
    rte_prefetch0(shim_pool.base + offset[i]);
  }
}

/* Makes the mbufs say what offsets and lengths say. Returns 0, or ABS_EINVAL at a bad packet. */
static inline int32_t describe_burst(struct rte_mbuf **mbuf, const uint32_t *handle,
                                     const uint32_t *offset, const uint32_t *length, uint32_t count)
{
  for (uint32_t i = 0; i < count; i++) {
    struct rte_mbuf *one = mbuf_of(handle[i]);
    if (one == NULL)
      return shim_fail(ABS_EINVAL, "packet %u: handle %u is not one of the pool", i, handle[i]);
    uint32_t start = buffer_of(one);
    if (offset[i] < start || length[i] == 0 ||
        (uint64_t)offset[i] + length[i] > (uint64_t)start + one->buf_len)
      return shim_fail(ABS_EINVAL, "packet %u: %u bytes at %u leave its buffer", i, length[i],
                       offset[i]);
    one->data_off = (uint16_t)(offset[i] - start);
    one->data_len = (uint16_t)length[i];
    one->pkt_len = length[i];
    one->ol_flags = 0; /* marks of the receiving driver are not wishes to the sending one */
    mbuf[i] = one;
  }
  return 0;
}

/**
 * abs_alloc_burst - take packets from the pool: all or none.
 * @handle, @offset: out, @count values; the caller owns the packets. 128 bytes are free before
 * offset.
 * @count: 1..ABS_BURST_MAX.
 * Any thread. Returns @count, 0 when the pool has fewer, or a negative code.
 */
int32_t abs_alloc_burst(uint32_t *handle, uint32_t *offset, uint32_t count)
{
  struct rte_mbuf *mbuf[ABS_BURST_MAX];
  if (handle == NULL || offset == NULL || count == 0 || count > ABS_BURST_MAX)
    return shim_fail(ABS_EINVAL, "count %u: not 1..%d, or no arrays", count, ABS_BURST_MAX);
  if (shim_pool.packets == NULL)
    return shim_fail(ABS_ESTATE, "there is no packet pool yet");
  if (rte_pktmbuf_alloc_bulk(shim_pool.packets, mbuf, count) != 0)
    return 0;
  report_burst(mbuf, handle, offset, NULL, count);
  return (int32_t)count;
}

/**
 * abs_free_burst - give packets back to the pool.
 * @handle: @count values, each owned by the caller, each once.
 * @count: 1..ABS_BURST_MAX.
 * Any thread. Returns 0, or ABS_EINVAL and none is freed.
 */
int32_t abs_free_burst(const uint32_t *handle, uint32_t count)
{
  struct rte_mbuf *mbuf[ABS_BURST_MAX];
  if (handle == NULL || count == 0 || count > ABS_BURST_MAX)
    return shim_fail(ABS_EINVAL, "count %u: not 1..%d, or no array", count, ABS_BURST_MAX);
  for (uint32_t i = 0; i < count; i++) {
    mbuf[i] = mbuf_of(handle[i]);
    if (mbuf[i] == NULL)
      return shim_fail(ABS_EINVAL, "packet %u: handle %u is not one of the pool", i, handle[i]);
  }
  rte_pktmbuf_free_bulk(mbuf, count);
  return 0;
}

/* ---- ports ---- */

/**
 * abs_rx_burst - receive up to @max packets from one queue.
 * @port, @queue: of a started port; only that queue's thread may call.
 * @handle: out, @max handles; the caller owns each until tx, ring or free takes it.
 * @offset: out, @max values, bytes from the pool's start to the packet's first byte.
 * @length: out, @max values, bytes of the packet, all in one piece.
 * Returns packets received, 0..@max, or ABS_EINVAL.
 */
int32_t abs_rx_burst(uint16_t port, uint16_t queue, uint32_t *handle, uint32_t *offset,
                     uint32_t *length, uint32_t max)
{
  struct rte_mbuf *mbuf[ABS_BURST_MAX];
  if (port >= ABS_PORT_MAX || queue >= shim_ports[port].queues || max == 0 || max > ABS_BURST_MAX ||
      handle == NULL || offset == NULL || length == NULL)
    return shim_fail(ABS_EINVAL, "port %u, queue %u, max %u: not started or out of range", port,
                     queue, max);
  uint32_t received = rte_eth_rx_burst(port, queue, mbuf, (uint16_t)max);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < received; i++) {
    if (likely(mbuf[i]->nb_segs == 1 && mbuf[i]->pool == shim_pool.packets)) {
      mbuf[kept++] = mbuf[i];
    } else {
      rte_pktmbuf_free(mbuf[i]);
      shim_ports[port].odd_packets++;
    }
  }
  report_burst(mbuf, handle, offset, length, kept);
  return (int32_t)kept;
}

/**
 * abs_tx_burst - send packets by one queue.
 * @port, @queue: of a started port; only that queue's thread may call.
 * @handle, @offset, @length: @count packets; each lies inside its own buffer.
 * @count: 1..ABS_BURST_MAX.
 * Returns how many the port took, 0..@count; the caller still owns those from there on. A negative
 * code: none was taken.
 */
int32_t abs_tx_burst(uint16_t port, uint16_t queue, const uint32_t *handle, const uint32_t *offset,
                     const uint32_t *length, uint32_t count)
{
  struct rte_mbuf *mbuf[ABS_BURST_MAX];
  if (port >= ABS_PORT_MAX || queue >= shim_ports[port].queues || count == 0 ||
      count > ABS_BURST_MAX || handle == NULL || offset == NULL || length == NULL)
    return shim_fail(ABS_EINVAL, "port %u, queue %u, count %u: not started or out of range", port,
                     queue, count);
  if (describe_burst(mbuf, handle, offset, length, count) < 0)
    return ABS_EINVAL;
  return rte_eth_tx_burst(port, queue, mbuf, (uint16_t)count);
}

/* ---- rings: packets that one worker hands to another ---- */

/**
 * abs_ring_create - make a ring of packets.
 * @name: 1..23 bytes, unused so far. @slots: 1..65536 packets.
 * Main thread, after abs_pool_create(). Returns its number, 0..ABS_RING_MAX-1, or a negative code.
 */
int32_t abs_ring_create(const char *name, uint32_t slots)
{
  if (name == NULL || name[0] == '\0' || strlen(name) >= NAME_BYTES_MAX || slots == 0 ||
      slots > 65536)
    return shim_fail(ABS_EINVAL, "a ring needs a name below %d bytes and 1..65536 slots",
                     NAME_BYTES_MAX);
  if (shim_pool.packets == NULL || ring_count == ABS_RING_MAX)
    return shim_fail(ABS_ESTATE, "no packet pool yet, or %u rings already", ring_count);
  shim_log_begin();
  struct rte_ring *ring = rte_ring_create(name, slots, SOCKET_ID_ANY, RING_F_EXACT_SZ);
  if (ring == NULL)
    return shim_fail_dpdk("the ring was not made", rte_errno);
  rings[ring_count] = ring;
  return (int32_t)ring_count++;
}

/**
 * abs_ring_put - hand packets over; arguments and result as of abs_tx_burst(). Any thread.
 */
int32_t abs_ring_put(uint32_t ring, const uint32_t *handle, const uint32_t *offset,
                     const uint32_t *length, uint32_t count)
{
  struct rte_mbuf *mbuf[ABS_BURST_MAX];
  if (ring >= ring_count || count == 0 || count > ABS_BURST_MAX || handle == NULL ||
      offset == NULL || length == NULL)
    return shim_fail(ABS_EINVAL, "ring %u, count %u: out of range", ring, count);
  if (describe_burst(mbuf, handle, offset, length, count) < 0)
    return ABS_EINVAL;
  return (int32_t)rte_ring_enqueue_burst(rings[ring], (void *const *)mbuf, count, NULL);
}

/**
 * abs_ring_take - take packets over; arguments and result as of abs_rx_burst(). Any thread.
 */
int32_t abs_ring_take(uint32_t ring, uint32_t *handle, uint32_t *offset, uint32_t *length,
                      uint32_t max)
{
  struct rte_mbuf *mbuf[ABS_BURST_MAX];
  if (ring >= ring_count || max == 0 || max > ABS_BURST_MAX || handle == NULL || offset == NULL ||
      length == NULL)
    return shim_fail(ABS_EINVAL, "ring %u, max %u: out of range", ring, max);
  uint32_t taken = rte_ring_dequeue_burst(rings[ring], (void **)mbuf, max, NULL);
  report_burst(mbuf, handle, offset, length, taken);
  return (int32_t)taken;
}
