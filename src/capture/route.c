/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route - policy rules and local routes.
 *
 * One message, one acknowledgement. The kernel refuses an identical rule with EEXIST (since Linux 4.11), but an
 * identical route only with NLM_F_EXCL, which also refuses because of somebody else's: whose it is, is looked up then.
 */
#include "capture/route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <time.h>

#define UPSTREAM_MASK 0x00ffffffu
#define UPSTREAM_ENTRIES_MAX 256 /* more ingresses than anybody had */

struct netlink {
	struct mnl_socket *sock;
	uint32_t seq;
};

static int netlink_open(struct netlink *n, struct err *e)
{
	n->seq = (uint32_t)time(NULL);
	n->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (n->sock == NULL)
		return err_errno(e, ERR_SYSTEM, "rtnetlink");
	if (mnl_socket_bind(n->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		err_errno(e, ERR_SYSTEM, "rtnetlink");
		mnl_socket_close(n->sock);
		return -1;
	}
	return 0;
}

/* 0, or -1 with errno. callback sees each message of a dump. */
static int exchange(struct netlink *n, struct nlmsghdr *m, mnl_cb_t callback, void *arg)
{
	char reply[16384]; /* the kernel's dumps come in pieces of at most this */
	unsigned port = mnl_socket_get_portid(n->sock);
	int rc;

	m->nlmsg_seq = ++n->seq;
	if (mnl_socket_sendto(n->sock, m, m->nlmsg_len) < 0)
		return -1;
	do {
		ssize_t len = mnl_socket_recvfrom(n->sock, reply, sizeof(reply));

		if (len < 0)
			return -1;
		rc = mnl_cb_run(reply, (size_t)len, n->seq, port, callback, arg);
	} while (rc > MNL_CB_STOP);
	return rc < 0 ? -1 : 0;
}

static struct nlmsghdr *begin(void *space, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(space);

	m->nlmsg_type = type;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	return m;
}

static struct nlmsghdr *put_rule(void *space, uint16_t type, uint16_t flags, const struct policy_route *r,
				 uint32_t priority)
{
	struct nlmsghdr *m = begin(space, type, flags);
	struct fib_rule_hdr *h = mnl_nlmsg_put_extra_header(m, sizeof(*h));

	h->family = (uint8_t)r->family;
	h->action = FR_ACT_TO_TBL;
	h->table = r->table < 256 ? (uint8_t)r->table : RT_TABLE_UNSPEC;
	mnl_attr_put_u32(m, FRA_PRIORITY, priority);
	mnl_attr_put_u32(m, FRA_FWMARK, r->mark);
	mnl_attr_put_u32(m, FRA_FWMASK, r->mask);
	mnl_attr_put_u32(m, FRA_TABLE, r->table);
	mnl_attr_put_u8(m, FRA_PROTOCOL, r->protocol);
	return m;
}

static struct nlmsghdr *put_route(void *space, uint16_t type, uint16_t flags, const struct policy_route *r)
{
	struct nlmsghdr *m = begin(space, type, flags);
	struct rtmsg *h = mnl_nlmsg_put_extra_header(m, sizeof(*h));

	h->rtm_family = (uint8_t)r->family;
	h->rtm_table = r->table < 256 ? (uint8_t)r->table : RT_TABLE_COMPAT;
	h->rtm_protocol = r->protocol;
	h->rtm_scope = r->family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
	h->rtm_type = RTN_LOCAL;
	mnl_attr_put_u32(m, RTA_TABLE, r->table);
	mnl_attr_put_u32(m, RTA_OIF, if_nametoindex("lo"));
	return m;
}

static const char *family_name(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

/* ---- what is there ---- */

struct seen_rule {
	struct policy_route at;
	uint32_t priority;
};

struct seen_route {
	struct policy_route at; /* mark and mask are 0 */
};

struct scan {
	struct seen_rule *rules;
	size_t rule_count;
	struct seen_route *routes;
	size_t route_count;
	unsigned lo;
};

static void scan_release(struct scan *s)
{
	free(s->rules);
	free(s->routes);
	*s = (struct scan){ 0 };
}

static uint32_t attr_u32(const struct nlattr *a)
{
	return mnl_attr_validate(a, MNL_TYPE_U32) < 0 ? 0 : mnl_attr_get_u32(a);
}

/* What a rule of ours never has: a selector by address, interface, user, port... */
static bool is_foreign_selector(unsigned type)
{
	switch (type) {
	case FRA_SRC:
	case FRA_DST:
	case FRA_IFNAME:
	case FRA_OIFNAME:
	case FRA_GOTO:
	case FRA_FLOW:
	case FRA_TUN_ID:
	case FRA_L3MDEV:
	case FRA_UID_RANGE:
	case FRA_IP_PROTO:
	case FRA_SPORT_RANGE:
	case FRA_DPORT_RANGE:
		return true;
	}
	return false;
}

static int on_rule(const struct nlmsghdr *m, void *arg)
{
	const struct fib_rule_hdr *h = mnl_nlmsg_get_payload(m);
	struct scan *s = arg;
	struct seen_rule r = { 0 };
	const struct nlattr *a;

	if (m->nlmsg_type != RTM_NEWRULE || mnl_nlmsg_get_payload_len(m) < sizeof(*h))
		return MNL_CB_OK;
	if (h->action != FR_ACT_TO_TBL || (h->flags & FIB_RULE_INVERT) != 0 || h->tos != 0)
		return MNL_CB_OK;
	r.at.family = h->family;
	r.at.table = h->table;
	mnl_attr_for_each (a, m, sizeof(*h)) {
		unsigned type = mnl_attr_get_type(a);

		if (is_foreign_selector(type))
			return MNL_CB_OK;
		if (type == FRA_FWMARK)
			r.at.mark = attr_u32(a);
		else if (type == FRA_FWMASK)
			r.at.mask = attr_u32(a);
		else if (type == FRA_TABLE)
			r.at.table = attr_u32(a);
		else if (type == FRA_PRIORITY)
			r.priority = attr_u32(a);
		else if (type == FRA_PROTOCOL && mnl_attr_validate(a, MNL_TYPE_U8) == 0)
			r.at.protocol = mnl_attr_get_u8(a);
	}
	if (r.at.mark == 0)
		return MNL_CB_OK;
	s->rules = mem_resize(s->rules, (s->rule_count + 1) * sizeof(*s->rules));
	s->rules[s->rule_count++] = r;
	return MNL_CB_OK;
}

/* Only "local default dev lo": that is what ours look like. */
static int on_route(const struct nlmsghdr *m, void *arg)
{
	const struct rtmsg *h = mnl_nlmsg_get_payload(m);
	struct scan *s = arg;
	struct seen_route r = { 0 };
	uint32_t oif = 0;
	const struct nlattr *a;

	if (m->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(m) < sizeof(*h))
		return MNL_CB_OK;
	if (h->rtm_type != RTN_LOCAL || h->rtm_dst_len != 0 || h->rtm_src_len != 0 || h->rtm_tos != 0)
		return MNL_CB_OK;
	r.at.family = h->rtm_family;
	r.at.table = h->rtm_table;
	r.at.protocol = h->rtm_protocol;
	mnl_attr_for_each (a, m, sizeof(*h)) {
		unsigned type = mnl_attr_get_type(a);

		if (type == RTA_TABLE)
			r.at.table = attr_u32(a);
		else if (type == RTA_OIF)
			oif = attr_u32(a);
		else if (type == RTA_GATEWAY || type == RTA_MULTIPATH)
			return MNL_CB_OK;
	}
	if (oif != s->lo || r.at.table == RT_TABLE_LOCAL)
		return MNL_CB_OK;
	s->routes = mem_resize(s->routes, (s->route_count + 1) * sizeof(*s->routes));
	s->routes[s->route_count++] = r;
	return MNL_CB_OK;
}

static int dump(struct netlink *n, uint16_t type, int family, mnl_cb_t callback, struct scan *s)
{
	char space[256];
	struct nlmsghdr *m = mnl_nlmsg_put_header(space);

	m->nlmsg_type = type;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	if (type == RTM_GETRULE)
		((struct fib_rule_hdr *)mnl_nlmsg_put_extra_header(m, sizeof(struct fib_rule_hdr)))->family =
			(uint8_t)family;
	else
		((struct rtmsg *)mnl_nlmsg_put_extra_header(m, sizeof(struct rtmsg)))->rtm_family = (uint8_t)family;
	return exchange(n, m, callback, s);
}

/* A kernel without IPv6 has none of it: that is no failure. */
static int scan_all(struct netlink *n, struct scan *s, struct err *e)
{
	static const int families[] = { AF_INET, AF_INET6 };

	s->lo = if_nametoindex("lo");
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (dump(n, RTM_GETRULE, families[i], on_rule, s) != 0 && families[i] == AF_INET)
			return err_errno(e, ERR_SYSTEM, "list the policy rules");
		if (dump(n, RTM_GETROUTE, families[i], on_route, s) != 0 && families[i] == AF_INET)
			return err_errno(e, ERR_SYSTEM, "list the routes");
	}
	return 0;
}

static bool scan_has_route(const struct scan *s, const struct policy_route *r)
{
	for (size_t i = 0; i < s->route_count; i++) {
		const struct policy_route *at = &s->routes[i].at;

		if (at->family == r->family && at->table == r->table && at->protocol == r->protocol)
			return true;
	}
	return false;
}

bool route_is_same(const struct policy_route *a, const struct policy_route *b)
{
	return a->family == b->family && a->mark == b->mark && a->mask == b->mask && a->table == b->table &&
	       a->protocol == b->protocol;
}

/* ---- adding ---- */

static int refuse_foreign_route(const struct policy_route *r, struct err *e)
{
	return err_set(e, ERR_CONFIG,
		       "routing table %u has an %s route \"local default dev lo\" that is not ours: remove it "
		       "(ip route show table %u)",
		       r->table, family_name(r->family), r->table);
}

static int add_route(struct netlink *n, const struct policy_route *r, bool *made, struct err *e)
{
	char space[256];
	struct scan s = { 0 };
	int rc;

	*made = exchange(n, put_route(space, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, r), NULL, NULL) == 0;
	if (*made)
		return 0;
	if (errno != EEXIST)
		return err_errno(e, ERR_SYSTEM, "add the %s route of table %u", family_name(r->family), r->table);
	rc = scan_all(n, &s, e);
	if (rc == 0 && !scan_has_route(&s, r))
		rc = refuse_foreign_route(r, e);
	scan_release(&s);
	return rc;
}

static int add_rule(struct netlink *n, const struct policy_route *r, bool *made, struct err *e)
{
	char space[256];

	*made = exchange(n, put_rule(space, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, r, CAPTURE_RULE_PREFERENCE), NULL,
			 NULL) == 0;
	if (*made || errno == EEXIST)
		return 0;
	return err_errno(e, ERR_SYSTEM, "add the %s policy rule of mark 0x%x", family_name(r->family), r->mark);
}

static int delete_rule(struct netlink *n, const struct policy_route *r, uint32_t priority, struct err *e)
{
	char space[256];

	if (exchange(n, put_rule(space, RTM_DELRULE, 0, r, priority), NULL, NULL) == 0 || errno == ENOENT ||
	    errno == EAFNOSUPPORT)
		return 0;
	return err_errno(e, ERR_SYSTEM, "remove the %s policy rule of mark 0x%x", family_name(r->family), r->mark);
}

static int delete_route(struct netlink *n, const struct policy_route *r, struct err *e)
{
	char space[256];

	if (exchange(n, put_route(space, RTM_DELROUTE, 0, r), NULL, NULL) == 0 || errno == ESRCH || errno == ENOENT ||
	    errno == EAFNOSUPPORT)
		return 0;
	return err_errno(e, ERR_SYSTEM, "remove the %s route of table %u", family_name(r->family), r->table);
}

static void undo(struct netlink *n, const struct policy_route *r, bool made_rule, bool made_route)
{
	struct err ignored; /* the first failure is the one to tell */

	if (made_rule)
		(void)!delete_rule(n, r, CAPTURE_RULE_PREFERENCE, &ignored);
	if (made_route)
		(void)!delete_route(n, r, &ignored);
}

/* The route first: a rule that leads nowhere would let marked packets pass on to the main table. */
int route_add(const struct policy_route *routes, size_t count, struct err *e)
{
	bool(*made)[2] = mem_new_array(count + 1, sizeof(*made));
	struct netlink n;
	int rc = 0;
	size_t i = 0;

	if (netlink_open(&n, e) != 0) {
		free(made);
		return -1;
	}
	for (; i < count && rc == 0; i++) {
		rc = add_route(&n, &routes[i], &made[i][1], e);
		if (rc == 0)
			rc = add_rule(&n, &routes[i], &made[i][0], e);
	}
	while (rc != 0 && i-- > 0)
		undo(&n, &routes[i], made[i][0], made[i][1]);
	mnl_socket_close(n.sock);
	free(made);
	return rc;
}

int route_remove(const struct policy_route *routes, size_t count, struct err *e)
{
	struct netlink n;
	struct err later;
	int rc = 0;

	if (count == 0)
		return 0;
	if (netlink_open(&n, e) != 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (delete_rule(&n, &routes[i], CAPTURE_RULE_PREFERENCE, rc == 0 ? e : &later) != 0)
			rc = -1;
		if (delete_route(&n, &routes[i], rc == 0 ? e : &later) != 0)
			rc = -1;
	}
	mnl_socket_close(n.sock);
	return rc;
}

/* ---- finding ---- */

static void list_add(struct route_list *list, struct route_found f)
{
	list->items = mem_resize(list->items, (list->count + 1) * sizeof(*list->items));
	list->items[list->count++] = f;
}

/* "fwmark 0x236/0xffffff lookup 239", counted upwards alike, or all of them together in older versions. */
static bool is_upstream_rule(const struct seen_rule *r)
{
	uint32_t nth = r->at.mark - CAPTURE_MARK_FIRST;

	return r->at.family == AF_INET && r->at.mask == UPSTREAM_MASK && nth < UPSTREAM_ENTRIES_MAX &&
	       r->at.table == CAPTURE_TABLE_FIRST + nth && r->at.protocol <= RTPROT_STATIC;
}

static void find_rules(const struct scan *s, uint8_t protocol, struct route_list *list)
{
	for (size_t i = 0; i < s->rule_count; i++) {
		const struct seen_rule *r = &s->rules[i];
		struct route_found f = {
			.at = r->at, .priority = r->priority, .rule_protocol = r->at.protocol, .has_rule = true
		};

		if (r->at.protocol == protocol && r->priority == CAPTURE_RULE_PREFERENCE) {
			f.maker = ROUTE_OURS;
		} else if (is_upstream_rule(r)) {
			f.maker = ROUTE_UPSTREAM;
			f.at.protocol = RTPROT_BOOT; /* what iproute2 gives a route */
		} else {
			continue;
		}
		f.has_route = scan_has_route(s, &f.at);
		list_add(list, f);
	}
}

static bool list_covers(const struct route_list *list, const struct policy_route *route)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct policy_route *at = &list->items[i].at;

		if (at->family == route->family && at->table == route->table && at->protocol == route->protocol)
			return true;
	}
	return false;
}

