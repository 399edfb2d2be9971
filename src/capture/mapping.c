/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapping - listening sockets, level-triggered, and what to do when there is no room.
 *
 * A pause takes all listeners of the mapping out of the loop and looks again after PAUSE_MS; while the reason
 * lasts it costs one look for each pause and one log line a second.
 */
#include "capture/mapping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/loop.h"
#include "io/worker.h"

#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 50

struct listener {
	struct watch watch;
	struct mapping *mapping;
	const struct mapping_rule_conf *rule;
	uint16_t out_port;
	bool on_loopback;
};

struct mapping {
	const char *name;
	struct worker *worker;
	struct mapping_events *events;
	struct listener *listeners;
	size_t count;
	struct timer pause;
	struct log_limit limit;
};

static void close_listeners(struct mapping *m)
{
	for (size_t i = 0; i < m->count; i++) {
		struct listener *l = &m->listeners[i];

		if (l->watch.fd < 0)
			continue;
		if (m->worker != NULL)
			loop_unwatch(m->worker->loop, &l->watch);
		close(l->watch.fd);
		l->watch.fd = -1;
	}
}

static int open_listener(struct listener *l, const struct sock_options *sock, uint16_t port, bool shared,
			 struct err *e)
{
	struct sock_addr addr;
	const char *host = strcmp(l->rule->in_host, "localhost") == 0 ? "127.0.0.1" : l->rule->in_host;

	l->watch.fd = -1;
	if (!sock_addr_parse(host, port, &addr))
		return err_set(e, ERR_CONFIG, "listen on %s: not an IPv4 or IPv6 address", host);
	l->on_loopback = sock_addr_is_loopback(&addr);
	l->watch.fd = sock_listen(&addr, sock, shared, e);
	return l->watch.fd < 0 ? -1 : 0;
}

struct mapping *mapping_new(const struct mapping_rule_conf *rules, size_t count, const struct sock_options *sock,
			    bool shared, const char *name, struct err *e)
{
	struct mapping *m = mem_new_of(struct mapping);
	size_t ports = 0;

	m->name = name;
	for (size_t i = 0; i < count; i++)
		ports += (size_t)rules[i].in_port_end - rules[i].in_port + 1;
	m->listeners = mem_new_array(ports, sizeof(struct listener));
	for (size_t i = 0; i < count; i++) {
		for (unsigned port = rules[i].in_port; port <= rules[i].in_port_end; port++) {
			struct listener *l = &m->listeners[m->count++];

			l->mapping = m;
			l->rule = &rules[i];
			l->out_port = (uint16_t)(rules[i].out_port + (port - rules[i].in_port));
			if (open_listener(l, sock, (uint16_t)port, shared, e) < 0) {
				err_wrap(e, "%s.mapping", name);
				mapping_free(m);
				return NULL;
			}
		}
	}
	return m;
}

static void pause_accepting(struct mapping *m, const char *why)
{
	uint64_t now = loop_now_ms(m->worker->loop);
	unsigned skipped;

	for (size_t i = 0; i < m->count; i++)
		loop_unwatch(m->worker->loop, &m->listeners[i].watch);
	timer_start(m->worker->loop, &m->pause, PAUSE_MS);
	if (log_limit_pass(&m->limit, 1, now, &skipped))
		log_warn("%s: accepting is paused: %s", m->name, why);
}

static bool watch_all(struct mapping *m, struct err *e)
{
	for (size_t i = 0; i < m->count; i++) {
		struct listener *l = &m->listeners[i];

		if (!l->watch.active && l->watch.fd >= 0 &&
		    loop_watch(m->worker->loop, &l->watch, EPOLLIN, e) < 0)
			return false;
	}
	return true;
}

static void on_pause_over(struct timer *t)
{
	struct mapping *m = container_of(t, struct mapping, pause);
	struct err e;

	bool has_room = m->events->reserve(m->events);

	if (has_room)
		m->events->release(m->events);
	if (!has_room || !watch_all(m, &e))
		timer_start(m->worker->loop, &m->pause, PAUSE_MS);
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct listener *l = container_of(w, struct listener, watch);
	struct mapping *m = l->mapping;

	(void)events;
	for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sock_addr client;
		socklen_t len = sizeof(client);
		int fd;

		if (!m->events->reserve(m->events)) {
			pause_accepting(m, "limit_connections: limits.connections or the descriptor limit is reached");
			return;
		}
		memset(&client, 0, sizeof(client));
		fd = accept4(w->fd, &client.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			m->events->release(m->events);
			if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK || errno == EOPNOTSUPP) {
				loop_unwatch(m->worker->loop, w);
				m->events->lost(m->events);
			} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				pause_accepting(m, "no_descriptors: the process has no descriptor left");
			return;
		}
		if (!l->on_loopback)
			sock_tune_accepted(fd, &client);
		m->events->captured(m->events, fd, &client, l->rule, l->out_port);
		/* What was captured may have stopped us. */
		if (!w->active)
			return;
	}
}

int mapping_start(struct mapping *m, struct worker *w, struct mapping_events *events, struct err *e)
{
	m->worker = w;
	m->events = events;
	timer_init(&m->pause, on_pause_over);
	for (size_t i = 0; i < m->count; i++)
		m->listeners[i].watch.ready = on_ready;
	return watch_all(m, e) ? 0 : -1;
}

void mapping_stop(struct mapping *m)
{
	close_listeners(m);
	if (m->worker != NULL)
		timer_cancel(m->worker->loop, &m->pause);
}

void mapping_free(struct mapping *m)
{
	if (m == NULL)
		return;
	mapping_stop(m);
	free(m->listeners);
	free(m);
}
