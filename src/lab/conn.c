/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn - listeners and connections of the lab.
 *
 * Level-triggered: what epoll is asked for follows from the state (update_interest), so that a paused
 * connection costs nothing. A connection ends in conn_close(), which leaves the freeing to a task: callers
 * further up the stack still hold the pointer.
 */
#include "lab/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#define BACKLOG 1024
#define CONN_LIMIT 16384

/* Without descriptors, accepting pauses for this long. */
#define ACCEPT_PAUSE_MS 100

/* Reads of one connection in one round, so that one fast client does not starve the rest. */
#define READS_PER_ROUND 4

static void on_listener_ready(struct watch *w, uint32_t events);
static void on_accept_again(struct timer *t);

static int listener_start(struct listener *l, int fd, struct err *e)
{
	if (listen(fd, BACKLOG) < 0)
		return err_errno(e, ERR_SYSTEM, "listen");
	l->watch.fd = fd;
	l->watch.ready = on_listener_ready;
	return loop_watch(l->loop, &l->watch, EPOLLIN, e);
}

static int bind_tcp(struct listener *l, struct err *e)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(l->port) };
	socklen_t len = sizeof(sin);
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(e, ERR_SYSTEM, "socket");
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* inherited */
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0) {
		err_errno(e, ERR_SYSTEM, "bind 127.0.0.1:%u", l->port);
		goto fail;
	}
	if (getsockname(fd, (struct sockaddr *)&sin, &len) < 0) {
		err_errno(e, ERR_SYSTEM, "getsockname");
		goto fail;
	}
	if (listener_start(l, fd, e) < 0)
		goto fail;
	l->port = ntohs(sin.sin_port);
	return 0;
fail:
	close(fd);
	return -1;
}

static int bind_unix(struct listener *l, struct err *e)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(l->path);
	int fd;

	if (len >= sizeof(sun.sun_path))
		return err_set(e, ERR_CONFIG, "%s: a socket's path may have %zu bytes", l->path,
			       sizeof(sun.sun_path) - 1);
	memcpy(sun.sun_path, l->path, len);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, ERR_SYSTEM, "socket");
	if (unlink(l->path) < 0 && errno != ENOENT) {
		err_errno(e, ERR_SYSTEM, "remove %s", l->path);
		goto fail;
	}
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		err_errno(e, ERR_SYSTEM, "bind %s", l->path);
		goto fail;
	}
	if (listener_start(l, fd, e) < 0) {
		unlink(l->path);
		goto fail;
	}
	return 0;
fail:
	close(fd);
	return -1;
}

static void listener_init(struct listener *l, struct loop *loop, const struct conn_ops *ops)
{
	l->ops = ops;
	l->loop = loop;
	l->conn_limit = CONN_LIMIT;
	l->watch.fd = -1;
	list_init(&l->conns);
	timer_init(&l->retry, on_accept_again);
}

int listener_open_tcp(struct listener *l, struct loop *loop, uint16_t port, const struct conn_ops *ops, struct err *e)
{
	listener_init(l, loop, ops);
	l->port = port;
	return bind_tcp(l, e);
}

int listener_open_unix(struct listener *l, struct loop *loop, const char *path, const struct conn_ops *ops,
		       struct err *e)
{
	listener_init(l, loop, ops);
	l->path = mem_strdup(path);
	if (bind_unix(l, e) == 0)
		return 0;
	free(l->path);
	l->path = NULL;
	return -1;
}

void listener_down(struct listener *l)
{
	if (!listener_is_up(l))
		return;
	loop_unwatch(l->loop, &l->watch);
	timer_cancel(l->loop, &l->retry);
	close(l->watch.fd);
	l->watch.fd = -1;
	if (l->path != NULL)
		unlink(l->path);
	LIST_EACH (link, &l->conns)
		conn_reset(container_of(link, struct conn, link));
}

int listener_up(struct listener *l, struct err *e)
{
	if (listener_is_up(l))
		return 0;
	return l->path != NULL ? bind_unix(l, e) : bind_tcp(l, e);
}

static void conn_dispose(struct conn *c);

void listener_close(struct listener *l)
{
	if (l->loop == NULL)
		return;
	listener_down(l);
	LIST_EACH (link, &l->conns)
		conn_dispose(container_of(link, struct conn, link));
	free(l->path);
	*l = (struct listener){ 0 };
}

