/*
 * port_shim.c - ports: attaching, starting, stopping, counts. See abs_shim.h for the conventions.
 *
 * Threads: everything here belongs to the main thread; the queues of a started port belong to the
 * threads that poll them (burst_shim.c).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ring.h>

#include "abs_shim.h"
#include "shim_internal.h"

#define NAME_BYTES_MAX 24 /* DPDK puts prefixes before it and allows 32 in all */
#define DESCRIPTOR_MAX 4096
#define TUN_DEVICE makedev(10, 200)

struct shim_port shim_ports[ABS_PORT_MAX];

/*
 * Whether the kernel reports packets by this descriptor: AF_PACKET and AF_XDP sockets, TAP devices.
 */
static int announces_packets(int descriptor)
{
  struct stat status;
  int domain = 0;
  socklen_t size = sizeof(domain);
  if (fstat(descriptor, &status) != 0)
    return 0;
  if (S_ISCHR(status.st_mode))
    return status.st_rdev == TUN_DEVICE;
  return S_ISSOCK(status.st_mode) &&
         getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
         (domain == AF_PACKET || domain == AF_XDP);
}

static void mark_open(uint8_t *open)
{
  for (int i = 0; i < DESCRIPTOR_MAX; i++)
    open[i] = fcntl(i, F_GETFD) != -1;
}

/*
 * DPDK has no call for a virtual device's descriptors: those opened since @before are the port's.
 */
static void keep_descriptors(uint16_t port, const uint8_t *before)
{
  uint32_t queue = 0;
  for (int i = 0; i < DESCRIPTOR_MAX && queue < ABS_QUEUE_MAX; i++) {
    if (before[i] || !announces_packets(i))
      continue;
    if (queue == 0)
      (void)memset(shim_ports[port].descriptor, -1, sizeof(shim_ports[port].descriptor));
    shim_ports[port].descriptor[queue++] = i;
  }
}

static int32_t check_port(uint16_t port)
{
  if (port >= ABS_PORT_MAX || !rte_eth_dev_is_valid_port(port))
    return shim_fail(ABS_EINVAL, "there is no port %u", port);
  return 0;
}

/**
 * abs_port_find - number of a port by the name its device has ("0000:00:04.0", "net_null0").
 * Returns 0..ABS_PORT_MAX-1, ABS_EINVAL, or ABS_EDPDK when there is none.
 */
int32_t abs_port_find(const char *name)
{
  uint16_t port = 0;
  if (name == NULL)
    return shim_fail(ABS_EINVAL, "a port needs a name");
  if (rte_eth_dev_get_port_by_name(name, &port) != 0)
    return shim_fail(ABS_EDPDK, "there is no port named %s", name);
  if (port >= ABS_PORT_MAX)
    return shim_fail(ABS_EDPDK, "port %s is the %u-th: more than %d", name, port, ABS_PORT_MAX);
  return port;
}

/**
 * abs_port_attach - make a port of a virtual device.
 * @name: driver and number: "net_af_packet0", "net_tap1", "net_pcap0", …; below 32 bytes, unused.
 * @arguments: of the driver, "iface=eth0,blocksz=65536"; may be empty.
 * Main thread. The driver opens its sockets in the network namespace that the thread is in now. PCI
 * devices are named to abs_eal_start() and found by abs_port_find(). Returns the port or a code.
 */
int32_t abs_port_attach(const char *name, const char *arguments)
{
  uint8_t before[DESCRIPTOR_MAX];
  uint16_t port = 0;
  if (name == NULL || arguments == NULL || name[0] == '\0' || strlen(name) >= RTE_DEV_NAME_MAX_LEN)
    return shim_fail(ABS_EINVAL, "a port needs a name below %d bytes", RTE_DEV_NAME_MAX_LEN);
  if (rte_eth_dev_get_port_by_name(name, &port) == 0)
    return shim_fail(ABS_ESTATE, "port %s exists already", name);
  shim_log_begin();
  mark_open(before);
  int result = rte_eal_hotplug_add("vdev", name, arguments);
  if (result != 0)
    return shim_fail_dpdk("the port was not attached", result);
  result = abs_port_find(name);
  if (result >= 0) {
    shim_ports[result] = (struct shim_port){ 0 };
    (void)memset(shim_ports[result].descriptor, -1, sizeof(shim_ports[result].descriptor));
    keep_descriptors((uint16_t)result, before);
  }
  return result;
}

/**
 * abs_port_pair - two ports back to back: what one sends the other receives.
 * @name: 1..23 bytes, unused so far.
 * @slots: packets on the way each way, 1..65536.
 * @out: out, 2 port numbers.
 * Main thread. Packets cross without being copied. Returns 0 or a negative code.
 */
