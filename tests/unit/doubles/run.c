/* SPDX-License-Identifier: Apache-2.0 */
/* run - a loop that looks at a condition every millisecond. */
#include "run.h"

#include "base/clock.h"

struct runner {
	struct loop *loop;
	struct timer tick;
	const bool *flag;
	const unsigned *count;
	unsigned wanted;
	uint64_t end_ms;
};

static bool is_done(const struct runner *r)
{
	if (r->flag != NULL)
		return *r->flag;
	return r->count != NULL && *r->count >= r->wanted;
}

static void on_tick(struct timer *t)
{
	struct runner *r = container_of(t, struct runner, tick);

	if (is_done(r) || clock_ms() >= r->end_ms)
		loop_stop(r->loop);
	else
		timer_start(r->loop, &r->tick, 1);
}

static bool run(struct runner *r, unsigned deadline_ms)
{
	r->end_ms = clock_ms() + deadline_ms;
	timer_init(&r->tick, on_tick);
	timer_start(r->loop, &r->tick, 0);
	loop_run(r->loop);
	timer_cancel(r->loop, &r->tick);
	return is_done(r);
}

bool run_until(struct loop *l, const bool *done, unsigned deadline_ms)
{
	struct runner r = { .loop = l, .flag = done };

	return run(&r, deadline_ms);
}

bool run_until_count(struct loop *l, const unsigned *count, unsigned wanted, unsigned deadline_ms)
{
	struct runner r = { .loop = l, .count = count, .wanted = wanted };

	return run(&r, deadline_ms);
}

void run_for(struct loop *l, unsigned ms)
{
	struct runner r = { .loop = l };

	run(&r, ms);
}
