/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay between two streams of the test: each has a script of what it delivers and how much it takes, and
 * remembers what it was given and how it was closed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "io/pool.h"
#include "io/worker.h"
#include "relay/relay.h"

struct fake {
	struct stream stream;
	struct buf input;	  /* still to be pulled */
	enum io_result input_end; /* what comes behind it */
	struct buf taken;
	size_t room; /* that push may take before it is full */
	enum io_result push_result;
	bool shut;
	bool closed;
	enum stream_close how;
	bool slow_flush;
};

static struct fake *of(struct stream *s)
{
	return container_of(s, struct fake, stream);
}

static enum io_result fake_pull(struct stream *s, struct bytes *view)
{
	struct fake *f = of(s);

	if (f->input.len == 0)
		return f->input_end;
	*view = buf_bytes(&f->input);
	return IO_OK;
}

static void fake_consumed(struct stream *s, size_t len)
{
	struct fake *f = of(s);

	assert_true(len <= f->input.len);
	memmove(f->input.data, f->input.data + len, f->input.len - len);
	f->input.len -= len;
}

static enum io_result fake_push(struct stream *s, struct bytes data, size_t *taken)
{
	struct fake *f = of(s);

	assert_false(f->shut);
	*taken = 0;
	if (f->push_result != IO_OK)
		return f->push_result;
	*taken = MIN(data.len, f->room);
	f->room -= *taken;
	buf_append(&f->taken, data.data, *taken);
	if (*taken < data.len)
		s->writable = false;
	return IO_OK;
}

static enum io_result fake_shutdown(struct stream *s)
{
	of(s)->shut = true;
	s->flushing = of(s)->slow_flush;
	return IO_OK;
}

static void fake_close(struct stream *s, enum stream_close how)
{
	assert_false(of(s)->closed);
	of(s)->closed = true;
	of(s)->how = how;
}

static const struct stream_ops fake_ops = { fake_pull, fake_consumed, fake_push, fake_shutdown, fake_close };

struct fixture {
	struct worker worker;
	struct pool_budget budget;
	struct fake near;
	struct fake far;
	struct relay relay;
	struct relay_events events;
	struct timer patience;
	unsigned linger_ms;
	bool finished;
	enum relay_end end;
};

static void on_finished(struct relay_events *self, enum relay_end end)
{
	struct fixture *x = container_of(self, struct fixture, events);

	x->finished = true;
	x->end = end;
	loop_stop(x->worker.loop);
}

static void on_patience(struct timer *t)
{
	loop_stop(container_of(t, struct fixture, patience)->worker.loop);
}

static void fake_init(struct fake *f)
{
	f->stream = (struct stream){ .ops = &fake_ops, .readable = true, .writable = true };
	f->input_end = IO_AGAIN;
	f->room = SIZE_MAX;
}

static int set_up(void **state)
{
	struct fixture *x = mem_new_of(struct fixture);
	struct err e;

	x->worker.loop = loop_new(&e);
	x->budget.limit = 1 << 20;
	x->worker.pool = pool_new(&x->budget);
	fake_init(&x->near);
	fake_init(&x->far);
	x->linger_ms = 60000;
	x->events.finished = on_finished;
	timer_init(&x->patience, on_patience);
	*state = x;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *x = *state;

	buf_release(&x->near.input);
	buf_release(&x->near.taken);
	buf_release(&x->far.input);
	buf_release(&x->far.taken);
	pool_free(x->worker.pool);
	loop_free(x->worker.loop);
	free(x);
	return 0;
}

static void start(struct fixture *x)
{
	relay_start(&x->relay, &x->worker, &x->near.stream, &x->far.stream, x->linger_ms, &x->events);
}

/* Runs until the relay has finished, or until nothing happens any more. */
static void run(struct fixture *x)
{
	timer_start(x->worker.loop, &x->patience, 5);
	loop_run(x->worker.loop);
	timer_cancel(x->worker.loop, &x->patience);
}

static void ready(struct fake *f)
{
	f->stream.events->ready(f->stream.events, &f->stream);
}

static void bytes_and_both_ends_pass_in_both_directions(void **state)
{
	struct fixture *x = *state;

	buf_append_str(&x->near.input, "question");
	buf_append_str(&x->far.input, "answer");
	x->near.input_end = IO_END;
	x->far.input_end = IO_END;
	start(x);
	assert_false(x->finished);
	run(x);
	assert_true(x->finished);
	assert_int_equal(x->end, RELAY_DONE);
	assert_string_equal(buf_str(&x->far.taken), "question");
	assert_string_equal(buf_str(&x->near.taken), "answer");
	assert_true(x->near.shut && x->far.shut);
	assert_true(x->near.closed && x->near.how == STREAM_FINISHED);
	assert_int_equal(x->relay.to_far.bytes, 8);
	assert_int_equal(x->relay.to_near.bytes, 6);
}

static void the_end_of_one_direction_leaves_the_other_open(void **state)
{
	struct fixture *x = *state;

	x->near.input_end = IO_END;
	start(x);
	run(x);
	assert_false(x->finished);
	assert_true(x->far.shut);
	assert_false(x->near.shut);
	buf_append_str(&x->far.input, "late answer");
	ready(&x->far);
	assert_string_equal(buf_str(&x->near.taken), "late answer");
	x->far.input_end = IO_END;
	ready(&x->far);
	run(x);
	assert_true(x->finished);
	assert_int_equal(x->end, RELAY_DONE);
}

