/*
 * dpdk_shim.c - errors, EAL, the packet pool, threads, waiting. abs_shim.h has the conventions.
 *
 * The words of DPDK's own log are kept in memory and never printed: the last of them explain a
 * failure.
 *
 * Threads: EAL and the pool are started by the main thread. A thread that moves packets calls
 * abs_thread_register() first (it would work without, but without a cache of the pool of its own).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <hs/hs.h>
#include <intel-ipsec-mb.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_memory.h>
#include <rte_version.h>

#include "abs_shim.h"
#include "shim_internal.h"

#define ARGUMENT_BYTES_MAX 4096
#define ARGUMENT_MAX 64
#define ERROR_BYTES_MAX 1024
#define LOG_BYTES_MAX 8192
#define LOG_WORDS_MAX 500 /* of the log's end go into an error text */
#define WAIT_MAX 64
#define WAIT_ATTEMPTS 3 /* one more for errors that go, one for those that stay */
#define POOL_CACHE_PACKETS 256
#define ROOM_BYTES_MIN 512
#define ROOM_BYTES_MAX 16384

struct shim_pool shim_pool;

static __thread char last_error[ERROR_BYTES_MAX];

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[LOG_BYTES_MAX];
static size_t log_length;

/* ---- errors and DPDK's log ---- */

int32_t shim_fail(int32_t code, const char *format, ...)
{
  va_list values;
  va_start(values, format);
  (void)vsnprintf(last_error, sizeof(last_error), format, values);
  va_end(values);
  return code;
}

/* Keeps the end of what DPDK logs; called by stdio for the stream given to rte_openlog_stream(). */
static ssize_t log_write(void *cookie, const char *text, size_t length)
{
  (void)cookie;
  size_t keep = length < LOG_BYTES_MAX / 2 ? length : LOG_BYTES_MAX / 2;
  pthread_mutex_lock(&log_lock);
  if (log_length + keep >= LOG_BYTES_MAX) {
    size_t half = log_length / 2;
    memmove(log_text, log_text + half, log_length - half);
    log_length -= half;
  }
  memcpy(log_text + log_length, text + (length - keep), keep);
  log_length += keep;
  pthread_mutex_unlock(&log_lock);
  return (ssize_t)length;
}

void shim_log_begin(void)
{
  pthread_mutex_lock(&log_lock);
  log_length = 0;
  pthread_mutex_unlock(&log_lock);
}

int32_t shim_fail_dpdk(const char *what, int error)
{
  char words[LOG_WORDS_MAX + 1];
  pthread_mutex_lock(&log_lock);
  size_t from = log_length < LOG_WORDS_MAX ? 0 : log_length - LOG_WORDS_MAX;
  while (from > 0 && from < log_length && log_text[from - 1] != '\n')
    from++; /* whole lines only */
  size_t length = log_length - from;
  (void)memcpy(words, log_text + from, length);
  pthread_mutex_unlock(&log_lock);
  while (length > 0 && words[length - 1] == '\n')
    length--;
  words[length] = '\0';
  for (char *end = strchr(words, '\n'); end != NULL; end = strchr(end, '\n'))
    *end = ';';
  /* Drivers return a bare -1 as often as an errno: "operation not permitted" would mislead then. */
  int reason = error < 0 ? -error : error;
  return shim_fail(ABS_EDPDK, "%s: %s%s%s", what, reason == 1 ? "" : rte_strerror(reason),
                   reason != 1 && length > 0 ? "; DPDK says: " : "", words);
}

/**
 * abs_abi_version - number of this interface; the caller refuses a shim of another number.
 */
uint32_t abs_abi_version(void)
{
  return ABS_ABI_VERSION;
}

/**
 * abs_last_error - words of the calling thread's last failed call, NUL-terminated UTF-8; valid
 * until its next failure. Empty before the first.
 */
const char *abs_last_error(void)
{
  return last_error;
}

/**
 * abs_versions - the linked libraries and their versions in one line. Any thread; static memory.
 */
