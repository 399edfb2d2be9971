/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/loop.h"

static struct loop *new_loop(void)
{
	struct err e;
	struct loop *l = loop_new(&e);

	assert_non_null(l);
	return l;
}

/* ---- timers ---- */

struct ticker {
	struct timer timer;
	struct loop *loop;
	int *order;
	int *count;
	int id;
	bool stops;
};

static void on_tick(struct timer *t)
{
	struct ticker *k = container_of(t, struct ticker, timer);

	k->order[(*k->count)++] = k->id;
	if (k->stops)
		loop_stop(k->loop);
}

static void timers_expire_in_the_order_of_their_time(void **state)
{
	struct loop *l = new_loop();
	struct ticker tickers[50];
	int order[50];
	int count = 0;

	(void)state;
	for (int i = 0; i < 50; i++) {
		tickers[i] = (struct ticker){ .loop = l, .order = order, .count = &count, .id = i, .stops = i == 49 };
		timer_init(&tickers[i].timer, on_tick);
	}
	for (int i = 49; i >= 0; i--)
		timer_start(l, &tickers[(i * 7) % 50].timer, (uint64_t)((i * 7) % 50));
	loop_run(l);
	assert_int_equal(count, 50);
	for (int i = 0; i < 50; i++)
		assert_int_equal(order[i], i);
	loop_free(l);
}

static void a_cancelled_timer_does_not_expire_and_a_started_one_moves(void **state)
{
	struct loop *l = new_loop();
	struct ticker a;
	struct ticker b;
	struct ticker c;
	int order[3];
	int count = 0;

	(void)state;
	a = (struct ticker){ .loop = l, .order = order, .count = &count, .id = 1 };
	b = (struct ticker){ .loop = l, .order = order, .count = &count, .id = 2 };
	c = (struct ticker){ .loop = l, .order = order, .count = &count, .id = 3, .stops = true };
	timer_init(&a.timer, on_tick);
	timer_init(&b.timer, on_tick);
	timer_init(&c.timer, on_tick);
	timer_start(l, &a.timer, 1);
	timer_start(l, &b.timer, 1);
	timer_start(l, &c.timer, 20);
	timer_cancel(l, &a.timer);
	assert_false(timer_is_started(&a.timer));
	timer_cancel(l, &a.timer);
	timer_start(l, &b.timer, 10);
	loop_run(l);
	assert_int_equal(count, 2);
	assert_int_equal(order[0], 2);
	assert_int_equal(order[1], 3);
	loop_free(l);
}

/* ---- watches ---- */

struct peer {
	struct watch watch;
	struct loop *loop;
	struct peer *other;
	int *calls;
};

/* Frees the other one, whose event has been fetched in the same round. */
static void on_ready_free_other(struct watch *w, uint32_t events)
{
	struct peer *p = container_of(w, struct peer, watch);

	(void)events;
	(*p->calls)++;
	loop_unwatch(p->loop, &p->other->watch);
	free(p->other);
	loop_unwatch(p->loop, &p->watch);
	loop_stop(p->loop);
	free(p);
}

static void an_event_of_a_watch_that_was_freed_in_the_same_round_is_dropped(void **state)
{
	struct loop *l = new_loop();
	struct peer *a = mem_new_of(struct peer);
	struct peer *b = mem_new_of(struct peer);
	struct err e;
	int sa[2];
	int sb[2];
	int calls = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sa), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sb), 0);
	*a = (struct peer){ { .ready = on_ready_free_other, .fd = sa[0] }, l, b, &calls };
	*b = (struct peer){ { .ready = on_ready_free_other, .fd = sb[0] }, l, a, &calls };
	assert_int_equal(loop_watch(l, &a->watch, EPOLLIN, &e), 0);
	assert_int_equal(loop_watch(l, &b->watch, EPOLLIN, &e), 0);
	assert_int_equal(write(sa[1], "x", 1), 1);
	assert_int_equal(write(sb[1], "x", 1), 1);
	loop_run(l);
	assert_int_equal(calls, 1);
	for (int i = 0; i < 2; i++) {
		close(sa[i]);
		close(sb[i]);
	}
	loop_free(l);
}

struct counted {
	struct watch watch;
	struct timer timer;
	struct loop *loop;
	int calls;
};

static void on_counted(struct watch *w, uint32_t events)
{
	struct counted *c = container_of(w, struct counted, watch);
	char byte;

	assert_int_equal(events, EPOLLIN);
	assert_int_equal(read(w->fd, &byte, 1), 1);
	c->calls++;
}

static void on_enough(struct timer *t)
{
	loop_stop(container_of(t, struct counted, timer)->loop);
}

