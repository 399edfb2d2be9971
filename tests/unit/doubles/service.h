/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service - plays an attestation service, REST or gRPC, on the test's own loop. It believes all evidence.
 *
 * Threads: the loop's.
 */
#pragma once

#include "lab/mint.h"
#include "web.h"

#define SERVICE_HELD_MAX 512

enum service_mode {
	SERVICE_SERVE,
	SERVICE_HOLD,	    /* keeps requests until service_release() */
	SERVICE_REFUSE,	    /* status 500, gRPC 10 */
	SERVICE_GARBAGE,    /* status 200 with no token */
	SERVICE_OLD_LAYOUT, /* knows 1.5.2 only */
};

struct service {
	struct web web;
	const struct mint *mint;
	enum service_mode mode;
	struct mint_options token; /* form, faults, lifetime_s (300 when 0) */
	const char *policies[2];   /* "default" */
	bool no_certificates;	   /* GET /certificate: 404 */
	unsigned evaluations;	   /* requests for a token, each layout by itself */
	unsigned certificates;
	char *last_head; /* of the last request */
	struct web_request *held[SERVICE_HELD_MAX];
	unsigned held_count;
};

void service_start(struct service *s, struct loop *l, const struct mint *mint);
void service_start_grpc(struct service *s, struct loop *l, const struct mint *mint);
void service_stop(struct service *s);

/* Answers all that was held, in the order in which it came. */
void service_release(struct service *s);
