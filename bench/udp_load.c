/*
 * udp_load - one UDP generator, receiver and echo for every path that `abs bench e2e` measures and
 * for the lossless tests. design issue "Bench": the same program for all paths, sendmmsg/recvmmsg.
 *
 *   udp_load send    --to ADDR --port P --size BYTES --rate PPS|0 --seconds S [--flows N]
 *                    [--source-port FIRST] [--run ID]     rate 0: as fast as the socket takes them
 *   udp_load first   --to ADDR --port P --size BYTES --rate PPS|0 --flows N [--run ID]
 *                    one packet from each of N new sockets: the first packets of N new flows
 *   udp_load receive --port P --seconds S [--quiet-ms Q] [--run ID]
 *   udp_load echo    --port P --seconds S
 *   udp_load ping    --to ADDR --port P --count N --interval-ms M --size BYTES
 *
 * --size is the UDP payload. A 64-byte Ethernet frame without its check sequence (FCS) is 14 + 20 +
 * 8 + 22, so --size 22. The result is one JSON object on standard output (`--json` is accepted and
 * changes nothing); `ready` appears on standard error once a receiver is bound. SIGTERM and SIGINT
 * end a run early with its result printed. Times are CLOCK_MONOTONIC, shared by all namespaces.
 *
 * send and first also report what their own port dropped: /proc/self/net (the namespace's own).
 */
#define _GNU_SOURCE
#include "udp_socket.h"

#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define BATCH 64
#define SIZE_MAX_BYTES 9000
#define SEQUENCE_MAX (1ull << 28)
#define FLOW_MAX (1u << 20)
#define TICK_NS 50000ll        /* the longest pause between two batches of a paced run */
#define BACKLOG_NS 2000000ll   /* held up longer than this, a generator does not catch up */
#define PING_TIMEOUT_NS 1000000000ll

struct options {
	const char *to;
	uint32_t port, size, flows, source_port, run, count, interval_ms, quiet_ms;
	double rate, seconds;
	int first; /* one packet a flow */
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
	(void)number;
	stopping = 1;
}

static void print_count(const char *name, uint64_t count)
{
	printf("%s%llu", name, (unsigned long long)count);
}

/* ---- send, first ---- */

struct generator {
	const struct options *o;
	int *descriptor;
	uint64_t sent, errors, next_sequence;
	int64_t held_up_ns;
	struct mmsghdr message[BATCH];
	struct iovec part[BATCH];
	uint8_t payload[BATCH][SIZE_MAX_BYTES];
};

static void prepare(struct generator *g)
{
	for (int i = 0; i < BATCH; i++) {
		memset(g->payload[i], i, sizeof g->payload[i]);
		g->part[i] = (struct iovec){ g->payload[i], g->o->size };
		g->message[i].msg_hdr.msg_iov = &g->part[i];
		g->message[i].msg_hdr.msg_iovlen = 1;
	}
}

/* Sends `count` packets of `flow`; what the socket refuses is an error that uses up its number. */
static void send_batch(struct generator *g, uint32_t flow, uint32_t count)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct stamp stamp = { MAGIC, (uint16_t)g->o->run, flow, g->next_sequence++, now_ns(), 0 };

		memcpy(g->payload[i], &stamp, g->o->size < sizeof stamp ? STAMP_BYTES_MIN : sizeof stamp);
	}
	while (done < count && !stopping) {
		int n = sendmmsg(g->descriptor[flow], g->message + done, count - done, 0);

		if (n > 0) {
			done += (uint32_t)n;
			g->sent += (uint32_t)n;
		} else if (errno != EINTR) {
			done++;
			g->errors++;
		}
	}
	g->next_sequence -= count - done; /* stopped early: the rest was not offered */
}

/* The share of `rate` due by now, at most a batch; waits until at least `quantum` is due. */
static uint32_t wait_due(struct generator *g, int64_t *start_ns, uint64_t done, uint32_t quantum)
{
	double rate = g->o->rate;
	int64_t now = now_ns();
	int64_t due_ns = *start_ns + (int64_t)((double)(done + quantum) / rate * 1e9);
	double due;

	if (due_ns > now) {
		sleep_until(due_ns);
		now = now_ns();
	} else if (now - due_ns > BACKLOG_NS) {
		g->held_up_ns += now - due_ns - BACKLOG_NS;
		*start_ns += now - due_ns - BACKLOG_NS;
	}
	due = (double)(now - *start_ns) / 1e9 * rate - (double)done;
	return due < 1 ? 1 : due > BATCH ? BATCH : (uint32_t)due;
}

