/*
 * What generator, receiver and echo of udp_load.c share: the payload's stamp, clock, sockets with
 * large buffers, and the drop counters of the process's own network namespace.
 */
#ifndef ABS_UDP_SOCKET_H
#define ABS_UDP_SOCKET_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define MAGIC 0xab5b
#define SOCKET_BUFFER_BYTES (64 << 20)

/* Head of every payload, host byte order. Sequences count over all flows of a run. */
struct stamp {
	uint16_t magic;
	uint16_t run;
	uint32_t flow;
	uint64_t sequence;
	int64_t sent_ns;   /* only in payloads of 32 bytes and more */
	int64_t echoed_ns;
};
#define STAMP_BYTES_MIN 16

struct own_drops { /* what the namespace's interfaces and UDP have dropped so far */
	uint64_t interface_tx, udp_send_buffer, udp_receive_buffer;
};

static inline void fail(const char *what)
{
	fprintf(stderr, "udp_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static inline void sleep_until(int64_t at_ns)
{
	struct timespec t = { at_ns / 1000000000ll, at_ns % 1000000000ll };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* A socket with large buffers, bound to `port` and, when there is a peer, connected to it. */
static inline int open_socket(const struct sockaddr_in6 *peer, uint32_t port, int64_t timeout_ns)
{
	int descriptor = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int bytes = SOCKET_BUFFER_BYTES, on = 1, off = 0;
	struct timeval timeout = { timeout_ns / 1000000000ll, timeout_ns / 1000 % 1000000 };
	struct sockaddr_in6 own = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };

	if (descriptor < 0)
		fail("socket");
	setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
	setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
	setsockopt(descriptor, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
	setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(descriptor, (struct sockaddr *)&own, sizeof own))
		fail("bind");
	if (peer && connect(descriptor, (const struct sockaddr *)peer, sizeof *peer))
		fail("connect");
	return descriptor;
}

/* The peer's address; IPv4 as an IPv4-mapped IPv6 one, so that there is one kind of socket. */
static inline struct sockaddr_in6 resolve(const char *to, uint32_t port)
{
	struct sockaddr_in6 peer = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	char mapped[64];

	snprintf(mapped, sizeof mapped, "%s%s", to && strchr(to, ':') ? "" : "::ffff:",
		 to ? to : "");
	if (inet_pton(AF_INET6, mapped, &peer.sin6_addr) != 1) {
		fprintf(stderr, "udp_load: --to wants an IPv4 or IPv6 address\n");
		exit(2);
	}
	return peer;
}

static inline struct own_drops own_drops(void)
{
	struct own_drops d = { 0 };
	unsigned long long drop, receive_buffer, send_buffer;
	char line[1024], name[32];
	FILE *file = fopen("/proc/self/net/dev", "r");

	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, " %31[^:]: %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %llu", name,
			   &drop) == 2 && strcmp(name, "lo"))
			d.interface_tx += drop;
	if (!file || !freopen("/proc/self/net/snmp", "r", file))
		fail("/proc/self/net");
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "Udp: %*u %*u %*u %*u %llu %llu", &receive_buffer, &send_buffer) == 2)
			d = (struct own_drops){ d.interface_tx, send_buffer, receive_buffer };
	fclose(file);
	return d;
}

#endif
