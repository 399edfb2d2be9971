/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan - draws plans.
 *
 * The sizes are those at which something changes on the way: one byte, a TLS record, a frame of
 * HTTP/2, the buffers of sockets. Most pauses are none, so that the relay is busy; a few are long
 * enough to fill every buffer between.
 */
#include "plan.h"

#include <string.h>

#include "base/mem.h"
#include "payload.h"

#define PIECE_MAX 400000
#define PIECES_MAX 600 /* in a step of reading: each is a system call */

struct dice {
	uint64_t state;
};

/* xorshift64*, whose state is never 0 */
static uint64_t roll(struct dice *d)
{
	d->state ^= d->state >> 12;
	d->state ^= d->state << 25;
	d->state ^= d->state >> 27;
	return d->state * 0x2545f4914f6cdd1du >> 16;
}

static uint32_t below(struct dice *d, uint32_t limit)
{
	return (uint32_t)(roll(d) % limit);
}

static uint32_t between(struct dice *d, uint32_t from, uint32_t to)
{
	return from + below(d, to - from + 1);
}

static bool one_in(struct dice *d, uint32_t n)
{
	return below(d, n) == 0;
}

static uint32_t draw_pause(struct dice *d, uint32_t longest_ms)
{
	if (!one_in(d, 4))
		return 0;
	return one_in(d, 6) ? between(d, 50, longest_ms) : between(d, 1, 15);
}

static uint32_t draw_len(struct dice *d)
{
	static const uint32_t edges[] = { 16384, 32768, 65536, 131072, 16384 - 9, 2 * 16384 - 9 };

	switch (below(d, 8)) {
	case 0:
	case 1:
		return 1;
	case 2:
	case 3:
		return between(d, 2, 200);
	case 4:
		return between(d, 200, 16000);
	case 5:
		return edges[below(d, ARRAY_SIZE(edges))] + between(d, 0, 2) - 1;
	case 6:
		return between(d, 16000, 100000);
	}
	return between(d, 1, PIECE_MAX);
}

static void draw_writes(struct dice *d, struct plan *p, uint32_t least)
{
	p->writes_count = below(d, PLAN_WRITES_MAX + 1);
	if (p->writes_count == 0 && least > 0)
		p->writes_count = 1;
	for (unsigned i = 0; i < p->writes_count; i++) {
		struct plan_write *w = &p->writes[i];

		w->pause_ms = draw_pause(d, 200);
		w->len = draw_len(d);
		/* The last one brings what is still wanted. */
		if (i + 1 == p->writes_count && p->total + w->len < least)
			w->len = least - p->total;
		p->total += w->len;
	}
	p->shutdown_pause_ms = draw_pause(d, 200);
}

static uint32_t draw_piece(struct dice *d)
{
	static const uint32_t pieces[] = { 1, 7, 100, 1460, 4096, 16384, 65536 };

	return pieces[below(d, ARRAY_SIZE(pieces))];
}

static void draw_reads(struct dice *d, struct plan *p)
{
	p->reads_count = between(d, 1, PLAN_READS_MAX);
	for (unsigned i = 0; i < p->reads_count; i++) {
		struct plan_read *r = &p->reads[i];

		r->pause_ms = draw_pause(d, 600);
		r->piece = draw_piece(d);
		r->len = draw_len(d);
		r->len = MIN(r->len, r->piece * PIECES_MAX);
	}
	p->reads[p->reads_count - 1].len = PLAN_ALL;
	p->reads[p->reads_count - 1].piece = one_in(d, 3) ? 4096 : 65536;
}

/* first: bytes that are written without waiting. */
static void draw_waits(struct dice *d, struct plan *p, const struct plan *other, uint32_t first)
{
	uint32_t written = 0;
	uint32_t wanted = 0;

	for (unsigned i = 0; i < p->writes_count; i++) {
		if (written >= first) {
			wanted = between(d, wanted, other->total);
			p->writes[i].after_read = wanted;
		}
		written += p->writes[i].len;
	}
	p->shutdown_waits = one_in(d, 2);
}

