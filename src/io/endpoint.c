/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint - a name or an address, and a port. */
#include "io/endpoint.h"

#include <stdio.h>
#include <string.h>

struct endpoint endpoint_of(const char *host, uint16_t port)
{
	struct endpoint p = { 0 };

	if (sock_addr_parse(host, port, &p.addr))
		return p;
	p.host = host;
	sock_addr_set_port(&p.addr, port);
	return p;
}

struct endpoint endpoint_at(const struct sock_addr *addr)
{
	return (struct endpoint){ .addr = *addr };
}

uint16_t endpoint_port(const struct endpoint *p)
{
	return sock_addr_port(&p->addr);
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	if ((a->host == NULL) != (b->host == NULL))
		return false;
	if (a->host == NULL)
		return sock_addr_equal(&a->addr, &b->addr);
	return endpoint_port(a) == endpoint_port(b) && strcmp(a->host, b->host) == 0;
}

uint32_t endpoint_hash(const struct endpoint *p)
{
	uint32_t hash = sock_addr_hash(&p->addr);

	for (const char *c = p->host; c != NULL && *c != '\0'; c++)
		hash = hash * 31 + (uint8_t)*c;
	return hash;
}

const char *endpoint_format(const struct endpoint *p, char text[ENDPOINT_TEXT])
{
	char addr[SOCK_ADDR_TEXT];

	if (p->host == NULL)
		snprintf(text, ENDPOINT_TEXT, "%s", sock_addr_format(&p->addr, addr));
	else
		snprintf(text, ENDPOINT_TEXT, "%s:%u", p->host, endpoint_port(p));
	return text;
}
