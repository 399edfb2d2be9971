/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingress - a captured client, into the tunnel.
 *
 * Threads: the worker of the lane.
 */
#pragma once

#include "gateway/gateway_internal.h"

/* takes c->fd: an application has connected. */
void ingress_captured(struct lane *lane, const struct captured *c);
