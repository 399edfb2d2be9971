/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secure_side - what all connections of an entry on one worker have in common: what they show, what they ask of the
 * peer, and how long they wait.
 *
 * Threads: the worker, and before it runs any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "crypto/tls.h"

struct attester;
struct identity;
struct verifier;
struct worker;

struct secure_side {
	/* The caller's, who keeps what they point to; set before init. */
	struct worker *worker;
	enum tls_role role;
	const char *name; /* "add_egress[0]", for messages */
	unsigned alpn;
	struct attester *attester; /* NULL: we present the dummy */
	struct identity *dummy;	   /* server without attester; NULL for a client, which then presents nothing */
	struct verifier *verifier; /* NULL: the peer is not judged */
	unsigned first_byte_ms;
	unsigned handshake_ms;
	unsigned verify_ms;
	size_t certificate_size;
	bool libssl_records; /* libssl goes on after the handshake, instead of crypto/record.h */

	struct tls_config *config;
	struct identity *shown; /* what config presents now */
};

int secure_side_init(struct secure_side *s, struct err *e) MUST_CHECK;
void secure_side_release(struct secure_side *s);

/* What the handshakes that begin from now on present. */
int secure_side_show(struct secure_side *s, struct identity *id, struct err *e) MUST_CHECK;