/* Routes whose rule is gone: ours only, as nothing else tells whose they are. */
static void find_routes(const struct scan *s, uint8_t protocol, struct route_list *list)
{
	for (size_t i = 0; i < s->route_count; i++) {
		const struct policy_route *at = &s->routes[i].at;

		if (at->protocol == protocol && !list_covers(list, at))
			list_add(list, (struct route_found){ .at = *at, .maker = ROUTE_OURS, .has_route = true });
	}
}

int route_find(uint8_t protocol, struct route_list *list, struct err *e)
{
	struct scan s = { 0 };
	struct netlink n;
	int rc;

	*list = (struct route_list){ 0 };
	if (netlink_open(&n, e) != 0)
		return -1;
	rc = scan_all(&n, &s, e);
	if (rc == 0) {
		find_rules(&s, protocol, list);
		find_routes(&s, protocol, list);
	}
	scan_release(&s);
	mnl_socket_close(n.sock);
	return rc;
}

int route_remove_found(const struct route_found *f, struct err *e)
{
	struct policy_route rule = f->at;
	struct netlink n;
	int rc = 0;

	if (netlink_open(&n, e) != 0)
		return -1;
	rule.protocol = f->rule_protocol;
	if (f->has_rule)
		rc = delete_rule(&n, &rule, f->priority, e);
	if (rc == 0 && f->has_route)
		rc = delete_route(&n, &f->at, e);
	mnl_socket_close(n.sock);
	return rc;
}

void route_list_release(struct route_list *list)
{
	free(list->items);
	*list = (struct route_list){ 0 };
}
