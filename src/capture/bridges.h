/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridges - the bridges of this host and their ports, as the rules need them (rules_bridge.c).
 *
 * Asked of the kernel once, before rules are built: ports that are added later are not known to the rules.
 *
 * Threads: any; it blocks for a moment.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define BRIDGE_ADDRESS_TEXT 18

struct bridge_port {
	char name[IFNAMSIZ];
};

struct bridge {
	char name[IFNAMSIZ];
	char address[BRIDGE_ADDRESS_TEXT]; /* "02:00:00:00:00:01" */
	uint32_t index;
	struct bridge_port *ports;
	size_t port_count;
};

struct bridge_list {
	struct bridge *items;
	size_t count;
};

/* In this network namespace; bridge_list_release(), also after a failure. */
int bridges_find(struct bridge_list *list, struct err *e) MUST_CHECK;
void bridge_list_release(struct bridge_list *list);

/* The bridge that the interface is a port of, or NULL. */
const struct bridge *bridge_of_port(const struct bridge_list *list, const char *name);

/*
 * net.bridge.bridge-nf-call-iptables or -ip6tables is on here: bridged packets pass the rules before they are pulled
 * out of the bridge, and TPROXY does not work for them. Returns its name, or NULL.
 */
const char *bridges_call_iptables(void);
