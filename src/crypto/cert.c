/* SPDX-License-Identifier: Apache-2.0 */
/* cert - reading certificates. */
#include "crypto/cert.h"
#include "crypto/cert_internal.h"
#include "crypto/key_internal.h"
#include "crypto/ossl.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "crypto/digest.h"

/* Extensions whose meaning we either check or may leave aside, as upstream does. */
static const int known_critical[] = {
	NID_basic_constraints,
	NID_key_usage,
	NID_ext_key_usage,
	NID_subject_alt_name,
};

struct cert *cert_from_der(struct bytes der, struct err *e)
{
	const unsigned char *at = der.data;
	X509 *x509 = NULL;
	struct cert *c = NULL;

	if (der.len > INT_MAX) {
		err_set(e, ERR_LIMIT, "a certificate of %zu bytes", der.len);
		goto out;
	}
	x509 = d2i_X509(NULL, &at, (long)der.len);
	if (x509 == NULL) {
		err_openssl(e, ERR_PEER, "read a certificate");
		goto out;
	}
	if (at != der.data + der.len) {
		err_set(e, ERR_PEER, "read a certificate: bytes after its end");
		goto out;
	}
	/* OpenSSL keeps what it has found out about the extensions: have it look before others share it. */
	X509_get_extension_flags(x509);
	ERR_clear_error();
	c = mem_new_of(struct cert);
	c->x509 = x509;
	x509 = NULL;
	buf_append_bytes(&c->der, der);
out:
	X509_free(x509);
	return c;
}

void cert_free(struct cert *c)
{
	if (c == NULL)
		return;
	X509_free(c->x509);
	buf_release(&c->der);
	free(c);
}

void cert_list_add(struct cert_list *l, struct cert *c)
{
	l->items = mem_resize(l->items, (l->count + 1) * sizeof(*l->items));
	l->items[l->count++] = c;
}

void cert_list_release(struct cert_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		cert_free(l->items[i]);
	free(l->items);
	*l = (struct cert_list){ 0 };
}

/* The next block of a PEM text. 1 and its content; 0 at the end; -1 when it is broken. */
static int next_pem_block(BIO *text, bool *is_cert, struct buf *der, struct err *e)
{
	char *name = NULL;
	char *header = NULL;
	unsigned char *data = NULL;
	unsigned long why;
	long len = 0;

	if (PEM_read_bio(text, &name, &header, &data, &len) != 1) {
		why = ERR_peek_last_error();
		if (ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE) {
			ERR_clear_error();
			return 0;
		}
		return err_openssl(e, ERR_PEER, "read PEM");
	}
	*is_cert = strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0;
	buf_clear(der);
	if (*is_cert)
		buf_append(der, data, (size_t)len);
	/* The file may hold a private key as well. */
	OPENSSL_clear_free(data, (size_t)len);
	OPENSSL_free(header);
	OPENSSL_free(name);
	return 1;
}

static int read_pem_certs(BIO *text, struct cert_list *found, struct err *e)
{
	struct buf der = { 0 };
	bool is_cert = false;
	int rc;

	for (rc = next_pem_block(text, &is_cert, &der, e); rc == 1; rc = next_pem_block(text, &is_cert, &der, e)) {
		struct cert *c;

		if (!is_cert)
			continue;
		c = cert_from_der(buf_bytes(&der), e);
		if (c == NULL) {
			rc = err_wrap(e, "certificate %zu of the PEM text", found->count + 1);
			break;
		}
		cert_list_add(found, c);
	}
	buf_release(&der);
	if (rc == 0 && found->count == 0)
		return err_set(e, ERR_PEER, "no certificate in the PEM text");
	return rc;
}

int cert_list_add_pem(struct cert_list *l, struct bytes pem, struct err *e)
{
	struct cert_list found = { 0 };
	BIO *text = NULL;
	int rc = -1;

	if (pem.len > INT_MAX) {
		err_set(e, ERR_LIMIT, "a PEM text of %zu bytes", pem.len);
		goto out;
	}
	text = BIO_new_mem_buf(pem.len == 0 ? "" : (const void *)pem.data, (int)pem.len);
	if (text == NULL) {
		err_openssl(e, ERR_SYSTEM, "read PEM");
		goto out;
	}
	rc = read_pem_certs(text, &found, e);
	for (size_t i = 0; rc == 0 && i < found.count; i++) {
		cert_list_add(l, found.items[i]);
		found.items[i] = NULL;
	}
out:
	BIO_free(text);
	cert_list_release(&found);
	return rc;
}

struct bytes cert_der(const struct cert *c)
{
	return buf_bytes(&c->der);
}

void cert_sha256(const struct cert *c, uint8_t out[32])
{
	digest_compute(DIGEST_SHA256, cert_der(c), out);
}