int32_t abs_port_pair(const char *name, uint32_t slots, uint16_t *out)
{
  struct rte_ring *way[2];
  char text[NAME_BYTES_MAX + 4];
  if (name == NULL || out == NULL || name[0] == '\0' || strlen(name) >= NAME_BYTES_MAX ||
      slots == 0 || slots > 65536)
    return shim_fail(ABS_EINVAL, "a pair needs a name below %d bytes and 1..65536 slots",
                     NAME_BYTES_MAX);
  shim_log_begin();
  for (int i = 0; i < 2; i++) {
    (void)snprintf(text, sizeof(text), "%s-%d", name, i);
    way[i] = rte_ring_create(text, slots, SOCKET_ID_ANY,
                             RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
    if (way[i] == NULL)
      return shim_fail_dpdk("a ring was not made", rte_errno);
  }
  for (int i = 0; i < 2; i++) {
    (void)snprintf(text, sizeof(text), "%s-%d", name, i);
    int port = rte_eth_from_rings(text, &way[i], 1, &way[1 - i], 1, 0);
    if (port < 0)
      return shim_fail_dpdk("a ring port was not made", rte_errno);
    if (port >= ABS_PORT_MAX)
      return shim_fail(ABS_EDPDK, "more than %d ports", ABS_PORT_MAX);
    shim_ports[port] = (struct shim_port){ 0 };
    (void)memset(shim_ports[port].descriptor, -1, sizeof(shim_ports[port].descriptor));
    out[i] = (uint16_t)port;
  }
  return 0;
}

static int setup_queues(uint16_t port, uint16_t queues, uint16_t descriptors)
{
  uint16_t received = descriptors;
  uint16_t sent = descriptors;
  int result = rte_eth_dev_adjust_nb_rx_tx_desc(port, &received, &sent);
  int socket = rte_eth_dev_socket_id(port);
  unsigned int node = socket < 0 ? 0 : (unsigned int)socket;
  for (uint16_t i = 0; result == 0 && i < queues; i++)
    result = rte_eth_rx_queue_setup(port, i, received, node, NULL, shim_pool.packets);
  for (uint16_t i = 0; result == 0 && i < queues; i++)
    result = rte_eth_tx_queue_setup(port, i, sent, node, NULL);
  return result;
}

/**
 * abs_port_start - configure a port and let it run.
 * @queues: receiving and sending each, 1..ABS_QUEUE_MAX.
 * @descriptors: of each queue, 32..32768; rounded to what the driver can.
 * @mtu: bytes, or 0 to leave it (af_packet refuses more than 1500: set the interface's own then).
 * @promiscuous: 1 to receive what is not addressed to the port's MAC.
 * Main thread, in the network namespace of abs_port_attach(). Returns 0 or a negative code.
 */
int32_t abs_port_start(uint16_t port, uint16_t queues, uint16_t descriptors, uint32_t mtu,
                       uint32_t promiscuous)
{
  uint8_t before[DESCRIPTOR_MAX];
  struct rte_eth_dev_info info;
  struct rte_eth_conf settings = { 0 };
  if (check_port(port) < 0)
    return ABS_EINVAL;
  if (queues == 0 || queues > ABS_QUEUE_MAX || descriptors < 32 || descriptors > 32768 ||
      mtu > UINT16_MAX || promiscuous > 1)
    return shim_fail(ABS_EINVAL, "%u queues of %u, MTU %u, promiscuous %u: out of range", queues,
                     descriptors, mtu, promiscuous);
  if (shim_pool.packets == NULL || shim_ports[port].queues != 0)
    return shim_fail(ABS_ESTATE, "port %u has been started, or there is no packet pool", port);
  shim_log_begin();
  mark_open(before);
  int result = rte_eth_dev_info_get(port, &info);
  if (result == 0 && queues > 1 && info.flow_type_rss_offloads != 0) {
    settings.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    settings.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads;
  }
  if (result == 0)
    result = rte_eth_dev_configure(port, queues, queues, &settings);
  if (result == 0)
    result = setup_queues(port, queues, descriptors);
  if (result == 0 && mtu != 0)
    result = rte_eth_dev_set_mtu(port, (uint16_t)mtu);
  if (result == 0)
    result = rte_eth_dev_start(port);
  if (result == 0 && promiscuous) {
    result = rte_eth_promiscuous_enable(port);
    result = result == -ENOTSUP ? 0 : result; /* such a driver hands over everything anyway */
  }
  if (result != 0)
    return shim_fail_dpdk("the port did not start", result);
  keep_descriptors(port, before);
  shim_ports[port].queues = queues;
  return 0;
}

/**
 * abs_port_stop - stop a port and remove its device; packets it holds go back to the pool.
 * Main thread, after the last burst call on the port has returned. Returns 0 or a negative code.
 */
int32_t abs_port_stop(uint16_t port)
{
  struct rte_eth_dev_info info;
  if (check_port(port) < 0)
    return ABS_EINVAL;
  shim_log_begin();
  shim_ports[port].queues = 0;
  int result = rte_eth_dev_info_get(port, &info);
  if (result == 0)
    result = rte_eth_dev_stop(port);
  if (result == 0)
    result = info.device != NULL ? rte_dev_remove(info.device) : rte_eth_dev_close(port);
  return result == 0 ? 0 : shim_fail_dpdk("the port did not stop", result);
}

/**
 * abs_port_descriptor - the file descriptor by which the kernel announces packets of a queue.
 * For abs_wait(); it stays the port's. Returns it, or ABS_ESTATE when the driver has none (null,
 * ring, pcap, PCI): poll those by time.
 */
int32_t abs_port_descriptor(uint16_t port, uint16_t queue)
{
  if (check_port(port) < 0 || queue >= ABS_QUEUE_MAX)
    return shim_fail(ABS_EINVAL, "there is no port %u with a queue %u", port, queue);
  if (shim_ports[port].descriptor[queue] < 0 || shim_ports[port].queues == 0)
    return shim_fail(ABS_ESTATE, "queue %u of port %u has no file descriptor", queue, port);
  return shim_ports[port].descriptor[queue];
}

/**
 * abs_port_mac - the port's Ethernet address into @out (6 bytes). Returns 0 or a negative code.
 */
int32_t abs_port_mac(uint16_t port, uint8_t *out)
{
  struct rte_ether_addr address;
  if (check_port(port) < 0 || out == NULL)
    return shim_fail(ABS_EINVAL, "no port %u, or no place for its address", port);
  shim_log_begin();
  int result = rte_eth_macaddr_get(port, &address);
  if (result != 0)
    return shim_fail_dpdk("the port's address is not known", result);
  (void)memcpy(out, address.addr_bytes, sizeof(address.addr_bytes));
  return 0;
}

/**
 * abs_port_driver - name of the port's driver ("net_af_packet"), NUL-terminated, into @out of
 * @size_bytes bytes (32 are enough). Returns 0 or a negative code.
 */
int32_t abs_port_driver(uint16_t port, uint8_t *out, uint32_t size_bytes)
{
  struct rte_eth_dev_info info;
  if (check_port(port) < 0 || out == NULL || size_bytes == 0)
    return shim_fail(ABS_EINVAL, "no port %u, or no place for its driver's name", port);
  shim_log_begin();
  int result = rte_eth_dev_info_get(port, &info);
  if (result != 0)
    return shim_fail_dpdk("the port's driver is not known", result);
  (void)snprintf((char *)out, size_bytes, "%s", info.driver_name);
  return 0;
}

/**
 * abs_port_stats - counts since the port was attached.
 * @out: out, 8 values: packets received, sent; bytes received, sent; packets missed (an AF_PACKET
 *       socket's kernel drops included), wrong on receipt (chained ones included), wrong on
 *       sending, dropped for want of a free packet.
 * Main thread. Returns 0 or a negative code.
 */
int32_t abs_port_stats(uint16_t port, double *out)
{
  struct rte_eth_stats stats;
  if (check_port(port) < 0 || out == NULL)
    return shim_fail(ABS_EINVAL, "no port %u, or no place for its counts", port);
  shim_log_begin();
  int result = rte_eth_stats_get(port, &stats);
  if (result != 0)
    return shim_fail_dpdk("the port's counts are not known", result);
  for (uint32_t i = 0; i < shim_ports[port].queues; i++) {
    struct tpacket_stats kernel = { 0 };
    socklen_t size = sizeof(kernel);
    int socket = shim_ports[port].descriptor[i];
    if (socket >= 0 &&
        getsockopt(socket, SOL_PACKET, PACKET_STATISTICS, &kernel, &size) == 0)
      shim_ports[port].kernel_drops += kernel.tp_drops;
  }
  out[0] = (double)stats.ipackets;
  out[1] = (double)stats.opackets;
  out[2] = (double)stats.ibytes;
  out[3] = (double)stats.obytes;
  out[4] = (double)(stats.imissed + shim_ports[port].kernel_drops);
  out[5] = (double)(stats.ierrors + shim_ports[port].odd_packets);
  out[6] = (double)stats.oerrors;
  out[7] = (double)stats.rx_nombuf;
  return 0;
}
