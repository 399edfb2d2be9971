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

bool sock_addr_equal(const struct sock_addr *a, const struct sock_addr *b)
{
	if (a->any.sa_family != b->any.sa_family || sock_addr_port(a) != sock_addr_port(b))
		return false;
	if (a->any.sa_family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr) &&
		       a->v6.sin6_scope_id == b->v6.sin6_scope_id;
	return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

uint32_t sock_addr_hash(const struct sock_addr *a)
{
	uint32_t hash = sock_addr_port(a);

	if (a->any.sa_family != AF_INET6)
		return hash * 31 + a->v4.sin_addr.s_addr;
	for (unsigned i = 0; i < sizeof(a->v6.sin6_addr); i++)
		hash = hash * 31 + a->v6.sin6_addr.s6_addr[i];
	return hash;
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

static int set_congestion(int fd, const char *name)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name));
}

/*
 * Keepalive on loopback as well: a FIN that is dropped when the kernel is short of memory, and a reset behind it, leave
 * a connection that nothing else would ever end.
 */
static void set_common(int fd, bool on_loopback, const struct sock_options *o)
{
	const char *congestion = on_loopback ? o->congestion_loopback : o->congestion_remote;

	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (congestion != NULL)
		set_congestion(fd, congestion);
	if (!o->keepalive)
		return;
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, o->keepalive_idle_s);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, o->keepalive_interval_s);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, o->keepalive_count);
}

static int set_transparent(int fd, int family)
{
	int on = 1;

	if (family == AF_INET6)
		return setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on));
	return setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on));
}

/*
 * SO_REUSEPORT lets any process of our user in, so the first socket is bound without it. Those that follow need it on
 * the first one when they are bound, which the kernel looks up at that time.
 */
static int bind_and_listen(int fd, const struct sock_addr *a, const struct sock_listen_options *how)
{
	if (how->shared && !how->sole)
		set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (bind(fd, &a->any, sock_addr_len(a)) < 0)
		return -1;
	if (how->shared && how->sole)
		set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	return listen(fd, BACKLOG);
}

int sock_listen(const struct sock_addr *a, const struct sock_options *o, const struct sock_listen_options *how,
		struct err *e)
{
	char text[SOCK_ADDR_TEXT];
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		err_errno(e, ERR_SYSTEM, "listen on %s: socket", sock_addr_format(a, text));
		return -1;
	}
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (a->any.sa_family == AF_INET6)
		set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	set_common(fd, sock_addr_is_loopback(a) && !how->others, o);
	if (how->abrupt)
		sock_set_abort(fd);
	if ((how->transparent && set_transparent(fd, a->any.sa_family) < 0) || bind_and_listen(fd, a, how) < 0) {
		err_errno(e, ERR_SYSTEM, "listen on %s", sock_addr_format(a, text));
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * Without a port the kernel chooses one when it connects, so that the same port may serve several destinations. With
 * one, SO_REUSEADDR allows the same (interception.md 4.2).
 */
static int bind_source(int fd, const struct sock_addr *from)
{
	if (set_transparent(fd, from->any.sa_family) < 0)
		return -1;
	if (sock_addr_port(from) == 0)
		set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	else
		set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return bind(fd, &from->any, sock_addr_len(from));
}

int sock_connect(const struct sock_addr *a, const struct sock_addr *from, const struct sock_options *o, struct err *e)
{
	char text[SOCK_ADDR_TEXT];
	char source[SOCK_ADDR_TEXT];
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		err_errno(e, ERR_SYSTEM, "connect to %s: socket", sock_addr_format(a, text));
		return -1;
	}
	set_common(fd, sock_addr_is_loopback(a), o);
	/* Without its mark our own connection would be captured. */
	if (o->mark != 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &o->mark, sizeof(o->mark)) < 0) {
		err_errno(e, ERR_SYSTEM, "connect to %s: SO_MARK", sock_addr_format(a, text));
		goto fail;
	}
	if (from != NULL && bind_source(fd, from) < 0) {
		err_errno(e, ERR_SYSTEM, "connect to %s from %s: bind", sock_addr_format(a, text),
			  sock_addr_format(from, source));
		goto fail;
	}
	if (connect(fd, &a->any, sock_addr_len(a)) < 0 && errno != EINPROGRESS) {
		err_errno(e, ERR_SYSTEM, "connect to %s%s%s", sock_addr_format(a, text), from == NULL ? "" : " from ",
			  from == NULL ? "" : sock_addr_format(from, source));
		goto fail;
	}
	return fd;
fail:
	close(fd);
	return -1;
}

int sock_error(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) < 0)
		return errno;
	return value;
}

bool sock_is_connected(int fd)
{
	struct sock_addr peer;
	socklen_t len = sizeof(peer);

	return getpeername(fd, &peer.any, &len) == 0;
}

void sock_set_abort(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

void sock_set_orderly(int fd)
{
	struct linger off = { 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
}

int sock_probe_rights(struct err *e)
{
	uint32_t mark = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int result = 0;

	if (fd < 0)
		return err_errno(e, ERR_SYSTEM, "socket");
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		result = err_errno(e, ERR_SYSTEM, "SO_MARK");
	else if (set_transparent(fd, AF_INET) < 0)
		result = err_errno(e, ERR_SYSTEM, "IP_TRANSPARENT");
	close(fd);
	return result;
}

void sock_host_congestion(char name[SOCK_CONGESTION_TEXT])
{
	socklen_t len = SOCK_CONGESTION_TEXT - 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(name, 0, SOCK_CONGESTION_TEXT);
	if (fd < 0)
		return;
	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) < 0)
		name[0] = '\0';
	close(fd);
}

int sock_try_congestion(const char *name, struct err *e)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int result = 0;

	if (fd < 0)
		return err_errno(e, ERR_SYSTEM, "socket");
	if (set_congestion(fd, name) < 0)
		result = err_errno(e, ERR_SYSTEM, "TCP_CONGESTION \"%s\"", name);
	close(fd);
	return result;
}

void sock_tune_accepted(int fd, const struct sock_addr *peer, const struct sock_options *o)
{
	if (o->congestion_loopback != NULL && sock_addr_is_loopback(peer))
		set_congestion(fd, o->congestion_loopback);
}
