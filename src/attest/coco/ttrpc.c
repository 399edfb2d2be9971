/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttrpc - the client.
 *
 * A call is in `calls` from its start to its end, and in `unsent` as well while its frame has not begun
 * to travel. `out` holds the one frame that is being written: only what was begun must be finished, so a
 * call that ends earlier takes its frame with it, and an agent that does not read cannot make us keep more
 * than the live calls. Whatever opens, writes or fails calls runs in `work` or in the watch, never inside
 * ttrpc_call().
 *
 * When the connection is lost, calls that were sent once are sent once more over a new one; the one whose
 * answer cannot be read, and all that were sent twice, fail. An agent that ends at each of our requests is
 * thus asked twice and no more.
 */
#include "attest/coco/ttrpc.h"

#include "io/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_SIZE (64 * 1024)
#define SENDS_MAX 2
#define BACKLOG_PAUSE_MS 20

struct ttrpc {
	struct loop *loop;
	char *path;
	size_t answer_max;

	struct watch watch; /* fd -1: not connected */
	uint32_t next_stream;
	uint64_t heard_ms; /* when the last bytes came */
	struct buf in;
	struct buf out;
	size_t out_done;

	struct list calls;
	struct list unsent;
	struct task work;
	struct timer backlog; /* the agent's queue of connections is full */
};

struct ttrpc_call {
	struct list link;
	struct list unsent_link;
	struct ttrpc *t;
	struct ttrpc_events *events;
	struct buf frame;
	uint32_t stream; /* 0: not sent over this connection */
	unsigned sends;
	uint64_t sent_ms;
	unsigned timeout_ms;
	struct timer deadline;
};

/* Takes c out of everything. The owner of events is not told. */
static void call_free(struct ttrpc_call *c)
{
	list_remove(&c->link);
	list_remove(&c->unsent_link);
	timer_cancel(c->t->loop, &c->deadline);
	buf_release(&c->frame);
	free(c);
}

static void call_end(struct ttrpc_call *c, const struct bytes *payload, int code, const struct err *why)
{
	struct ttrpc_events *events = c->events;

	call_free(c);
	events->answered(events, payload, code, why);
}

static void close_connection(struct ttrpc *t)
{
	if (t->watch.fd < 0)
		return;
	loop_unwatch(t->loop, &t->watch);
	close(t->watch.fd);
	t->watch.fd = -1;
	buf_release(&t->in);
	buf_release(&t->out);
	t->out_done = 0;
}

/* Fails what stands in list, which callbacks may make shorter. */
static void fail_all(struct list *ending, const struct err *why)
{
	while (!list_is_empty(ending)) {
		struct ttrpc_call *c = container_of(ending->next, struct ttrpc_call, link);

		call_end(c, NULL, 0, why);
	}
}

/* blamed, if any, is not tried again. */
static void lose_connection(struct ttrpc *t, const struct ttrpc_call *blamed, const struct err *why)
{
	struct list ending;

	close_connection(t);
	list_init(&ending);
	LIST_EACH (l, &t->calls) {
		struct ttrpc_call *c = container_of(l, struct ttrpc_call, link);

		if (c->stream == 0)
			continue;
		if (c == blamed || c->sends >= SENDS_MAX) {
			list_remove(&c->link);
			list_append(&ending, &c->link);
			continue;
		}
		c->stream = 0;
		list_append(&t->unsent, &c->unsent_link);
	}
	if (!list_is_empty(&t->unsent))
		task_schedule(t->loop, &t->work);
	fail_all(&ending, why);
}

static void fail_unsent(struct ttrpc *t, const struct err *why)
{
	struct list ending;

	list_init(&ending);
	LIST_EACH (l, &t->unsent) {
		struct ttrpc_call *c = container_of(l, struct ttrpc_call, unsent_link);

		list_remove(&c->unsent_link);
		list_remove(&c->link);
		list_append(&ending, &c->link);
	}
	fail_all(&ending, why);
}

static struct ttrpc_call *find_call(struct ttrpc *t, uint32_t stream)
{
	LIST_EACH (l, &t->calls) {
		struct ttrpc_call *c = container_of(l, struct ttrpc_call, link);

		if (c->stream == stream)
			return c;
	}
	return NULL;
}

