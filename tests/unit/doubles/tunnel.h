/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tunnel - what a test of sessions needs: a worker, the other gateway, somebody who judges it, and how it is to be
 * dialed. All of it on the loop of a trial, whose peer the other gateway is.
 *
 * Threads: the loop's.
 */
#pragma once

#include "far_end.h"
#include "io/pool.h"
#include "io/worker.h"
#include "metrics/counters.h"
#include "trial.h"
#include "tunnel/rats_tls/session.h"

#include <stdatomic.h>

struct tunnel {
	struct trial *trial;
	struct worker worker;
	struct pool_budget budget;
	struct counters counters;
	struct identity *identity; /* with the evidence of trial->peer */
	struct far_end far;
	struct secure_side side;
	struct verdict_cache *cache;
	struct verifier *verifier; /* NULL: the peer is not judged */
	struct verify_conf far_conf;
	struct verifier *far_verifier; /* NULL: we are not judged */
	struct sock_options sock;
	atomic_size_t descriptors;
	struct session_options options; /* to the far end */
};

/* Once for all tests. -1: no cipher. */
int tunnel_init(void);

/* trial has begun. The far end may be changed until it is opened. */
void tunnel_begin(struct tunnel *x, struct trial *trial);
/* Sessions are gone, and nothing of theirs is left: what was borrowed has been given back. */
void tunnel_end(struct tunnel *x);

/* The far end listens, options lead there. */
void tunnel_open(struct tunnel *x);
/* The same; and it is judged as trial->conf says, by trial->service, whose signature needs no anchor. */
void tunnel_open_verified(struct tunnel *x);

/* Before one of the two: the far end wants a certificate, and we have none. It says so when our handshake is over. */
void tunnel_want_certificate(struct tunnel *x);
