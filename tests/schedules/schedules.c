/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedules - random conversations through a relay, of which every byte and every end is checked.
 *
 * The program is both the clients, which connect to the relay, and the service, to which the relay
 * connects, so it knows what an end has done when the other end sees something:
 *   - the bytes that arrive are the first ones that were written, in their order;
 *   - an end of input comes after all bytes, and only when the other end has shut down;
 *   - a reset comes only when the other end has reset; bytes before it may be missing;
 *   - when one end has reset, the other one does not see a clean end of what was not shut down;
 *   - each connection ends before its deadline.
 *
 * A reset may be lost, through nobody's fault: a receiver whose buffer shrinks drops bytes that are under way, the
 * window that it tells next ends before them, and a reset, which comes behind them, is outside of it (RFC 5961
 * section 3.2). Linux then sends the reset where the window ends, but not when less than the window's scale is missing.
 * So an end with a small buffer whose other end has reset asks, at its deadline, by a keepalive: who has really reset
 * answers by a reset.
 *
 * One thread, one epoll. Every end has its plan (plan.h) and goes on with it when its socket is
 * ready or a pause is over. A connection that the service has accepted is a guest until the name
 * that it begins with has told which connection it is. A client may reset before the service has
 * seen the name or even the connection, so such a connection stays known until its deadline, but
 * nobody waits for it.
 */
#include "schedules.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "payload.h"
#include "plan.h"
#include "sockets.h"

#define SEND_SIZE 131072
#define RECEIVE_SIZE 65536
#define TURN_RECEIVES 32
#define EVENTS_SIZE 256
#define LATE_MS 500 /* for connections that may still reach the service */
#define SCAN_MS 250 /* between two looks at the deadlines */
#define ASK_MS 5000
#define FAILURES_MAX 5 /* that are told; after them nothing new is begun */
#define NEVER UINT64_MAX

enum watch_kind { WATCH_LISTENER, WATCH_GUEST, WATCH_END };

/* What epoll gives back. */
struct watch {
	enum watch_kind kind;
	int fd; /* -1 when closed; an event that was already fetched is for nobody then */
};

struct end {
	struct watch watch;
	struct connection *connection;
	bool upwards; /* the client: what it writes goes up */
	bool started;
	struct plan plan;
	uint64_t started_ms;
	uint64_t wake_ms;
	bool readable;
	bool writable;

	unsigned write_step;
	uint32_t step_written;
	uint64_t write_at_ms;
	uint64_t written;

	unsigned read_step;
	uint32_t step_read;
	uint64_t read_at_ms;
	uint64_t read;

	/* how it ends */
	bool shut;     /* has shut down writing */
	bool end_seen; /* of the other end's writing */
	bool reset;    /* has reset */
	bool reset_seen;
};

struct connection {
	struct list link; /* in run.connections, or run.ended until the events are done */
	uint32_t number;
	uint64_t name;
	uint64_t deadline_ms;
	uint16_t port; /* the client's, as the log of the relay has it */
	struct end client;
	struct end service;
	bool busy;  /* counts for run.busy */
	bool asked; /* whether its peer is still there */
};

struct guest {
	struct list link;
	struct watch watch;
	uint64_t deadline_ms;
	uint8_t head[PAYLOAD_NAME_SIZE];
	size_t len;
};

struct run {
	const struct schedules_options *options;
	struct schedules_result *result;
	int epoll_fd;
	struct watch listener;
	struct list connections;
	struct list guests;
	struct list ended;
	struct list ended_guests;
	struct connection **by_number;
	uint32_t by_number_size;
	uint32_t next;
	unsigned busy;
	uint64_t now_ms;
	uint64_t wake_ms; /* no end wants to be run before */
	uint64_t scan_ms;
	uint64_t stop_ms; /* nothing new is begun */
	uint8_t buffer[SEND_SIZE];
};

/* ---- failures ---- */

static struct end *other_end(struct end *e)
{
	return e->upwards ? &e->connection->service : &e->connection->client;
}

static const char *name_of(const struct end *e)
{
	return e->upwards ? "client" : "service";
}

