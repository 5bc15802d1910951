/*
 * link_shim.c - what the statically linked libraries expect of the machine and may not find there.
 *
 * DPDK takes two string functions from libbsd; libnuma prints; EAL finds CPUs through /sys, which
 * an empty root folder does not have. The executable must run with nothing but glibc (issue 2,
 * "Build" item 3).
 */
#define _GNU_SOURCE
#include <linux/if_packet.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

size_t strlcpy(char *target, const char *source, size_t size_bytes);
size_t strlcat(char *target, const char *source, size_t size_bytes);
void numa_warn(int number, char *format, ...);
int __real_eal_cpu_detected(unsigned int cpu);
int __wrap_eal_cpu_detected(unsigned int cpu);
int __real_rte_eal_check_module(const char *name);
int __wrap_rte_eal_check_module(const char *name);
int __real_setsockopt(int socket, int level, int name, const void *value, socklen_t size_bytes);
int __wrap_setsockopt(int socket, int level, int name, const void *value, socklen_t size_bytes);

/** strlcpy - copy what fits, always end with NUL; returns the length of @source. As in OpenBSD. */
size_t strlcpy(char *target, const char *source, size_t size_bytes)
{
  size_t length = strlen(source);
  if (size_bytes > 0) {
    size_t copied = length < size_bytes ? length : size_bytes - 1;
    (void)memcpy(target, source, copied);
    target[copied] = '\0';
  }
  return length;
}

/** strlcat - append what fits; returns the length it tried to make. As in OpenBSD. */
size_t strlcat(char *target, const char *source, size_t size_bytes)
{
  size_t used = strnlen(target, size_bytes);
  return used + strlcpy(target + used, source, size_bytes - used);
}

/** numa_warn - replaces libnuma's, which prints to stderr when /sys is missing. */
void numa_warn(int number, char *format, ...)
{
  (void)number;
  (void)format;
}

/**
 * __wrap_eal_cpu_detected - EAL's look into /sys; without /sys, the CPUs this thread may use count.
 */
int __wrap_eal_cpu_detected(unsigned int cpu)
{
  cpu_set_t allowed;
  if (__real_eal_cpu_detected(cpu))
    return 1;
  return cpu < CPU_SETSIZE && sched_getaffinity(0, sizeof(allowed), &allowed) == 0 &&
         CPU_ISSET(cpu, &allowed);
}

/**
 * __wrap_rte_eal_check_module - whether a kernel module is loaded; without /sys: no, not an error.
 */
int __wrap_rte_eal_check_module(const char *name)
{
  int result = __real_rte_eal_check_module(name);
  return result < 0 ? 0 : result;
}

/**
 * __wrap_setsockopt - DPDK's AF_PACKET driver asks the kernel to put fragments together before it
 * hands them over. Whole packets of up to 64 KiB would be cut off at a buffer's end, and fragments
 * must be seen as they came (docs/wire.md "Fragments and ICMP"): that one flag is taken out.
 */
int __wrap_setsockopt(int socket, int level, int name, const void *value, socklen_t size_bytes)
{
  int fanout;
  if (level != SOL_PACKET || name != PACKET_FANOUT || size_bytes != sizeof(fanout))
    return __real_setsockopt(socket, level, name, value, size_bytes);
  (void)memcpy(&fanout, value, sizeof(fanout));
  fanout &= ~(PACKET_FANOUT_FLAG_DEFRAG << 16);
  return __real_setsockopt(socket, level, name, &fanout, sizeof(fanout));
}
