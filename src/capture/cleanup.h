/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cleanup - finds what was left behind in this network namespace, and takes it away.
 *
 * Everything this product ever installs: nftables tables, chains and rules of both flavours of iptables and both
 * families, policy rules and routes, journals; and what upstream's TNG leaves. Never a built-in chain, never an object
 * that is not known to be ours, nothing of an instance that runs, nothing of upstream's while it runs.
 *
 * Threads: the main thread; it blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

struct cleanup_options {
	const char *instance;	  /* NULL: all of them */
	const char *chain_prefix; /* of the sidecar styles; NULL: "TNG" */
};

struct cleanup;

/*
 * Changes nothing. What could not be looked at, and what runs and is therefore left alone, is told in cleanup_notes().
 * gives a cleanup; NULL when nothing at all can be looked at (no CAP_NET_ADMIN).
 */
struct cleanup *cleanup_find(const struct cleanup_options *options, struct err *e);
void cleanup_free(struct cleanup *c);

/* Instances, or an upstream TNG, that run and keep what they have. */
size_t cleanup_running(const struct cleanup *c);

/* Sentences for standard error, one per line; "" when there is nothing to say. */
const char *cleanup_notes(struct cleanup *c);

/* Commands for a shell that do the same, one per line. */
void cleanup_print_commands(const struct cleanup *c, struct buf *out);

/* Goes on after a failure and tells the first one. */
int cleanup_run(struct cleanup *c, struct err *e) MUST_CHECK;