static void print_end(const struct end *e)
{
	if (!e->started) {
		printf("  the %s has not begun\n", name_of(e));
		return;
	}
	printf("  the %s has written %" PRIu64 " (step %u), read %" PRIu64 " (step %u)%s%s%s%s\n", name_of(e),
	       e->written, e->write_step, e->read, e->read_step, e->shut ? ", shut down" : "",
	       e->end_seen ? ", seen the end" : "", e->reset ? ", reset" : "", e->reset_seen ? ", seen a reset" : "");
}

static void close_end(struct end *e)
{
	if (e->watch.fd >= 0)
		close(e->watch.fd);
	e->watch.fd = -1;
}

static void leave(struct run *r, struct connection *c)
{
	if (c->busy)
		r->busy--;
	c->busy = false;
}

/* The ends take no part any more; the memory goes when the events that were fetched are done. */
static void discard(struct run *r, struct connection *c)
{
	leave(r, c);
	close_end(&c->client);
	close_end(&c->service);
	r->by_number[c->number] = NULL;
	list_remove(&c->link);
	list_append(&r->ended, &c->link);
}

static void discard_guest(struct run *r, struct guest *g, bool close_it)
{
	if (close_it)
		close(g->watch.fd);
	g->watch.fd = -1;
	list_remove(&g->link);
	list_append(&r->ended_guests, &g->link);
}

static void PRINTF_LIKE(3, 4) fail(struct run *r, struct connection *c, const char *fmt, ...)
{
	va_list args;

	if (r->result->failures++ >= FAILURES_MAX)
		goto out;
	printf("FAILED seed %" PRIu64 " connection %u, from port %u, after %" PRIu64 " ms: ", r->options->seed,
	       c->number, c->port, r->now_ms - c->client.started_ms);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	print_end(&c->client);
	print_end(&c->service);
	plan_print(stdout, "client", &c->client.plan);
	plan_print(stdout, "service", &c->service.plan);
	fflush(stdout);
out:
	discard(r, c);
}

/* We do not know which connection it is: one of those whose client has reset. */
static void fail_guest(struct run *r, struct guest *g, const char *what)
{
	unsigned shown = 0;

	r->result->failures++;
	printf("FAILED seed %" PRIu64 ", the service has %zu bytes of a name: %s; it may be", r->options->seed, g->len,
	       what);
	LIST_EACH (l, &r->connections) {
		struct connection *c = container_of(l, struct connection, link);

		if (!c->service.started && shown++ < 20)
			printf(" %u", c->number);
	}
	printf("\n");
	fflush(stdout);
	discard_guest(r, g, true);
}

/* ---- one end ---- */

static bool is_over(const struct end *e)
{
	return e->started && e->watch.fd < 0;
}

static void settle(struct run *r, struct end *e)
{
	struct connection *c = e->connection;

	close_end(e);
	if (is_over(&c->client) && is_over(&c->service)) {
		r->result->connections++;
		discard(r, c);
	} else if (e->reset && !other_end(e)->started) {
		leave(r, c);
	}
}

static void settle_if_done(struct run *r, struct end *e)
{
	if (e->watch.fd >= 0 && e->shut && e->end_seen)
		settle(r, e);
}

static bool wants_reset(const struct run *r, const struct end *e)
{
	switch (e->plan.reset) {
	case PLAN_RESET_NEVER:
		return false;
	case PLAN_RESET_WRITTEN:
		return e->written >= e->plan.reset_at;
	case PLAN_RESET_READ:
		return e->read >= e->plan.reset_at;
	case PLAN_RESET_SHUTDOWN:
		return e->shut;
	case PLAN_RESET_END:
		return e->end_seen;
	case PLAN_RESET_TIME:
		return r->now_ms >= e->started_ms + e->plan.reset_at;
	}
	return false;
}

static void reset_if_wanted(struct run *r, struct end *e)
{
	if (e->watch.fd < 0 || !wants_reset(r, e))
		return;
	socket_set_reset(e->watch.fd);
	e->reset = true;
	r->result->resets++;
	settle(r, e);
}

