/* SPDX-License-Identifier: Apache-2.0 */
/* upkeep - listens to the kernel, looks, and puts back. */
#include "capture/upkeep.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define EVENTS_SIZE 65536 /* of the kernel in one message */
#define SHARE 20	  /* of the time that a look took, there is none afterwards */
#define AGAIN_MS 1000	  /* after a look or a repair that has failed */
#define NEVER UINT64_MAX

struct upkeep {
	struct applier *applier;
	const struct ruleset *rules;
	unsigned interval_ms;
	struct mnl_socket *events; /* NULL: the kernel tells nothing */
	bool active;
	struct buf standing; /* as it is to be */
	uint64_t look_ms;
	uint64_t not_before_ms;
};

/* ---- what the kernel tells ---- */

static struct mnl_socket *listen_to_kernel(struct err *e)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int group = NFNLGRP_NFTABLES;

	if (s != NULL && mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) == 0 &&
	    mnl_socket_setsockopt(s, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0)
		return s;
	err_errno(e, ERR_SYSTEM, "listen for changes of nftables");
	if (s != NULL)
		mnl_socket_close(s);
	return NULL;
}

struct news {
	const struct upkeep *u;
	bool changed;
};

/* Tables, chains, rules and sets all have the name of their table as attribute 1. */
static bool is_in_our_table(const struct upkeep *u, const struct nlmsghdr *m)
{
	struct nlattr *attr;

	mnl_attr_for_each (attr, m, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == NFTA_RULE_TABLE && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			return applier_uses_table(u->applier, mnl_attr_get_str(attr));
	}
	return true;
}

/* Something that goes, or a rule that comes, which may be in front of ours. Sets change all the time. */
static int on_event(const struct nlmsghdr *m, void *arg)
{
	struct news *news = arg;

	if (NFNL_SUBSYS_ID(m->nlmsg_type) != NFNL_SUBSYS_NFTABLES || !is_in_our_table(news->u, m))
		return MNL_CB_OK;
	switch (NFNL_MSG_TYPE(m->nlmsg_type)) {
	case NFT_MSG_DELTABLE:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_NEWRULE:
	case NFT_MSG_DELRULE:
	case NFT_MSG_DELSET:
		news->changed = true;
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

/* true: something has changed, or so much that the kernel could not tell all of it. */
static bool take_events(struct upkeep *u)
{
	uint8_t events[EVENTS_SIZE];
	struct news news = { .u = u };

	while (u->events != NULL) {
		ssize_t n = mnl_socket_recvfrom(u->events, events, sizeof(events));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			news.changed = true;
			continue;
		}
		if (n <= 0)
			break;
		(void)mnl_cb_run(events, (size_t)n, 0, 0, on_event, &news);
	}
	return news.changed;
}

/* ---- looking ---- */

enum seen { SEEN_STANDING, SEEN_CHANGED, SEEN_NOTHING };

static enum seen see(struct upkeep *u, struct buf *out)
{
	struct err e;

	if (applier_print_standing(u->applier, u->rules, out, &e) == 0)
		return SEEN_STANDING;
	if (e.kind == ERR_CONFIG)
		return SEEN_CHANGED;
	log_warn("guard: whether the rules stand cannot be seen: %s", e.text);
	return SEEN_NOTHING;
}

/* Empty where somebody was faster than we: what stands then is not what is to be there. */
static void remember(struct upkeep *u)
{
	(void)take_events(u); /* our own, and before we look: what comes behind is somebody's */
	buf_clear(&u->standing);
	if (see(u, &u->standing) != SEEN_STANDING)
		buf_clear(&u->standing);
}

static int put_back(struct upkeep *u)
{
	struct err e;

	log_error(
		"guard: somebody else has changed or removed the rules of instance \"%s\": putting them back; what was "
		"captured may have passed in clear meanwhile",
		rules_instance(u->rules));
	if (applier_apply(u->applier, u->rules, &e) != 0) {
		log_error("guard: they cannot be put back: %s; captured traffic may flow in clear", e.text);
		return -1;
	}
	remember(u);
	if (u->standing.len > 0)
		log_warn("guard: the rules of instance \"%s\" stand again", rules_instance(u->rules));
	return 0;
}

static int look(struct upkeep *u)
{
	struct buf now = { 0 };
	enum seen seen = see(u, &now);
	int rc = 0;

	if (seen == SEEN_STANDING && strcmp(buf_str(&now), buf_str(&u->standing)) != 0)
		seen = SEEN_CHANGED;
	if (seen == SEEN_CHANGED)
		rc = put_back(u);
	buf_release(&now);
	return seen == SEEN_NOTHING || u->standing.len == 0 ? -1 : rc;
}

void upkeep_run(struct upkeep *u, uint64_t now_ms)
{
	uint64_t end_ms;
	int rc;

	if (take_events(u) && u->active)
		u->look_ms = MIN(u->look_ms, MAX(now_ms, u->not_before_ms));
	if (!u->active || now_ms < u->look_ms)
		return;
	rc = look(u);
	end_ms = clock_ms();
	u->not_before_ms = end_ms + SHARE * (end_ms - now_ms);
	if (rc != 0)
		u->look_ms = MAX(end_ms + AGAIN_MS, u->not_before_ms);
	else
		u->look_ms = u->interval_ms > 0 ? MAX(end_ms + u->interval_ms, u->not_before_ms) : NEVER;
}

/* ---- its life ---- */

struct upkeep *upkeep_new(struct applier *applier, const struct ruleset *rules, unsigned interval_ms)
{
	struct upkeep *u = mem_new_of(struct upkeep);
	struct err e;

	u->applier = applier;
	u->rules = rules;
	u->interval_ms = interval_ms;
	u->look_ms = NEVER;
	u->events = listen_to_kernel(&e);
	if (u->events == NULL)
		log_info("guard: %s; the rules are looked at every %.3g s", e.text, interval_ms / 1000.0);
	return u;
}

void upkeep_free(struct upkeep *u)
{
	if (u == NULL)
		return;
	if (u->events != NULL)
		mnl_socket_close(u->events);
	buf_release(&u->standing);
	free(u);
}

void upkeep_begin(struct upkeep *u)
{
	remember(u);
	u->active = true;
	u->look_ms = u->standing.len == 0 ? clock_ms() : u->interval_ms > 0 ? clock_ms() + u->interval_ms : NEVER;
}

void upkeep_end(struct upkeep *u)
{
	u->active = false;
}

int upkeep_descriptor(const struct upkeep *u)
{
	return u->events != NULL ? mnl_socket_get_fd(u->events) : -1;
}

int upkeep_wait_ms(const struct upkeep *u, uint64_t now_ms)
{
	if (!u->active || u->look_ms == NEVER)
		return -1;
	return u->look_ms > now_ms ? (int)MIN(u->look_ms - now_ms, (uint64_t)INT32_MAX) : 0;
}
