/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingress - a captured client, into the tunnel.
 *
 * Threads: the worker of the lane.
 */
#pragma once

#include "gateway/gateway_internal.h"

struct flow;

/* takes c->fd: an application has connected. */
void ingress_captured(struct lane *lane, const struct captured *c);

/* gives a flow whose client has not come yet, for knock.h. */
struct flow *ingress_expect(struct lane *lane, const struct sock_addr *client, const struct sock_addr *server);

/* Makes its tunnel. */
void ingress_open(struct flow *f);
