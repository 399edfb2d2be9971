/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knock - the worker's part of "connect_first": a flow that has its tunnel before its client.
 *
 *   OPENING --tunnel open--> KEPT --the client comes--> OPENING, and on as any flow
 *      |                       |
 *      +--- any failure -------+--- KNOCK_KEPT_MS, or the tunnel ends
 *
 * Which worker it is, follows from the addresses (worker_of_client()), so that the client finds its tunnel.
 *
 * Threads: knock_open() and knock_withdraw() from the main thread, everything else on the lane's worker.
 */
#pragma once

#include <stdint.h>

#include "io/sock.h"
#include "metrics/reason.h"

struct captured;
struct flow;
struct gateway_worker;
struct lane;
struct stream;
struct syn;

/* The same for the first packet and for the connection that comes of it. */
uint32_t knock_hash(const struct sock_addr *client, const struct sock_addr *server);

/* Makes a tunnel and tells of it by gate_tell(). A place was reserved (gateway_reserve()), which passes to the flow. */
void knock_open(struct lane *lane, uint64_t serial, const struct syn *syn);

/* Ends that tunnel, if it still waits. What is told of it is of no use any more. */
void knock_withdraw(struct lane *lane, uint64_t serial, const struct syn *syn);

/* The tunnel of f, which has no client yet, is open: far is kept until it comes. */
void knock_opened(struct flow *f, struct stream *far);

/* gives the flow whose client has come, with *far open, or NULL. */
struct flow *knock_claim(struct lane *lane, const struct captured *c, struct stream **far);

/* f ends, and its client has not come. From flow_close() only. */
void knock_ended(struct flow *f);

/* All that wait for tunnels or clients are refused: the gateway is stopping. */
void knock_drain(struct gateway_worker *gw);
