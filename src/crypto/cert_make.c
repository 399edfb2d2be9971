/* SPDX-License-Identifier: Apache-2.0 */
/* cert_make - writing certificates: the RATS-TLS profile, and ordinary ones for the lab. */
#include "crypto/cert.h"
#include "crypto/cert_internal.h"
#include "crypto/key_internal.h"
#include "crypto/ossl.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>

#include "crypto/digest.h"

#define RATS_SERIAL 42
#define RATS_ORGANIZATION "Inclavare Containers"
#define RATS_COMMON_NAME "TNG"
#define ENDORSEMENT_OID "2.23.133.5.4.2"

#define KEY_ID_LEN 20
#define SERIAL_LEN 16

enum critical { NOT_CRITICAL, CRITICAL };

static const uint8_t not_a_ca[] = { 0x30, 0x00 };
static const uint8_t a_ca[] = { 0x30, 0x03, 0x01, 0x01, 0xff };
/* digitalSignature, nonRepudiation, keyEncipherment, keyAgreement */
static const uint8_t rats_key_usage[] = { 0x03, 0x02, 0x03, 0xe8 };
static const uint8_t ca_key_usage[] = { 0x03, 0x02, 0x01, 0x06 };     /* keyCertSign, cRLSign */
static const uint8_t signer_key_usage[] = { 0x03, 0x02, 0x07, 0x80 }; /* digitalSignature */

/* These return false with OpenSSL's reason in its queue. */
static bool add_extension(X509 *x509, const char *oid, enum critical critical, struct bytes value)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *content = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext = NULL;
	bool ok = false;

	if (object != NULL && content != NULL && ASN1_OCTET_STRING_set(content, value.data, (int)value.len) == 1)
		ext = X509_EXTENSION_create_by_OBJ(NULL, object, critical == CRITICAL, content);
	if (ext != NULL)
		ok = X509_add_ext(x509, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(content);
	ASN1_OBJECT_free(object);
	return ok;
}

static bool add_name_part(X509_NAME *name, int nid, const char *text)
{
	return text == NULL ||
	       X509_NAME_add_entry_by_NID(name, nid, V_ASN1_UTF8STRING, (const unsigned char *)text, -1, -1, 0) == 1;
}

/* RFC 5280, 4.2.1.2 (1): SHA-1 over the key's bits. An identifier, not a protection. */
static bool key_id_of(const X509 *x509, uint8_t id[KEY_ID_LEN])
{
	const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(x509);

	return bits != NULL && EVP_Digest(ASN1_STRING_get0_data(bits), (size_t)ASN1_STRING_length(bits), id, NULL,
					  EVP_sha1(), NULL) == 1;
}

static bool add_key_ids(X509 *x509, const uint8_t subject_id[KEY_ID_LEN], const uint8_t issuer_id[KEY_ID_LEN])
{
	uint8_t ski[2 + KEY_ID_LEN] = { 0x04, KEY_ID_LEN };
	uint8_t aki[4 + KEY_ID_LEN] = { 0x30, 2 + KEY_ID_LEN, 0x80, KEY_ID_LEN };

	memcpy(ski + 2, subject_id, KEY_ID_LEN);
	memcpy(aki + 4, issuer_id, KEY_ID_LEN);
	return add_extension(x509, "2.5.29.14", NOT_CRITICAL, bytes_of(ski, sizeof(ski))) &&
	       add_extension(x509, "2.5.29.35", NOT_CRITICAL, bytes_of(aki, sizeof(aki)));
}

static bool set_validity(X509 *x509, int64_t not_before, int64_t not_after)
{
	return ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)not_before) != NULL &&
	       ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)not_after) != NULL;
}

static bool append_der(X509 *x509, struct buf *out)
{
	unsigned char *der = NULL;
	int len = i2d_X509(x509, &der);

	if (len < 0)
		return false;
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return true;
}

static bool fill_rats_tls(X509 *x509, const struct rats_cert_options *options)
{
	X509_NAME *name = X509_get_subject_name(x509);
	uint8_t id[KEY_ID_LEN];

	if (X509_set_version(x509, X509_VERSION_3) != 1 ||
	    ASN1_INTEGER_set(X509_get_serialNumber(x509), RATS_SERIAL) != 1 ||
	    !add_name_part(name, NID_organizationName, RATS_ORGANIZATION) ||
	    !add_name_part(name, NID_commonName, RATS_COMMON_NAME) || X509_set_issuer_name(x509, name) != 1 ||
	    !set_validity(x509, options->not_before, options->not_after) ||
	    X509_set_pubkey(x509, key_pkey(options->key)) != 1 || !key_id_of(x509, id) || !add_key_ids(x509, id, id) ||
	    !add_extension(x509, "2.5.29.19", CRITICAL, bytes_of(not_a_ca, sizeof(not_a_ca))) ||
	    !add_extension(x509, "2.5.29.15", CRITICAL, bytes_of(rats_key_usage, sizeof(rats_key_usage))))
		return false;
	return options->evidence.len == 0 || (add_extension(x509, CERT_EVIDENCE_OID, NOT_CRITICAL, options->evidence) &&
					      add_extension(x509, ENDORSEMENT_OID, NOT_CRITICAL, bytes_of("", 0)));
}