static void on_response(struct ttrpc_call *c, struct bytes payload)
{
	struct ttrpc_response response;
	struct bytes content;
	struct err e;

	if (ttrpc_response_parse(payload, &response, &e) < 0) {
		call_end(c, NULL, 0, &e);
		return;
	}
	if (response.code != TTRPC_OK) {
		err_set(&e, ERR_PEER, "the agent refused with status %d: %s", response.code, response.message);
		call_end(c, NULL, response.code, &e);
	} else {
		content = buf_bytes(&response.payload);
		call_end(c, &content, 0, NULL);
	}
	ttrpc_response_release(&response);
}

/* Who no longer waits, or never did, is no concern of ours. */
static void on_frame(struct ttrpc *t, const struct ttrpc_header *h, struct bytes payload)
{
	struct ttrpc_call *c = h->stream == 0 ? NULL : find_call(t, h->stream);
	struct err e;

	if (c == NULL)
		return;
	if (h->type != TTRPC_RESPONSE) {
		err_set(&e, ERR_PEER, "the agent answered with a frame of type %u", h->type);
		call_end(c, NULL, 0, &e);
		return;
	}
	on_response(c, payload);
}

/* Nothing of such a frame is kept. The connection is gone afterwards. */
static void refuse_frame(struct ttrpc *t, const struct ttrpc_header *h)
{
	struct err e;

	err_set(&e, ERR_LIMIT, "the agent's answer of %u bytes exceeds %zu", h->length,
		MIN(t->answer_max, (size_t)TTRPC_PAYLOAD_MAX));
	lose_connection(t, h->stream == 0 ? NULL : find_call(t, h->stream), &e);
}

static void keep_rest(struct buf *in, size_t at)
{
	if (at == in->len) {
		buf_release(in);
	} else if (at > 0) {
		memmove(in->data, in->data + at, in->len - at);
		in->len -= at;
	}
}

static void read_frames(struct ttrpc *t)
{
	struct ttrpc_header h;
	struct bytes payload;
	size_t at = 0;

	for (;;) {
		switch (ttrpc_find_frame(bytes_of(t->in.data + at, t->in.len - at), t->answer_max, &h, &payload)) {
		case TTRPC_FRAME:
			on_frame(t, &h, payload);
			at += TTRPC_HEADER_LEN + h.length;
			break;
		case TTRPC_MORE:
			keep_rest(&t->in, at);
			return;
		case TTRPC_TOO_LARGE:
			refuse_frame(t, &h);
			return;
		}
	}
}

/* 0: read what there was, -1: the connection is gone. */
static int receive(struct ttrpc *t)
{
	ssize_t len = recv(t->watch.fd, buf_reserve(&t->in, READ_SIZE), READ_SIZE, 0);
	struct err e;

	if (len > 0) {
		t->in.len += (size_t)len;
		t->heard_ms = loop_now_ms(t->loop);
		read_frames(t);
		return t->watch.fd < 0 ? -1 : 0;
	}
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (len < 0)
		err_errno(&e, ERR_SYSTEM, "read from the agent");
	else if (t->in.len > 0)
		err_set(&e, ERR_PEER, "the agent closed in the middle of a frame");
	else
		err_set(&e, ERR_SYSTEM, "the agent closed the connection");
	lose_connection(t, NULL, &e);
	return -1;
}

/* The next frame to write. false: nothing is left. */
static bool take_unsent(struct ttrpc *t)
{
	struct list *l = list_pop(&t->unsent);
	struct ttrpc_call *c;
	struct writer w;

	if (l == NULL)
		return false;
	c = container_of(l, struct ttrpc_call, unsent_link);
	c->stream = t->next_stream;
	t->next_stream += 2;
	w = writer_of(c->frame.data + 4, 4);
	writer_u32(&w, c->stream);
	c->sends++;
	c->sent_ms = loop_now_ms(t->loop);
	buf_clear(&t->out);
	buf_append_bytes(&t->out, buf_bytes(&c->frame));
	t->out_done = 0;
	return true;
}

