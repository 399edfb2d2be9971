/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem_stream - two ends of a connection in memory, for tests of what stands on a struct stream.
 *
 * It is as unkind as the contract in stream.h allows: a view lies in the worker's scratch, is wiped
 * as soon as it may not be used any more, and a push into an end whose own view is open fails the
 * test. Each call takes or shows as much as the test says, or a random part of it.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "io/loop.h"
#include "io/pool.h"
#include "io/stream.h"

struct mem_end {
	struct stream stream;
	struct mem_end *other;
	struct loop *loop;
	struct pool *pool;
	struct task wake;
	struct buf in; /* what the other end has pushed, from in_at on */
	size_t in_at;
	size_t viewed;		/* length of the open view */
	size_t capacity;	/* of in */
	size_t most_view;	/* in one pull */
	size_t most_push;	/* in one push */
	unsigned *seed;		/* NULL: always the most */
	bool in_ended;		/* the other end has called shutdown() */
	enum io_result failure; /* what pull and push return */
	bool shut;
	bool closed;
	enum stream_close how;
	uint64_t pushes;
};

static inline size_t mem_some(struct mem_end *e, size_t most)
{
	if (most <= 1 || e->seed == NULL)
		return most;
	return (size_t)rand_r(e->seed) % most + 1;
}

static inline size_t mem_pending(const struct mem_end *e)
{
	return e->in.len - e->in_at;
}

static inline void mem_wake(struct task *t)
{
	struct mem_end *e = container_of(t, struct mem_end, wake);

	if (e->closed)
		return;
	e->stream.readable = e->stream.readable || mem_pending(e) > 0 || e->in_ended || e->failure != IO_OK;
	e->stream.writable = e->stream.writable || mem_pending(e->other) < e->other->capacity || e->failure != IO_OK;
	if (e->stream.events != NULL)
		e->stream.events->ready(e->stream.events, &e->stream);
}

static inline struct mem_end *mem_of(struct stream *s)
{
	return container_of(s, struct mem_end, stream);
}

static inline enum io_result mem_pull(struct stream *s, struct bytes *view)
{
	struct mem_end *e = mem_of(s);

	if (e->viewed == 0 && mem_pending(e) > 0) {
		e->viewed = mem_some(e, MIN(mem_pending(e), e->most_view));
		memcpy(pool_plain_scratch(e->pool), e->in.data + e->in_at, e->viewed);
	}
	if (e->viewed > 0) {
		*view = bytes_of(pool_plain_scratch(e->pool), e->viewed);
		return IO_OK;
	}
	if (e->failure != IO_OK)
		return e->failure;
	if (e->in_ended)
		return IO_END;
	s->readable = false;
	return IO_AGAIN;
}

static inline void mem_consumed(struct stream *s, size_t len)
{
	struct mem_end *e = mem_of(s);

	assert_true(len <= e->viewed);
	assert_false(e->closed);
	memset(pool_plain_scratch(e->pool), 0xEE, e->viewed);
	e->viewed = 0;
	e->in_at += len;
	if (e->in_at == e->in.len) {
		e->in_at = 0;
		e->in.len = 0;
	}
	task_schedule(e->loop, &e->other->wake);
}

static inline enum io_result mem_push(struct stream *s, struct bytes data, size_t *taken)
{
	struct mem_end *e = mem_of(s);
	struct mem_end *to = e->other;
	size_t room = to->capacity - MIN(mem_pending(to), to->capacity);

	assert_int_equal(e->viewed, 0);
	assert_false(e->shut);
	*taken = 0;
	if (e->failure != IO_OK)
		return e->failure;
	e->pushes++;
	if (s->writable) {
		size_t most = mem_some(e, e->most_push);

		*taken = MIN(most, MIN(data.len, room));
		buf_append(&to->in, data.data, *taken);
	}
	if (*taken < data.len) {
		s->writable = false;
		if (*taken < room)
			task_schedule(e->loop, &e->wake);
	}
	to->stream.readable = true;
	task_schedule(e->loop, &to->wake);
	return IO_OK;
}

static inline enum io_result mem_shut(struct stream *s)
{
	struct mem_end *e = mem_of(s);

	e->shut = true;
	e->other->in_ended = true;
	task_schedule(e->loop, &e->other->wake);
	return IO_OK;
}

static inline void mem_close(struct stream *s, enum stream_close how)
{
	struct mem_end *e = mem_of(s);

	assert_false(e->closed);
	e->closed = true;
	e->how = how;
	s->events = NULL;
	task_cancel(&e->wake);
	if (!e->other->closed && how == STREAM_ABORT) {
		e->other->failure = IO_RESET;
		task_schedule(e->loop, &e->other->wake);
	}
}

static inline void mem_pair(struct mem_end *a, struct mem_end *b, struct loop *loop, struct pool *pool)
{
	static const struct stream_ops ops = { mem_pull, mem_consumed, mem_push, mem_shut, mem_close };
	struct mem_end *ends[] = { a, b };

	for (int i = 0; i < 2; i++) {
		*ends[i] = (struct mem_end){ .other = ends[!i],
					     .loop = loop,
					     .pool = pool,
					     .capacity = 256 * 1024,
					     .most_view = POOL_READ_SIZE,
					     .most_push = POOL_READ_SIZE };
		ends[i]->stream.ops = &ops;
		ends[i]->stream.writable = true;
		task_init(&ends[i]->wake, mem_wake);
	}
}

static inline void mem_release(struct mem_end *e)
{
	task_cancel(&e->wake);
	buf_release(&e->in);
}