/* False when that was a failure. */
static bool take_bytes(struct run *r, struct end *e, size_t len)
{
	struct end *from = other_end(e);
	size_t same = payload_compare(r->buffer, len, e->connection->name, from->upwards, e->read);

	if (same < len) {
		fail(r, e->connection, "the %s has read a wrong byte at %" PRIu64, name_of(e), e->read + same);
		return false;
	}
	e->read += len;
	r->result->bytes += len;
	if (e->read > from->written) {
		fail(r, e->connection, "the %s has read more than was written", name_of(e));
		return false;
	}
	return true;
}

static void see_end(struct run *r, struct end *e)
{
	struct end *from = other_end(e);

	if (!from->shut) {
		fail(r, e->connection, "the %s sees an end, but the other end has %s", name_of(e),
		     from->reset ? "reset" : "not shut down");
		return;
	}
	if (e->read != from->written) {
		fail(r, e->connection, "the %s sees an end after %" PRIu64 " bytes of %" PRIu64, name_of(e), e->read,
		     from->written);
		return;
	}
	e->end_seen = true;
}

/* What came before the reset may be short, but not wrong. */
static void see_reset(struct run *r, struct end *e, int error)
{
	ssize_t n;

	if (!other_end(e)->reset) {
		fail(r, e->connection, "the %s sees a reset that nobody made: %s", name_of(e), strerror(error));
		return;
	}
	while ((n = recv(e->watch.fd, r->buffer, RECEIVE_SIZE, 0)) > 0) {
		if (!take_bytes(r, e, (size_t)n))
			return;
	}
	e->reset_seen = true;
	r->result->resets_seen++;
	if (e->connection->asked)
		r->result->resets_lost++;
	settle(r, e);
}

static uint32_t read_size(const struct end *e)
{
	const struct plan_read *step = &e->plan.reads[e->read_step];
	uint64_t size = MIN(step->piece, step->len - e->step_read);

	if (e->plan.reset == PLAN_RESET_READ)
		size = MIN(size, MAX(e->plan.reset_at, e->read + 1) - e->read);
	return (uint32_t)MIN(size, RECEIVE_SIZE);
}

static void advance_reading(struct run *r, struct end *e, uint32_t len)
{
	e->step_read += len;
	if (e->plan.reads[e->read_step].len == PLAN_ALL || e->step_read < e->plan.reads[e->read_step].len)
		return;
	e->read_step++;
	e->step_read = 0;
	e->read_at_ms = r->now_ms + e->plan.reads[e->read_step].pause_ms;
}

static void run_reading(struct run *r, struct end *e)
{
	for (unsigned turn = 0; turn < TURN_RECEIVES && e->watch.fd >= 0; turn++) {
		ssize_t n;

		if (e->end_seen || !e->readable || r->now_ms < e->read_at_ms)
			return;
		n = recv(e->watch.fd, r->buffer, read_size(e), 0);
		if (n < 0 && errno == EAGAIN) {
			e->readable = false;
			return;
		}
		if (n < 0) {
			see_reset(r, e, errno);
			return;
		}
		if (n == 0) {
			see_end(r, e);
			return;
		}
		if (!take_bytes(r, e, (size_t)n))
			return;
		advance_reading(r, e, (uint32_t)n);
		reset_if_wanted(r, e);
	}
	e->wake_ms = r->now_ms;
}

static void shut_down(struct run *r, struct end *e)
{
	if (r->now_ms < e->write_at_ms || (e->plan.shutdown_waits && !e->end_seen))
		return;
	if (shutdown(e->watch.fd, SHUT_WR) < 0) {
		see_reset(r, e, errno);
		return;
	}
	e->shut = true;
}

static uint32_t write_size(const struct end *e)
{
	uint64_t size = e->plan.writes[e->write_step].len - e->step_written;

	if (e->plan.reset == PLAN_RESET_WRITTEN)
		size = MIN(size, e->plan.reset_at - e->written);
	return (uint32_t)MIN(size, SEND_SIZE);
}

