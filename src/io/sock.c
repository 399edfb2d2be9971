/* SPDX-License-Identifier: Apache-2.0 */
/* sock - socket calls and their options. */
#include "io/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 4096

socklen_t sock_addr_len(const struct sock_addr *a)
{
	return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

bool sock_addr_is_loopback(const struct sock_addr *a)
{
	if (a->any.sa_family == AF_INET)
		return ntohl(a->v4.sin_addr.s_addr) >> 24 == 127;
	if (a->any.sa_family != AF_INET6)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return a->v6.sin6_addr.s6_addr[12] == 127;
	return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

uint16_t sock_addr_port(const struct sock_addr *a)
{
	return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

void sock_addr_set_port(struct sock_addr *a, uint16_t port)
{
	if (a->any.sa_family == AF_INET6)
		a->v6.sin6_port = htons(port);
	else
		a->v4.sin_port = htons(port);
}

const char *sock_addr_format(const struct sock_addr *a, char text[SOCK_ADDR_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "";

	switch (a->any.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof(host));
		snprintf(text, SOCK_ADDR_TEXT, "%s:%u", host, sock_addr_port(a));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof(host));
		snprintf(text, SOCK_ADDR_TEXT, "[%s]:%u", host, sock_addr_port(a));
		break;
	default:
		strcpy(text, "-");
	}
	return text;
}

bool sock_addr_parse(const char *host, uint16_t port, struct sock_addr *out)
{
	char bare[INET6_ADDRSTRLEN + 1];
	size_t len = strlen(host);

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = htons(port);
		return true;
	}
	if (len >= 2 && host[0] == '[' && host[len - 1] == ']' && len - 2 < sizeof(bare)) {
		memcpy(bare, host + 1, len - 2);
		bare[len - 2] = '\0';
		host = bare;
	}
	if (inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = htons(port);
		return true;
	}
	memset(out, 0, sizeof(*out));
	return false;
}

static void set_int(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value));
}

/* Hosts without cubic keep what they have. */
static void avoid_pacing(int fd)
{
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

/*
 * Keepalive on loopback as well: a FIN that is dropped when the kernel is short of memory, and a reset behind it, leave a
 * connection that nothing else would ever end.
 */
static void set_common(int fd, const struct sock_addr *a, const struct sock_options *o)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (sock_addr_is_loopback(a))
		avoid_pacing(fd);
	if (!o->keepalive)
		return;
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, o->keepalive_idle_s);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, o->keepalive_interval_s);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, o->keepalive_count);
}

int sock_listen(const struct sock_addr *a, const struct sock_options *o, bool shared, struct err *e)
{
	char text[SOCK_ADDR_TEXT];
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		err_errno(e, ERR_SYSTEM, "listen on %s: socket", sock_addr_format(a, text));
		return -1;
	}
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (shared)
		set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (a->any.sa_family == AF_INET6)
		set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	set_common(fd, a, o);
	if (bind(fd, &a->any, sock_addr_len(a)) < 0 || listen(fd, BACKLOG) < 0) {
		err_errno(e, ERR_SYSTEM, "listen on %s", sock_addr_format(a, text));
		close(fd);
		return -1;
	}
	return fd;
}

int sock_connect(const struct sock_addr *a, const struct sock_options *o, struct err *e)
{
	char text[SOCK_ADDR_TEXT];
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		err_errno(e, ERR_SYSTEM, "connect to %s: socket", sock_addr_format(a, text));
		return -1;
	}
	set_common(fd, a, o);
	if (connect(fd, &a->any, sock_addr_len(a)) < 0 && errno != EINPROGRESS) {
		err_errno(e, ERR_SYSTEM, "connect to %s", sock_addr_format(a, text));
		close(fd);
		return -1;
	}
	return fd;
}

int sock_error(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) < 0)
		return errno;
	return value;
}

void sock_set_abort(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

void sock_tune_accepted(int fd, const struct sock_addr *peer)
{
	if (sock_addr_is_loopback(peer))
		avoid_pacing(fd);
}
