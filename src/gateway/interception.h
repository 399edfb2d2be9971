/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interception - the rules that lead to the gateway's listeners: made when they listen, gone before they close.
 *
 * Threads: the main thread.
 */
#pragma once

#include "base/err.h"
#include "config/config.h"
#include "io/sock.h"

struct gateway;

/*
 * The listeners are open and no thread runs yet: forks the guard (capture/guard.h). Nothing to do where no entry
 * captures, or where the operator has rules of his own (interception.backend "none").
 */
int interception_start(struct gateway *g, struct err *e) MUST_CHECK;

/* Makes the rules; from now on connections come, and wait in the listeners' queues. */
int interception_apply(struct gateway *g, struct err *e) MUST_CHECK;

/*
 * Takes the rules away; no connection that was captured is open any more. The listeners still take and reset what
 * comes. Logs what failed, and then the exit code is 1.
 */
void interception_stop(struct gateway *g);

/*
 * With open_ports "negative_cache": nobody listens at to, and for a while the kernel refuses who asks for it. What
 * comes faster than it can be told is forgotten. Any thread.
 */
void interception_refused(struct gateway *g, const struct entry_conf *conf, const struct sock_addr *to);

/*
 * Lets the guard do what it does when the gateway dies; does so itself when the guard was lost. All connections have
 * been closed.
 */
void interception_release(struct gateway *g);
