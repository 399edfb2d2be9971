/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cert - X.509 certificates: reading, chains for the signer of a token, and making RATS-TLS ones.
 *
 * Threads: any; a certificate is constant.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/key.h"

/* The extension that holds evidence or a token; its content is the business of attest/evidence.h. */
#define CERT_EVIDENCE_OID "2.23.133.5.4.9"

struct cert;

struct cert *cert_from_der(struct bytes der, struct err *e);
void cert_free(struct cert *c);

/* A set of certificates in order; {0} is empty. */
struct cert_list {
	struct cert **items;
	size_t count;
};

/* Appends every certificate of the PEM text; none at all is an error. */
int cert_list_add_pem(struct cert_list *l, struct bytes pem, struct err *e) MUST_CHECK;
/* takes c. */
void cert_list_add(struct cert_list *l, struct cert *c);
void cert_list_release(struct cert_list *l);

/* Borrowed from c. */
struct bytes cert_der(const struct cert *c);
void cert_sha256(const struct cert *c, uint8_t out[32]);
int cert_spki(const struct cert *c, struct buf *out, struct err *e) MUST_CHECK;
/* gives a key. */
struct key *cert_key(const struct cert *c, struct err *e);

/* Content of the first extension with this dotted OID (the extnValue's octets), borrowed; false if absent. */
bool cert_extension(const struct cert *c, const char *oid, struct bytes *value);

/* spec rats-tls.md 7.2 steps 2 and 3: issuer == subject, and the signature verifies with its own key. */
int cert_check_self_signed(const struct cert *c, struct err *e) MUST_CHECK;

/* spec attestation.md 4.4: leaf, its candidate intermediates, anchors, at a moment. ERR_TRUST when refused. */
int cert_check_chain(const struct cert *leaf, const struct cert_list *intermediates, const struct cert_list *anchors,
		     int64_t now_unix, struct err *e) MUST_CHECK;

struct rats_cert_options {
	const struct key *key;
	struct bytes evidence; /* content of CERT_EVIDENCE_OID; empty: neither of the two extensions */
	int64_t not_before;
	int64_t not_after;
	bool no_skid; /* unused by RATS-TLS */
};

/* The profile of rats-tls.md section 2: serial 42, O and CN, SKI, AKI, ... Appends DER. */
int cert_make_rats_tls(const struct rats_cert_options *options, struct buf *der, struct err *e) MUST_CHECK;

/* An ordinary certificate: for the lab's CA and signer. issuer NULL: self-signed with key. */
struct issue_options {
	const char *common_name;
	const char *organization;
	const struct key *subject_key;
	const struct key *issuer_key; /* NULL: subject_key */
	const struct cert *issuer;    /* NULL: self-signed */
	bool is_ca;
	bool bare; /* no extension at all, like the signer of a Trustee demonstration */
	int64_t not_before;
	int64_t not_after;
};
int cert_issue(const struct issue_options *options, struct buf *der, struct err *e) MUST_CHECK;
