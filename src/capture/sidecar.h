/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sidecar - rules for a proxy beside one application, which options describe instead of a configuration.
 *
 * Threads: any.
 */
#pragma once

#include "capture/rules.h"

#define PORT_LIST_MAX 1024
#define SIDECAR_INSTANCE "sidecar"

struct port_list {
	uint16_t *ports;
	size_t count;
	bool all; /* "*" */
};

/*
 * "80,443", or "*" where it may be; empty elements are dropped. Replaces what list has. option names it in
 * messages. port_list_release().
 */
int port_list_parse(const char *text, const char *option, bool star, struct port_list *list, struct err *e) MUST_CHECK;
void port_list_release(struct port_list *list);

int sidecar_port(const char *text, const char *option, uint16_t *port, struct err *e) MUST_CHECK;

struct sidecar {
	const char *prefix; /* of chains */
	uint16_t proxy_port;
	uint16_t capture_port; /* where the proxy takes inbound connections */
	bool tproxy;	       /* how it gets them */
	struct port_list inbound;
	struct port_list outbound;
	struct port_list inbound_exclude; /* with "*" */
	struct port_list outbound_exclude;
	uint32_t uid; /* of the proxy, whose own connections go on */
	uint32_t gid;
};

/* gives a ruleset, rules_free(). Refused: what captures nothing. */
struct ruleset *sidecar_rules(const struct sidecar *s, struct err *e);