static void advance_writing(struct run *r, struct end *e, uint32_t len)
{
	e->written += len;
	e->step_written += len;
	if (e->step_written < e->plan.writes[e->write_step].len)
		return;
	e->write_step++;
	e->step_written = 0;
	e->write_at_ms = r->now_ms + (e->write_step < e->plan.writes_count ? e->plan.writes[e->write_step].pause_ms
									   : e->plan.shutdown_pause_ms);
}

/* Ends when nothing is writable: the kernel's buffer bounds it. */
static void run_writing(struct run *r, struct end *e)
{
	while (e->watch.fd >= 0 && !e->shut) {
		uint32_t size;
		ssize_t n;

		if (e->write_step == e->plan.writes_count) {
			shut_down(r, e);
			return;
		}
		if (!e->writable || r->now_ms < e->write_at_ms || e->read < e->plan.writes[e->write_step].after_read)
			return;
		size = write_size(e);
		payload_fill(r->buffer, size, e->connection->name, e->upwards, e->written);
		n = send(e->watch.fd, r->buffer, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			e->writable = false;
			return;
		}
		if (n < 0) {
			see_reset(r, e, errno);
			return;
		}
		advance_writing(r, e, (uint32_t)n);
		reset_if_wanted(r, e);
	}
}

static uint64_t later_than_now(const struct run *r, uint64_t at_ms)
{
	return at_ms > r->now_ms ? at_ms : NEVER;
}

static void run_end(struct run *r, struct end *e)
{
	e->wake_ms = NEVER;
	reset_if_wanted(r, e);
	run_reading(r, e);
	if (e->watch.fd >= 0)
		run_writing(r, e);
	settle_if_done(r, e);
	reset_if_wanted(r, e);
	if (e->watch.fd < 0)
		return;
	e->wake_ms = MIN(e->wake_ms, later_than_now(r, e->read_at_ms));
	e->wake_ms = MIN(e->wake_ms, later_than_now(r, e->write_at_ms));
	if (e->plan.reset == PLAN_RESET_TIME)
		e->wake_ms = MIN(e->wake_ms, later_than_now(r, e->started_ms + e->plan.reset_at));
	r->wake_ms = MIN(r->wake_ms, e->wake_ms);
}

static void start_end(struct run *r, struct end *e)
{
	e->started = true;
	e->started_ms = r->now_ms;
	e->read_at_ms = r->now_ms + e->plan.reads[0].pause_ms;
	e->write_at_ms =
		r->now_ms + (e->plan.writes_count > 0 ? e->plan.writes[0].pause_ms : e->plan.shutdown_pause_ms);
}

/* ---- beginnings ---- */

static void remember(struct run *r, struct connection *c)
{
	if (c->number >= r->by_number_size) {
		uint32_t size = MAX(1024, 2 * c->number);

		r->by_number = mem_resize(r->by_number, size * sizeof(*r->by_number));
		memset(r->by_number + r->by_number_size, 0, (size - r->by_number_size) * sizeof(*r->by_number));
		r->by_number_size = size;
	}
	r->by_number[c->number] = c;
	list_append(&r->connections, &c->link);
}

static void start_connection(struct run *r)
{
	struct connection *c = mem_new_of(struct connection);

	c->number = r->next++;
	c->name = payload_name(r->options->seed, c->number);
	c->deadline_ms = r->now_ms + r->options->deadline_ms;
	c->client.connection = c->service.connection = c;
	c->client.upwards = true;
	c->service.watch.fd = -1;
	plan_make(&c->client.plan, &c->service.plan, r->options->seed, c->number,
		  (struct plan_kind){ r->options->resets, r->options->rough });
	c->busy = true;
	r->busy++;
	remember(r, c);
	start_end(r, &c->client);
	c->client.watch =
		(struct watch){ WATCH_END, socket_connect(r->options->connect, c->client.plan.receive_buffer) };
	if (c->client.watch.fd < 0) {
		fail(r, c, "connect: %s", strerror(errno));
		return;
	}
	c->port = socket_port(c->client.watch.fd);
	socket_watch(r->epoll_fd, c->client.watch.fd, &c->client.watch);
}