const char *abs_versions(void)
{
  static char text[256];
  (void)snprintf(text, sizeof(text), "%s, intel-ipsec-mb %s, Hyperscan %s", rte_version(),
                 imb_get_version_str(), hs_version());
  return text;
}

/* ---- EAL ---- */

/* Sends what is written to @descriptor into @sink; returns a copy to be put back, or -1. */
static int divert(int descriptor, int sink)
{
  int copy = sink < 0 ? -1 : fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
  if (copy >= 0)
    (void)dup2(sink, descriptor);
  return copy;
}

static void put_back(int descriptor, int copy)
{
  if (copy >= 0) {
    (void)dup2(copy, descriptor);
    (void)close(copy);
  }
}

/* EAL prints its usage and its alerts although it logs them too: nobody shall see them twice. */
static int start_muted(int count, char **argument)
{
  int sink = memfd_create("abs-eal", MFD_CLOEXEC);
  int out = divert(STDOUT_FILENO, sink);
  int err = divert(STDERR_FILENO, sink);
  int result = rte_eal_init(count, argument);
  (void)fflush(stdout);
  put_back(STDOUT_FILENO, out);
  put_back(STDERR_FILENO, err);
  if (sink >= 0)
    (void)close(sink);
  return result;
}

/* Makes DPDK's log end in log_text, once. */
static int catch_log(void)
{
  static FILE *stream;
  cookie_io_functions_t functions = { .write = log_write };
  if (stream == NULL) {
    stream = fopencookie(NULL, "w", functions);
    if (stream == NULL)
      return -1;
    (void)setvbuf(stream, NULL, _IONBF, 0);
    (void)rte_openlog_stream(stream);
  }
  return 0;
}

/**
 * abs_eal_start - start DPDK's environment.
 * @arguments: as on a command line, separated by '\n', the program's name first;
 *             src/dataplane/shim.ts `ealArguments` builds them. Copied.
 * Once a process, by the main thread. Its CPU affinity and name stay as they were. Returns 0,
 * ABS_EINVAL, ABS_ESTATE when called again after success, or ABS_EDPDK.
 */
int32_t abs_eal_start(const char *arguments)
{
  static char text[ARGUMENT_BYTES_MAX];
  static int started;
  char *argument[ARGUMENT_MAX + 1];
  int count = 0;
  if (started)
    return shim_fail(ABS_ESTATE, "EAL has been started already");
  if (arguments == NULL || strlen(arguments) >= sizeof(text))
    return shim_fail(ABS_EINVAL, "EAL arguments are missing or longer than %d bytes",
                     ARGUMENT_BYTES_MAX - 1);
  (void)strcpy(text, arguments);
  char *rest = text;
  for (char *word = strsep(&rest, "\n"); word != NULL; word = strsep(&rest, "\n")) {
    if (count == ARGUMENT_MAX)
      return shim_fail(ABS_EINVAL, "more than %d EAL arguments", ARGUMENT_MAX);
    if (word[0] != '\0')
      argument[count++] = word;
  }
  argument[count] = NULL;
  if (count == 0)
    return shim_fail(ABS_EINVAL, "EAL arguments are empty");

  if (catch_log() < 0)
    return shim_fail(ABS_ENOMEM, "no memory for the log stream");
  shim_log_begin();

  cpu_set_t affinity;
  int kept = pthread_getaffinity_np(pthread_self(), sizeof(affinity), &affinity);
  int result = start_muted(count, argument);
  if (kept == 0)
    (void)pthread_setaffinity_np(pthread_self(), sizeof(affinity), &affinity);
  if (result < 0)
    return shim_fail_dpdk("EAL did not start", rte_errno);
  started = 1;
  return 0;
}

/**
 * abs_thread_register - make the calling thread one of DPDK's, with its own cache of the pool.
 * Once in each worker, before its first burst. Returns 0 or ABS_EDPDK.
 */
int32_t abs_thread_register(void)
{
  shim_log_begin();
  if (rte_lcore_id() != LCORE_ID_ANY)
    return 0;
  if (rte_thread_register() < 0)
    return shim_fail_dpdk("the thread was not registered", rte_errno);
  return 0;
}

