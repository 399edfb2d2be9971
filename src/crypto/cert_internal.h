/* SPDX-License-Identifier: Apache-2.0 */
/* cert_internal - what the files about certificates share. For src/crypto only. */
#pragma once

#include <openssl/x509.h>

#include "crypto/cert.h"

struct cert {
	X509 *x509;
	struct buf der;
};

/* DER of the names, borrowed; empty when OpenSSL cannot say. */
struct bytes cert_subject(const struct cert *c);
struct bytes cert_issuer(const struct cert *c);

/*
 * What holds for every certificate that is judged: X.509 v3, no unique ids, extensions that can be read
 * and stand there once, and no critical extension but those in the list. ERR_TRUST.
 */
int cert_check_form(const struct cert *c, struct err *e) MUST_CHECK;
