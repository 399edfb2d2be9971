/* SPDX-License-Identifier: Apache-2.0 */
/* listen_claims - overlaps between port ranges, found by sorting. */
#include "config/listen_claims.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/sections.h"
#include "config/text_forms.h"

void claim_listen(struct reading *r, const struct place *at, const char *host, uint16_t port, uint16_t port_end)
{
	struct listen_claim *claim;

	r->claims = mem_resize(r->claims, (r->claim_count + 1) * sizeof(*r->claims));
	claim = &r->claims[r->claim_count];
	*claim = (struct listen_claim){ mem_strdup(host), port,		 port_end, at->json->line,
					at->json->column, place_path(at) };
	r->claim_count++;
}

void check_port_range(struct reading *r, const struct place *at, const char *port, const char *port_end)
{
	struct place end_place = place_member(at, port_end);
	int64_t first;
	int64_t end;

	if (!place_integer(at, port_end, &end))
		return;
	if (!place_integer(at, port, &first))
		place_error(r, &end_place, "not without %s", port);
	else if (end < first)
		place_error(r, &end_place, "expected %lld to %d, found %lld", (long long)first, UINT16_MAX,
			    (long long)end);
}

static bool is_localhost(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || strcasecmp(host, "localhost.") == 0;
}

static bool is_loopback_address(const char *host)
{
	return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0;
}

static bool is_same_host(const char *a, const char *b)
{
	uint8_t x[16];
	uint8_t y[16];
	unsigned x_len;
	unsigned y_len;

	if (host_address(a, x, &x_len) && host_address(b, y, &y_len))
		return x_len == y_len && memcmp(x, y, x_len) == 0;
	return strcasecmp(a, b) == 0 || (is_localhost(a) && (is_localhost(b) || is_loopback_address(b))) ||
	       (is_localhost(b) && is_loopback_address(a));
}

/* All addresses of the family that host is of, and another address than the wildcard itself. */
static bool is_wildcard_over(const char *wildcard, const char *host)
{
	static const uint8_t zero[16];
	uint8_t all[16];
	uint8_t one[16];
	unsigned all_len;
	unsigned one_len;

	if (!host_address(wildcard, all, &all_len) || memcmp(all, zero, all_len) != 0)
		return false;
	if (!host_address(host, one, &one_len))
		return is_localhost(host);
	return one_len == all_len && memcmp(one, zero, one_len) != 0;
}

static bool is_before(const struct listen_claim *a, const struct listen_claim *b)
{
	return a->line != b->line ? a->line < b->line : a->column < b->column;
}

static int compare_ports(const void *a, const void *b)
{
	const struct listen_claim *x = a;
	const struct listen_claim *y = b;

	return x->port != y->port ? (x->port < y->port ? -1 : 1) : (is_before(x, y) ? -1 : is_before(y, x));
}

static void say_overlap(struct reading *r, const struct listen_claim *first, const struct listen_claim *second)
{
	uint16_t port = MAX(first->port, second->port);
	char *text =
		mem_format("%s: port %u of %s is taken already by %s", second->path, port, second->host, first->path);

	reading_error(r, second->line, second->column, text);
	free(text);
}

/* The kernel gives a connection to the listener with the nearest address: legal, but easily overlooked. */
static void say_nested(struct reading *r, const struct listen_claim *wildcard, const struct listen_claim *inside)
{
	char *text = mem_format("%s: %s listens on %s as a whole: connections to %s:%u come here, all others go there",
				inside->path, wildcard->path, wildcard->host, inside->host,
				MAX(inside->port, wildcard->port));

	reading_warn(r, inside->line, inside->column, text);
	free(text);
}

/* What was said about a claim already. Many that all meet would otherwise give their square in messages. */
struct told {
	bool overlap;
	bool nested;
};

static void compare_claims(struct reading *r, size_t i, size_t j, struct told *told)
{
	const struct listen_claim *a = &r->claims[i];
	const struct listen_claim *b = &r->claims[j];
	size_t later = is_before(a, b) ? j : i;
	bool a_over_b = is_wildcard_over(a->host, b->host);

	if (is_same_host(a->host, b->host)) {
		if (!told[later].overlap)
			say_overlap(r, later == j ? a : b, &r->claims[later]);
		told[later].overlap = true;
	} else if (a_over_b || is_wildcard_over(b->host, a->host)) {
		if (!told[later].nested)
			say_nested(r, a_over_b ? a : b, a_over_b ? b : a);
		told[later].nested = true;
	}
}

void check_listen_claims(struct reading *r)
{
	struct told *told = mem_new_array(r->claim_count, sizeof(*told));

	if (r->claim_count > 1)
		qsort(r->claims, r->claim_count, sizeof(*r->claims), compare_ports);
	for (size_t i = 0; i < r->claim_count; i++) {
		for (size_t j = i + 1; j < r->claim_count && r->claims[j].port <= r->claims[i].port_end; j++)
			compare_claims(r, i, j, told);
	}
	free(told);
}
