/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains. The certificates that we would never issue are made with OpenSSL here: each test changes one
 * thing in a chain that is accepted.
 */
#include "crypto/cert.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "../vectors.h"

#define NOW 1800000000
#define DAY 86400

struct extension {
	const char *name;
	const char *value; /* as in openssl.cnf */
};

/* Zero stands for the usual: version 3, SHA-256, a day around NOW. */
struct recipe {
	const char *subject;
	const char *issuer;
	EVP_PKEY *key;
	EVP_PKEY *signer;
	struct extension extensions[4];
	const char *md;
	long version;
	int64_t from;
	int64_t to;
};

static EVP_PKEY *key_a;
static EVP_PKEY *key_b;
static EVP_PKEY *key_c;
static EVP_PKEY *key_d;

static int set_up(void **state)
{
	(void)state;
	key_a = EVP_EC_gen("P-256");
	key_b = EVP_EC_gen("P-256");
	key_c = EVP_EC_gen("P-384");
	key_d = EVP_RSA_gen(2048);
	return key_a == NULL || key_b == NULL || key_c == NULL || key_d == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	EVP_PKEY_free(key_a);
	EVP_PKEY_free(key_b);
	EVP_PKEY_free(key_c);
	EVP_PKEY_free(key_d);
	return 0;
}

static void set_name(X509_NAME *name, const char *text)
{
	X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_UTF8STRING, (const unsigned char *)text, -1, -1, 0);
}

static X509 *bake(const struct recipe *r)
{
	X509 *x = X509_new();
	X509V3_CTX ctx;

	X509_set_version(x, r->version == 0 ? X509_VERSION_3 : r->version - 1);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	set_name(X509_get_subject_name(x), r->subject);
	set_name(X509_get_issuer_name(x), r->issuer);
	ASN1_TIME_set(X509_getm_notBefore(x), r->from == 0 ? NOW - DAY : r->from);
	ASN1_TIME_set(X509_getm_notAfter(x), r->to == 0 ? NOW + DAY : r->to);
	X509_set_pubkey(x, r->key);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(r->extensions) && r->extensions[i].name != NULL; i++) {
		X509_EXTENSION *ext = X509V3_EXT_nconf(NULL, &ctx, r->extensions[i].name, r->extensions[i].value);

		assert_non_null(ext);
		X509_add_ext(x, ext, -1);
		X509_EXTENSION_free(ext);
	}
	assert_true(X509_sign(x, r->signer, r->md == NULL ? EVP_sha256() : EVP_get_digestbyname(r->md)) > 0);
	return x;
}

static struct cert *make(const struct recipe *r)
{
	X509 *x = bake(r);
	unsigned char *der = NULL;
	int len = i2d_X509(x, &der);
	struct err e = { 0 };
	struct cert *c = cert_from_der(bytes_of(der, (size_t)len), &e);

	if (c == NULL)
		fail_msg("%s: %s", r->subject, e.text);
	OPENSSL_free(der);
	X509_free(x);
	return c;
}

/* The first count recipes are anchors, the next one the leaf, the rest intermediates. Gives the error's text. */
static int check(const struct recipe *recipes, size_t anchors, size_t count, struct err *e)
{
	struct cert_list anchor_list = { 0 };
	struct cert_list rest = { 0 };
	struct cert *leaf = make(&recipes[anchors]);
	int rc;

	for (size_t i = 0; i < anchors; i++)
		cert_list_add(&anchor_list, make(&recipes[i]));
	for (size_t i = anchors + 1; i < count; i++)
		cert_list_add(&rest, make(&recipes[i]));
	*e = (struct err){ 0 };
	rc = cert_check_chain(leaf, &rest, &anchor_list, NOW, e);
	cert_free(leaf);
	cert_list_release(&anchor_list);
	cert_list_release(&rest);
	return rc;
}

static void assert_accepted(const struct recipe *recipes, size_t anchors, size_t count)
{
	struct err e;

	if (check(recipes, anchors, count, &e) != 0)
		fail_msg("refused: %s", e.text);
}

static void assert_refused(const struct recipe *recipes, size_t anchors, size_t count, const char *why)
{
	struct err e;

	if (check(recipes, anchors, count, &e) == 0)
		fail_msg("accepted where this was expected: %s", why);
	assert_int_equal(e.kind, ERR_TRUST);
	if (strstr(e.text, why) == NULL)
		fail_msg("refused with '%s' where this was expected: %s", e.text, why);
}