int cert_spki(const struct cert *c, struct buf *out, struct err *e)
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->x509), &der);

	if (len < 0)
		return err_openssl(e, ERR_PEER, "read the certificate's public key");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return 0;
}

struct key *cert_key(const struct cert *c, struct err *e)
{
	EVP_PKEY *pkey = X509_get_pubkey(c->x509);
	struct key *k;

	if (pkey == NULL) {
		err_openssl(e, ERR_PEER, "read the certificate's public key");
		return NULL;
	}
	k = key_admit(pkey, e);
	if (k == NULL)
		EVP_PKEY_free(pkey);
	return k;
}

bool cert_extension(const struct cert *c, const char *oid, struct bytes *value)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	const ASN1_OCTET_STRING *content;
	int at = -1;

	if (object != NULL)
		at = X509_get_ext_by_OBJ(c->x509, object, -1);
	ASN1_OBJECT_free(object);
	if (at < 0) {
		ERR_clear_error();
		return false;
	}
	content = X509_EXTENSION_get_data(X509_get_ext(c->x509, at));
	*value = bytes_of(ASN1_STRING_get0_data(content), (size_t)ASN1_STRING_length(content));
	return true;
}

static struct bytes name_der(const X509_NAME *name)
{
	const unsigned char *der = NULL;
	size_t len = 0;

	if (X509_NAME_get0_der(name, &der, &len) != 1)
		return bytes_of(NULL, 0);
	return bytes_of(der, len);
}

struct bytes cert_subject(const struct cert *c)
{
	return name_der(X509_get_subject_name(c->x509));
}

struct bytes cert_issuer(const struct cert *c)
{
	return name_der(X509_get_issuer_name(c->x509));
}

static bool is_known_critical(int nid)
{
	for (size_t i = 0; i < ARRAY_SIZE(known_critical); i++) {
		if (known_critical[i] == nid)
			return true;
	}
	return false;
}

int cert_check_form(const struct cert *c, struct err *e)
{
	const ASN1_BIT_STRING *issuer_id = NULL;
	const ASN1_BIT_STRING *subject_id = NULL;

	if (X509_get_version(c->x509) != X509_VERSION_3)
		return err_set(e, ERR_TRUST, "the certificate is not X.509 v3");
	X509_get0_uids(c->x509, &issuer_id, &subject_id);
	if (issuer_id != NULL || subject_id != NULL)
		return err_set(e, ERR_TRUST, "the certificate has a unique identifier");
	if ((X509_get_extension_flags(c->x509) & EXFLAG_INVALID) != 0) {
		ERR_clear_error();
		return err_set(e, ERR_TRUST, "the certificate has an extension that cannot be read");
	}
	for (int i = 0; i < X509_get_ext_count(c->x509); i++) {
		X509_EXTENSION *ext = X509_get_ext(c->x509, i);
		char oid[80];

		if (!X509_EXTENSION_get_critical(ext) || is_known_critical(OBJ_obj2nid(X509_EXTENSION_get_object(ext))))
			continue;
		OBJ_obj2txt(oid, sizeof(oid), X509_EXTENSION_get_object(ext), 1);
		return err_set(e, ERR_TRUST, "the certificate has the unknown critical extension %s", oid);
	}
	return 0;
}

static bool is_self_signature_algorithm(int nid, const struct key *key)
{
	switch (nid) {
	case NID_sha256WithRSAEncryption:
	case NID_sha384WithRSAEncryption:
	case NID_sha512WithRSAEncryption:
		return true; /* OpenSSL refuses when the key is none */
	case NID_ecdsa_with_SHA256:
		return key_curve(key) != NULL && strcmp(key_curve(key), "P-256") == 0;
	}
	return false;
}

int cert_check_self_signed(const struct cert *c, struct err *e)
{
	struct key *key = NULL;
	int rc = -1;

	if (cert_check_form(c, e) != 0)
		goto out;
	if (!bytes_equal(cert_subject(c), cert_issuer(c))) {
		err_set(e, ERR_TRUST, "the certificate is not self-signed: issuer and subject differ");
		goto out;
	}
	key = cert_key(c, e);
	if (key == NULL)
		goto out;
	if (!is_self_signature_algorithm(X509_get_signature_nid(c->x509), key)) {
		err_set(e, ERR_TRUST, "the certificate's signature algorithm is none of ours: %s",
			OBJ_nid2sn(X509_get_signature_nid(c->x509)));
		goto out;
	}
	if (X509_verify(c->x509, key_pkey(key)) != 1) {
		err_openssl(e, ERR_TRUST, "the certificate's self-signature is wrong");
		goto out;
	}
	rc = 0;
out:
	key_free(key);
	return rc;
}
