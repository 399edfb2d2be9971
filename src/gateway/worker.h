/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker - one thread of the data path.
 *
 * Threads: init and release while it does not run; the rest from the main thread.
 */
#pragma once

#include "gateway/gateway_internal.h"

/* Opens the listeners of all entries. */
int worker_init(struct gateway_worker *gw, struct gateway *g, unsigned index, struct err *e) MUST_CHECK;
void worker_release(struct gateway_worker *gw);

/*
 * Who takes the connections of these two, with open_ports "connect_first": the first packet and the connection come to
 * the same one. Any thread.
 */
struct gateway_worker *worker_of_client(struct gateway *g, const struct entry_conf *conf,
					const struct sock_addr *client, const struct sock_addr *server);

int worker_start(struct gateway_worker *gw, struct err *e) MUST_CHECK;

/* No new clients. drained_mail goes to the main loop when the last flow has gone, or at the deadline. */
void worker_drain(struct gateway_worker *gw);

/*
 * Resets what is left, sessions included, but for the listeners that the kernel diverts to. closed_mail goes to the
 * main loop.
 */
void worker_close(struct gateway_worker *gw);

/* Ends what is left, and the thread. */
void worker_stop(struct gateway_worker *gw);