static void counted_init(struct counted *c, struct loop *l, int fd)
{
	*c = (struct counted){ { .ready = on_counted, .fd = fd }, .loop = l };
	timer_init(&c->timer, on_enough);
}

/* As a child does between fork() and exec(). The second watch has the descriptor and the place of the first. */
static void a_closed_file_that_somebody_still_holds_tells_nobody(void **state)
{
	struct loop *l = new_loop();
	struct counted a;
	struct counted b;
	struct err e;
	int sa[2];
	int sb[2];
	int held;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sb), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sa), 0);
	counted_init(&a, l, sa[0]);
	assert_int_equal(loop_watch(l, &a.watch, WATCH_STREAM, &e), 0);
	held = dup(sa[0]);
	assert_true(held >= 0);
	loop_close(l, &a.watch);
	assert_int_equal(a.watch.fd, -1);
	assert_false(watch_is_active(&a.watch));
	assert_int_equal(dup2(sb[0], sa[0]), sa[0]);

	counted_init(&b, l, sa[0]);
	assert_int_equal(loop_watch(l, &b.watch, WATCH_STREAM, &e), 0);
	assert_int_equal(write(sa[1], "x", 1), 1);
	timer_start(l, &b.timer, 5);
	loop_run(l);
	assert_int_equal(a.calls, 0);
	assert_int_equal(b.calls, 0);
	assert_int_equal(write(sb[1], "x", 1), 1);
	timer_start(l, &b.timer, 5);
	loop_run(l);
	assert_int_equal(b.calls, 1);

	loop_close(l, &b.watch);
	close(held);
	close(sa[1]);
	close(sb[0]);
	close(sb[1]);
	loop_free(l);
}

/* Else the loop would not sleep any more. */
static void a_level_of_a_closed_file_is_not_told_either(void **state)
{
	struct loop *l = new_loop();
	struct counted a;
	struct epoll_event seen;
	struct err e;
	int fds[2];
	int held;
	int epoll;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	counted_init(&a, l, fds[0]);
	assert_int_equal(loop_watch(l, &a.watch, EPOLLIN, &e), 0);
	held = dup(fds[0]);
	epoll = fds[0] - 2; /* made by loop_new(), before its mailbox */
	loop_close(l, &a.watch);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(epoll_wait(epoll, &seen, 1, 0), 0);
	close(held);
	close(fds[1]);
	loop_free(l);
}

static void many_watches_come_and_go(void **state)
{
	struct loop *l = new_loop();
	struct counted c[300];
	int fds[300][2];
	struct err e;

	(void)state;
	for (int i = 0; i < 300; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
		counted_init(&c[i], l, fds[i][0]);
		assert_int_equal(loop_watch(l, &c[i].watch, WATCH_STREAM, &e), 0);
		assert_int_equal(write(fds[i][1], "x", 1), 1);
		if (i % 3 == 0)
			loop_unwatch(l, &c[i].watch);
	}
	for (int i = 0; i < 300; i += 6)
		assert_int_equal(loop_watch(l, &c[i].watch, WATCH_STREAM, &e), 0);
	timer_start(l, &c[0].timer, 5);
	loop_run(l);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(c[i].calls, i % 6 != 3);
		loop_close(l, &c[i].watch);
		close(fds[i][1]);
	}
	loop_free(l);
}

/* What arrived before is told to the new one; also when the old one was not watched at all. */
static void a_watch_is_handed_over_with_what_it_had_not_told(void **state)
{
	struct loop *l = new_loop();
	struct counted from;
	struct counted to;
	struct counted last;
	struct err e;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	counted_init(&from, l, fds[0]);
	counted_init(&to, l, fds[0]);
	counted_init(&last, l, fds[0]);
	assert_int_equal(write(fds[1], "xy", 2), 2);
	assert_int_equal(loop_hand_over(l, &from.watch, &to.watch, WATCH_STREAM, &e), 0);
	timer_start(l, &to.timer, 5);
	loop_run(l);
	assert_int_equal(to.calls, 1);
	assert_int_equal(loop_hand_over(l, &to.watch, &last.watch, WATCH_STREAM, &e), 0);
	assert_false(watch_is_active(&to.watch));
	timer_start(l, &last.timer, 5);
	loop_run(l);
	assert_int_equal(from.calls, 0);
	assert_int_equal(to.calls, 1);
	assert_int_equal(last.calls, 1);

	loop_close(l, &last.watch);
	close(fds[1]);
	loop_free(l);
}

struct sender_end {
	struct watch watch;
	struct loop *loop;
	int fd_far;
	uint32_t seen[2];
	int calls;
};

