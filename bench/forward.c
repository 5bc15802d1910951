/*
 * Plain DPDK forwarding between two kernel interfaces, the `forward` path of `abs bench e2e`: what
 * the same AF_PACKET ports cost when nothing is looked at. Ports and waiting are the agent's: busy
 * while packets come, then sleeping on the ports' sockets.
 * Called as `abs-oracle forward INSIDE OUTSIDE` in the namespace that holds both interfaces.
 */
#include "oracle.h"

#include <rte_ethdev.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "../c/abs_shim.h"

#define SPIN_US 20 /* how long an empty loop spins before it waits */
#define WAIT_US 10000

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
  (void)number;
  stopping = 1;
}

static uint32_t move_burst(uint16_t from, uint16_t to)
{
  struct rte_mbuf *mbuf[ORACLE_BURST];
  uint16_t received = rte_eth_rx_burst(from, 0, mbuf, ORACLE_BURST);
  uint16_t sent = 0;

  if (received)
    sent = rte_eth_tx_burst(to, 0, mbuf, received);
  for (uint16_t i = sent; i < received; i++)
    rte_pktmbuf_free(mbuf[i]);
  return received;
}

int oracle_forward(int count, char **word)
{
  static const char *device[] = { "net_af_packet0", "net_af_packet1" };
  struct sigaction action = { .sa_handler = on_signal };
  char arguments[128];
  uint16_t port[2];
  int32_t descriptor[2];
  double idle_since = 0;

  if (count != 2)
    return oracle_fail("forward wants two interface names: inside and outside");
  if (oracle_start())
    return 1;
  for (int i = 0; i < 2; i++) {
    snprintf(arguments, sizeof arguments, "iface=%s,blocksz=65536,framesz=2048,framecnt=2048",
             word[i]);
    if (oracle_port(device[i], arguments, &port[i]))
      return 1;
    descriptor[i] = abs_port_descriptor(port[i], 0);
  }
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  prctl(PR_SET_TIMERSLACK, 1);
  fprintf(stderr, "ready\n");
  while (!stopping) {
    if (move_burst(port[0], port[1]) + move_burst(port[1], port[0])) {
      idle_since = 0;
    } else if (idle_since == 0) {
      idle_since = abs_now_us();
    } else if (abs_now_us() - idle_since > SPIN_US) {
      abs_wait(descriptor, 2, WAIT_US);
      idle_since = 0;
    }
  }
  return 0;
}
