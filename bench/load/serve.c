/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve - one epoll loop, edge triggered, each connection registered once.
 *
 *   HEAD --> UP --> DOWN --> HEAD ... until the client closes
 */
#include "serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "body.h"
#include "net.h"

enum phase { PHASE_HEAD, PHASE_UP, PHASE_DOWN };

struct conn {
	int fd;
	enum phase phase;
	uint8_t head[HEAD_LEN];
	size_t head_len;
	struct exchange x;
	struct body body;
};

#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

static int epoll_fd;

static void conn_free(struct conn *c)
{
	close(c->fd);
	free(c);
}

/* A small request is read whole with its head, so that it costs one call. */
static enum body_step read_head(struct conn *c)
{
	uint8_t scratch[16384];
	ssize_t n = recv(c->fd, scratch, sizeof(scratch), 0);
	size_t take;

	if (n < 0)
		return errno == EAGAIN ? BODY_AGAIN : BODY_FAILED;
	if (n == 0)
		return BODY_FAILED;
	take = MIN((size_t)n, HEAD_LEN - c->head_len);
	memcpy(c->head + c->head_len, scratch, take);
	c->head_len += take;
	if (c->head_len < HEAD_LEN)
		return BODY_LATER;
	c->head_len = 0;
	head_parse(c->head, &c->x);
	body_init(&c->body, c->x.up, c->x.compare);
	c->phase = PHASE_UP;
	return body_take(&c->body, scratch + take, (size_t)n - take) ? BODY_DONE : BODY_FAILED;
}

static enum body_step step(struct conn *c)
{
	enum body_step result = BODY_FAILED;

	switch (c->phase) {
	case PHASE_HEAD:
		return read_head(c);
	case PHASE_UP:
		result = body_receive(c->fd, &c->body);
		if (result == BODY_DONE) {
			body_init(&c->body, c->x.down, false);
			c->phase = PHASE_DOWN;
		}
		break;
	case PHASE_DOWN:
		result = body_send(c->fd, &c->body, NULL);
		if (result == BODY_DONE)
			c->phase = PHASE_HEAD;
		break;
	}
	return result;
}

static void on_event(struct conn *c)
{
	enum body_step result;

	do {
		result = step(c);
	} while (result == BODY_DONE);
	if (result == BODY_FAILED)
		conn_free(c);
	else if (result == BODY_LATER)
		net_watch_again(epoll_fd, c->fd, EVENTS, c);
}

static void accept_all(int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct conn *c;

		if (fd < 0)
			return;
		c = mem_new_of(struct conn);
		c->fd = fd;
		net_watch(epoll_fd, fd, EVENTS, c);
	}
}

int serve(uint16_t port, unsigned seconds)
{
	uint64_t end = net_now_ns() + seconds * 1000000000ull;
	int listener = net_listen(port);

	if (listener < 0) {
		perror("load: listen");
		return 1;
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	net_watch(epoll_fd, listener, EPOLLIN, NULL);
	puts("ready");
	fflush(stdout);
	while (net_now_ns() < end) {
		struct epoll_event events[256];
		int count = epoll_wait(epoll_fd, events, ARRAY_SIZE(events), 500);

		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == NULL)
				accept_all(listener);
			else
				on_event(events[i].data.ptr);
		}
	}
	return 0;
}
