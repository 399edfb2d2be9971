/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay - two pipes and how they end.
 *
 * A pipe moves what it can in one turn: pull, push, consume. It stops when the source has nothing, when the
 * sink is full, or after TURN_PULLS pulls, so that a fast flow does not starve the others; then the task goes
 * on in the next round.
 *
 * Streams report into ready(), possibly from deep inside a multiplexed session, so the end of the relay is
 * told from the task and never from there.
 */
#include "relay/relay.h"

#include <stdlib.h>

#include "io/worker.h"

#define TURN_PULLS 4

static void settle(struct relay *r, enum relay_end end)
{
	if (r->over)
		return;
	r->over = true;
	r->end = end;
	task_schedule(r->worker->loop, &r->task);
}

static enum relay_end failed_end(const struct relay *r, const struct stream *s, enum io_result result)
{
	if (s == r->near)
		return result == IO_BROKEN ? RELAY_NEAR_BROKEN : RELAY_NEAR_RESET;
	return result == IO_BROKEN ? RELAY_FAR_BROKEN : RELAY_FAR_RESET;
}

static void settle_if_done(struct relay *r)
{
	if (r->to_far.cut && r->to_near.ended)
		settle(r, RELAY_FAR_RESET);
	if (r->to_near.cut && r->to_far.ended)
		settle(r, RELAY_NEAR_RESET);
	if (!r->to_far.ended || !r->to_near.ended)
		return;
	if (!r->near->flushing && !r->far->flushing)
		settle(r, RELAY_DONE);
	else if (!timer_is_started(&r->linger))
		timer_start(r->worker->loop, &r->linger, r->linger_ms);
}

static void on_linger(struct timer *t)
{
	struct relay *r = container_of(t, struct relay, linger);

	settle(r, r->near->flushing ? RELAY_NEAR_RESET : RELAY_FAR_RESET);
}

/*
 * An abort shows when the source is pulled. Where that does not happen any more, because the sink is full or
 * the direction has ended, it must be passed on all the same.
 */
static void settle_if_aborted(struct relay *r)
{
	if (r->near->aborted && (!r->far->writable || r->to_far.ended || r->to_far.cut))
		settle(r, RELAY_NEAR_RESET);
	if (r->far->aborted && (!r->near->writable || r->to_near.ended || r->to_near.cut))
		settle(r, RELAY_FAR_RESET);
}

/*
 * A side that takes no more may have sent something before it went away, an answer for instance: that is
 * still carried to the other side before the abort is.
 */
static void cut(struct relay *r, struct pipe *p, struct stream *to, enum io_result result)
{
	if (result == IO_BROKEN) {
		settle(r, failed_end(r, to, result));
		return;
	}
	p->cut = true;
	to->readable = true;
	task_schedule(r->worker->loop, &r->task);
	settle_if_done(r);
}

static void run_pipe(struct relay *r, struct pipe *p, struct stream *from, struct stream *to)
{
	for (unsigned turn = 0; turn < TURN_PULLS && !p->ended && !p->cut; turn++) {
		struct bytes view;
		enum io_result result;
		size_t taken = 0;

		if (!to->writable)
			return;
		result = from->ops->pull(from, &view);
		if (result == IO_AGAIN)
			return;
		if (result == IO_END) {
			p->ended = true;
			to->last = r->to_far.ended && r->to_near.ended && !from->flushing;
			result = to->ops->shutdown(to);
			if (result != IO_OK)
				cut(r, p, to, result);
			settle_if_done(r);
			return;
		}
		if (result != IO_OK) {
			settle(r, failed_end(r, from, result));
			return;
		}
		result = to->ops->push(to, view, &taken);
		from->ops->consumed(from, taken);
		if (result != IO_OK) {
			cut(r, p, to, result);
			return;
		}
		p->bytes += taken;
		r->moved_ms = loop_now_ms(r->worker->loop);
		if (taken < view.len)
			return;
	}
	if (!p->ended && !p->cut)
		task_schedule(r->worker->loop, &r->task);
}

static void run(struct relay *r)
{
	if (!r->over)
		run_pipe(r, &r->to_far, r->near, r->far);
	if (!r->over)
		run_pipe(r, &r->to_near, r->far, r->near);
	if (!r->over)
		settle_if_aborted(r);
}

static void on_ready(struct relay *r, struct stream *s)
{
	struct pipe *out = s == r->near ? &r->to_far : &r->to_near;
	struct stream *other = s == r->near ? r->far : r->near;

	if (r->over)
		return;
	if (s->readable)
		run_pipe(r, out, s, other);
	if (!r->over && s->writable)
		run_pipe(r, s == r->near ? &r->to_near : &r->to_far, other, s);
	if (!r->over && s->aborted && (!other->writable || out->ended || out->cut))
		settle(r, failed_end(r, s, IO_RESET));
	if (!r->over)
		settle_if_done(r);
}

static void near_ready(struct stream_events *self, struct stream *s)
{
	on_ready(container_of(self, struct relay, near_events), s);
}

static void far_ready(struct stream_events *self, struct stream *s)
{
	on_ready(container_of(self, struct relay, far_events), s);
}

static void release(struct relay *r, enum stream_close how)
{
	task_cancel(&r->task);
	timer_cancel(r->worker->loop, &r->linger);
	r->over = true;
	r->near->ops->close(r->near, how);
	r->far->ops->close(r->far, how);
	r->near = NULL;
	r->far = NULL;
}

static void on_task(struct task *t)
{
	struct relay *r = container_of(t, struct relay, task);

	run(r);
	if (!r->over)
		return;
	release(r, r->end == RELAY_DONE ? STREAM_FINISHED : STREAM_ABORT);
	r->events->finished(r->events, r->end);
}

void relay_start(struct relay *r, struct worker *w, struct stream *near, struct stream *far, unsigned linger_ms,
		 struct relay_events *events)
{
	*r = (struct relay){ .worker = w, .near = near, .far = far, .events = events, .linger_ms = linger_ms };
	r->near_events.ready = near_ready;
	r->far_events.ready = far_ready;
	near->events = &r->near_events;
	far->events = &r->far_events;
	task_init(&r->task, on_task);
	timer_init(&r->linger, on_linger);
	r->moved_ms = loop_now_ms(w->loop);
	task_schedule(w->loop, &r->task);
}

void relay_cancel(struct relay *r, enum stream_close how)
{
	release(r, how);
}