static void draw_reset(struct dice *d, struct plan *p, const struct plan *other)
{
	p->reset = (enum plan_reset)between(d, PLAN_RESET_WRITTEN, PLAN_RESET_TIME);
	switch (p->reset) {
	case PLAN_RESET_WRITTEN:
		p->reset_at = between(d, 0, p->total);
		break;
	case PLAN_RESET_READ:
		p->reset_at = between(d, 0, other->total);
		break;
	case PLAN_RESET_TIME:
		p->reset_at = one_in(d, 2) ? between(d, 0, 5) : between(d, 5, 300);
		break;
	case PLAN_RESET_NEVER:
	case PLAN_RESET_SHUTDOWN:
	case PLAN_RESET_END:
		break;
	}
}

static uint32_t draw_buffer(struct dice *d, bool rough)
{
	if (rough)
		return one_in(d, 4) ? 0 : between(d, 8000, 14000);
	return one_in(d, 4) ? between(d, 8000, 60000) : 0;
}

void plan_make(struct plan *client, struct plan *service, uint64_t seed, uint32_t number, struct plan_kind kind)
{
	struct dice d = { .state = payload_mix(payload_name(seed, number) + 1) | 1 };

	memset(client, 0, sizeof(*client));
	memset(service, 0, sizeof(*service));
	draw_writes(&d, client, PAYLOAD_NAME_SIZE);
	draw_writes(&d, service, 0);
	draw_reads(&d, client);
	draw_reads(&d, service);
	client->receive_buffer = draw_buffer(&d, kind.rough);
	service->receive_buffer = draw_buffer(&d, kind.rough);
	switch (below(&d, 4)) {
	case 0:
		draw_waits(&d, service, client, 0);
		break;
	case 1:
		draw_waits(&d, client, service, PAYLOAD_NAME_SIZE);
		break;
	}
	if (!kind.resets)
		return;
	if (one_in(&d, 5) != kind.rough)
		draw_reset(&d, client, service);
	if (one_in(&d, 5))
		draw_reset(&d, service, client);
}

static void print_reset(FILE *out, const struct plan *p)
{
	switch (p->reset) {
	case PLAN_RESET_NEVER:
		break;
	case PLAN_RESET_WRITTEN:
		fprintf(out, "    resets when %u bytes are written\n", p->reset_at);
		break;
	case PLAN_RESET_READ:
		fprintf(out, "    resets when %u bytes are read\n", p->reset_at);
		break;
	case PLAN_RESET_SHUTDOWN:
		fprintf(out, "    resets when it has shut down\n");
		break;
	case PLAN_RESET_END:
		fprintf(out, "    resets when it has seen the other end's shutdown\n");
		break;
	case PLAN_RESET_TIME:
		fprintf(out, "    resets after %u ms\n", p->reset_at);
		break;
	}
}

void plan_print(FILE *out, const char *who, const struct plan *p)
{
	fprintf(out, "  %s, %u bytes", who, p->total);
	if (p->receive_buffer > 0)
		fprintf(out, ", receive buffer %u", p->receive_buffer);
	fprintf(out, "\n");
	for (unsigned i = 0; i < p->writes_count; i++) {
		const struct plan_write *w = &p->writes[i];

		fprintf(out, "    writes %u", w->len);
		if (w->pause_ms > 0)
			fprintf(out, " after %u ms", w->pause_ms);
		if (w->after_read > 0)
			fprintf(out, " when %u are read", w->after_read);
		fprintf(out, "\n");
	}
	fprintf(out, "    shuts down after %u ms%s\n", p->shutdown_pause_ms,
		p->shutdown_waits ? " when the other end has" : "");
	for (unsigned i = 0; i < p->reads_count; i++) {
		const struct plan_read *r = &p->reads[i];

		fprintf(out, "    reads ");
		if (r->len == PLAN_ALL)
			fprintf(out, "the rest");
		else
			fprintf(out, "%u", r->len);
		fprintf(out, " by %u after %u ms\n", r->piece, r->pause_ms);
	}
	print_reset(out, p);
}
