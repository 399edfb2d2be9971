/* SPDX-License-Identifier: Apache-2.0 */
/* netfilter - the sockets behind TPROXY and REDIRECT. */
#include "capture/netfilter.h"

#include <errno.h>
#include <string.h>

#include "capture/local_addr.h"
#include "capture/rules.h"
#include "io/local_ports.h"

#define ORIGINAL_DST 80 /* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST, whose headers do not go with libc's */
#define PAIR_TRIES 16	/* until a free port of one family is free in the other one as well */

/* ---- where a connection was going ---- */

static void refuse(struct captured *c, enum reason reason)
{
	c->refused = reason;
}

/* One hop is enough to tell: a connection to our own port would be dialed by us, and come back (1.9, D5). */
static void refuse_recursion(const struct listener *l, struct captured *c)
{
	char text[SOCK_ADDR_TEXT];

	if (sock_addr_port(&c->to.addr) != l->port || !local_addr_is_ours(&c->to.addr))
		return;
	refuse(c, REASON_RECURSION);
	err_set(c->why, ERR_PEER, "%s is where this entry listens: connect to the service itself",
		sock_addr_format(&c->to.addr, text));
}

static void aim_transparent(const struct listener *l, struct captured *c)
{
	socklen_t len = sizeof(c->to.addr);

	if (getsockname(c->fd, &c->to.addr.any, &len) < 0) {
		refuse(c, REASON_NO_DESTINATION);
		err_errno(c->why, ERR_SYSTEM, "getsockname");
		return;
	}
	refuse_recursion(l, c);
}

static void aim_redirected(const struct listener *l, struct captured *c)
{
	int level = c->client.any.sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
	socklen_t len = sizeof(c->to.addr);

	if (getsockopt(c->fd, level, ORIGINAL_DST, &c->to.addr, &len) < 0) {
		int sys = errno;

		memset(&c->to, 0, sizeof(c->to));
		refuse(c, REASON_NO_DESTINATION);
		errno = sys;
		err_errno(c->why, ERR_SYSTEM, "SO_ORIGINAL_DST%s",
			  sys == ENOENT ? ": no rule has redirected this connection to us" : "");
		return;
	}
	refuse_recursion(l, c);
}

/* ---- sockets ---- */

static bool is_transparent(const struct entry_conf *entry)
{
	if (entry->kind == ENTRY_EGRESS)
		return entry->transparency.in;
	return entry->netfilter->method == METHOD_TPROXY;
}

/* TPROXY may lead to loopback, and so does REDIRECT in OUTPUT; in PREROUTING it takes the interface's address (1.6). */
static bool is_on_loopback(const struct entry_conf *entry)
{
	const struct netfilter_conf *n = entry->netfilter;

	return entry->kind == ENTRY_INGRESS && (n->method == METHOD_TPROXY || n->scope == SCOPE_LOCAL);
}

static struct sock_addr listen_addr(const struct entry_conf *entry, int family, uint16_t port)
{
	const char *hosts[2][2] = { { "0.0.0.0", "127.0.0.1" }, { "::", "::1" } };
	struct sock_addr addr;

	/* They all parse. */
	(void)sock_addr_parse(hosts[family == AF_INET6][is_on_loopback(entry)], port, &addr);
	return addr;
}

static int add(struct listeners *ls, const struct netfilter_options *o, int family, uint16_t port, struct err *e)
{
	struct sock_addr addr = listen_addr(o->entry, family, port);
	struct sock_listen_options how = {
		.shared = o->shared,
		.sole = o->port == 0,
		.others = o->entry->kind == ENTRY_EGRESS || o->entry->netfilter->scope != SCOPE_LOCAL,
		.transparent = is_transparent(o->entry),
		.abrupt = true,
	};

	return listeners_add(ls, &addr, NULL, o->sock, &how, e);
}

/* A kernel without IPv6 sends us none. */
static bool is_absent(const struct err *e)
{
	return e->sys == EAFNOSUPPORT || e->sys == EADDRNOTAVAIL;
}

/* port 0: any. */
static struct listeners *open_pair(const struct netfilter_options *o, uint16_t port, struct err *e)
{
	listener_aim *aim = is_transparent(o->entry) ? aim_transparent : aim_redirected;
	struct listeners *ls = listeners_new(2, aim, o->entry->path);

	if (add(ls, o, AF_INET, port, e) == 0) {
		if (add(ls, o, AF_INET6, listeners_port(ls), e) == 0 ||
		    (is_absent(e) && o->entry->netfilter->ipv6 != IPV6_CAPTURE))
			return ls;
	}
	listeners_free(ls);
	return NULL;
}

/* The first port, and how many may be tried from there on. */
static unsigned candidates(const struct netfilter_options *o, uint16_t *first)
{
	*first = o->port != 0 ? o->port : o->entry->netfilter->listen_port;
	if (*first != 0)
		return 1;
	if (o->entry->kind == ENTRY_INGRESS)
		return PAIR_TRIES;
	*first = (uint16_t)MIN(EGRESS_PORT_FIRST + o->entry->index, (unsigned)UINT16_MAX);
	return UINT16_MAX - *first + 1u;
}

struct listeners *netfilter_open(const struct netfilter_options *o, uint16_t *port, struct err *e)
{
	uint16_t first;
	unsigned tries = candidates(o, &first);

	for (unsigned i = 0; i < tries; i++) {
		struct listeners *ls = open_pair(o, first == 0 ? 0 : (uint16_t)(first + i), e);

		if (ls != NULL) {
			*port = listeners_port(ls);
			return ls;
		}
		if (e->sys != EADDRINUSE)
			break;
	}
	local_ports_explain(o->entry->netfilter->listen_port, e);
	err_wrap(e, "%s.netfilter", o->entry->path);
	return NULL;
}