static void a_full_side_is_not_pushed_again_until_it_is_writable(void **state)
{
	struct fixture *x = *state;

	buf_append_str(&x->near.input, "0123456789");
	x->far.room = 4;
	start(x);
	run(x);
	assert_string_equal(buf_str(&x->far.taken), "0123");
	x->far.room = 100;
	ready(&x->near);
	assert_string_equal(buf_str(&x->far.taken), "0123");
	x->far.stream.writable = true;
	ready(&x->far);
	assert_string_equal(buf_str(&x->far.taken), "0123456789");
	relay_cancel(&x->relay, STREAM_ABORT);
}

static void a_reset_of_one_side_aborts_the_other(void **state)
{
	struct fixture *x = *state;

	buf_append_str(&x->near.input, "last words");
	x->near.input_end = IO_RESET;
	start(x);
	run(x);
	assert_true(x->finished);
	assert_int_equal(x->end, RELAY_NEAR_RESET);
	assert_string_equal(buf_str(&x->far.taken), "last words");
	assert_false(x->far.shut);
	assert_int_equal(x->far.how, STREAM_ABORT);
}

static void a_broken_side_is_told_apart_from_a_reset_one(void **state)
{
	struct fixture *x = *state;

	x->far.input_end = IO_BROKEN;
	start(x);
	run(x);
	assert_int_equal(x->end, RELAY_FAR_BROKEN);
}

static void what_a_side_sent_before_it_stopped_taking_still_arrives(void **state)
{
	struct fixture *x = *state;

	buf_append_str(&x->near.input, "upload");
	x->far.push_result = IO_RESET;
	buf_append_str(&x->far.input, "413 too large");
	x->far.input_end = IO_END;
	start(x);
	run(x);
	assert_true(x->finished);
	assert_int_equal(x->end, RELAY_FAR_RESET);
	assert_string_equal(buf_str(&x->near.taken), "413 too large");
}

static void an_abort_is_noticed_while_its_bytes_are_stalled(void **state)
{
	struct fixture *x = *state;

	buf_append_str(&x->near.input, "0123456789");
	x->far.room = 1;
	start(x);
	run(x);
	assert_false(x->finished);
	x->near.stream.aborted = true;
	ready(&x->near);
	run(x);
	assert_true(x->finished);
	assert_int_equal(x->end, RELAY_NEAR_RESET);
	assert_int_equal(x->far.how, STREAM_ABORT);
}

static void an_abort_after_a_half_close_is_passed_on(void **state)
{
	struct fixture *x = *state;

	x->near.input_end = IO_END;
	start(x);
	run(x);
	assert_true(x->far.shut);
	assert_false(x->finished);
	x->near.stream.aborted = true;
	ready(&x->near);
	run(x);
	assert_true(x->finished);
	assert_int_equal(x->end, RELAY_NEAR_RESET);
	assert_int_equal(x->far.how, STREAM_ABORT);
}

static void a_relay_that_has_not_told_its_end_can_be_cancelled(void **state)
{
	struct fixture *x = *state;

	buf_append_str(&x->near.input, "x");
	start(x);
	run(x);
	x->near.input_end = IO_RESET;
	ready(&x->near);
	assert_false(x->near.closed);
	relay_cancel(&x->relay, STREAM_ABORT);
	assert_true(x->near.closed && x->far.closed);
	run(x);
	assert_false(x->finished);
}

static void a_side_that_does_not_read_our_last_bytes_is_reset_in_the_end(void **state)
{
	struct fixture *x = *state;

	x->near.input_end = IO_END;
	x->far.input_end = IO_END;
	x->far.slow_flush = true;
	x->linger_ms = 1;
	start(x);
	run(x);
	assert_true(x->finished);
	assert_int_equal(x->end, RELAY_FAR_RESET);
	assert_int_equal(x->far.how, STREAM_ABORT);
}

static void an_abort_that_came_while_the_other_side_was_writable_is_not_forgotten(void **state)
{
	struct fixture *x = *state;

	start(x);
	run(x);
	x->near.stream.aborted = true;
	buf_append_str(&x->near.input, "more than there is room for");
	x->far.room = 4;
	x->near.stream.events->ready(x->near.stream.events, &x->near.stream);
	run(x);
	assert_true(x->finished);
	assert_int_equal(x->end, RELAY_NEAR_RESET);
}

static void it_is_not_finished_while_a_side_still_flushes(void **state)
{
	struct fixture *x = *state;

	x->near.input_end = IO_END;
	x->far.input_end = IO_END;
	x->far.slow_flush = true;
	start(x);
	run(x);
	assert_false(x->finished);
	x->far.stream.flushing = false;
	ready(&x->far);
	run(x);
	assert_true(x->finished);
	assert_int_equal(x->end, RELAY_DONE);
}

#define relay_test(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		relay_test(bytes_and_both_ends_pass_in_both_directions),
		relay_test(the_end_of_one_direction_leaves_the_other_open),
		relay_test(a_full_side_is_not_pushed_again_until_it_is_writable),
		relay_test(a_reset_of_one_side_aborts_the_other),
		relay_test(a_broken_side_is_told_apart_from_a_reset_one),
		relay_test(what_a_side_sent_before_it_stopped_taking_still_arrives),
		relay_test(an_abort_is_noticed_while_its_bytes_are_stalled),
		relay_test(an_abort_after_a_half_close_is_passed_on),
		relay_test(a_relay_that_has_not_told_its_end_can_be_cancelled),
		relay_test(a_side_that_does_not_read_our_last_bytes_is_reset_in_the_end),
		relay_test(an_abort_that_came_while_the_other_side_was_writable_is_not_forgotten),
		relay_test(it_is_not_finished_while_a_side_still_flushes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