#define CA                                                                                                             \
	{                                                                                                              \
		"basicConstraints", "critical,CA:TRUE"                                                                 \
	}
#define CA_0                                                                                                           \
	{                                                                                                              \
		"basicConstraints", "critical,CA:TRUE,pathlen:0"                                                       \
	}

/* anchor R, leaf L issued by I, intermediate I issued by R */
#define CHAIN                                                                                                          \
	{                                                                                                              \
		{ .subject = "R", .issuer = "R", .key = key_a, .signer = key_a, .extensions = { CA } },                \
			{ .subject = "L", .issuer = "I", .key = key_c, .signer = key_b },                              \
			{ .subject = "I", .issuer = "R", .key = key_b, .signer = key_a, .extensions = { CA } },        \
	}
enum { ROOT, LEAF, MIDDLE };

static void a_chain_is_accepted(void **state)
{
	const struct recipe chain[] = CHAIN;
	const struct recipe direct[] = {
		{ .subject = "R", .issuer = "R", .key = key_a, .signer = key_a, .extensions = { CA } },
		{ .subject = "L", .issuer = "R", .key = key_c, .signer = key_a },
	};

	(void)state;
	assert_accepted(chain, 1, 3);
	assert_accepted(direct, 1, 2);
}

static void without_its_intermediate_it_is_refused(void **state)
{
	const struct recipe chain[] = CHAIN;

	(void)state;
	assert_refused(chain, 1, 2, "no trust anchor has issued it");
}

static void without_an_anchor_it_is_refused(void **state)
{
	const struct recipe chain[] = CHAIN;

	(void)state;
	assert_refused(chain + 1, 0, 2, "there is no trust anchor");
}

static void the_chain_may_hold_its_root_and_strangers(void **state)
{
	const struct recipe chain[] = {
		{ .subject = "X", .issuer = "X", .key = key_c, .signer = key_c, .extensions = { CA } },
		{ .subject = "R", .issuer = "R", .key = key_c, .signer = key_c, .extensions = { CA } }, /* same name */
		{ .subject = "R", .issuer = "R", .key = key_a, .signer = key_a, .extensions = { CA } },
		{ .subject = "L", .issuer = "I", .key = key_c, .signer = key_b },
		{ .subject = "R", .issuer = "R", .key = key_a, .signer = key_a, .extensions = { CA } },
		{ .subject = "I", .issuer = "R", .key = key_c, .signer = key_a, .extensions = { CA } }, /* same name */
		{ .subject = "I", .issuer = "R", .key = key_b, .signer = key_a, .extensions = { CA } },
		{ .subject = "Y", .issuer = "R", .key = key_b, .signer = key_a },
	};

	(void)state;
	assert_accepted(chain, 3, ARRAY_SIZE(chain));
}

static void an_anchor_counts_by_name_and_key_only(void **state)
{
	struct recipe chain[] = CHAIN;

	(void)state;
	chain[ROOT].extensions[0] = (struct extension){ "basicConstraints", "critical,CA:FALSE" };
	chain[ROOT].extensions[1] = (struct extension){ "extendedKeyUsage", "serverAuth" };
	chain[ROOT].extensions[2] = (struct extension){ "1.2.3.4", "critical,DER:0500" };
	chain[ROOT].to = NOW - 1;
	assert_accepted(chain, 1, 3);
	chain[ROOT] = (struct recipe){
		.subject = "R", .issuer = "elsewhere", .key = key_a, .signer = key_c, .version = 1, .md = "SHA1"
	};
	assert_accepted(chain, 1, 3);
}

