/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drive - clients on one epoll loop, edge triggered.
 *
 *   CLOSED --> CONNECTING --> SENDING --> RECEIVING --> RESTING
 *      ^                         ^            |            |
 *      +------- reconnect -------+------------+------------+
 *
 * Both parts of a measurement are the same loop: preparing has one exchange of one byte on each
 * connection, and opens only some connections at a time, so that it does not become an accept
 * storm.
 */
#include "drive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "net.h"

#define OPENING_AT_ONCE 64
#define FAILURES_MAX 100
#define WAIT_MS 200
#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

enum state { CLOSED, CONNECTING, SENDING, RECEIVING, RESTING };

struct client {
	struct drive *drive;
	int fd;
	enum state state;
	bool head_sent;
	uint64_t begun_ns;
	struct body up;
	struct body down;
};

struct drive {
	struct drive_options o;
	struct client *clients;
	int epoll_fd;
	unsigned active;

	/* of the part that runs */
	struct exchange exchange;
	bool repeat;	   /* a client that is done begins the next one */
	unsigned next;	   /* client that has not begun yet */
	uint64_t to_begin; /* exchanges */
	uint64_t end_ns;
	struct drive_result *result;
};

static void client_close(struct client *c)
{
	if (c->state != CLOSED)
		close(c->fd);
	c->state = CLOSED;
}

static void client_fail(struct client *c)
{
	c->drive->result->failed++;
	c->drive->active--;
	client_close(c);
}

static void begin_exchange(struct client *c)
{
	const struct exchange *x = &c->drive->exchange;

	body_init(&c->up, x->up, x->compare);
	body_init(&c->down, x->down, x->compare);
	c->head_sent = false;
	c->state = SENDING;
}

/* Takes its turn among those that are left to begin. */
static bool client_begin(struct client *c)
{
	struct drive *d = c->drive;

	if (d->to_begin == 0 || net_now_ns() >= d->end_ns)
		return false;
	d->to_begin--;
	d->active++;
	c->begun_ns = net_now_ns();
	if (c->state == RESTING) {
		begin_exchange(c);
		return true;
	}
	c->fd = net_connect(d->o.host, d->o.port);
	if (c->fd < 0) {
		client_fail(c);
		return false;
	}
	c->state = CONNECTING;
	net_watch(d->epoll_fd, c->fd, EVENTS, c);
	return true;
}

static void finish_exchange(struct client *c)
{
	struct drive *d = c->drive;

	histogram_add(&d->result->times_ns, net_now_ns() - c->begun_ns);
	d->result->exchanges++;
	d->result->bytes += c->up.len + c->down.len;
	d->active--;
	c->state = RESTING;
	if (d->o.reconnect)
		client_close(c);
}

static enum body_step send_up(struct client *c)
{
	uint8_t head[HEAD_LEN];

	head_format(head, &c->drive->exchange);
	if (c->head_sent)
		return body_send(c->fd, &c->up, NULL);
	c->head_sent = true;
	return body_send(c->fd, &c->up, head);
}

static enum body_step client_step(struct client *c)
{
	enum body_step result = BODY_AGAIN;

	switch (c->state) {
	case CLOSED:
		break;
	case RESTING:
		/* Nothing is expected but the edge of something older; an end shows with the next
		 * exchange. */
		break;
	case CONNECTING:
		if (net_error(c->fd) != 0)
			return BODY_FAILED;
		begin_exchange(c);
		return BODY_DONE;
	case SENDING:
		result = send_up(c);
		if (result == BODY_DONE)
			c->state = RECEIVING;
		break;
	case RECEIVING:
		result = body_receive(c->fd, &c->down);
		if (result != BODY_DONE)
			break;
		finish_exchange(c);
		if (!c->drive->repeat || !client_begin(c))
			return BODY_AGAIN;
		/* A new connection tells when it stands. */
		return c->state == CONNECTING ? BODY_AGAIN : BODY_DONE;
	}
	return result;
}

static void on_event(struct client *c)
{
	enum body_step result;

	do {
		result = client_step(c);
	} while (result == BODY_DONE);
	if (result == BODY_FAILED)
		client_fail(c);
	else if (result == BODY_LATER)
		net_watch_again(c->drive->epoll_fd, c->fd, EVENTS, c);
}

/* Each client begins once from here; more only by itself. */
static void begin_some(struct drive *d, unsigned at_once)
{
	while (d->next < d->o.clients && d->active < at_once) {
		struct client *c = &d->clients[d->next++];

		if (client_begin(c) && c->state == SENDING)
			on_event(c);
	}
}

static void wait_and_serve(struct drive *d)
{
	struct epoll_event events[256];
	int count = epoll_wait(d->epoll_fd, events, ARRAY_SIZE(events), WAIT_MS);

	for (int i = 0; i < count; i++)
		on_event(events[i].data.ptr);
}

static uint64_t count_open(const struct drive *d)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < d->o.clients; i++)
		count += d->clients[i].state >= SENDING;
	return count;
}

static void run_part(struct drive *d, struct drive_result *r, unsigned at_once)
{
	uint64_t start = net_now_ns();
	uint64_t limit = start + d->o.time_limit_s * 1000000000ull;

	memset(r, 0, sizeof(*r));
	d->result = r;
	d->next = 0;
	begin_some(d, at_once);
	while (d->active > 0 && r->error == NULL) {
		wait_and_serve(d);
		if (r->failed > FAILURES_MAX)
			r->error = "too many failures";
		else if (net_now_ns() > limit)
			r->error = "out of time";
		else
			begin_some(d, at_once);
	}
	r->wall_s = (double)(net_now_ns() - start) * 1e-9;
	r->open = count_open(d);
}

struct drive *drive_new(const struct drive_options *o)
{
	struct drive *d = mem_new_of(struct drive);

	d->o = *o;
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	d->clients = mem_new_array(o->clients, sizeof(struct client));
	for (unsigned i = 0; i < o->clients; i++)
		d->clients[i].drive = d;
	return d;
}

void drive_prepare(struct drive *d, struct drive_result *r)
{
	d->exchange = (struct exchange){ .down = 1 };
	d->repeat = false;
	d->to_begin = d->o.clients;
	d->end_ns = UINT64_MAX;
	run_part(d, r, OPENING_AT_ONCE);
}

void drive_run(struct drive *d, struct drive_result *r)
{
	d->exchange = d->o.exchange;
	d->repeat = !d->o.once;
	d->to_begin = d->o.once ? d->o.clients : d->o.count;
	d->end_ns = d->o.once ? UINT64_MAX : net_now_ns() + (uint64_t)(d->o.seconds * 1e9);
	run_part(d, r, d->o.once ? OPENING_AT_ONCE : d->o.clients);
}

void drive_free(struct drive *d)
{
	for (unsigned i = 0; i < d->o.clients; i++)
		client_close(&d->clients[i]);
	close(d->epoll_fd);
	free(d->clients);
	free(d);
}