static void open_flows(struct generator *g)
{
	struct sockaddr_in6 peer = resolve(g->o->to, g->o->port);
	struct rlimit limit = { g->o->flows + 64, g->o->flows + 64 };

	setrlimit(RLIMIT_NOFILE, &limit);
	g->descriptor = calloc(g->o->flows, sizeof *g->descriptor);
	if (!g->descriptor)
		fail("calloc");
	for (uint32_t i = 0; i < g->o->flows; i++)
		g->descriptor[i] = open_socket(&peer, g->o->source_port ? g->o->source_port + i : 0, 0);
}

static int generate(const struct options *o)
{
	static struct generator g;
	struct own_drops before, after;
	uint64_t target = o->first ? o->flows : UINT64_MAX;
	double per_tick = o->first ? 1 : o->rate * TICK_NS / 1e9;
	uint32_t quantum = per_tick < 1 ? 1 : per_tick > BATCH ? BATCH : (uint32_t)per_tick;
	int64_t start, pace, elapsed;
	uint32_t flow = 0;

	g.o = o;
	prepare(&g);
	open_flows(&g);
	before = own_drops();
	start = pace = now_ns();
	while (!stopping && g.next_sequence < target) {
		uint32_t count = o->rate > 0 ? wait_due(&g, &pace, g.next_sequence, quantum) : BATCH;

		if (!o->first && (double)(now_ns() - start) / 1e9 >= o->seconds)
			break;
		send_batch(&g, flow, o->first ? 1 : count);
		flow = flow + 1 == o->flows ? 0 : flow + 1;
	}
	elapsed = now_ns() - start;
	usleep(20000); /* the port's own queue drains before its drops are read */
	after = own_drops();
	print_count("{\"offered\":", g.next_sequence);
	print_count(",\"sent\":", g.sent);
	print_count(",\"send_errors\":", g.errors);
	print_count(",\"own_port_drops\":", after.interface_tx - before.interface_tx);
	print_count(",\"own_send_buffer_drops\":", after.udp_send_buffer - before.udp_send_buffer);
	printf(",\"seconds\":%.6f,\"pps\":%.0f,\"held_up_ms\":%.1f}\n", (double)elapsed / 1e9,
	       (double)g.sent / ((double)elapsed / 1e9), (double)g.held_up_ns / 1e6);
	return 0;
}

/* ---- receive ---- */

struct receiver {
	uint64_t delivered, duplicates, reordered, strangers, highest;
	uint32_t kernel_drops;
	int64_t first_ns, last_ns;
	uint8_t *seen;      /* a bit a sequence */
	uint64_t *newest;   /* by flow: its highest sequence + 1 */
};

static void account(struct receiver *r, const struct options *o, const uint8_t *payload,
		    uint32_t bytes)
{
	struct stamp stamp;

	if (bytes < STAMP_BYTES_MIN) {
		r->strangers++;
		return;
	}
	memcpy(&stamp, payload, STAMP_BYTES_MIN);
	if (stamp.magic != MAGIC || stamp.run != (uint16_t)o->run || stamp.flow >= FLOW_MAX ||
	    stamp.sequence >= SEQUENCE_MAX) {
		r->strangers++;
	} else if (r->seen[stamp.sequence >> 3] & 1u << (stamp.sequence & 7)) {
		r->duplicates++;
	} else {
		r->seen[stamp.sequence >> 3] |= (uint8_t)(1u << (stamp.sequence & 7));
		r->delivered++;
		if (stamp.sequence + 1 < r->newest[stamp.flow])
			r->reordered++;
		else
			r->newest[stamp.flow] = stamp.sequence + 1;
		if (stamp.sequence + 1 > r->highest)
			r->highest = stamp.sequence + 1;
	}
}