/**
 * abs_thread_unregister - undo abs_thread_register() before the thread ends. Returns 0.
 */
int32_t abs_thread_unregister(void)
{
  struct rte_mempool_cache *cache =
    shim_pool.packets == NULL ? NULL : rte_mempool_default_cache(shim_pool.packets, rte_lcore_id());
  if (cache != NULL)
    rte_mempool_cache_flush(cache, shim_pool.packets);
  rte_thread_unregister();
  return 0;
}

/* ---- the packet pool ---- */

/* Finds the pool's lowest and highest byte; its chunks must be one range. */
static int32_t measure_pool(void)
{
  uint8_t *low = NULL;
  uint8_t *high = NULL;
  struct rte_mempool_memhdr *chunk;
  STAILQ_FOREACH (chunk, &shim_pool.packets->mem_list, next) {
    uint8_t *start = chunk->addr;
    if (low == NULL || start < low)
      low = start;
    if (high == NULL || start + chunk->len > high)
      high = start + chunk->len;
  }
  if (low == NULL || (uint64_t)(high - low) > UINT32_MAX)
    return shim_fail(ABS_ENOMEM, "the packet pool is empty or spans 4 GiB or more");
  /* With physical addresses DPDK cuts one allocation into a chunk a page: still one range. */
  if (shim_pool.packets->nb_mem_chunks != 1 &&
      (shim_pool.packets->mz == NULL || low < (uint8_t *)shim_pool.packets->mz->addr ||
       rte_mem_virt2memseg_list(low) != rte_mem_virt2memseg_list(high - 1)))
    return shim_fail(ABS_ENOMEM, "the packet pool fell into %u separate chunks",
         shim_pool.packets->nb_mem_chunks);
  shim_pool.base = low;
  shim_pool.size_bytes = (uint32_t)(high - low);
  return 0;
}

/*
 * As rte_pktmbuf_pool_create(), which would give each packet a page of its own where pages are of
 * 4 KiB: twice the memory, and all packets' first bytes in the same few lines of the cache. When
 * devices use virtual addresses (always without huge pages) a packet may lie across two pages.
 */
static struct rte_mempool *make_pool(uint32_t packets, uint32_t room_bytes)
{
  struct rte_pktmbuf_pool_private private = { .mbuf_data_room_size = (uint16_t)room_bytes };
  uint32_t cache = packets / 8 < POOL_CACHE_PACKETS ? packets / 8 : POOL_CACHE_PACKETS;
  unsigned int flags = rte_eal_iova_mode() == RTE_IOVA_VA ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0;
  struct rte_mempool *pool =
    rte_mempool_create_empty("abs", packets, (unsigned int)sizeof(struct rte_mbuf) + room_bytes,
                             cache, sizeof(private), SOCKET_ID_ANY, flags);
  if (pool == NULL)
    return NULL;
  rte_pktmbuf_pool_init(pool, &private);
  if (rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL) != 0 ||
      rte_mempool_populate_default(pool) < 0) {
    rte_mempool_free(pool);
    return NULL;
  }
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
  return pool;
}

/**
 * abs_pool_create - make the packet pool, one contiguous range smaller than 4 GiB.
 * @packets:    64..1048576.
 * @room_bytes: of one packet, with RTE_PKTMBUF_HEADROOM (128) bytes kept free in front of what is
 *              received; 512..16384, 2176 holds a frame of 2048.
 * Once, by the main thread, after abs_eal_start(). Returns 0 or a negative code.
 */