/* A signer without a CA that stands in /certificate itself. */
static void a_self_signed_leaf_is_its_own_anchor_unless_it_is_a_ca(void **state)
{
	struct recipe both[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		both[i] = (struct recipe){ .subject = "L",
					   .issuer = "L",
					   .key = key_a,
					   .signer = key_a,
					   .extensions = { { "basicConstraints", "critical,CA:FALSE" } } };
	assert_accepted(both, 1, 2);
	for (int i = 0; i < 2; i++)
		both[i].extensions[0] = (struct extension)CA;
	assert_refused(both, 1, 2, "that of a CA");
}

/* What 2.8.0 and 2.12.0 do, too: being listed is not being issued. */
static void an_issued_leaf_is_not_its_own_anchor(void **state)
{
	const struct recipe both[] = {
		{ .subject = "L", .issuer = "R", .key = key_c, .signer = key_a },
		{ .subject = "L", .issuer = "R", .key = key_c, .signer = key_a },
	};

	(void)state;
	assert_refused(both, 1, 2, "no trust anchor has issued it");
}

static void names_are_compared_byte_for_byte(void **state)
{
	struct recipe chain[] = CHAIN;

	(void)state;
	chain[ROOT].subject = "r";
	assert_refused(chain, 1, 3, "no trust anchor has issued it");
	chain[ROOT].subject = "R ";
	assert_refused(chain, 1, 3, "no trust anchor has issued it");
}

static void a_wrong_signature_is_refused(void **state)
{
	struct recipe chain[] = CHAIN;

	(void)state;
	chain[LEAF].signer = key_a;
	assert_refused(chain, 1, 3, "wrong signature");
	chain[LEAF].signer = key_b;
	chain[MIDDLE].signer = key_b;
	assert_refused(chain, 1, 3, "wrong signature");
	chain[MIDDLE].signer = key_a;
	chain[ROOT].key = key_b;
	assert_refused(chain, 1, 3, "wrong signature");
}

static void dates_of_leaf_and_intermediates_count(void **state)
{
	static const size_t places[] = { LEAF, MIDDLE };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct recipe chain[] = CHAIN;

		chain[places[i]].from = NOW;
		chain[places[i]].to = NOW;
		assert_accepted(chain, 1, 3);
		chain[places[i]].from = NOW + 1;
		chain[places[i]].to = 0;
		assert_refused(chain, 1, 3, "not valid for 1 s yet");
		chain[places[i]].from = 0;
		chain[places[i]].to = NOW - 1;
		assert_refused(chain, 1, 3, "expired 1 s ago");
		chain[places[i]].to = 253402300799;
		assert_accepted(chain, 1, 3);
	}
}

static void an_intermediate_must_be_a_ca(void **state)
{
	struct recipe chain[] = CHAIN;

	(void)state;
	chain[MIDDLE].extensions[0] = (struct extension){ "basicConstraints", "critical,CA:FALSE" };
	assert_refused(chain, 1, 3, "is no CA");
	chain[MIDDLE].extensions[0] = (struct extension){ NULL, NULL };
	assert_refused(chain, 1, 3, "is no CA");
	chain[MIDDLE].extensions[0] = (struct extension){ "keyUsage", "critical,keyCertSign" };
	assert_refused(chain, 1, 3, "is no CA");
}

static void a_leaf_may_be_plain_but_no_ca(void **state)
{
	struct recipe chain[] = CHAIN;

	(void)state;
	chain[LEAF].extensions[0] = (struct extension){ "basicConstraints", "CA:FALSE" };
	assert_accepted(chain, 1, 3);
	chain[LEAF].extensions[0] = (struct extension)CA;
	assert_refused(chain, 1, 3, "that of a CA");
}

static void a_path_length_is_kept(void **state)
{
	struct recipe chain[] = {
		{ .subject = "R", .issuer = "R", .key = key_a, .signer = key_a, .extensions = { CA_0 } },
		{ .subject = "L", .issuer = "J", .key = key_c, .signer = key_c },
		{ .subject = "J", .issuer = "I", .key = key_c, .signer = key_b, .extensions = { CA_0 } },
		{ .subject = "I", .issuer = "R", .key = key_b, .signer = key_a, .extensions = { CA } },
	};

	(void)state;
	assert_accepted(chain, 1, 4); /* the anchor's does not count */
	chain[3].extensions[0] = (struct extension){ "basicConstraints", "critical,CA:TRUE,pathlen:1" };
	assert_accepted(chain, 1, 4);
	chain[3].extensions[0] = (struct extension)CA_0;
	assert_refused(chain, 1, 4, "path length");
}

static void an_extended_key_usage_must_include_client_auth(void **state)
{
	static const struct {
		const char *usage;
		bool good;
	} cases[] = {
		{ "clientAuth", true },		{ "critical,clientAuth", true },  { "serverAuth,clientAuth", true },
		{ "serverAuth", false },	{ "anyExtendedKeyUsage", false }, { "1.2.3.4", false },
		{ "codeSigning,1.2.3", false },
	};
	static const size_t places[] = { LEAF, MIDDLE };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
		struct recipe chain[] = CHAIN;

		chain[places[i % 2]].extensions[1] = (struct extension){ "extendedKeyUsage", cases[i / 2].usage };
		if (chain[places[i % 2]].extensions[0].name == NULL)
			chain[places[i % 2]].extensions[0] = (struct extension){ "keyUsage", "digitalSignature" };
		if (cases[i / 2].good)
			assert_accepted(chain, 1, 3);
		else
			assert_refused(chain, 1, 3, "without clientAuth");
	}
}