static int receive(const struct options *o)
{
	static uint8_t payload[BATCH][SIZE_MAX_BYTES];
	static uint8_t control[BATCH][CMSG_SPACE(sizeof(uint32_t))];
	static struct receiver r;
	struct mmsghdr message[BATCH];
	struct iovec part[BATCH];
	struct own_drops before = own_drops(), after;
	int descriptor = open_socket(NULL, o->port, 10000000);
	int64_t end = now_ns() + (int64_t)(o->seconds * 1e9);

	r.seen = calloc(1, SEQUENCE_MAX / 8);
	r.newest = calloc(FLOW_MAX, sizeof *r.newest);
	if (!r.seen || !r.newest)
		fail("calloc");
	fprintf(stderr, "ready\n");
	while (!stopping && now_ns() < end) {
		struct cmsghdr *overflow;
		int n;

		for (int i = 0; i < BATCH; i++) {
			part[i] = (struct iovec){ payload[i], SIZE_MAX_BYTES };
			message[i].msg_hdr = (struct msghdr){ .msg_iov = &part[i], .msg_iovlen = 1,
				.msg_control = control[i], .msg_controllen = sizeof control[i] };
		}
		n = recvmmsg(descriptor, message, BATCH, MSG_WAITFORONE, NULL);
		if (n <= 0) {
			if (o->quiet_ms && r.first_ns && now_ns() - r.last_ns > o->quiet_ms * 1000000ll)
				break;
			continue;
		}
		for (int i = 0; i < n; i++)
			account(&r, o, payload[i], message[i].msg_len);
		overflow = CMSG_FIRSTHDR(&message[n - 1].msg_hdr); /* the only kind asked for */
		if (overflow)
			memcpy(&r.kernel_drops, CMSG_DATA(overflow), sizeof r.kernel_drops);
		r.last_ns = now_ns();
		r.first_ns = r.first_ns ? r.first_ns : r.last_ns;
	}
	after = own_drops();
	print_count("{\"delivered\":", r.delivered);
	print_count(",\"lost\":", r.highest - r.delivered);
	print_count(",\"duplicates\":", r.duplicates);
	print_count(",\"reordered\":", r.reordered);
	print_count(",\"strangers\":", r.strangers);
	print_count(",\"socket_drops\":", r.kernel_drops);
	print_count(",\"udp_receive_buffer_drops\":",
		    after.udp_receive_buffer - before.udp_receive_buffer);
	printf(",\"seconds\":%.6f}\n", (double)(r.last_ns - r.first_ns) / 1e9);
	return 0;
}

/* ---- echo, ping ---- */

static int echo(const struct options *o)
{
	static uint8_t payload[SIZE_MAX_BYTES];
	int descriptor = open_socket(NULL, o->port, 100000000);
	int64_t end = now_ns() + (int64_t)(o->seconds * 1e9);
	uint64_t echoed = 0;

	fprintf(stderr, "ready\n");
	while (!stopping && now_ns() < end) {
		struct sockaddr_storage from;
		socklen_t from_bytes = sizeof from;
		ssize_t n = recvfrom(descriptor, payload, sizeof payload, 0, (struct sockaddr *)&from,
				     &from_bytes);
		int64_t now = now_ns();

		if (n < 0)
			continue;
		if ((size_t)n >= sizeof(struct stamp))
			memcpy(payload + offsetof(struct stamp, echoed_ns), &now, sizeof now);
		if (sendto(descriptor, payload, (size_t)n, 0, (struct sockaddr *)&from, from_bytes) == n)
			echoed++;
	}
	printf("{\"echoed\":%llu}\n", (unsigned long long)echoed);
	return 0;
}

static int compare(const void *left, const void *right)
{
	double l = *(const double *)left, r = *(const double *)right;

	return l < r ? -1 : l > r;
}

/* Prints up to 16 times in order of arrival under `name`, then sorts all. */
static void print_and_sort(const char *name, double *sample, uint32_t count)
{
	printf("\"%s\":[", name);
	for (uint32_t i = 0; i < count && i < 16; i++)
		printf("%s%.1f", i ? "," : "", sample[i]);
	printf("],");
	qsort(sample, count, sizeof *sample, compare);
}

/* One echo: the round-trip time in µs, or a negative number when none came; `*there` is one way. */
static double ping_once(int descriptor, const struct options *o, uint64_t sequence, double *there)
{
	static uint8_t payload[SIZE_MAX_BYTES];
	struct stamp stamp = { MAGIC, (uint16_t)o->run, 0, sequence, now_ns(), 0 };
	size_t stamp_bytes = o->size < sizeof stamp ? STAMP_BYTES_MIN : sizeof stamp;
	int64_t sent = stamp.sent_ns;

	memcpy(payload, &stamp, stamp_bytes);
	if (send(descriptor, payload, o->size, 0) < 0)
		return -1;
	while (!stopping && now_ns() - sent < PING_TIMEOUT_NS) {
		ssize_t n = recv(descriptor, payload, sizeof payload, 0);
		int64_t now = now_ns();

		if (n < (ssize_t)stamp_bytes)
			continue;
		memcpy(&stamp, payload, stamp_bytes);
		if (stamp.magic != MAGIC || stamp.sequence != sequence)
			continue;
		*there = stamp.echoed_ns ? (double)(stamp.echoed_ns - sent) / 1e3 : 0;
		return (double)(now - sent) / 1e3;
	}
	return -1;
}

