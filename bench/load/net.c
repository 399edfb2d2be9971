/* SPDX-License-Identifier: Apache-2.0 */
/* net - socket calls. */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 4096

uint64_t net_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

/* Accepted sockets inherit the option from the one that listens. */
static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static int close_keeping_errno(int fd)
{
	int why = errno;

	close(fd);
	errno = why;
	return -1;
}

int net_listen(uint16_t port)
{
	struct sockaddr_in addr = loopback(port);
	int fd = open_socket();
	int on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, BACKLOG) < 0)
		return close_keeping_errno(fd);
	return fd;
}

int net_connect(struct in_addr address, uint16_t port)
{
	struct sockaddr_in addr = loopback(port);
	int fd = open_socket();

	if (address.s_addr != 0)
		addr.sin_addr = address;
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno != EINPROGRESS)
		return close_keeping_errno(fd);
	return fd;
}

int net_error(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) < 0)
		return errno;
	return value;
}

static void control(int epoll_fd, int op, int fd, uint32_t events, void *owner)
{
	struct epoll_event ev = { .events = events, .data.ptr = owner };

	if (epoll_ctl(epoll_fd, op, fd, &ev) < 0) {
		perror("load: epoll_ctl");
		exit(1);
	}
}

void net_watch(int epoll_fd, int fd, uint32_t events, void *owner)
{
	control(epoll_fd, EPOLL_CTL_ADD, fd, events, owner);
}

void net_watch_again(int epoll_fd, int fd, uint32_t events, void *owner)
{
	control(epoll_fd, EPOLL_CTL_MOD, fd, events, owner);
}