static void claim(struct run *r, struct guest *g)
{
	uint32_t number;
	struct connection *c;

	if (!payload_read_name(g->head, r->options->seed, &number)) {
		fail_guest(r, g, "wrong bytes");
		return;
	}
	c = number < r->by_number_size ? r->by_number[number] : NULL;
	if (c == NULL || c->service.started) {
		printf("connection %u reached the service twice, or too late\n", number);
		fail_guest(r, g, "claimed twice");
		return;
	}
	c->service.watch = (struct watch){ WATCH_END, g->watch.fd };
	c->service.read = PAYLOAD_NAME_SIZE;
	c->service.readable = true;
	start_end(r, &c->service);
	/* A connection that was given up is waited for again. */
	if (!c->busy)
		r->busy++;
	c->busy = true;
	socket_rewatch(r->epoll_fd, c->service.watch.fd, &c->service.watch);
	if (c->service.plan.receive_buffer > 0)
		socket_set_receive_buffer(c->service.watch.fd, c->service.plan.receive_buffer);
	discard_guest(r, g, false);
	run_end(r, &c->service);
}

static bool any_client_has_reset(const struct run *r)
{
	LIST_EACH (l, &r->connections) {
		const struct connection *c = container_of(l, struct connection, link);

		if (!c->service.started && c->client.reset)
			return true;
	}
	return false;
}

static void run_guest(struct run *r, struct guest *g)
{
	while (g->len < PAYLOAD_NAME_SIZE) {
		ssize_t n = recv(g->watch.fd, g->head + g->len, PAYLOAD_NAME_SIZE - g->len, 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && any_client_has_reset(r)) {
			discard_guest(r, g, true);
			return;
		}
		if (n <= 0) {
			fail_guest(r, g, n == 0 ? "a clean end" : "a reset that nobody made");
			return;
		}
		g->len += (size_t)n;
	}
	claim(r, g);
}

