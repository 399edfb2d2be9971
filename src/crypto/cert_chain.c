/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cert_chain - does one of our anchors endorse this certificate?
 *
 * Written out by hand rather than left to X509_verify_cert(), whose purposes check more and other things
 * than the services' certificates were made for. The search goes from the leaf upwards, depth first: an
 * issuer is a candidate whose subject equals our issuer byte for byte and whose key verifies us. A path
 * ends at an anchor, of which nothing but name and key counts. What bounds it: MAX_INTERMEDIATES
 * candidates, each of them once in a path, and MAX_SIGNATURES verifications in all.
 */
#include "crypto/cert.h"
#include "crypto/cert_internal.h"
#include "crypto/key_internal.h"
#include "crypto/ossl.h"

#include <time.h>

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>

#define MAX_INTERMEDIATES 16
#define MAX_SIGNATURES 64

struct search {
	const struct cert_list *intermediates;
	const struct cert_list *anchors;
	int64_t now;
	bool used[MAX_INTERMEDIATES];
	unsigned signatures;
	struct err why; /* the first thing that spoiled a path; kind ERR_NONE while there is none */
};

/* Another path may still be good, but the first failure is what a person wants to read. */
static void remember(struct search *s, const struct err *e)
{
	if (s->why.kind == ERR_NONE)
		s->why = *e;
}

static const char *signature_name(const struct cert *c)
{
	int nid = X509_get_signature_nid(c->x509);

	return nid == NID_undef ? "of an unknown kind" : OBJ_nid2sn(nid);
}

static bool is_chain_algorithm(const struct cert *c, const struct key *issuer)
{
	const char *curve = key_curve(issuer);

	switch (X509_get_signature_nid(c->x509)) {
	case NID_sha256WithRSAEncryption:
	case NID_sha384WithRSAEncryption:
	case NID_sha512WithRSAEncryption:
		return strcmp(key_type(issuer), "RSA") == 0;
	case NID_ecdsa_with_SHA256:
	case NID_ecdsa_with_SHA384:
		return curve != NULL && (strcmp(curve, "P-256") == 0 || strcmp(curve, "P-384") == 0);
	}
	return false;
}

static int check_signature(struct search *s, const struct cert *c, const struct cert *issuer, struct err *e)
{
	struct key *key = cert_key(issuer, e);
	int rc = -1;

	if (key == NULL) {
		err_wrap(e, "the issuer's key");
		goto out;
	}
	if (!is_chain_algorithm(c, key)) {
		err_set(e, ERR_TRUST, "the chain has a signature that is not taken: %s", signature_name(c));
		goto out;
	}
	s->signatures++;
	if (X509_verify(c->x509, key_pkey(key)) != 1) {
		err_openssl(e, ERR_TRUST, "the chain has a wrong signature");
		goto out;
	}
	rc = 0;
out:
	key_free(key);
	return rc;
}

static bool time_of(const ASN1_TIME *time, int64_t *value)
{
	struct tm tm = { 0 };

	if (ASN1_TIME_to_tm(time, &tm) != 1) {
		ERR_clear_error();
		return false;
	}
	*value = timegm(&tm);
	return true;
}

static int check_validity(const struct cert *c, int64_t now, struct err *e)
{
	int64_t from;
	int64_t to;

	if (!time_of(X509_get0_notBefore(c->x509), &from) || !time_of(X509_get0_notAfter(c->x509), &to))
		return err_set(e, ERR_TRUST, "the chain has a certificate without readable dates");
	if (now < from)
		return err_set(e, ERR_TRUST, "the chain has a certificate that is not valid for %lld s yet",
			       (long long)(from - now));
	if (now > to)
		return err_set(e, ERR_TRUST, "the chain has a certificate that expired %lld s ago",
			       (long long)(now - to));
	return 0;
}

static bool has_name_constraints(const struct cert *c)
{
	return X509_get_ext_by_NID(c->x509, NID_name_constraints, -1) >= 0;
}

