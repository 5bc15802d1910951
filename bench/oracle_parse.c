/*
 * Parser of abs-oracle: the checks of src/dataplane/parse-*.ts for what an allowed flow may send:
 * Ethernet, up to two VLAN tags, IPv4 with options, IPv6 without extension headers, TCP, UDP, ICMP.
 * The frame that is nearly always there (untagged IPv4 of 20 bytes, whole) comes first, as there.
 * What needs the slow path (fragments, ICMP errors, ARP, IPv6 extension headers) is `uncommon`.
 */
#include "oracle.h"

#define TCP 6
#define UDP 17
#define ICMP 1
#define ICMPV6 58
#define TCP_FIN_SYN_RST 0x07u

/* Bit n: flags n (URG ACK PSH RST SYN FIN) are a combination that TCPs send; parse-transport.ts. */
#define TCP_FLAGS_LOW                                                                              \
  (1u << 2 | 1u << 4 | 1u << 16 | 1u << 17 | 1u << 18 | 1u << 20 | 1u << 10 | 1u << 12 |           \
   1u << 24 | 1u << 25 | 1u << 26 | 1u << 28)
#define TCP_FLAGS_HIGH (1u << 2 | 1u << 16 | 1u << 17 | 1u << 10 | 1u << 24 | 1u << 25)

static inline int parse_tcp(const uint8_t *base, uint32_t start, uint32_t end, struct parsed *out)
{
  uint32_t offset_and_flags, header_bytes, ports, known;

  if (end - start < 20)
    return 0;
  ports = load32(base + start);
  offset_and_flags = load16(base + start + 12);
  header_bytes = (offset_and_flags >> 12) * 4;
  if (header_bytes < 20 || end - start < header_bytes)
    return 0;
  out->source_port = ports >> 16;
  out->destination_port = ports & 0xffff;
  out->tcp_changes = offset_and_flags & TCP_FIN_SYN_RST;
  known = offset_and_flags & 0x20 ? TCP_FLAGS_HIGH : TCP_FLAGS_LOW;
  return known >> (offset_and_flags & 0x1f) & 1;
}

static inline int parse_udp(const uint8_t *base, uint32_t start, uint32_t end, struct parsed *out)
{
  uint32_t ports, bytes;

  if (end - start < 8)
    return 0;
  ports = load32(base + start);
  bytes = load16(base + start + 4);
  out->source_port = ports >> 16;
  out->destination_port = ports & 0xffff;
  out->tcp_changes = 0;
  return bytes >= 8 && bytes <= end - start;
}

static int parse_other(const uint8_t *base, uint32_t start, uint32_t end, struct parsed *out)
{
  uint8_t protocol = out->protocol, type;

  out->source_port = out->destination_port = 0;
  out->tcp_changes = 0;
  if (!(protocol == ICMP && out->version == 4) && !(protocol == ICMPV6 && out->version == 6))
    return 1;
  if (end - start < 8)
    return 0;
  type = base[start];
  if (protocol == ICMP ? (type & 0xf7) == 0 : (type & 0xfe) == 128)
    out->source_port = out->destination_port = load16(base + start + 4);
  else
    out->uncommon = 1;
  return 1;
}

static inline int parse_transport(const uint8_t *base, struct parsed *out)
{
  if (out->protocol == TCP)
    return parse_tcp(base, out->payload_start, out->ip_end, out);
  if (out->protocol == UDP)
    return parse_udp(base, out->payload_start, out->ip_end, out);
  return parse_other(base, out->payload_start, out->ip_end, out);
}

static int parse_ipv4(const uint8_t *base, uint32_t start, uint32_t end, struct parsed *out)
{
  uint32_t header_bytes, total;

  if (end - start < 20 || base[start] >> 4 != 4)
    return 0;
  header_bytes = (base[start] & 0x0f) * 4u;
  total = load16(base + start + 2);
  if (header_bytes < 20 || end - start < header_bytes || total < header_bytes ||
      total > end - start)
    return 0;
  out->version = 4;
  out->ip_start = start;
  out->payload_start = start + header_bytes;
  out->ip_end = start + total;
  out->identification = load16(base + start + 4);
  out->fragment = load16(base + start + 6);
  out->protocol = base[start + 9];
  out->protocol_word |= out->protocol;
  out->source[3] = load32(base + start + 12);
  out->destination[3] = load32(base + start + 16);
  if (out->fragment & 0x8000)
    return 0;
  out->uncommon = header_bytes > 20 || (out->fragment & 0x3fff) != 0;
  return out->uncommon || parse_transport(base, out);
}

static int parse_ipv6(const uint8_t *base, uint32_t start, uint32_t end, struct parsed *out)
{
  uint32_t bytes;

  if (end - start < 40 || base[start] >> 4 != 6)
    return 0;
  bytes = load16(base + start + 4);
  if (bytes > end - start - 40)
    return 0;
  out->version = 6;
  out->ip_start = start;
  out->payload_start = start + 40;
  out->ip_end = start + 40 + bytes;
  out->identification = 0;
  out->fragment = 0;
  out->protocol = base[start + 6];
  out->protocol_word |= out->protocol | FLOW_IPV6;
  for (int i = 0; i < 4; i++) {
    out->source[i] = load32(base + start + 8 + 4 * i);
    out->destination[i] = load32(base + start + 24 + 4 * i);
  }
  switch (out->protocol) { /* extension headers and no next header */
  case 0: case 43: case 44: case 51: case 59: case 60: case 135:
    out->uncommon = 1;
    return 1;
  }
  return parse_transport(base, out);
}

static int parse_any(const uint8_t *base, uint32_t start, uint32_t end, struct parsed *out)
{
  uint32_t type, position = start + 14, tags = 0;

  if (end - start < 14)
    return 0;
  type = load16(base + start + 12);
  while (type == 0x8100 || type == 0x88a8 || type == 0x9100) {
    if (tags++ == 2 || end - position < 4)
      return 0;
    out->protocol_word = (load16(base + position) & 0x0fff) << 16;
    type = load16(base + position + 2);
    position += 4;
  }
  if (type == 0x0800)
    return parse_ipv4(base, position, end, out);
  if (type == 0x86dd)
    return parse_ipv6(base, position, end, out);
  out->uncommon = 1;
  return type == 0x0806;
}

int oracle_parse(const uint8_t *base, uint32_t start, uint32_t end, struct parsed *out)
{
  const uint8_t *at = base + start;
  uint32_t length_and_id, fragment_word;

  out->protocol_word = 0;
  out->uncommon = 0;
  out->source[0] = out->source[1] = out->source[2] = 0;
  out->destination[0] = out->destination[1] = out->destination[2] = 0;
  if (end - start < 34 || (load32(at + 12) & 0xffffff00) != 0x08004500)
    return parse_any(base, start, end, out);
  length_and_id = load32(at + 16);
  fragment_word = load32(at + 20);
  out->ip_end = start + 14 + (length_and_id >> 16);
  out->payload_start = start + 34;
  if (fragment_word & 0xbfff0000 || out->ip_end > end || out->ip_end < out->payload_start)
    return parse_any(base, start, end, out);
  out->version = 4;
  out->ip_start = start + 14;
  out->identification = length_and_id & 0xffff;
  out->fragment = fragment_word >> 16;
  out->protocol = fragment_word & 0xff;
  out->protocol_word = out->protocol;
  out->source[3] = load32(at + 26);
  out->destination[3] = load32(at + 30);
  return parse_transport(base, out);
}
