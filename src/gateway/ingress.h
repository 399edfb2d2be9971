/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingress - a captured client, into the tunnel.
 *
 * Threads: the worker of the lane.
 */
#pragma once

#include "gateway/gateway_internal.h"

/* takes fd: an application has connected. */
void ingress_captured(struct lane *lane, int fd, const struct sock_addr *client,
		      const struct mapping_rule_conf *rule, uint16_t out_port);
