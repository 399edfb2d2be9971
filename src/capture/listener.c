/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener - listening sockets, level-triggered, and what to do when there is no room.
 *
 * A pause takes all sockets of the set out of the loop and looks again after PAUSE_MS; while the reason
 * lasts it costs one look for each pause and one log line a second.
 */
#include "capture/listener.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/worker.h"

#define ACCEPTS_PER_TURN 64 /* at most; see on_ready() */
#define PAUSE_MS 50

struct listeners {
	const char *name;
	listener_aim *aim;
	const struct sock_options *sock;
	struct worker *worker;
	struct capture_events *events;
	struct listener *items;
	size_t count;
	size_t max;
	struct timer pause;
	struct log_limit limit;
};

struct listeners *listeners_new(size_t max, listener_aim *aim, const char *name)
{
	struct listeners *ls = mem_new_of(struct listeners);

	ls->name = name;
	ls->aim = aim;
	ls->items = mem_new_array(max, sizeof(struct listener));
	ls->max = max;
	return ls;
}

static void on_ready(struct watch *w, uint32_t events);

int listeners_add(struct listeners *ls, const struct sock_addr *addr, const struct endpoint *to,
		  const struct sock_options *sock, const struct sock_listen_options *how, struct err *e)
{
	struct listener *l = &ls->items[ls->count];
	struct sock_addr bound = { 0 };
	socklen_t len = sizeof(bound);
	int fd;

	assert(ls->count < ls->max);
	ls->sock = sock;
	fd = sock_listen(addr, sock, how, e);
	if (fd < 0)
		return -1;
	if (getsockname(fd, &bound.any, &len) < 0) {
		err_errno(e, ERR_SYSTEM, "getsockname");
		close(fd);
		return -1;
	}
	*l = (struct listener){ .watch = { .fd = fd, .ready = on_ready }, .set = ls };
	l->on_loopback = sock_addr_is_loopback(addr) && !how->others;
	l->port = sock_addr_port(&bound);
	if (to != NULL)
		l->to = *to;
	ls->count++;
	return 0;
}

uint16_t listeners_port(const struct listeners *ls)
{
	assert(ls->count > 0);
	return ls->items[0].port;
}

static void pause_accepting(struct listeners *ls, const char *why)
{
	uint64_t now = loop_now_ms(ls->worker->loop);
	unsigned skipped;

	for (size_t i = 0; i < ls->count; i++)
		loop_unwatch(ls->worker->loop, &ls->items[i].watch);
	timer_start(ls->worker->loop, &ls->pause, PAUSE_MS);
	if (log_limit_pass(&ls->limit, 1, now, &skipped))
		log_warn("%s: accepting is paused: %s", ls->name, why);
}

static bool watch_all(struct listeners *ls, struct err *e)
{
	for (size_t i = 0; i < ls->count; i++) {
		struct watch *w = &ls->items[i].watch;

		if (!watch_is_active(w) && w->fd >= 0 && loop_watch(ls->worker->loop, w, EPOLLIN, e) < 0)
			return false;
	}
	return true;
}

static void on_pause_over(struct timer *t)
{
	struct listeners *ls = container_of(t, struct listeners, pause);
	struct err e;

	bool has_room = ls->events->reserve(ls->events);

	if (has_room)
		ls->events->release(ls->events);
	if (!has_room || !watch_all(ls, &e))
		timer_start(ls->worker->loop, &ls->pause, PAUSE_MS);
}

static void accept_failed(struct listener *l, int sys)
{
	struct listeners *ls = l->set;

	if (sys == EBADF || sys == EINVAL || sys == ENOTSOCK || sys == EOPNOTSUPP) {
		loop_unwatch(ls->worker->loop, &l->watch);
		ls->events->lost(ls->events);
	} else if (sys == EMFILE || sys == ENFILE || sys == ENOBUFS || sys == ENOMEM)
		pause_accepting(ls, "no_descriptors: the process has no descriptor left");
}

/*
 * Clients that come one by one are taken one by one, without a look whether there is another; a crowd is taken
 * in turns that double.
 */
static void on_ready(struct watch *w, uint32_t events)
{
	struct listener *l = container_of(w, struct listener, watch);
	struct listeners *ls = l->set;
	unsigned most = l->doubled == 0 ? 1 : l->doubled;

	(void)events;
	l->doubled = (uint8_t)MIN(2 * most, (unsigned)ACCEPTS_PER_TURN);
	for (unsigned i = 0; i < most; i++) {
		struct err why;
		struct captured c = { .refused = REASON_DONE, .why = &why };
		socklen_t len = sizeof(c.client);

		if (!ls->events->reserve(ls->events)) {
			pause_accepting(ls, "limit_connections: limits.connections or the descriptor limit is reached");
			return;
		}
		c.fd = accept4(w->fd, &c.client.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (c.fd < 0) {
			int sys = errno;

			ls->events->release(ls->events);
			l->doubled = 0;
			accept_failed(l, sys);
			return;
		}
		if (!l->on_loopback)
			sock_tune_accepted(c.fd, &c.client, ls->sock);
		ls->aim(l, &c);
		ls->events->captured(ls->events, &c);
		/* What was captured may have stopped us. */
		if (!watch_is_active(w))
			return;
	}
}

int listeners_start(struct listeners *ls, struct worker *w, struct capture_events *events, struct err *e)
{
	ls->worker = w;
	ls->events = events;
	timer_init(&ls->pause, on_pause_over);
	return watch_all(ls, e) ? 0 : -1;
}

void listeners_stop(struct listeners *ls)
{
	for (size_t i = 0; i < ls->count; i++) {
		struct watch *w = &ls->items[i].watch;

		if (w->fd < 0)
			continue;
		if (ls->worker != NULL)
			loop_unwatch(ls->worker->loop, w);
		close(w->fd);
		w->fd = -1;
	}
	if (ls->worker != NULL)
		timer_cancel(ls->worker->loop, &ls->pause);
}

void listeners_free(struct listeners *ls)
{
	if (ls == NULL)
		return;
	listeners_stop(ls);
	free(ls->items);
	free(ls);
}
