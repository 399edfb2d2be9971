/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route - the policy rules and routes that TPROXY needs, through rtnetlink.
 *
 * A marked packet has to be delivered locally: a policy rule sends the mark to a table of ours, which has "local
 * default dev lo". Both carry our protocol number, by which they are found again; whatever else is in that table stays
 * as it is.
 *
 * Threads: one; it blocks, no longer than the kernel takes.
 */
#pragma once

#include <stdbool.h>

#include "capture/rules.h"

bool route_is_same(const struct policy_route *a, const struct policy_route *b);

/* What is there already, identical and ours, is success. On failure nothing of this call is left. */
int route_add(const struct policy_route *routes, size_t count, struct err *e) MUST_CHECK;

/* What is not there is success. Tries all of them; tells the first failure. */
int route_remove(const struct policy_route *routes, size_t count, struct err *e) MUST_CHECK;

/* Who made a policy rule or route. */
enum route_maker {
	ROUTE_OURS,	/* our protocol number */
	ROUTE_UPSTREAM, /* upstream's marks, masks and tables, made by iproute2 */
};

/* Half of a policy_route that exists: the rule, the route, or both. */
struct route_found {
	struct policy_route at;
	enum route_maker maker;
	uint32_t priority;     /* of the rule */
	uint8_t rule_protocol; /* at.protocol is that of the route */
	bool has_rule;
	bool has_route;
};

struct route_list {
	struct route_found *items;
	size_t count;
};

/* Everything of ours (protocol) and of upstream in this network namespace. route_list_release(). */
int route_find(uint8_t protocol, struct route_list *list, struct err *e) MUST_CHECK;
int route_remove_found(const struct route_found *f, struct err *e) MUST_CHECK;
void route_list_release(struct route_list *list);
