/* SPDX-License-Identifier: Apache-2.0 */
/* greeting - looks at the first bytes of a connection until it is known what they are. */
#include "gateway/greeting.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "io/worker.h"

#define VET_SIZE 16 /* enough to tell a header from anything else */

struct greeting {
	struct worker *worker;
	struct greeting_options options;
	struct greeting_events *events;
	struct watch watch;
	struct timer deadline;
};

static void greeting_free(struct greeting *g)
{
	loop_unwatch(g->worker->loop, &g->watch);
	timer_cancel(g->worker->loop, &g->deadline);
	free(g);
}

static void fail(struct greeting *g, enum reason reason, const struct err *why)
{
	struct greeting_events *events = g->events;
	struct err copy = *why;

	greeting_free(g);
	events->failed(events, reason, &copy);
}

static void fail_text(struct greeting *g, enum reason reason, const char *text)
{
	struct err why;

	err_set(&why, ERR_PEER, "%s", text);
	fail(g, reason, &why);
}

static void tell(struct greeting *g, const struct proxy_header *h)
{
	struct greeting_events *events = g->events;

	greeting_free(g);
	events->greeted(events, h);
}

static void take_header(struct greeting *g, const struct proxy_header *h)
{
	uint8_t header[PROXY_HEADER_MAX];

	if (!g->options.required)
		fail_text(g, REASON_PROXY_HEADER, "from an address that is not in proxy_protocol.accept_from");
	/* They are there: we have seen them. */
	else if (recv(g->watch.fd, header, h->len, 0) != (ssize_t)h->len)
		fail_text(g, g->options.gone, "the connection broke");
	else
		tell(g, h);
}

static void without_header(struct greeting *g)
{
	if (g->options.required)
		fail_text(g, REASON_PROXY_HEADER,
			  "there is none, which proxy_protocol.accept_from demands of this address");
	else
		tell(g, NULL);
}

static void look(struct greeting *g, struct bytes seen, bool is_all)
{
	struct proxy_header h;
	struct err why;

	switch (proxy_protocol_parse(seen, &h, &why)) {
	case PROXY_MORE:
		if (is_all)
			without_header(g);
		break;
	case PROXY_NOT:
		without_header(g);
		break;
	case PROXY_HEADER:
		take_header(g, &h);
		break;
	case PROXY_BROKEN:
		fail(g, REASON_PROXY_HEADER, &why);
		break;
	}
}

/* Edge-triggered: more bytes give another event, although those that we have seen are still there. */
static void on_ready(struct watch *w, uint32_t events)
{
	struct greeting *g = container_of(w, struct greeting, watch);
	uint8_t seen[PROXY_HEADER_MAX];
	struct err why;
	ssize_t n;

	do {
		n = recv(w->fd, seen, sizeof(seen), MSG_PEEK);
	} while (n < 0 && errno == EINTR);
	if (n >= 0) {
		look(g, bytes_of(seen, (size_t)n), n == 0 || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
	} else if (errno != EAGAIN) {
		err_errno(&why, ERR_PEER, "before its first byte");
		fail(g, g->options.gone, &why);
	}
}

static void on_deadline(struct timer *t)
{
	struct greeting *g = container_of(t, struct greeting, deadline);
	struct err why;

	err_set(&why, ERR_TIMEOUT, "no whole PROXY protocol header in %u ms", g->options.limit_ms);
	fail(g, REASON_FIRST_BYTE_TIMEOUT, &why);
}

struct greeting *greeting_start(struct worker *w, const struct greeting_options *options,
				struct greeting_events *events, struct err *e)
{
	struct greeting *g = mem_new_of(struct greeting);

	g->worker = w;
	g->options = *options;
	g->events = events;
	g->watch.fd = options->fd;
	g->watch.ready = on_ready;
	timer_init(&g->deadline, on_deadline);
	if (loop_watch(w->loop, &g->watch, EPOLLIN | EPOLLRDHUP | EPOLLET, e) < 0) {
		free(g);
		return NULL;
	}
	timer_start(w->loop, &g->deadline, options->limit_ms);
	return g;
}

void greeting_cancel(struct greeting *g)
{
	if (g != NULL)
		greeting_free(g);
}

enum io_result greeting_vet(struct sock_stream *s)
{
	uint8_t seen[VET_SIZE];
	struct proxy_header h;
	struct err why;
	ssize_t n;

	do {
		n = recv(s->watch.fd, seen, sizeof(seen), MSG_PEEK);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN) {
		s->stream.readable = false;
		return IO_AGAIN;
	}
	if (n <= 0)
		return IO_OK;
	switch (proxy_protocol_parse(bytes_of(seen, (size_t)n), &h, &why)) {
	case PROXY_NOT:
		return IO_OK;
	case PROXY_MORE:
		if (n == VET_SIZE)
			break;
		if (s->hung_up)
			return IO_OK;
		s->stream.readable = false;
		return IO_AGAIN;
	case PROXY_HEADER:
	case PROXY_BROKEN:
		break;
	}
	return IO_BROKEN;
}
