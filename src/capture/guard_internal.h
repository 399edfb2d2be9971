/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard_internal - between the gateway and its guard.
 *
 * A message is one byte from the gateway, or a struct guard_refusal; the answer to a byte is a struct guard_answer. The
 * guard speaks first: an answer when it is ready.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "capture/guard.h"
#include "capture/instance.h"

enum guard_wish { GUARD_APPLY = 'a', GUARD_STOP = 's', GUARD_REFUSED = 'r' };

/* The one message that is longer, and has no answer. */
struct guard_refusal {
	uint8_t wish;
	unsigned ingress;
	struct sock_addr dst;
};

struct guard_answer {
	int rc;
	struct err e;
};

struct guard_child {
	const struct interception_conf *conf;
	const struct ruleset *rules;
	struct instance *instance;
	int socket;
	pid_t gateway;
};

/* The guard's whole life, in the forked process; returns its exit status. */
int guard_child_run(struct guard_child *c);
