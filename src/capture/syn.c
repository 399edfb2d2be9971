/* SPDX-License-Identifier: Apache-2.0 */
/* syn - IPv4 (RFC 791), IPv6 (RFC 8200) and TCP (RFC 9293), as far as a first packet needs them. */
#include "capture/syn.h"

#include <string.h>

#define IPV4_MIN 20
#define IPV6_SIZE 40
#define TCP_MIN 20

#define FRAGMENT_BITS 0x3fff /* more fragments, and the offset; "do not fragment" says nothing */

/* Next headers of IPv6. */
enum next_header {
	NEXT_HOP_BY_HOP = 0,
	NEXT_TCP = 6,
	NEXT_ROUTING = 43,
	NEXT_FRAGMENT = 44,
	NEXT_DESTINATION_OPTIONS = 60,
};

enum tcp_flag { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_ACK = 0x10 };

static unsigned u16_at(struct bytes b, size_t at)
{
	return (unsigned)b.data[at] << 8 | b.data[at + 1];
}

static struct bytes behind(struct bytes b, size_t len)
{
	return bytes_of(b.data + len, b.len - len);
}

static enum syn_parse parse_tcp(struct bytes tcp, struct syn *out)
{
	size_t header_len;
	unsigned flags;

	if (tcp.len < TCP_MIN)
		return SYN_CUT;
	header_len = (tcp.data[12] >> 4) * 4u;
	flags = tcp.data[13] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK);
	if (header_len < TCP_MIN)
		return SYN_NOT_TCP;
	if (header_len > tcp.len)
		return SYN_CUT;
	if (flags != TCP_SYN || u16_at(tcp, 0) == 0 || u16_at(tcp, 2) == 0)
		return SYN_NOT_SYN;
	sock_addr_set_port(&out->client, (uint16_t)u16_at(tcp, 0));
	sock_addr_set_port(&out->server, (uint16_t)u16_at(tcp, 2));
	return SYN_GOOD;
}

static enum syn_parse parse_v4(struct bytes packet, struct syn *out)
{
	size_t header_len;
	size_t total_len;

	if (packet.len < IPV4_MIN)
		return SYN_CUT;
	header_len = (packet.data[0] & 0x0f) * 4u;
	total_len = u16_at(packet, 2);
	if (header_len < IPV4_MIN || total_len < header_len)
		return SYN_NOT_IP;
	if (packet.len < header_len)
		return SYN_CUT;
	if ((u16_at(packet, 6) & FRAGMENT_BITS) != 0)
		return SYN_FRAGMENT;
	if (packet.data[9] != NEXT_TCP)
		return SYN_NOT_TCP;
	out->client.v4.sin_family = AF_INET;
	out->server.v4.sin_family = AF_INET;
	memcpy(&out->client.v4.sin_addr, packet.data + 12, 4);
	memcpy(&out->server.v4.sin_addr, packet.data + 16, 4);
	packet.len = MIN(packet.len, total_len);
	return parse_tcp(behind(packet, header_len), out);
}

/* *rest begins with an extension header of kind next; steps over it. */
static enum syn_parse skip_extension(unsigned *next, struct bytes *rest)
{
	size_t len;

	if (*next == NEXT_FRAGMENT)
		return SYN_FRAGMENT;
	if (*next != NEXT_HOP_BY_HOP && *next != NEXT_ROUTING && *next != NEXT_DESTINATION_OPTIONS)
		return SYN_NOT_TCP;
	if (rest->len < 8)
		return SYN_CUT;
	len = (rest->data[1] + 1u) * 8;
	if (rest->len < len)
		return SYN_CUT;
	if (*next == NEXT_ROUTING && rest->data[3] != 0) /* segments left */
		return SYN_ROUTED;
	*next = rest->data[0];
	*rest = behind(*rest, len);
	return SYN_GOOD;
}

static enum syn_parse parse_v6(struct bytes packet, struct syn *out)
{
	unsigned next;
	struct bytes rest;

	if (packet.len < IPV6_SIZE)
		return SYN_CUT;
	next = packet.data[6];
	rest = behind(packet, IPV6_SIZE);
	rest.len = MIN(rest.len, (size_t)u16_at(packet, 4));
	for (unsigned i = 0; next != NEXT_TCP; i++) {
		enum syn_parse skipped = i < SYN_EXTENSIONS_MAX ? skip_extension(&next, &rest) : SYN_NOT_TCP;

		if (skipped != SYN_GOOD)
			return skipped;
	}
	out->client.v6.sin6_family = AF_INET6;
	out->server.v6.sin6_family = AF_INET6;
	memcpy(&out->client.v6.sin6_addr, packet.data + 8, 16);
	memcpy(&out->server.v6.sin6_addr, packet.data + 24, 16);
	return parse_tcp(rest, out);
}

enum syn_parse syn_parse(struct bytes packet, struct syn *out)
{
	struct syn found = { 0 };
	enum syn_parse result;

	if (packet.len == 0)
		return SYN_CUT;
	switch (packet.data[0] >> 4) {
	case 4:
		result = parse_v4(packet, &found);
		break;
	case 6:
		result = parse_v6(packet, &found);
		break;
	default:
		return SYN_NOT_IP;
	}
	if (result == SYN_GOOD)
		*out = found;
	return result;
}

const char *syn_parse_text(enum syn_parse result)
{
	static const char *const texts[] = {
		[SYN_GOOD] = "good",
		[SYN_CUT] = "cut short",
		[SYN_NOT_IP] = "not IP",
		[SYN_FRAGMENT] = "a fragment",
		[SYN_ROUTED] = "source-routed",
		[SYN_NOT_TCP] = "not TCP",
		[SYN_NOT_SYN] = "not the first packet of a connection",
	};

	return texts[result];
}
