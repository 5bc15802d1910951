/*
 * abs-oracle - the data plane's work in C, the yardstick of `abs bench dataplane`.
 *
 *   abs-oracle bench --direction egress|ingress --payload BYTES --flows N --sessions N --packets M
 *   abs-oracle bench --serve       the same options, a line a run, from standard input
 *   abs-oracle apply               tables and packets in, packets out (oracle_apply.c)
 *   abs-oracle forward INSIDE OUTSIDE    plain forwarding, for `abs bench e2e`
 *
 * It is built with the shim's flags and linked with the shim's own objects, so EAL, pool, ports
 * and AEAD calls are the same; bursts are DPDK's inline functions, called directly. --payload is
 * the UDP payload, as everywhere in docs/benchmarks.md.
 */
#include "oracle.h"

#include <stdio.h>
#include <string.h>

#include "../c/abs_shim.h"

#define POOL_PACKETS 16384
#define ROOM_BYTES 2176
#define DESCRIPTORS 1024

int oracle_fail(const char *words)
{
  fprintf(stderr, "abs-oracle: %s\n", words);
  return 1;
}

int oracle_start(void)
{
  static const char arguments[] = "abs-oracle\n--no-huge\n-m\n768\n--no-pci\n--no-telemetry\n"
                                  "--no-shconf\n--lcores\n0@(0-1)";

  if (abs_eal_start(arguments) || abs_pool_create(POOL_PACKETS, ROOM_BYTES) ||
      abs_keys_create(ABS_KEY_MAX))
    return oracle_fail(abs_last_error());
  return 0;
}

int oracle_port(const char *name, const char *arguments, uint16_t *port)
{
  int32_t number = abs_port_attach(name, arguments);

  if (number < 0 || abs_port_start((uint16_t)number, 1, DESCRIPTORS, 0, 1) < 0)
    return oracle_fail(abs_last_error());
  *port = (uint16_t)number;
  return 0;
}

int oracle_null_port(const char *name, uint16_t *port)
{
  return oracle_port(name, "size=64", port);
}

int main(int count, char **word)
{
  const struct { const char *name; int (*run)(int, char **); } table[] = {
    { "bench", oracle_bench }, { "apply", oracle_apply }, { "forward", oracle_forward },
  };

  for (size_t i = 0; count > 1 && i < sizeof table / sizeof *table; i++)
    if (!strcmp(word[1], table[i].name))
      return table[i].run(count - 2, word + 2);
  return oracle_fail("wants `bench`, `apply` or `forward`; see the head of bench/oracle.c");
}
