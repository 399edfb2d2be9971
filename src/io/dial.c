/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dial - resolve, then race.
 *
 *   RESOLVING --> RACING --> over (connected, failed, cancelled)
 *
 * Attempts live in an array by the place of their address. The task tells what dial_start() itself found out, so
 * that no callback runs inside it: that none can begin, or that one is connected already, which need not be watched.
 */
#include "io/dial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/worker.h"

#define NEXT_ATTEMPT_MS 250

struct attempt {
	struct watch watch;
	struct timer deadline;
	struct dial *dial;
	struct sock_addr addr;
};

struct dial {
	struct worker *worker;
	struct dial_options options;
	struct dial_events *events;
	struct resolve_call *resolving;
	struct resolve_events resolve_events;
	struct timer timer; /* resolving: the deadline; racing: the next attempt */
	struct task task;
	struct attempt *attempts;
	size_t count;
	size_t next;
	size_t running;
	struct attempt *winner;	   /* until the task tells of it */
	enum dial_failure failure; /* of the last attempt */
	struct err why;
};

/* The kernel may have connected it already: then nobody there must take our leaving for an orderly end. */
static void attempt_stop(struct attempt *a)
{
	timer_cancel(a->dial->worker->loop, &a->deadline);
	if (a->watch.fd < 0)
		return;
	sock_set_abort(a->watch.fd);
	loop_close(a->dial->worker->loop, &a->watch);
	a->dial->running--;
}

static void dial_free(struct dial *d)
{
	for (size_t i = 0; i < d->next; i++)
		attempt_stop(&d->attempts[i]);
	timer_cancel(d->worker->loop, &d->timer);
	task_cancel(&d->task);
	if (d->resolving != NULL)
		resolve_call_cancel(d->resolving);
	free(d->attempts);
	free(d);
}

static void fail(struct dial *d)
{
	struct dial_events *events = d->events;
	enum dial_failure failure = d->failure;
	struct err why = d->why;

	dial_free(d);
	events->failed(events, failure, &why);
}

static bool has_source(const struct dial *d)
{
	return d->options.from.any.sa_family != AF_UNSPEC;
}

static enum dial_failure classify(const struct dial *d, int sys)
{
	switch (sys) {
	case ECONNREFUSED:
		return DIAL_REFUSED;
	case ETIMEDOUT:
		return DIAL_TIMEOUT;
	case EMFILE:
	case ENFILE:
		return DIAL_NO_DESCRIPTORS;
	case EADDRINUSE:
	case EADDRNOTAVAIL:
		return has_source(d) ? DIAL_SOURCE : DIAL_UNREACHABLE;
	default:
		return DIAL_UNREACHABLE;
	}
}

static void win(struct attempt *a)
{
	struct dial *d = a->dial;
	struct dial_events *events = d->events;
	struct sock_addr addr = a->addr;
	int fd = a->watch.fd;

	timer_cancel(d->worker->loop, &a->deadline);
	timer_cancel(d->worker->loop, &d->timer);
	for (size_t i = 0; i < d->next; i++) {
		if (&d->attempts[i] != a)
			attempt_stop(&d->attempts[i]);
	}
	events->connected(events, fd, &a->watch, &addr);
	a->watch.fd = -1;
	dial_free(d);
}

/* Begins attempts until one is under way; reports when none is left. */
static void race(struct dial *d);

static void attempt_failed(struct attempt *a, int sys)
{
	struct dial *d = a->dial;
	char text[SOCK_ADDR_TEXT];

	d->failure = classify(d, sys);
	errno = sys;
	err_errno(&d->why, sys == ETIMEDOUT ? ERR_TIMEOUT : ERR_SYSTEM, "connect to %s",
		  sock_addr_format(&a->addr, text));
	attempt_stop(a);
	race(d);
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct attempt *a = container_of(w, struct attempt, watch);
	int sys = (events & (EPOLLERR | EPOLLHUP)) != 0 ? sock_error(w->fd) : 0;

	if (sys == 0 && (events & (EPOLLOUT | EPOLLIN)) != 0)
		win(a);
	else if (sys != 0)
		attempt_failed(a, sys);
}

static void on_deadline(struct timer *t)
{
	attempt_failed(container_of(t, struct attempt, deadline), ETIMEDOUT);
}

