/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard - the process that holds the rules, and takes them away whatever happens to the gateway.
 *
 * The guard is forked from the gateway before its threads. It alone changes the kernel's rules, routes and policy
 * rules, and owns the nftables table (its netlink socket). It talks with the gateway through a socket pair; when that
 * ends without a farewell, the gateway has died: the guard first blocks what was captured, so that no byte of a
 * connection that was open goes on in clear, and then, within seconds, takes everything of ours away and ends
 * (interception.md 7.4). With on_exit "drop" it leaves the block behind instead.
 *
 * Before a change an undo journal is written (journal.h), for the case that the guard is killed as well.
 *
 * Threads: the main thread.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "capture/rules.h"
#include "io/sock.h"

struct guard;

/*
 * Forks. The child closes every descriptor but its own. Fails when another gateway holds the instance's lock, or
 * upstream's "@tng" is bound, or rights are missing; the text names what is missing and what else could be done. gives
 * a guard; keeps nothing.
 */
struct guard *guard_start(const struct interception_conf *conf, const struct ruleset *rules, struct err *e);

/* Replays a dead instance's journal, then makes the rules. Blocks until they stand; all or nothing. */
int guard_apply(struct guard *g, struct err *e) MUST_CHECK;

/* The tools that it works with take CAP_NET_RAW (iptables-legacy, an ipset); who stands in for it does then. */
bool guard_needs_raw(const struct guard *g);

/* Readable when the guard has gone, which it never does by itself while rules stand. */
int guard_descriptor(const struct guard *g);

/* Takes the rules away, in good order, and ends the guard. Blocks until that is done; says so when it failed. */
int guard_stop(struct guard *g, struct err *e) MUST_CHECK;

/*
 * A destination of this ingress, with open_ports "negative_cache", has refused a connection: the next ones are refused
 * by the kernel for a while. Any thread; does not wait: it is forgotten when the guard has too much to do.
 */
void guard_refused(struct guard *g, unsigned ingress, const struct sock_addr *dst);

/* After guard_stop(), or to let the guard do it as after a death. */
void guard_free(struct guard *g);
