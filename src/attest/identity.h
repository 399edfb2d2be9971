/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity - what we present in a handshake: a certificate and its key.
 *
 * Constant once published; shared by all workers.
 *
 * Threads: any.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/ref.h"

struct key;

struct identity {
	struct ref ref;
	struct buf cert_der;
	struct buf key_der;   /* PKCS#8; wiped on release */
	int64_t expires_unix; /* when it may no longer be presented */
	char tee[32];	      /* "tdx", "sample", ... ; "" for the dummy */
};

struct identity_options {
	const struct key *key; /* P-256 */
	struct bytes evidence; /* content of the extension; empty: none */
	int64_t not_before;
	int64_t not_after;
	int64_t expires_unix;
	const char *tee;
};

/* Makes the certificate. */
struct identity *identity_new(const struct identity_options *options, struct err *e);

/* A self-signed P-256 certificate without evidence, for no_ra and for an entry that only verifies. */
struct identity *identity_new_dummy(struct err *e);

/* unref takes NULL too. */
struct identity *identity_ref(struct identity *id);
void identity_unref(struct identity *id);
