/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trust - what endorses the signer of a token: files, the service's own word, or nothing at all.
 *
 * Threads: any.
 */
#pragma once

#include "config/config.h"
#include "crypto/cert.h"

enum trust_source {
	TRUST_EMBEDDED, /* the key in the token as it is */
	TRUST_FILES,	/* trusted_certs_paths */
	TRUST_SERVICE,	/* GET /certificate */
};

/*
 * Which of them a configuration asks for. The loader has refused what would accept anything; this refuses it
 * once more, so that a mistake there is no open door.
 */
int trust_source_of(const struct verify_conf *conf, enum trust_source *source, struct err *e) MUST_CHECK;

/* Appends all certificates of all files. A file without any is an error. */
int trust_load_files(const struct string_list *paths, struct cert_list *list, struct err *e) MUST_CHECK;