static int ping(const struct options *o)
{
	struct sockaddr_in6 peer = resolve(o->to, o->port);
	int descriptor = open_socket(&peer, o->source_port, PING_TIMEOUT_NS);
	double *sample = calloc(o->count + 1, sizeof *sample);
	double *there = calloc(o->count + 1, sizeof *there);
	uint32_t answered = 0, lost = 0;
	int64_t next = now_ns();

	if (!sample || !there)
		fail("calloc");
	for (uint32_t i = 0; i < o->count && !stopping; i++) {
		if (o->interval_ms)
			sleep_until(next);
		next += o->interval_ms * 1000000ll;
		sample[answered] = ping_once(descriptor, o, i, &there[answered]);
		if (sample[answered] < 0)
			lost++;
		else
			answered++;
	}
	printf("{\"count\":%u,\"lost\":%u,", o->count, lost);
	print_and_sort("samples_us", sample, answered);
	print_and_sort("one_way_samples_us", there, answered);
	printf("\"min_us\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,"
	       "\"one_way_p50_us\":%.1f}\n", sample[0], sample[answered / 2],
	       sample[answered * 99ull / 100], answered ? sample[answered - 1] : 0, there[answered / 2]);
	return lost == o->count;
}

/* ---- options ---- */

static void usage(const char *word)
{
	fprintf(stderr, "udp_load: do not understand `%s`; see the head of bench/udp_load.c\n", word);
	exit(2);
}

static double number(const char *name, const char *text, double low, double high)
{
	char *end = NULL;
	double value = text ? strtod(text, &end) : -1;

	if (!text || *end || end == text || value < low || value > high) {
		fprintf(stderr, "udp_load: %s wants a number from %.0f to %.0f\n", name, low, high);
		exit(2);
	}
	return value;
}

static void parse(struct options *o, int count, char **word)
{
	struct { const char *name; uint32_t *value; uint32_t low, high; } table[] = {
		{ "--port", &o->port, 1, 65535 }, { "--size", &o->size, STAMP_BYTES_MIN, SIZE_MAX_BYTES },
		{ "--flows", &o->flows, 1, FLOW_MAX }, { "--source-port", &o->source_port, 1, 65535 },
		{ "--run", &o->run, 0, 65535 }, { "--count", &o->count, 1, 10000000 },
		{ "--interval-ms", &o->interval_ms, 0, 3600000 }, { "--quiet-ms", &o->quiet_ms, 1, 3600000 },
	};

	for (int i = 2; i < count; i++) {
		const char *value = i + 1 < count ? word[i + 1] : NULL;
		size_t row = 0;

		if (!strcmp(word[i], "--json"))
			continue;
		while (row < sizeof table / sizeof *table && strcmp(word[i], table[row].name))
			row++;
		if (row < sizeof table / sizeof *table)
			*table[row].value = (uint32_t)number(word[i], value, table[row].low, table[row].high);
		else if (!strcmp(word[i], "--rate"))
			o->rate = number(word[i], value, 0, 1e9);
		else if (!strcmp(word[i], "--seconds"))
			o->seconds = number(word[i], value, 0, 1e6);
		else if (!strcmp(word[i], "--to") && value)
			o->to = value;
		else
			usage(word[i]);
		i++;
	}
}

int main(int count, char **word)
{
	struct options o = { .port = 7253, .size = 22, .flows = 1, .count = 10, .seconds = 1 };
	struct sigaction action = { .sa_handler = on_signal };
	const char *command = count > 1 ? word[1] : "";
	const struct { const char *name; int (*run)(const struct options *); } table[] = {
		{ "send", generate }, { "first", generate }, { "receive", receive }, { "echo", echo },
		{ "ping", ping },
	};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	prctl(PR_SET_TIMERSLACK, 1);
	o.first = !strcmp(command, "first");
	parse(&o, count, word);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (!strcmp(command, table[i].name))
			return table[i].run(&o);
	usage(command);
	return 2;
}
