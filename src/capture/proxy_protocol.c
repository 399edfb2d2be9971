/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_protocol - parse and format.
 *
 * Version 1 is a line of text, version 2 is binary and may end with TLVs, which are skipped by their length.
 */
#include "capture/proxy_protocol.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>

#define V1_BEGIN "PROXY "
#define V2_LOCAL 0x20
#define V2_PROXY 0x21
#define V2_UNSPEC 0x00
#define V2_TCP4 0x11
#define V2_TCP6 0x21
#define V2_UNIX_STREAM 0x31
#define V2_TCP4_LEN 12
#define V2_TCP6_LEN 36

static const uint8_t v2_begin[] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

static enum proxy_parse broken(struct err *e, const char *what)
{
	err_set(e, ERR_PEER, "PROXY protocol header: %s", what);
	return PROXY_BROKEN;
}

static void set_addr(struct sock_addr *a, int family, const void *addr, uint16_t port)
{
	*a = (struct sock_addr){ 0 };
	a->any.sa_family = (sa_family_t)family;
	if (family == AF_INET6)
		memcpy(&a->v6.sin6_addr, addr, sizeof(a->v6.sin6_addr));
	else
		memcpy(&a->v4.sin_addr, addr, sizeof(a->v4.sin_addr));
	sock_addr_set_port(a, port);
}

/* ---- version 1 ---- */

/* The next word of the line, which ends with a space or with the line. A word too many, or none, is empty. */
static struct bytes next_word(struct bytes *line)
{
	struct bytes word = { line->data, 0 };

	while (word.len < line->len && line->data[word.len] != ' ')
		word.len++;
	line->data += MIN(word.len + 1, line->len);
	line->len -= MIN(word.len + 1, line->len);
	return word;
}

static bool parse_port(struct bytes word, uint16_t *port)
{
	unsigned value = 0;

	if (word.len == 0 || word.len > 5 || (word.len > 1 && word.data[0] == '0'))
		return false;
	for (size_t i = 0; i < word.len; i++) {
		if (word.data[i] < '0' || word.data[i] > '9')
			return false;
		value = value * 10 + (word.data[i] - '0');
	}
	*port = (uint16_t)value;
	return value <= UINT16_MAX;
}

static bool parse_addr(struct bytes word, int family, uint8_t addr[16])
{
	char text[INET6_ADDRSTRLEN];

	if (word.len >= sizeof(text) || memchr(word.data, '\0', word.len) != NULL)
		return false;
	memcpy(text, word.data, word.len);
	text[word.len] = '\0';
	return inet_pton(family, text, addr) == 1;
}

/* line: behind "PROXY ", without CR LF. */
static enum proxy_parse parse_v1_line(struct bytes line, struct proxy_header *h, struct err *e)
{
	struct bytes protocol = next_word(&line);
	int family = bytes_equal_str(protocol, "TCP6") ? AF_INET6 : AF_INET;
	uint8_t addrs[2][16];
	uint16_t ports[2];

	if (bytes_equal_str(protocol, "UNKNOWN"))
		return PROXY_HEADER;
	if (!bytes_equal_str(protocol, "TCP4") && !bytes_equal_str(protocol, "TCP6"))
		return broken(e, "neither TCP4, TCP6 nor UNKNOWN");
	for (unsigned i = 0; i < 2; i++) {
		if (!parse_addr(next_word(&line), family, addrs[i]))
			return broken(e, "an address is not one of its family");
	}
	if (!parse_port(next_word(&line), &ports[0]))
		return broken(e, "the client's port is not one");
	if (!parse_port(line, &ports[1]))
		return broken(e, "the service's port is not one, or more follows");
	set_addr(&h->client, family, addrs[0], ports[0]);
	set_addr(&h->server, family, addrs[1], ports[1]);
	h->has_addrs = true;
	return PROXY_HEADER;
}

static enum proxy_parse parse_v1(struct bytes in, struct proxy_header *h, struct err *e)
{
	size_t begin = strlen(V1_BEGIN);
	ssize_t end = bytes_find(bytes_of(in.data, MIN(in.len, (size_t)PROXY_V1_MAX)), bytes_str("\r\n"));

	if (end < 0 && in.len >= PROXY_V1_MAX)
		return broken(e, "no end of line in 107 bytes");
	if (end < 0)
		return PROXY_MORE;
	h->len = (size_t)end + 2;
	return parse_v1_line(bytes_of(in.data + begin, (size_t)end - begin), h, e);
}

/* ---- version 2 ---- */

static void read_addrs(struct reader *r, int family, struct proxy_header *h)
{
	size_t len = family == AF_INET6 ? 16 : 4;
	struct bytes client = reader_bytes(r, len);
	struct bytes server = reader_bytes(r, len);
	uint16_t client_port = reader_u16(r);
	uint16_t server_port = reader_u16(r);

	if (r->failed)
		return;
	set_addr(&h->client, family, client.data, client_port);
	set_addr(&h->server, family, server.data, server_port);
	h->has_addrs = true;
}

