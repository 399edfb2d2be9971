/* SPDX-License-Identifier: Apache-2.0 */
/* identity - what we present in a handshake. */
#include "attest/identity.h"

#include <stdlib.h>

#include "base/clock.h"
#include "crypto/cert.h"

/* RFC 5280, 4.1.2.5: 9999-12-31T23:59:59Z stands for no expiry. */
#define NO_EXPIRY 253402300799

struct identity *identity_new(const struct identity_options *options, struct err *e)
{
	struct identity *id = mem_new_of(struct identity);
	struct rats_cert_options cert = {
		.key = options->key,
		.evidence = options->evidence,
		.not_before = options->not_before,
		.not_after = options->not_after,
	};

	ref_init(&id->ref);
	id->expires_unix = options->expires_unix;
	if (strlen(options->tee) >= sizeof(id->tee)) {
		err_set(e, ERR_PEER, "the TEE's name is too long: '%.40s'", options->tee);
		goto failed;
	}
	memcpy(id->tee, options->tee, strlen(options->tee) + 1);
	if (cert_make_rats_tls(&cert, &id->cert_der, e) != 0)
		goto failed;
	if (key_pkcs8(options->key, &id->key_der, e) != 0)
		goto failed;
	return id;
failed:
	identity_unref(id);
	return NULL;
}

struct identity *identity_new_dummy(struct err *e)
{
	struct key *key = key_new_p256(e);
	struct identity *id;

	if (key == NULL)
		return NULL;
	id = identity_new(&(struct identity_options){ .key = key,
						      .tee = "",
						      .not_before = clock_unix(),
						      .not_after = NO_EXPIRY,
						      .expires_unix = INT64_MAX },
			  e);
	key_free(key);
	return id;
}

struct identity *identity_ref(struct identity *id)
{
	ref_get(&id->ref);
	return id;
}

void identity_unref(struct identity *id)
{
	if (id == NULL || !ref_put(&id->ref))
		return;
	buf_release(&id->cert_der);
	buf_release_secret(&id->key_der);
	free(id);
}
