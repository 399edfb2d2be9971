/* SPDX-License-Identifier: Apache-2.0 */
/* sockets - system calls. */
#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static void set(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)) == 0)
		return;
	perror("schedules: setsockopt");
	exit(2);
}

/* Accepted sockets inherit the options from the one that listens. */
static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	return fd;
}

static int close_keeping_errno(int fd)
{
	int why = errno;

	close(fd);
	errno = why;
	return -1;
}

int socket_listen(uint16_t port)
{
	struct sockaddr_in addr = loopback(port);
	int fd = open_socket();

	if (fd < 0)
		return -1;
	set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, BACKLOG) < 0)
		return close_keeping_errno(fd);
	return fd;
}

int socket_connect(uint16_t port, uint32_t receive_buffer)
{
	struct sockaddr_in addr = loopback(port);
	int fd = open_socket();

	if (fd < 0)
		return -1;
	if (receive_buffer > 0)
		socket_set_receive_buffer(fd, receive_buffer);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno != EINPROGRESS)
		return close_keeping_errno(fd);
	return fd;
}

uint16_t socket_port(int fd)
{
	struct sockaddr_in addr = { 0 };
	socklen_t len = sizeof(addr);

	return getsockname(fd, (struct sockaddr *)&addr, &len) == 0 ? ntohs(addr.sin_port) : 0;
}

void socket_set_receive_buffer(int fd, uint32_t size)
{
	set(fd, SOL_SOCKET, SO_RCVBUF, (int)size);
}

void socket_set_reset(int fd)
{
	struct linger now = { .l_onoff = 1 };

	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0)
		return;
	perror("schedules: SO_LINGER");
	exit(2);
}

void socket_ask(int fd)
{
	set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
	set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
	set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static void control(int epoll_fd, int op, int fd, void *owner)
{
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.ptr = owner,
	};

	if (epoll_ctl(epoll_fd, op, fd, &ev) == 0)
		return;
	perror("schedules: epoll_ctl");
	exit(2);
}

void socket_watch(int epoll_fd, int fd, void *owner)
{
	control(epoll_fd, EPOLL_CTL_ADD, fd, owner);
}

void socket_rewatch(int epoll_fd, int fd, void *owner)
{
	control(epoll_fd, EPOLL_CTL_MOD, fd, owner);
}