static enum proxy_parse parse_v2_proxy(struct reader *r, uint8_t family, struct proxy_header *h, struct err *e)
{
	switch (family) {
	case V2_TCP4:
		read_addrs(r, AF_INET, h);
		break;
	case V2_TCP6:
		read_addrs(r, AF_INET6, h);
		break;
	case V2_UNSPEC:
	case V2_UNIX_STREAM:
		break;
	default:
		return broken(e, "not for TCP");
	}
	return r->failed ? broken(e, "too short for its addresses") : PROXY_HEADER;
}

static enum proxy_parse parse_v2(struct bytes in, struct proxy_header *h, struct err *e)
{
	struct reader r = reader_of(in);
	uint8_t command, family;
	uint16_t len;

	reader_bytes(&r, sizeof(v2_begin));
	command = reader_u8(&r);
	family = reader_u8(&r);
	len = reader_u16(&r);
	if (in.len > sizeof(v2_begin) && command != V2_LOCAL && command != V2_PROXY)
		return broken(e, "not version 2, or an unknown command");
	if (r.failed)
		return PROXY_MORE;
	if (len > PROXY_V2_REST_MAX)
		return broken(e, "longer than we take");
	if (reader_left(&r) < len)
		return PROXY_MORE;
	h->len = PROXY_V2_HEAD + (size_t)len;
	if (command == V2_LOCAL)
		return PROXY_HEADER;
	r = reader_of(bytes_of(in.data + PROXY_V2_HEAD, len));
	return parse_v2_proxy(&r, family, h, e);
}

/* ---- both ---- */

/* As far as both go. */
static bool begins_alike(struct bytes in, const void *begin, size_t len)
{
	return memcmp(in.data, begin, MIN(in.len, len)) == 0;
}

enum proxy_parse proxy_protocol_parse(struct bytes in, struct proxy_header *h, struct err *e)
{
	size_t v1_len = strlen(V1_BEGIN);

	*h = (struct proxy_header){ 0 };
	if (in.len == 0)
		return PROXY_MORE;
	if (begins_alike(in, V1_BEGIN, v1_len))
		return in.len < v1_len ? PROXY_MORE : parse_v1(in, h, e);
	if (begins_alike(in, v2_begin, sizeof(v2_begin)))
		return in.len < sizeof(v2_begin) ? PROXY_MORE : parse_v2(in, h, e);
	return PROXY_NOT;
}

static size_t format_v1(const struct sock_addr *client, const struct sock_addr *server, bool known, char *out)
{
	int family = client->any.sa_family;
	char from[INET6_ADDRSTRLEN];
	char to[INET6_ADDRSTRLEN];
	const void *from_addr = family == AF_INET6 ? (const void *)&client->v6.sin6_addr : &client->v4.sin_addr;
	const void *to_addr = family == AF_INET6 ? (const void *)&server->v6.sin6_addr : &server->v4.sin_addr;
	int len;

	if (!known || inet_ntop(family, from_addr, from, sizeof(from)) == NULL ||
	    inet_ntop(family, to_addr, to, sizeof(to)) == NULL)
		len = snprintf(out, PROXY_WRITTEN_MAX, V1_BEGIN "UNKNOWN\r\n");
	else
		len = snprintf(out, PROXY_WRITTEN_MAX, V1_BEGIN "%s %s %s %u %u\r\n",
			       family == AF_INET6 ? "TCP6" : "TCP4", from, to, sock_addr_port(client),
			       sock_addr_port(server));
	assert(len > 0 && len < PROXY_WRITTEN_MAX);
	return (size_t)len;
}

static void write_addrs(struct writer *w, const struct sock_addr *client, const struct sock_addr *server)
{
	bool is_v6 = client->any.sa_family == AF_INET6;

	writer_u8(w, is_v6 ? V2_TCP6 : V2_TCP4);
	writer_u16(w, is_v6 ? V2_TCP6_LEN : V2_TCP4_LEN);
	writer_bytes(w, is_v6 ? bytes_of(&client->v6.sin6_addr, 16) : bytes_of(&client->v4.sin_addr, 4));
	writer_bytes(w, is_v6 ? bytes_of(&server->v6.sin6_addr, 16) : bytes_of(&server->v4.sin_addr, 4));
	writer_u16(w, sock_addr_port(client));
	writer_u16(w, sock_addr_port(server));
}

size_t proxy_protocol_format(enum proxy_protocol_version version, const struct sock_addr *client,
			     const struct sock_addr *server, uint8_t out[PROXY_WRITTEN_MAX])
{
	struct writer w = writer_of(out, PROXY_WRITTEN_MAX);
	int family = client->any.sa_family;
	bool known = (family == AF_INET || family == AF_INET6) && server->any.sa_family == family;

	if (version == PROXY_PROTOCOL_V1)
		return format_v1(client, server, known, (char *)out);
	writer_bytes(&w, bytes_of(v2_begin, sizeof(v2_begin)));
	writer_u8(&w, V2_PROXY);
	if (known) {
		write_addrs(&w, client, server);
	} else {
		writer_u8(&w, V2_UNSPEC);
		writer_u16(&w, 0);
	}
	assert(!w.failed);
	return w.len;
}
