/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mint - the lab's own certificate authority, and the tokens that its attestation service signs.
 * spec: attestation.md 4.1, 4.2 and 4.4.
 *
 * A second authority, in which nobody has a reason to trust, signs what the fault "untrusted" asks for.
 *
 * Threads: any; what is const here does not change a mint.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "codec/json.h"

enum token_form { TOKEN_EAR, TOKEN_SIMPLE };

struct mint;

/* With the signers of both forms. */
struct mint *mint_new(int64_t now_unix, struct err *e);

/* With that of one form only: an RSA key, for simple tokens and for challenges, takes some 0.3 s to make. */
struct mint *mint_new_for(enum token_form form, int64_t now_unix, struct err *e);

/* Makes the signer of this form if there is none yet. */
int mint_prepare(struct mint *m, enum token_form form, struct err *e) MUST_CHECK;

void mint_free(struct mint *m);

/* Appends PEM: the authority's certificate, as in DIR/ca.pem. */
void mint_ca_pem(const struct mint *m, struct buf *out);

/* The signer's certificate for this form, then the authority's: what /certificate serves. */
void mint_chain_pem(const struct mint *m, enum token_form form, struct buf *out);

/* One piece of evidence that was verified. Borrowed. */
struct mint_entry {
	const char *tee;
	const struct json *evidence;
	const struct json *runtime_data; /* NULL: the request had none */
	bool affirming;
};

struct mint_options {
	enum token_form form;
	int64_t now_unix;
	unsigned lifetime_s;
	const struct mint_entry *entries;
	size_t entry_count;
	const char *const *policy_ids;
	size_t policy_count;

	bool expired;
	bool wrong_policy;
	bool wrong_key;
	bool wrong_signature;
	bool untrusted;
	bool no_x5c;
	bool padded_x5c;
};

/* Appends a token. The signer of its form must be there: else ERR_CONFIG. */
int mint_token(const struct mint *m, const struct mint_options *o, struct buf *jwt, struct err *e) MUST_CHECK;

/*
 * Appends {"extra-params":{"jwt":...},"nonce":...}, and the other way round: is this a challenge of ours?
 * Needs the signer of simple tokens; without it there are no challenges of ours.
 */
int mint_challenge(const struct mint *m, int64_t now_unix, struct buf *out, struct err *e) MUST_CHECK;
int mint_check_challenge(const struct mint *m, struct bytes jwt, int64_t now_unix, struct err *e) MUST_CHECK;
