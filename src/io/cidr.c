/* SPDX-License-Identifier: Apache-2.0 */
/* cidr - addresses by their first bits. */
#include "io/cidr.h"

#include <stdlib.h>

static struct bytes bits_of(const struct sock_addr *a)
{
	if (a->any.sa_family == AF_INET6)
		return bytes_of(&a->v6.sin6_addr, sizeof(a->v6.sin6_addr));
	return bytes_of(&a->v4.sin_addr, sizeof(a->v4.sin_addr));
}

static bool parse_prefix(const char *text, unsigned most, unsigned *prefix)
{
	size_t len = strlen(text);

	if (len == 0 || len > 3 || strspn(text, "0123456789") != len)
		return false;
	*prefix = (unsigned)strtoul(text, NULL, 10);
	return *prefix <= most;
}

bool cidr_parse(const char *text, struct cidr *out)
{
	const char *slash = strchr(text, '/');
	char host[INET6_ADDRSTRLEN];
	size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
	unsigned most;

	if (len >= sizeof(host))
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	if (!sock_addr_parse(host, 0, &out->addr))
		return false;
	most = 8 * (unsigned)bits_of(&out->addr).len;
	out->prefix = most;
	return slash == NULL || parse_prefix(slash + 1, most, &out->prefix);
}

bool cidr_has(const struct cidr *c, const struct sock_addr *a)
{
	struct bytes range = bits_of(&c->addr);
	struct bytes addr = bits_of(a);
	unsigned whole = c->prefix / 8;
	unsigned rest = c->prefix % 8;

	if (a->any.sa_family != c->addr.any.sa_family || memcmp(range.data, addr.data, whole) != 0)
		return false;
	return rest == 0 || (range.data[whole] ^ addr.data[whole]) >> (8 - rest) == 0;
}
