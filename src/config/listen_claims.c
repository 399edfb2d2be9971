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
	*claim = (struct listen_claim){ mem_strdup(host), port, port_end, at->json->line, at->json->column,
					place_path(at) };
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
		place_error(r, &end_place, "expected %lld to %d, found %lld", (long long)first, UINT16_MAX, (long long)end);
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
	char *text = mem_format("%s: port %u of %s is taken already by %s", second->path, port, second->host, first->path);

	reading_error(r, second->line, second->column, text);
	free(text);
}

/* One message for each claim that meets an earlier one: many that all meet would give their square. */
void check_listen_claims(struct reading *r)
{
	bool *told = mem_new_array(r->claim_count, sizeof(*told));

	if (r->claim_count > 1)
		qsort(r->claims, r->claim_count, sizeof(*r->claims), compare_ports);
	for (size_t i = 0; i < r->claim_count; i++) {
		const struct listen_claim *a = &r->claims[i];

		for (size_t j = i + 1; j < r->claim_count && r->claims[j].port <= a->port_end; j++) {
			const struct listen_claim *b = &r->claims[j];
			size_t later = is_before(a, b) ? j : i;

			if (told[later] || !is_same_host(a->host, b->host))
				continue;
			told[later] = true;
			say_overlap(r, later == j ? a : b, later == j ? b : a);
		}
	}
	free(told);
}