/* What leaf and intermediates have in common. */
static int check_member(const struct cert *c, int64_t now, struct err *e)
{
	uint32_t flags = X509_get_extension_flags(c->x509);

	if (cert_check_form(c, e) != 0)
		return -1;
	if (check_validity(c, now, e) != 0)
		return -1;
	if ((flags & EXFLAG_XKUSAGE) != 0 && (X509_get_extended_key_usage(c->x509) & XKU_SSL_CLIENT) == 0)
		return err_set(e, ERR_TRUST, "the chain has an extendedKeyUsage without clientAuth");
	if (has_name_constraints(c))
		return err_set(e, ERR_TRUST, "the chain has name constraints, which we do not evaluate");
	return 0;
}

static int check_leaf(const struct cert *c, int64_t now, struct err *e)
{
	if (check_member(c, now, e) != 0)
		return -1;
	if ((X509_get_extension_flags(c->x509) & EXFLAG_CA) != 0)
		return err_set(e, ERR_TRUST, "the signer's certificate is that of a CA");
	return 0;
}

/* below: how many intermediates stand between this one and the leaf. */
static int check_intermediate(const struct cert *c, size_t below, int64_t now, struct err *e)
{
	long limit = X509_get_pathlen(c->x509);

	if (check_member(c, now, e) != 0)
		return -1;
	if ((X509_get_extension_flags(c->x509) & EXFLAG_CA) == 0)
		return err_set(e, ERR_TRUST, "the chain has an issuer that is no CA");
	if (limit >= 0 && below > (size_t)limit)
		return err_set(e, ERR_TRUST, "the chain is longer than an issuer's path length allows");
	return 0;
}

static int check_anchor(struct search *s, const struct cert *c, const struct cert *anchor, struct err *e)
{
	if (has_name_constraints(anchor))
		return err_set(e, ERR_TRUST, "the trust anchor has name constraints, which we do not evaluate");
	return check_signature(s, c, anchor, e);
}

static bool ends_at_anchor(struct search *s, const struct cert *c)
{
	struct err e = { 0 };

	for (size_t i = 0; i < s->anchors->count && s->signatures < MAX_SIGNATURES; i++) {
		const struct cert *anchor = s->anchors->items[i];

		if (!bytes_equal(cert_issuer(c), cert_subject(anchor)))
			continue;
		if (check_anchor(s, c, anchor, &e) == 0)
			return true;
		remember(s, &e);
	}
	return false;
}

/* The depth is bounded by MAX_INTERMEDIATES. */
static bool leads_to_anchor(struct search *s, const struct cert *c, size_t below)
{
	struct err e = { 0 };

	if (ends_at_anchor(s, c))
		return true;
	for (size_t i = 0; i < s->intermediates->count && s->signatures < MAX_SIGNATURES; i++) {
		const struct cert *issuer = s->intermediates->items[i];
		bool found;

		if (s->used[i] || !bytes_equal(cert_issuer(c), cert_subject(issuer)))
			continue;
		if (check_intermediate(issuer, below, s->now, &e) != 0 || check_signature(s, c, issuer, &e) != 0) {
			remember(s, &e);
			continue;
		}
		s->used[i] = true;
		found = leads_to_anchor(s, issuer, below + 1);
		s->used[i] = false;
		if (found)
			return true;
	}
	return false;
}

int cert_check_chain(const struct cert *leaf, const struct cert_list *intermediates, const struct cert_list *anchors,
		     int64_t now_unix, struct err *e)
{
	struct search s = { .intermediates = intermediates, .anchors = anchors, .now = now_unix };

	if (intermediates->count > MAX_INTERMEDIATES)
		return err_set(e, ERR_LIMIT, "a chain of %zu certificates: at most %d", intermediates->count + 1,
			       MAX_INTERMEDIATES + 1);
	if (anchors->count == 0)
		return err_set(e, ERR_TRUST, "there is no trust anchor");
	if (check_leaf(leaf, now_unix, e) != 0)
		return -1;
	if (leads_to_anchor(&s, leaf, 0))
		return 0;
	if (s.signatures >= MAX_SIGNATURES)
		return err_set(e, ERR_LIMIT, "the chain needs more than %d signature checks", MAX_SIGNATURES);
	if (s.why.kind == ERR_NONE)
		return err_set(e, ERR_TRUST, "no trust anchor has issued it");
	*e = s.why;
	e->kind = ERR_TRUST;
	return -1;
}