/* Upstream ignores it as well. */
static void the_key_usage_does_not_count(void **state)
{
	struct recipe chain[] = CHAIN;

	(void)state;
	chain[LEAF].extensions[0] = (struct extension){ "keyUsage", "critical,cRLSign" };
	chain[MIDDLE].extensions[1] = (struct extension){ "keyUsage", "critical,digitalSignature" };
	assert_accepted(chain, 1, 3);
}

static void a_critical_extension_must_be_known(void **state)
{
	static const struct {
		struct extension extension;
		bool good;
	} cases[] = {
		{ { "1.2.3.4", "DER:0500" }, true },
		{ { "1.2.3.4", "critical,DER:0500" }, false },
		{ { "subjectAltName", "critical,DNS:as.example" }, true },
		{ { "certificatePolicies", "DER:3007300506032a0304" }, true },
		{ { "certificatePolicies", "critical,DER:3007300506032a0304" }, false },
		{ { "policyConstraints", "critical,requireExplicitPolicy:0" }, false },
		{ { "inhibitAnyPolicy", "critical,0" }, false },
		{ { "2.23.133.5.4.9", "critical,DER:0500" }, false },
	};
	static const size_t places[] = { LEAF, MIDDLE };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
		struct recipe chain[] = CHAIN;
		struct recipe *r = &chain[places[i % 2]];

		r->extensions[r->extensions[0].name == NULL ? 0 : 1] = cases[i / 2].extension;
		if (cases[i / 2].good)
			assert_accepted(chain, 1, 3);
		else
			assert_refused(chain, 1, 3, "unknown critical extension");
	}
}

static void name_constraints_are_refused_everywhere(void **state)
{
	static const char *const values[] = { "permitted;DNS:example.com", "critical,permitted;DNS:example.com" };

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		struct recipe chain[] = CHAIN;
		struct recipe *r = &chain[i % 3];
		bool critical = i >= 3;

		r->extensions[r->extensions[0].name == NULL ? 0 : 1] =
			(struct extension){ "nameConstraints", values[critical] };
		assert_refused(chain, 1, 3,
			       critical && i % 3 != ROOT ? "unknown critical extension" : "name constraints");
	}
}

static void an_extension_that_stands_there_twice_is_refused(void **state)
{
	struct recipe chain[] = CHAIN;

	(void)state;
	chain[MIDDLE].extensions[1] = (struct extension){ "basicConstraints", "CA:FALSE" };
	assert_refused(chain, 1, 3, "cannot be read");
	chain[MIDDLE].extensions[1] = (struct extension){ NULL, NULL };
	chain[LEAF].extensions[0] = (struct extension){ "extendedKeyUsage", "clientAuth" };
	chain[LEAF].extensions[1] = (struct extension){ "extendedKeyUsage", "serverAuth" };
	assert_refused(chain, 1, 3, "cannot be read");
	chain[LEAF].extensions[1] = (struct extension){ "basicConstraints", "DER:0500" };
	assert_refused(chain, 1, 3, "cannot be read");
}

static void only_version_3_is_taken(void **state)
{
	struct recipe chain[] = CHAIN;

	(void)state;
	chain[LEAF].version = 1;
	assert_refused(chain, 1, 3, "not X.509 v3");
	chain[LEAF].version = 3;
	chain[MIDDLE].version = 1;
	chain[MIDDLE].extensions[0] = (struct extension){ NULL, NULL };
	assert_refused(chain, 1, 3, "not X.509 v3");
}

/* The root signs the intermediate with this key and hash. */
static struct err check_algorithm(EVP_PKEY *key, const char *md)
{
	struct recipe chain[] = CHAIN;
	struct err e;

	chain[ROOT].key = key;
	chain[ROOT].signer = key_a; /* anchors' signatures do not count */
	chain[MIDDLE].signer = key;
	chain[MIDDLE].md = md;
	if (check(chain, 1, 3, &e) == 0)
		e.kind = ERR_NONE;
	return e;
}