/* --- connections --- */

static void on_conn_ready(struct watch *w, uint32_t events);
static void on_conn_step(struct task *t);
static void on_conn_deadline(struct timer *t);

static bool wants_input(const struct conn *c)
{
	if (c->closed || c->input_ended)
		return false;
	return c->finishing || (!c->paused && !conn_is_full(c));
}

static bool has_output(const struct conn *c)
{
	return c->out_at < c->out.len || c->filler > 0;
}

static void update_interest(struct conn *c)
{
	uint32_t wanted = (wants_input(c) ? EPOLLIN : 0) | (has_output(c) && !c->shut ? EPOLLOUT : 0);
	struct err e;

	if (c->closed || wanted == c->interest)
		return;
	if (loop_rewatch(c->loop, &c->watch, wanted, &e) < 0) {
		log_warn("lab: %s", e.text);
		conn_close(c);
		return;
	}
	c->interest = wanted;
}

static void accept_one(struct listener *l, int fd)
{
	struct conn *c = l->ops->open(l);
	struct err e;

	c->ops = l->ops;
	c->listener = l;
	c->loop = l->loop;
	c->watch.fd = fd;
	c->watch.ready = on_conn_ready;
	c->interest = EPOLLIN;
	task_init(&c->step, on_conn_step);
	timer_init(&c->deadline, on_conn_deadline);
	list_append(&l->conns, &c->link);
	l->conn_count++;
	l->accepted++;
	if (loop_watch(l->loop, &c->watch, EPOLLIN, &e) < 0) {
		log_warn("lab: %s", e.text);
		conn_close(c);
		return;
	}
	task_schedule(c->loop, &c->step); /* lets the protocol set its deadline or greet */
}

static void accept_later(struct listener *l)
{
	loop_unwatch(l->loop, &l->watch);
	timer_start(l->loop, &l->retry, ACCEPT_PAUSE_MS);
}

static void on_accept_again(struct timer *t)
{
	struct listener *l = container_of(t, struct listener, retry);
	struct err e;

	if (loop_watch(l->loop, &l->watch, EPOLLIN, &e) < 0)
		timer_start(l->loop, &l->retry, ACCEPT_PAUSE_MS);
}