int32_t abs_pool_create(uint32_t packets, uint32_t room_bytes)
{
  if (packets < 64 || packets > 1048576)
    return shim_fail(ABS_EINVAL, "%u packets: not 64..1048576", packets);
  if (room_bytes < ROOM_BYTES_MIN || room_bytes > ROOM_BYTES_MAX)
    return shim_fail(ABS_EINVAL, "room of %u bytes: not %d..%d", room_bytes,
         ROOM_BYTES_MIN, ROOM_BYTES_MAX);
  if (shim_pool.packets != NULL)
    return shim_fail(ABS_ESTATE, "the packet pool exists already");
  shim_log_begin();
  shim_pool.packets = make_pool(packets, room_bytes);
  if (shim_pool.packets == NULL)
    return shim_fail_dpdk("the packet pool was not made", rte_errno);
  int32_t result = measure_pool();
  if (result < 0) {
    rte_mempool_free(shim_pool.packets);
    shim_pool.packets = NULL;
  }
  return result;
}

/**
 * abs_pool_map - where the pool is, for one view over all packets.
 * @base:       out, 1 value: address of the pool's first byte.
 * @size_bytes: out, 1 value: below 2^32.
 * Returns 0, ABS_EINVAL, or ABS_ESTATE before abs_pool_create().
 */
int32_t abs_pool_map(uint64_t *base, uint64_t *size_bytes)
{
  if (base == NULL || size_bytes == NULL)
    return shim_fail(ABS_EINVAL, "base and size_bytes must be given");
  if (shim_pool.packets == NULL)
    return shim_fail(ABS_ESTATE, "there is no packet pool yet");
  *base = (uint64_t)(uintptr_t)shim_pool.base;
  *size_bytes = shim_pool.size_bytes;
  return 0;
}

/**
 * abs_pool_available - packets free now, caches included; 0 before abs_pool_create(). Any thread.
 */
uint32_t abs_pool_available(void)
{
  return shim_pool.packets == NULL ? 0 : rte_mempool_avail_count(shim_pool.packets);
}

/* ---- waiting ---- */

/*
 * A packet socket whose interface went down has a pending error (ENETDOWN), and poll() returns at
 * once until somebody fetches it. What cannot be fetched (@again) is not looked at any more.
 * Returns how many descriptors are readable.
 */
static int clear_errors(struct pollfd *poll, uint32_t count, bool again)
{
  int readable = 0;
  for (uint32_t i = 0; i < count; i++) {
    int pending = 0;
    socklen_t size = sizeof(pending);
    readable += (poll[i].revents & POLLIN) != 0;
    if ((poll[i].revents & (POLLERR | POLLHUP | POLLNVAL)) == 0)
      continue;
    (void)getsockopt(poll[i].fd, SOL_SOCKET, SO_ERROR, &pending, &size);
    if (again)
      poll[i].fd = -1;
  }
  return readable;
}

/**
 * abs_wait - sleep until a packet is announced or time is over.
 * @descriptor: @count values of abs_port_descriptor() or others to be readable; negative: ignored.
 * @count: 0..64; 0 only sleeps.
 * @timeout_us: microseconds; 0 looks and returns at once.
 * Any thread. Returns how many are readable, 0 when time is over or a signal came, or a code.
 */
int32_t abs_wait(const int32_t *descriptor, uint32_t count, uint32_t timeout_us)
{
  struct pollfd poll[WAIT_MAX];
  struct timespec timeout = { .tv_sec = timeout_us / 1000000,
                              .tv_nsec = (long)(timeout_us % 1000000) * 1000 };
  if (count > WAIT_MAX || (descriptor == NULL && count > 0))
    return shim_fail(ABS_EINVAL, "%u descriptors: not 0..%d, or no array", count, WAIT_MAX);
  for (uint32_t i = 0; i < count; i++)
    poll[i] = (struct pollfd){ .fd = descriptor[i], .events = POLLIN };
  for (int attempt = 0; attempt < WAIT_ATTEMPTS; attempt++) {
    int ready = ppoll(poll, count, &timeout, NULL);
    if (ready < 0 && errno != EINTR)
      return shim_fail(ABS_EINVAL, "waiting failed: %s", rte_strerror(errno));
    if (ready <= 0)
      return 0;
    int readable = clear_errors(poll, count, attempt > 0);
    if (readable > 0)
      return readable;
  }
  return 0;
}

/** abs_now_us - CLOCK_MONOTONIC in microseconds, the same in every thread. Any thread. */
double abs_now_us(void)
{
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}