static void signatures_of_the_listed_algorithms_are_taken(void **state)
{
	EVP_PKEY *rsa_3072 = EVP_RSA_gen(3072);

	(void)state;
	assert_int_equal(check_algorithm(key_a, "SHA256").kind, ERR_NONE);
	assert_int_equal(check_algorithm(key_a, "SHA384").kind, ERR_NONE);
	assert_int_equal(check_algorithm(key_c, "SHA256").kind, ERR_NONE);
	assert_int_equal(check_algorithm(key_c, "SHA384").kind, ERR_NONE);
	assert_int_equal(check_algorithm(key_d, "SHA256").kind, ERR_NONE);
	assert_int_equal(check_algorithm(key_d, "SHA384").kind, ERR_NONE);
	assert_int_equal(check_algorithm(key_d, "SHA512").kind, ERR_NONE);
	assert_int_equal(check_algorithm(rsa_3072, "SHA256").kind, ERR_NONE);
	EVP_PKEY_free(rsa_3072);
}

static void signatures_of_other_algorithms_are_refused(void **state)
{
	EVP_PKEY *p521 = EVP_EC_gen("P-521");
	EVP_PKEY *rsa_1024 = EVP_RSA_gen(1024);
	EVP_PKEY *ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	const struct {
		EVP_PKEY *key;
		const char *md;
		const char *why;
	} cases[] = {
		{ key_a, "SHA1", "not taken: ecdsa-with-SHA1" },
		{ key_a, "SHA224", "not taken: ecdsa-with-SHA224" },
		{ key_a, "SHA512", "not taken: ecdsa-with-SHA512" },
		{ key_d, "SHA1", "not taken: RSA-SHA1" },
		{ key_d, "MD5", "not taken: RSA-MD5" },
		{ key_d, "SHA224", "not taken: RSA-SHA224" },
		{ p521, "SHA256", "not taken: ecdsa-with-SHA256" },
		{ rsa_1024, "SHA256", "an RSA key of 1024 bits" },
		{ ed25519, "NULL", "not taken: ED25519" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e;

		if (cases[i].key == ed25519) { /* its hash is its own */
			struct recipe chain[] = CHAIN;

			chain[ROOT].key = ed25519;
			chain[ROOT].signer = key_a;
			chain[MIDDLE].signer = ed25519;
			chain[MIDDLE].md = "no such hash";
			assert_int_equal(check(chain, 1, 3, &e), -1);
		} else {
			e = check_algorithm(cases[i].key, cases[i].md);
		}
		assert_int_equal(e.kind, ERR_TRUST);
		if (strstr(e.text, cases[i].why) == NULL)
			fail_msg("'%s' instead of '%s'", e.text, cases[i].why);
	}
	EVP_PKEY_free(p521);
	EVP_PKEY_free(rsa_1024);
	EVP_PKEY_free(ed25519);
}

/* Intermediates that certify each other: the search must end, and soon. */
static void a_tangle_of_cross_certificates_ends(void **state)
{
	struct recipe tangle[2 + 16] = {
		{ .subject = "R", .issuer = "R", .key = key_a, .signer = key_a, .extensions = { CA } },
		{ .subject = "L", .issuer = "I", .key = key_c, .signer = key_b },
	};
	struct cert_list many = { 0 };
	struct cert_list anchors = { 0 };
	struct cert *leaf;
	struct err e;

	(void)state;
	for (size_t i = 2; i < ARRAY_SIZE(tangle); i++)
		tangle[i] = (struct recipe){
			.subject = "I", .issuer = "I", .key = key_b, .signer = key_b, .extensions = { CA }
		};
	assert_int_equal(check(tangle, 1, ARRAY_SIZE(tangle), &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);

	/* one more than are looked at */
	leaf = make(&tangle[1]);
	cert_list_add(&anchors, make(&tangle[0]));
	for (int i = 0; i < 17; i++)
		cert_list_add(&many, make(&tangle[2]));
	assert_int_equal(cert_check_chain(leaf, &many, &anchors, NOW, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	cert_free(leaf);
	cert_list_release(&many);
	cert_list_release(&anchors);
}

static void what_the_lab_issues_is_accepted(void **state)
{
	struct err e;
	struct key *keys[] = { key_new_p256(&e), key_new_rsa(2048, &e) };
	struct key *ca_key = key_new_p256(&e);
	struct issue_options ca = { .organization = "lab",
				    .common_name = "CA",
				    .subject_key = ca_key,
				    .is_ca = true,
				    .not_before = NOW,
				    .not_after = NOW };
	struct buf der = { 0 };
	struct cert_list anchors = { 0 };
	const struct cert_list none = { 0 };

	(void)state;
	assert_int_equal(cert_issue(&ca, &der, &e), 0);
	cert_list_add(&anchors, cert_from_der(buf_bytes(&der), &e));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct cert *leaf;

		buf_clear(&der);
		assert_int_equal(cert_issue(&(struct issue_options){ .common_name = "signer",
								     .subject_key = keys[i],
								     .issuer_key = ca_key,
								     .issuer = anchors.items[0],
								     .not_before = NOW,
								     .not_after = NOW },
					    &der, &e),
				 0);
		leaf = cert_from_der(buf_bytes(&der), &e);
		assert_int_equal(cert_check_chain(leaf, &none, &anchors, NOW, &e), 0);
		cert_free(leaf);
		key_free(keys[i]);
	}
	key_free(ca_key);
	cert_list_release(&anchors);
	buf_release(&der);
}

/* cert_check_self_signed() shares these checks. */
static void a_self_signed_certificate_must_have_the_same_form(void **state)
{
	struct recipe good = { .subject = "L", .issuer = "L", .key = key_a, .signer = key_a };
	struct recipe wrong[] = {
		{ .subject = "L", .issuer = "L", .key = key_a, .signer = key_a, .version = 1 },
		{ .subject = "L",
		  .issuer = "L",
		  .key = key_a,
		  .signer = key_a,
		  .extensions = { { "1.2.3.4", "critical,DER:0500" } } },
		{ .subject = "L", .issuer = "L", .key = key_a, .signer = key_a, .md = "SHA1" },
		{ .subject = "L", .issuer = "L", .key = key_a, .signer = key_a, .md = "SHA384" },
		{ .subject = "L", .issuer = "L", .key = key_c, .signer = key_c }, /* P-384 */
		{ .subject = "L", .issuer = "L", .key = key_d, .signer = key_d, .md = "SHA1" },
		{ .subject = "L", .issuer = "L", .key = key_a, .signer = key_b },
		{ .subject = "L", .issuer = "l", .key = key_a, .signer = key_a },
	};
	struct cert *c = make(&good);
	struct err e;

	(void)state;
	assert_int_equal(cert_check_self_signed(c, &e), 0);
	cert_free(c);
	good.from = 1; /* long over */
	good.to = 2;
	c = make(&good);
	assert_int_equal(cert_check_self_signed(c, &e), 0);
	cert_free(c);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		c = make(&wrong[i]);
		if (cert_check_self_signed(c, &e) == 0)
			fail_msg("accepted case %zu", i);
		assert_int_equal(e.kind, ERR_TRUST);
		cert_free(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chain_is_accepted),
		cmocka_unit_test(without_its_intermediate_it_is_refused),
		cmocka_unit_test(without_an_anchor_it_is_refused),
		cmocka_unit_test(the_chain_may_hold_its_root_and_strangers),
		cmocka_unit_test(an_anchor_counts_by_name_and_key_only),
		cmocka_unit_test(a_self_signed_leaf_is_its_own_anchor_unless_it_is_a_ca),
		cmocka_unit_test(an_issued_leaf_is_not_its_own_anchor),
		cmocka_unit_test(names_are_compared_byte_for_byte),
		cmocka_unit_test(a_wrong_signature_is_refused),
		cmocka_unit_test(dates_of_leaf_and_intermediates_count),
		cmocka_unit_test(an_intermediate_must_be_a_ca),
		cmocka_unit_test(a_leaf_may_be_plain_but_no_ca),
		cmocka_unit_test(a_path_length_is_kept),
		cmocka_unit_test(an_extended_key_usage_must_include_client_auth),
		cmocka_unit_test(the_key_usage_does_not_count),
		cmocka_unit_test(a_critical_extension_must_be_known),
		cmocka_unit_test(name_constraints_are_refused_everywhere),
		cmocka_unit_test(an_extension_that_stands_there_twice_is_refused),
		cmocka_unit_test(only_version_3_is_taken),
		cmocka_unit_test(signatures_of_the_listed_algorithms_are_taken),
		cmocka_unit_test(signatures_of_other_algorithms_are_refused),
		cmocka_unit_test(a_tangle_of_cross_certificates_ends),
		cmocka_unit_test(what_the_lab_issues_is_accepted),
		cmocka_unit_test(a_self_signed_certificate_must_have_the_same_form),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
