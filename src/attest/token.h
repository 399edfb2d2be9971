/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token - is this a token that we believe, and what does it say? spec: attestation.md 4.
 *
 * Signature, endorsement of the signer, times, form (simple or EAR), policies, key binding: in this order;
 * the first failure ends it with its reason.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "config/config.h"
#include "crypto/cert.h"
#include "metrics/reason.h"

/* How the signer's key is endorsed. */
enum token_trust {
	TOKEN_TRUST_ANCHORS,  /* x5c chains to one of anchors */
	TOKEN_TRUST_EMBEDDED, /* the header's jwk as it is: skip_as_token_cert_verify, or our own connection over gRPC
			       */
};

struct token_rules {
	enum token_trust trust;
	const struct cert_list *anchors;
	const struct string_list *policy_ids; /* each must be named by the token; never empty */
	enum binding binding;
	struct bytes spki;	    /* of the peer's certificate */
	struct bytes claims_buffer; /* of the peer's certificate: legacy binding */
	int64_t now_unix;
};

struct token_claims {
	int64_t expires_unix; /* exp */
	char tee[32];	      /* of the first or cpu0 submodule; "" when the token does not say */
	char policies[96];    /* the named policy ids, joined by ',' */
};

int token_verify(struct bytes jwt, const struct token_rules *rules, struct token_claims *out, enum reason *reason,
		 struct err *e) MUST_CHECK;

/* exp of a token that was not verified: when our own passport ends. */
int token_peek_expiry(struct bytes jwt, int64_t *expires_unix, struct err *e) MUST_CHECK;
