/*
 * shim_internal.h - what the shim's C files share and nobody else sees.
 *
 * The packet pool's place in memory (written once by abs_pool_create(), read by every burst call)
 * and the one way to report a failure. Offsets and handles are bytes from shim_pool.base.
 */
#ifndef SHIM_INTERNAL_H
#define SHIM_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "abs_shim.h"

struct rte_mempool;

struct shim_pool {
  uint8_t *base;
  uint32_t size_bytes; /* 0 until the pool exists, so that every range check fails before */
  struct rte_mempool *packets;
};

struct shim_port {
  uint16_t queues; /* 0: not started, so every burst call on it is refused */
  int32_t descriptor[ABS_QUEUE_MAX]; /* what abs_wait() may poll, or -1 */
  uint64_t kernel_drops; /* AF_PACKET sets its own count to 0 at each reading */
  uint64_t odd_packets; /* received chained or from another pool: freed, not handed out */
};

extern struct shim_pool shim_pool;
extern struct shim_port shim_ports[ABS_PORT_MAX];

/* How many packets ahead of the one worked on a burst loop asks for memory. */
#define SHIM_PREFETCH_AHEAD 3

/** shim_fail - keep the words of a failure for abs_last_error() of this thread; returns @code. */
int32_t shim_fail(int32_t code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * shim_log_begin - forget DPDK's log, so that a failure of the call that begins quotes only its
 * own.
 */
void shim_log_begin(void);

/**
 * shim_fail_dpdk - fail with @what, the reason of @error (errno, either sign), DPDK's own words.
 */
int32_t shim_fail_dpdk(const char *what, int error);

/** shim_in_pool - whether [@offset, @offset + @size_bytes) lies inside the pool. */
static inline int shim_in_pool(uint32_t offset, uint32_t size_bytes)
{
  return (uint64_t)offset + size_bytes <= shim_pool.size_bytes;
}

#endif
