/* SPDX-License-Identifier: Apache-2.0 */
/*
 * egress - the other gateway's connection, out of the tunnel and to the service.
 *
 * Threads: the worker of the lane.
 */
#pragma once

#include "gateway/gateway_internal.h"

/* takes fd: a peer has connected. */
void egress_captured(struct lane *lane, const struct captured *c);

/* No new streams on the lane's sessions; those that are open go on. */
void egress_drain(struct lane *lane);

struct egress_session;

/* A flow of the session has gone. */
void egress_session_reap_if_done(struct egress_session *s);

/* Closes what is left; the lane's flows are gone. */
void egress_stop(struct lane *lane);