static bool attempt_start(struct dial *d)
{
	struct attempt *a = &d->attempts[d->next++];
	struct err e;

	a->dial = d;
	a->watch.ready = on_ready;
	timer_init(&a->deadline, on_deadline);
	sock_addr_set_port(&a->addr, endpoint_port(&d->options.to));
	a->watch.fd = sock_connect(&a->addr, has_source(d) ? &d->options.from : NULL, d->options.sock, &e);
	if (a->watch.fd < 0) {
		d->failure = classify(d, e.sys);
		d->why = e;
		return false;
	}
	d->running++;
	if (sock_is_connected(a->watch.fd)) {
		d->winner = a;
		return true;
	}
	if (loop_watch(d->worker->loop, &a->watch, WATCH_STREAM | EPOLLOUT, &e) < 0) {
		d->failure = DIAL_UNREACHABLE;
		d->why = e;
		attempt_stop(a);
		return false;
	}
	timer_start(d->worker->loop, &a->deadline, d->options.connect_ms);
	return true;
}

static bool may_go_on(const struct dial *d)
{
	return d->winner == NULL && d->next < d->count && !(d->next > 0 && d->failure == DIAL_SOURCE);
}

static void race(struct dial *d)
{
	while (may_go_on(d) && !attempt_start(d))
		;
	if (may_go_on(d))
		timer_start(d->worker->loop, &d->timer, NEXT_ATTEMPT_MS);
	else
		timer_cancel(d->worker->loop, &d->timer);
	if (d->winner != NULL || d->running == 0)
		task_schedule(d->worker->loop, &d->task);
}

static void on_task(struct task *t)
{
	struct dial *d = container_of(t, struct dial, task);

	if (d->winner != NULL)
		win(d->winner);
	else if (d->running == 0)
		fail(d);
}

static void on_timer(struct timer *t)
{
	struct dial *d = container_of(t, struct dial, timer);

	if (d->resolving == NULL) {
		race(d);
		return;
	}
	d->failure = DIAL_RESOLVE;
	err_set(&d->why, ERR_TIMEOUT, "resolve %s: no answer in %u ms", d->options.to.host, d->options.resolve_ms);
	fail(d);
}

static void set_addrs(struct dial *d, const struct sock_addr *addrs, size_t count)
{
	char text[ENDPOINT_TEXT];
	sa_family_t family = d->options.from.any.sa_family;

	d->attempts = mem_new_array(count, sizeof(struct attempt));
	for (size_t i = 0; i < count; i++) {
		if (!has_source(d) || addrs[i].any.sa_family == family)
			d->attempts[d->count++].addr = addrs[i];
	}
	if (d->count == 0) {
		d->failure = DIAL_RESOLVE;
		err_set(&d->why, ERR_SYSTEM,
			"%s has no address of the client's family (IPv%d), which transparency keeps",
			endpoint_format(&d->options.to, text), family == AF_INET6 ? 6 : 4);
	}
	race(d);
}

static void on_resolved(struct resolve_events *self, const struct resolve_result *result, const struct err *why)
{
	struct dial *d = container_of(self, struct dial, resolve_events);

	d->resolving = NULL;
	timer_cancel(d->worker->loop, &d->timer);
	if (result == NULL) {
		d->failure = DIAL_RESOLVE;
		d->why = *why;
		fail(d);
		return;
	}
	set_addrs(d, result->addrs, result->count);
}

struct dial *dial_start(struct worker *w, const struct dial_options *options, struct dial_events *events)
{
	struct dial *d = mem_new_of(struct dial);
	struct resolve_result cached;
	const char *host = options->to.host;

	d->worker = w;
	d->options = *options;
	d->events = events;
	d->resolve_events.resolved = on_resolved;
	timer_init(&d->timer, on_timer);
	task_init(&d->task, on_task);
	if (host == NULL) {
		set_addrs(d, &options->to.addr, 1);
	} else if (resolver_cached(w->resolver, host, &cached)) {
		set_addrs(d, cached.addrs, cached.count);
	} else {
		timer_start(w->loop, &d->timer, options->resolve_ms);
		d->resolving = resolver_start(w->resolver, w->loop, host, &d->resolve_events);
	}
	return d;
}

void dial_cancel(struct dial *d)
{
	if (d != NULL)
		dial_free(d);
}