static void send_frames(struct ttrpc *t)
{
	struct err e;

	for (;;) {
		ssize_t len;

		if (t->out_done == t->out.len && !take_unsent(t))
			break;
		len = send(t->watch.fd, t->out.data + t->out_done, t->out.len - t->out_done, MSG_NOSIGNAL);
		if (len < 0 && errno == EAGAIN)
			break;
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0) {
			err_errno(&e, ERR_SYSTEM, "write to the agent");
			lose_connection(t, NULL, &e);
			return;
		}
		t->out_done += (size_t)len;
	}
	if (loop_rewatch(t->loop, &t->watch, EPOLLIN | (t->out_done < t->out.len ? EPOLLOUT : 0), &e) < 0)
		lose_connection(t, NULL, &e);
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct ttrpc *t = container_of(w, struct ttrpc, watch);

	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && receive(t) < 0)
		return;
	if ((events & EPOLLOUT) != 0)
		send_frames(t);
}

/* A unix connect() is done at once or not at all; EAGAIN says that the agent's backlog is full. */
static int open_connection(struct ttrpc *t, bool *busy, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	*busy = false;
	if (strlen(t->path) >= sizeof(addr.sun_path))
		return err_set(e, ERR_CONFIG, "the path %s is too long for a socket", t->path);
	memcpy(addr.sun_path, t->path, strlen(t->path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, ERR_SYSTEM, "socket");
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		*busy = errno == EAGAIN;
		err_errno(e, ERR_SYSTEM, "connect to %s", t->path);
		close(fd);
		return -1;
	}
	t->watch.fd = fd;
	if (loop_watch(t->loop, &t->watch, EPOLLIN, e) < 0) {
		close(fd);
		t->watch.fd = -1;
		return -1;
	}
	t->next_stream = 1;
	return 0;
}

static void on_work(struct task *task)
{
	struct ttrpc *t = container_of(task, struct ttrpc, work);
	struct err e;
	bool busy;

	if (list_is_empty(&t->unsent))
		return;
	if (t->watch.fd < 0 && open_connection(t, &busy, &e) < 0) {
		if (busy)
			timer_start(t->loop, &t->backlog, BACKLOG_PAUSE_MS);
		else
			fail_unsent(t, &e);
		return;
	}
	send_frames(t);
}

static void on_backlog(struct timer *timer)
{
	struct ttrpc *t = container_of(timer, struct ttrpc, backlog);

	task_schedule(t->loop, &t->work);
}

/* A connection over which nobody is heard while a call runs out of time is not used for the next one. */
static void on_deadline(struct timer *timer)
{
	struct ttrpc_call *c = container_of(timer, struct ttrpc_call, deadline);
	struct ttrpc *t = c->t;
	bool silent = c->stream != 0 && t->heard_ms < c->sent_ms;
	struct err e;

	err_set(&e, ERR_TIMEOUT, "the agent did not answer within %u ms", c->timeout_ms);
	call_end(c, NULL, 0, &e);
	if (silent && list_is_empty(&t->calls))
		close_connection(t);
}

struct ttrpc *ttrpc_new(struct loop *l, const char *path, size_t answer_max)
{
	struct ttrpc *t = mem_new_of(struct ttrpc);

	t->loop = l;
	t->path = mem_strdup(path);
	t->answer_max = answer_max;
	t->watch = (struct watch){ .ready = on_ready, .fd = -1 };
	list_init(&t->calls);
	list_init(&t->unsent);
	task_init(&t->work, on_work);
	timer_init(&t->backlog, on_backlog);
	return t;
}

void ttrpc_free(struct ttrpc *t)
{
	if (t == NULL)
		return;
	while (!list_is_empty(&t->calls))
		call_free(container_of(t->calls.next, struct ttrpc_call, link));
	close_connection(t);
	task_cancel(&t->work);
	timer_cancel(t->loop, &t->backlog);
	free(t->path);
	free(t);
}

struct ttrpc_call *ttrpc_call(struct ttrpc *t, const struct ttrpc_request *req, struct ttrpc_events *events,
			      struct err *e)
{
	struct ttrpc_call *c = mem_new_of(struct ttrpc_call);

	c->t = t;
	c->events = events;
	c->timeout_ms = req->timeout_ms;
	list_init(&c->link);
	list_init(&c->unsent_link);
	timer_init(&c->deadline, on_deadline);
	if (ttrpc_request_format(0, req, &c->frame, e) < 0) {
		call_free(c);
		return NULL;
	}
	list_append(&t->calls, &c->link);
	list_append(&t->unsent, &c->unsent_link);
	timer_start(t->loop, &c->deadline, req->timeout_ms);
	task_schedule(t->loop, &t->work);
	return c;
}

void ttrpc_call_cancel(struct ttrpc_call *call)
{
	call_free(call);
}