/* First: something arrived, and nothing is said of room. Then room is asked for while there is none, and made. */
static void on_sender_ready(struct watch *w, uint32_t events)
{
	struct sender_end *s = container_of(w, struct sender_end, watch);
	char block[4096] = { 0 };

	assert_in_range(s->calls, 0, 1);
	s->seen[s->calls++] = events;
	if (s->calls == 2) {
		loop_stop(s->loop);
		return;
	}
	assert_int_equal(read(w->fd, block, sizeof(block)), 1);
	while (write(w->fd, block, sizeof(block)) > 0)
		;
	assert_int_equal(loop_watch_output(s->loop, w), 0);
	assert_int_equal(loop_watch_output(s->loop, w), 0);
	while (read(s->fd_far, block, sizeof(block)) > 0)
		;
}

static void room_to_send_is_told_only_when_it_was_asked_for(void **state)
{
	struct loop *l = new_loop();
	struct sender_end s = { .loop = l };
	struct err e;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	s.watch.ready = on_sender_ready;
	s.watch.fd = fds[0];
	s.fd_far = fds[1];
	assert_int_equal(loop_watch(l, &s.watch, WATCH_STREAM, &e), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	loop_run(l);
	assert_int_equal(s.seen[0], EPOLLIN);
	assert_int_equal(s.seen[1], EPOLLOUT);
	loop_unwatch(l, &s.watch);
	close(fds[0]);
	close(fds[1]);
	loop_free(l);
}

static void watching_a_closed_descriptor_is_an_error(void **state)
{
	struct loop *l = new_loop();
	struct watch w = { .fd = 9999 };
	struct err e;

	(void)state;
	assert_int_equal(loop_watch(l, &w, EPOLLIN, &e), -1);
	assert_int_equal(e.kind, ERR_SYSTEM);
	loop_unwatch(l, &w);
	loop_free(l);
}

/* ---- tasks ---- */

struct chore {
	struct task task;
	struct loop *loop;
	int left;
};

static void on_chore(struct task *t)
{
	struct chore *c = container_of(t, struct chore, task);

	if (--c->left == 0)
		loop_stop(c->loop);
	else
		task_schedule(c->loop, &c->task);
}

static void a_task_that_schedules_itself_runs_again_without_sleeping(void **state)
{
	struct loop *l = new_loop();
	struct chore c = { .loop = l, .left = 1000 };

	(void)state;
	task_init(&c.task, on_chore);
	task_schedule(l, &c.task);
	task_schedule(l, &c.task);
	loop_run(l);
	assert_int_equal(c.left, 0);
	loop_free(l);
}

/* ---- mail ---- */

#define SENDERS 4
#define LETTERS 1000

struct letter {
	struct mail mail;
	struct loop *loop;
	int sender;
	int number;
	int *next; /* of each sender */
	int *arrived;
};

static void on_letter(struct mail *m)
{
	struct letter *l = container_of(m, struct letter, mail);

	assert_int_equal(l->number, l->next[l->sender]);
	l->next[l->sender]++;
	if (++*l->arrived == SENDERS * LETTERS)
		loop_stop(l->loop);
	free(l);
}

struct sender {
	pthread_t thread;
	struct loop *loop;
	int id;
	int *next;
	int *arrived;
};

static void *send_letters(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < LETTERS; i++) {
		struct letter *l = mem_new_of(struct letter);

		*l = (struct letter){ { NULL, on_letter }, s->loop, s->id, i, s->next, s->arrived };
		loop_post(s->loop, &l->mail);
	}
	return NULL;
}

static void mail_from_many_threads_arrives_once_and_in_order(void **state)
{
	struct loop *l = new_loop();
	struct sender senders[SENDERS];
	int next[SENDERS] = { 0 };
	int arrived = 0;

	(void)state;
	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){ 0, l, i, next, &arrived };
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_letters, &senders[i]), 0);
	}
	loop_run(l);
	for (int i = 0; i < SENDERS; i++)
		pthread_join(senders[i].thread, NULL);
	assert_int_equal(arrived, SENDERS * LETTERS);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_expire_in_the_order_of_their_time),
		cmocka_unit_test(a_cancelled_timer_does_not_expire_and_a_started_one_moves),
		cmocka_unit_test(an_event_of_a_watch_that_was_freed_in_the_same_round_is_dropped),
		cmocka_unit_test(a_closed_file_that_somebody_still_holds_tells_nobody),
		cmocka_unit_test(a_level_of_a_closed_file_is_not_told_either),
		cmocka_unit_test(many_watches_come_and_go),
		cmocka_unit_test(a_watch_is_handed_over_with_what_it_had_not_told),
		cmocka_unit_test(room_to_send_is_told_only_when_it_was_asked_for),
		cmocka_unit_test(watching_a_closed_descriptor_is_an_error),
		cmocka_unit_test(a_task_that_schedules_itself_runs_again_without_sleeping),
		cmocka_unit_test(mail_from_many_threads_arrives_once_and_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