static void on_listener_ready(struct watch *w, uint32_t events)
{
	struct listener *l = container_of(w, struct listener, watch);

	(void)events;
	for (int i = 0; i < 64; i++) {
		int fd;

		if (l->conn_count >= l->conn_limit) {
			accept_later(l);
			return;
		}
		fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			accept_one(l, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			accept_later(l);
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

bool conn_is_full(const struct conn *c)
{
	return c->out.len - c->out_at > CONN_OUT_HIGH || c->filler > 0;
}

void conn_consume(struct conn *c, size_t len)
{
	c->in_at += len;
	if (c->in_at == c->in.len) {
		c->in_at = 0;
		if (c->in.size > CONN_READ_SIZE)
			buf_release(&c->in);
		else
			buf_clear(&c->in);
	}
}

/* What was consumed makes room once it is more than what is left. */
static void compact_input(struct conn *c)
{
	size_t left = c->in.len - c->in_at;

	if (c->in_at == 0 || c->in_at < left)
		return;
	memmove(c->in.data, c->in.data + c->in_at, left);
	c->in.len = left;
	c->in_at = 0;
}

static bool is_transient(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* After conn_finish(): the client may still be sending what we no longer read. */
static void discard_input(struct conn *c)
{
	static uint8_t nowhere[CONN_READ_SIZE];
	ssize_t got = recv(c->watch.fd, nowhere, sizeof(nowhere), 0);

	if (got == 0)
		c->input_ended = true;
	else if (got < 0 && !is_transient(errno))
		conn_close(c);
	if (c->input_ended && c->shut)
		conn_close(c);
}

static void read_input(struct conn *c)
{
	bool any = false;

	for (int i = 0; i < READS_PER_ROUND && wants_input(c); i++) {
		ssize_t got;

		compact_input(c);
		got = recv(c->watch.fd, buf_reserve(&c->in, CONN_READ_SIZE), CONN_READ_SIZE, 0);
		if (got < 0) {
			if (!is_transient(errno))
				conn_close(c);
			break;
		}
		any = true;
		if (got == 0) {
			c->input_ended = true;
			break;
		}
		c->in.len += (size_t)got;
		if ((size_t)got < CONN_READ_SIZE)
			break;
	}
	if (any && !c->closed)
		c->ops->on_input(c);
}

static void on_conn_ready(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, watch);
	bool was_full = conn_is_full(c);

	if (events & EPOLLOUT)
		conn_flush(c);
	if (!c->closed && wants_input(c) && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
		if (c->finishing)
			discard_input(c);
		else
			read_input(c);
	} else if (!c->closed && (events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLOUT)) {
		conn_close(c); /* nobody is left to talk to */
	}
	if (!c->closed && was_full && !conn_is_full(c))
		conn_schedule(c);
	update_interest(c);
}

static void on_conn_step(struct task *t)
{
	struct conn *c = container_of(t, struct conn, step);

	if (c->closed) {
		conn_dispose(c);
		return;
	}
	if (!c->finishing)
		c->ops->on_input(c);
	update_interest(c);
}

static void on_conn_deadline(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, deadline);

	if (c->closed)
		return;
	if (c->finishing)
		conn_close(c);
	else
		c->ops->on_deadline(c);
}

/* Sends from out, then filler. false: the kernel takes no more for now, or the connection is closed. */
static bool send_some(struct conn *c)
{
	static const uint8_t pad[CONN_READ_SIZE];
	struct bytes piece = bytes_of(c->out.data + c->out_at, c->out.len - c->out_at);
	ssize_t sent;

	if (piece.len == 0)
		piece = bytes_of(pad, (size_t)MIN(c->filler, (uint64_t)sizeof(pad)));
	sent = send(c->watch.fd, piece.data, piece.len, MSG_NOSIGNAL);
	if (sent < 0) {
		if (!is_transient(errno))
			conn_close(c);
		return false;
	}
	if (c->out_at < c->out.len)
		c->out_at += (size_t)sent;
	else
		c->filler -= (uint64_t)sent;
	return true;
}

void conn_flush(struct conn *c)
{
	if (c->closed || c->shut)
		return;
	while (has_output(c) && send_some(c))
		;
	if (c->closed)
		return;
	if (c->out_at == c->out.len) {
		c->out_at = 0;
		if (c->out.size > CONN_READ_SIZE)
			buf_release(&c->out);
		else
			buf_clear(&c->out);
	}
	if (c->finishing && !has_output(c)) {
		c->shut = true;
		shutdown(c->watch.fd, SHUT_WR);
		if (c->input_ended)
			conn_close(c);
	}
	update_interest(c);
}

void conn_pause(struct conn *c, bool paused)
{
	c->paused = paused;
	update_interest(c);
}

void conn_schedule(struct conn *c)
{
	if (!c->closed)
		task_schedule(c->loop, &c->step);
}

void conn_set_deadline(struct conn *c, uint64_t delay_ms)
{
	if (c->closed)
		return;
	if (delay_ms == 0)
		timer_cancel(c->loop, &c->deadline);
	else
		timer_start(c->loop, &c->deadline, delay_ms);
}

void conn_finish(struct conn *c)
{
	if (c->closed || c->finishing)
		return;
	c->finishing = true;
	buf_release(&c->in);
	c->in_at = 0;
	timer_start(c->loop, &c->deadline, CONN_LINGER_MS);
	conn_flush(c);
	update_interest(c);
}

void conn_close(struct conn *c)
{
	if (c->closed)
		return;
	c->closed = true;
	loop_unwatch(c->loop, &c->watch);
	close(c->watch.fd);
	c->watch.fd = -1;
	timer_cancel(c->loop, &c->deadline);
	task_schedule(c->loop, &c->step);
}

void conn_reset(struct conn *c)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (c->closed)
		return;
	setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	conn_close(c);
}

static void conn_dispose(struct conn *c)
{
	conn_close(c);
	task_cancel(&c->step);
	list_remove(&c->link);
	c->listener->conn_count--;
	buf_release(&c->in);
	buf_release(&c->out);
	c->ops->on_closed(c);
}