static void accept_guests(struct run *r)
{
	for (;;) {
		int fd = accept4(r->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct guest *g;

		if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (fd < 0)
			return;
		g = mem_new_of(struct guest);
		g->watch = (struct watch){ WATCH_GUEST, fd };
		g->deadline_ms = r->now_ms + r->options->deadline_ms;
		list_append(&r->guests, &g->link);
		socket_watch(r->epoll_fd, fd, &g->watch);
	}
}

/* ---- the loop ---- */

static void on_event(struct run *r, struct watch *w, uint32_t events)
{
	struct end *e;

	if (w->fd < 0)
		return;
	switch (w->kind) {
	case WATCH_LISTENER:
		accept_guests(r);
		return;
	case WATCH_GUEST:
		run_guest(r, container_of(w, struct guest, watch));
		return;
	case WATCH_END:
		e = container_of(w, struct end, watch);
		if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			e->readable = true;
		if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
			e->writable = true;
		run_end(r, e);
		return;
	}
}

static void wake_end(struct run *r, struct end *e)
{
	if (e->watch.fd < 0)
		return;
	if (e->wake_ms <= r->now_ms)
		run_end(r, e);
	else
		r->wake_ms = MIN(r->wake_ms, e->wake_ms);
}

/* True: it waits for the answer. */
static bool ask_if_reset_was_lost(struct run *r, struct connection *c)
{
	struct end *e = c->client.watch.fd >= 0 ? &c->client : &c->service;

	if (c->asked || e->watch.fd < 0 || e->plan.receive_buffer == 0 || !other_end(e)->reset)
		return false;
	c->asked = true;
	c->deadline_ms = r->now_ms + ASK_MS;
	socket_ask(e->watch.fd);
	return true;
}

/* A connection that nobody waits for is forgotten: its client has reset before the service saw it.
 */
static void wake_all(struct run *r)
{
	r->wake_ms = NEVER;
	LIST_EACH (l, &r->connections) {
		struct connection *c = container_of(l, struct connection, link);
		bool ended;

		wake_end(r, &c->client);
		ended = r->by_number[c->number] != c;
		if (!ended)
			wake_end(r, &c->service);
		ended = ended || r->by_number[c->number] != c;
		if (ended || r->now_ms < c->deadline_ms)
			continue;
		if (c->busy && ask_if_reset_was_lost(r, c))
			continue;
		if (c->busy) {
			fail(r, c, "it does not end");
		} else {
			r->result->connections++;
			r->result->unseen++;
			discard(r, c);
		}
	}
	LIST_EACH (l, &r->guests) {
		struct guest *g = container_of(l, struct guest, link);

		if (r->now_ms >= g->deadline_ms)
			fail_guest(r, g, "it does not end");
	}
}

static void free_ended(struct run *r)
{
	struct list *l;

	while ((l = list_pop(&r->ended)) != NULL)
		free(container_of(l, struct connection, link));
	while ((l = list_pop(&r->ended_guests)) != NULL)
		free(container_of(l, struct guest, link));
}

static bool begins_more(const struct run *r)
{
	return r->next - r->options->first < r->options->count && r->now_ms < r->stop_ms &&
	       r->result->failures < FAILURES_MAX;
}

static int timeout_ms(const struct run *r)
{
	uint64_t until = MIN(r->wake_ms, r->scan_ms);

	return until > r->now_ms ? (int)(until - r->now_ms) : 0;
}

static void turn(struct run *r)
{
	struct epoll_event events[EVENTS_SIZE];
	int n;

	while (begins_more(r) && r->busy < r->options->parallel)
		start_connection(r);
	n = epoll_wait(r->epoll_fd, events, EVENTS_SIZE, timeout_ms(r));
	r->now_ms = clock_ms();
	for (int i = 0; i < n; i++)
		on_event(r, events[i].data.ptr, events[i].events);
	if (r->now_ms >= MIN(r->wake_ms, r->scan_ms)) {
		wake_all(r);
		r->scan_ms = r->now_ms + SCAN_MS;
	}
	free_ended(r);
}

/* Goes on for a moment after the last connection: something may be on its way to the service. */
static void run_all(struct run *r)
{
	uint64_t idle_since_ms;

	do {
		while (begins_more(r) || r->busy > 0 || !list_is_empty(&r->guests))
			turn(r);
		idle_since_ms = r->now_ms;
		while (r->busy == 0 && list_is_empty(&r->guests) && !list_is_empty(&r->connections) &&
		       r->now_ms < idle_since_ms + LATE_MS)
			turn(r);
	} while (r->busy > 0 || !list_is_empty(&r->guests));
}

static void release(struct run *r)
{
	LIST_EACH (l, &r->connections) {
		r->result->connections++;
		r->result->unseen++;
		discard(r, container_of(l, struct connection, link));
	}
	free_ended(r);
	free(r->by_number);
	close(r->listener.fd);
	close(r->epoll_fd);
	free(r);
}

int schedules_run(const struct schedules_options *options, struct schedules_result *result)
{
	struct run *r = mem_new_of(struct run);
	uint64_t began_ms = clock_ms();

	*result = (struct schedules_result){ 0 };
	r->options = options;
	r->result = result;
	r->next = options->first;
	r->now_ms = began_ms;
	r->wake_ms = NEVER;
	r->scan_ms = r->now_ms + SCAN_MS;
	r->stop_ms = options->seconds > 0 ? r->now_ms + 1000ull * options->seconds : NEVER;
	list_init(&r->connections);
	list_init(&r->guests);
	list_init(&r->ended);
	list_init(&r->ended_guests);
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r->listener = (struct watch){ WATCH_LISTENER, socket_listen(options->listen) };
	if (r->listener.fd < 0) {
		perror("schedules: listen");
		result->failures++;
	} else {
		socket_watch(r->epoll_fd, r->listener.fd, &r->listener);
		run_all(r);
	}
	release(r);
	result->ms = clock_ms() - began_ms;
	return result->failures > 0 ? -1 : 0;
}
