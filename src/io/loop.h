/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - one thread's epoll loop: descriptors, timers, tasks, and mail from other threads.
 *
 * Callbacks get the small struct that is embedded in their owner, which they reach with container_of().
 * A callback never runs inside the function that asked for it. A callback may stop and free anything,
 * itself included: events of a watch that has been removed are dropped, whenever the kernel tells them.
 *
 * Threads: loop_post() from any thread, everything else on the loop's own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/err.h"
#include "base/list.h"

struct loop;

/* A descriptor that is watched. {0} plus ready is ready for use. */
struct watch {
	void (*ready)(struct watch *self, uint32_t epoll_events);
	int fd;
	uint32_t place; /* in the loop's table, from 1; 0: not watched */
};

static inline bool watch_is_active(const struct watch *w)
{
	return w->place != 0;
}

/* For a stream. Room to send is asked for when a send came short: else every event would come with it. */
#define WATCH_STREAM (EPOLLIN | EPOLLRDHUP | EPOLLET)

/* A moment. Initialise with timer_init(). */
struct timer {
	void (*expired)(struct timer *self);
	uint64_t due_ms;
	size_t place; /* in the loop's heap, from 1; 0: not started */
};

/* Something to do at the end of this round. Initialise with task_init(). */
struct task {
	struct list link;
	void (*run)(struct task *self);
};

/* A message from another thread. The sender owns it until it posts it, then the receiver does. */
struct mail {
	struct mail *next;
	void (*deliver)(struct mail *self);
};

struct loop *loop_new(struct err *e);

/* Undelivered mail is delivered first. Watches, timers and tasks must be gone. */
void loop_free(struct loop *l);

/* Runs until loop_stop(). */
void loop_run(struct loop *l);

/* From a callback: loop_run() returns at the end of this round. */
void loop_stop(struct loop *l);

/* The monotonic time at which this round began. */
uint64_t loop_now_ms(const struct loop *l);

/*
 * keeps w, whose fd and ready are set. events as for epoll, EPOLLET included where it is wanted.
 * Fails only when the kernel refuses.
 */
int loop_watch(struct loop *l, struct watch *w, uint32_t events, struct err *e) MUST_CHECK;
int loop_rewatch(struct loop *l, struct watch *w, uint32_t events, struct err *e) MUST_CHECK;

/* A stream's send came short: an event tells when there is room again. Stays on. */
int loop_watch_output(struct loop *l, struct watch *w) MUST_CHECK;

/*
 * to, which has the same fd, is watched in place of from, which may be watched or not. Whatever stands in events and
 * is already so is told again. Fails as loop_watch() does; then from is as it was.
 */
int loop_hand_over(struct loop *l, struct watch *from, struct watch *to, uint32_t events, struct err *e) MUST_CHECK;

/* Does not close the descriptor. Does nothing when w is not watched. */
void loop_unwatch(struct loop *l, struct watch *w);

/* Unwatches and closes w->fd, which is -1 afterwards. */
void loop_close(struct loop *l, struct watch *w);

void timer_init(struct timer *t, void (*expired)(struct timer *self));

/* keeps t. Starting a running timer moves it. */
void timer_start(struct loop *l, struct timer *t, uint64_t delay_ms);
void timer_cancel(struct loop *l, struct timer *t);
static inline bool timer_is_started(const struct timer *t)
{
	return t->place != 0;
}

void task_init(struct task *t, void (*run)(struct task *self));

/*
 * keeps t; runs once, after the events of this round. Scheduling a scheduled task changes nothing.
 * A task that schedules itself while it runs does so for the next round, which then does not sleep.
 */
void task_schedule(struct loop *l, struct task *t);
void task_cancel(struct task *t);

/* takes m, which is delivered on the loop's thread. Any thread. */
void loop_post(struct loop *l, struct mail *m);