int cert_make_rats_tls(const struct rats_cert_options *options, struct buf *der, struct err *e)
{
	X509 *x509 = NULL;
	int rc = -1;

	if (key_curve(options->key) == NULL || strcmp(key_curve(options->key), "P-256") != 0) {
		err_set(e, ERR_CONFIG, "a RATS-TLS certificate needs a P-256 key");
		goto out;
	}
	if (options->evidence.len > INT32_MAX) {
		err_set(e, ERR_LIMIT, "evidence of %zu bytes", options->evidence.len);
		goto out;
	}
	x509 = X509_new();
	if (x509 == NULL || !fill_rats_tls(x509, options) ||
	    X509_sign(x509, key_pkey(options->key), EVP_sha256()) == 0 || !append_der(x509, der)) {
		err_openssl(e, ERR_SYSTEM, "make a RATS-TLS certificate");
		goto out;
	}
	rc = 0;
out:
	X509_free(x509);
	return rc;
}

/* Positive, and of the same length each time. */
static bool set_random_serial(X509 *x509)
{
	uint8_t number[SERIAL_LEN];
	BIGNUM *serial;
	bool ok;

	random_bytes(number, sizeof(number));
	number[0] = (uint8_t)((number[0] & 0x7f) | 0x40);
	serial = BN_bin2bn(number, sizeof(number), NULL);
	ok = serial != NULL && BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x509)) != NULL;
	BN_free(serial);
	return ok;
}

static bool fill_issued(X509 *x509, const struct issue_options *options)
{
	X509_NAME *name = X509_get_subject_name(x509);
	const X509 *issuer = options->issuer == NULL ? x509 : options->issuer->x509;
	uint8_t subject_id[KEY_ID_LEN];
	uint8_t issuer_id[KEY_ID_LEN];

	if (X509_set_version(x509, X509_VERSION_3) != 1 || !set_random_serial(x509) ||
	    !add_name_part(name, NID_organizationName, options->organization) ||
	    !add_name_part(name, NID_commonName, options->common_name) ||
	    X509_set_issuer_name(x509, X509_get_subject_name(issuer)) != 1 ||
	    !set_validity(x509, options->not_before, options->not_after) ||
	    X509_set_pubkey(x509, key_pkey(options->subject_key)) != 1)
		return false;
	if (options->bare)
		return true;
	if (!key_id_of(x509, subject_id) || !key_id_of(issuer, issuer_id) || !add_key_ids(x509, subject_id, issuer_id))
		return false;
	if (options->is_ca)
		return add_extension(x509, "2.5.29.19", CRITICAL, bytes_of(a_ca, sizeof(a_ca))) &&
		       add_extension(x509, "2.5.29.15", CRITICAL, bytes_of(ca_key_usage, sizeof(ca_key_usage)));
	return add_extension(x509, "2.5.29.19", CRITICAL, bytes_of(not_a_ca, sizeof(not_a_ca))) &&
	       add_extension(x509, "2.5.29.15", CRITICAL, bytes_of(signer_key_usage, sizeof(signer_key_usage)));
}

/* The hash that goes with a key; NULL with Ed25519, which has its own. */
static const EVP_MD *digest_for(const struct key *k)
{
	const char *curve = key_curve(k);

	if (curve == NULL || strcmp(curve, "P-256") == 0)
		return EVP_sha256();
	if (strcmp(curve, "P-384") == 0)
		return EVP_sha384();
	return strcmp(curve, "P-521") == 0 ? EVP_sha512() : NULL;
}

int cert_issue(const struct issue_options *options, struct buf *der, struct err *e)
{
	const struct key *signer = options->issuer_key == NULL ? options->subject_key : options->issuer_key;
	struct key *expected = NULL;
	X509 *x509 = NULL;
	int rc = -1;

	if (options->issuer != NULL) {
		expected = cert_key(options->issuer, e);
		if (expected == NULL)
			goto out;
	}
	if (!key_equal_public(signer, expected == NULL ? options->subject_key : expected)) {
		err_set(e, ERR_CONFIG, "the signing key is not that of the issuer");
		goto out;
	}
	x509 = X509_new();
	if (x509 == NULL || !fill_issued(x509, options) || X509_sign(x509, key_pkey(signer), digest_for(signer)) == 0 ||
	    !append_der(x509, der)) {
		err_openssl(e, ERR_SYSTEM, "issue a certificate");
		goto out;
	}
	rc = 0;
out:
	X509_free(x509);
	key_free(expected);
	return rc;
}
