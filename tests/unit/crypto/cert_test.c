/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and making certificates, and the check of a self-signed one; chains are in cert_chain_test.c. */
#include "crypto/cert.h"

#include "../vectors.h"

#define JAN_2026 1767225600 /* 2026-01-01T00:00:00Z */
#define SIX_HOURS 21600

static struct key *vector_key(void)
{
	struct buf scalar = { 0 };
	struct key *k;
	struct err e;

	vector_hex("rats-tls.txt", "scalar", &scalar);
	k = key_from_p256_scalar(buf_bytes(&scalar), &e);
	assert_non_null(k);
	buf_release(&scalar);
	return k;
}

static struct cert *vector_cert(void)
{
	struct buf der = { 0 };
	struct cert *c;
	struct err e;

	vector_hex("rats-tls.txt", "certificate", &der);
	c = cert_from_der(buf_bytes(&der), &e);
	assert_non_null(c);
	buf_release(&der);
	return c;
}

/* The first element of the outer SEQUENCE, whose length is written with 82 hh ll in both. */
static struct bytes tbs_of(struct bytes der)
{
	assert_memory_equal(der.data, "\x30\x82", 2);
	assert_memory_equal(der.data + 4, "\x30\x82", 2);
	return bytes_of(der.data + 4, 4 + (size_t)(der.data[6] << 8 | der.data[7]));
}

static void the_profile_gives_the_bytes_of_the_vector(void **state)
{
	struct cert *expected = vector_cert();
	struct key *k = vector_key();
	struct buf der = { 0 };
	struct bytes evidence;
	struct cert *made;
	struct err e;

	(void)state;
	assert_true(cert_extension(expected, CERT_EVIDENCE_OID, &evidence));
	assert_int_equal(evidence.len, 269);
	assert_int_equal(cert_make_rats_tls(&(struct rats_cert_options){ .key = k,
									 .evidence = evidence,
									 .not_before = JAN_2026,
									 .not_after = JAN_2026 + SIX_HOURS },
					    &der, &e),
			 0);
	/* The signature is random here; all that it covers is not. */
	assert_bytes_equal(tbs_of(buf_bytes(&der)), tbs_of(cert_der(expected)));
	made = cert_from_der(buf_bytes(&der), &e);
	assert_non_null(made);
	assert_int_equal(cert_check_self_signed(made, &e), 0);
	cert_free(made);
	cert_free(expected);
	key_free(k);
	buf_release(&der);
}

static void the_parts_of_the_vector_are_found(void **state)
{
	static const char *const parts[] = { "der_ski",	 "der_aki",	    "der_basicconstraints", "der_keyusage",
					     "der_name", "der_endorsement", "der_evidence_head",    "spki" };
	struct cert *c = vector_cert();
	struct buf expected = { 0 };
	struct buf spki = { 0 };
	struct bytes value;
	uint8_t digest[32];
	struct key *k = vector_key();
	struct key *its_key;
	struct err e;

	(void)state;
	assert_int_equal(cert_der(c).len, 730);
	assert_int_equal(cert_check_self_signed(c, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		buf_clear(&expected);
		vector_hex("rats-tls.txt", parts[i], &expected);
		assert_true(bytes_find(cert_der(c), buf_bytes(&expected)) > 0);
	}
	assert_int_equal(cert_spki(c, &spki, &e), 0);
	assert_bytes_equal(buf_bytes(&spki), buf_bytes(&expected)); /* the last one */
	its_key = cert_key(c, &e);
	assert_true(key_equal_public(its_key, k));

	buf_clear(&expected);
	vector_hex("rats-tls.txt", "certificate_sha256", &expected);
	cert_sha256(c, digest);
	assert_bytes_equal(bytes_of(digest, 32), buf_bytes(&expected));

	assert_true(cert_extension(c, "2.23.133.5.4.2", &value));
	assert_int_equal(value.len, 0);
	assert_false(cert_extension(c, "2.23.133.5.4.90", &value));
	assert_false(cert_extension(c, "2.5.29.37", &value));
	assert_false(cert_extension(c, "no oid", &value));
	assert_false(cert_extension(c, "", &value));

	key_free(its_key);
	key_free(k);
	cert_free(c);
	buf_release(&spki);
	buf_release(&expected);
}

static void without_evidence_both_extensions_are_absent(void **state)
{
	struct key *k = vector_key();
	struct buf der = { 0 };
	struct bytes value;
	struct cert *c;
	struct err e;

	(void)state;
	assert_int_equal(cert_make_rats_tls(&(struct rats_cert_options){ .key = k, .not_after = JAN_2026 }, &der, &e),
			 0);
	c = cert_from_der(buf_bytes(&der), &e);
	assert_non_null(c);
	assert_false(cert_extension(c, CERT_EVIDENCE_OID, &value));
	assert_false(cert_extension(c, "2.23.133.5.4.2", &value));
	assert_int_equal(cert_check_self_signed(c, &e), 0);
	cert_free(c);
	key_free(k);
	buf_release(&der);
}

static void evidence_of_a_mebibyte_fits(void **state)
{
	struct key *k = vector_key();
	struct buf evidence = { 0 };
	struct buf der = { 0 };
	struct bytes value;
	struct cert *c;
	struct err e;

	(void)state;
	memset(buf_reserve(&evidence, 1 << 20), 'x', 1 << 20);
	evidence.len = 1 << 20;
	assert_int_equal(
		cert_make_rats_tls(&(struct rats_cert_options){ .key = k, .evidence = buf_bytes(&evidence) }, &der, &e),
		0);
	c = cert_from_der(buf_bytes(&der), &e);
	assert_non_null(c);
	assert_true(cert_extension(c, CERT_EVIDENCE_OID, &value));
	assert_bytes_equal(value, buf_bytes(&evidence));
	assert_int_equal(cert_check_self_signed(c, &e), 0);
	cert_free(c);
	key_free(k);
	buf_release(&der);
	buf_release(&evidence);
}

static void only_a_p256_key_makes_one(void **state)
{
	struct err e;
	struct key *rsa = key_new_rsa(2048, &e);
	struct buf der = { 0 };

	(void)state;
	assert_int_equal(cert_make_rats_tls(&(struct rats_cert_options){ .key = rsa }, &der, &e), -1);
	assert_int_equal(e.kind, ERR_CONFIG);
	assert_int_equal(der.len, 0);
	key_free(rsa);
}

static void a_certificate_cut_short_or_followed_by_bytes_is_refused(void **state)
{
	struct cert *c = vector_cert();
	struct bytes der = cert_der(c);
	struct buf longer = { 0 };
	struct err e;

	(void)state;
	for (size_t len = 0; len < der.len; len++) {
		assert_null(cert_from_der(bytes_of(der.data, len), &e));
		assert_int_equal(e.kind, ERR_PEER);
	}
	buf_append_bytes(&longer, der);
	buf_append_str(&longer, "x");
	assert_null(cert_from_der(buf_bytes(&longer), &e));
	buf_release(&longer);
	cert_free(c);
}

/* Every bit of it is covered by the signature, is part of the signature, or breaks the form. */
static void a_certificate_with_any_byte_changed_is_refused(void **state)
{
	struct cert *c = vector_cert();
	struct buf der = { 0 };
	struct err e;

	(void)state;
	buf_append_bytes(&der, cert_der(c));
	for (size_t i = 0; i < der.len; i++) {
		struct cert *changed;

		der.data[i] ^= 1;
		changed = cert_from_der(buf_bytes(&der), &e);
		if (changed != NULL && cert_check_self_signed(changed, &e) == 0)
			fail_msg("accepted with byte %zu changed", i);
		cert_free(changed);
		der.data[i] ^= 1;
	}
	buf_release(&der);
	cert_free(c);
}

static struct cert *issue(const struct issue_options *options)
{
	struct buf der = { 0 };
	struct cert *c;
	struct err e;

	assert_int_equal(cert_issue(options, &der, &e), 0);
	c = cert_from_der(buf_bytes(&der), &e);
	assert_non_null(c);
	buf_release(&der);
	return c;
}

static void a_certificate_of_somebody_else_is_not_self_signed(void **state)
{
	struct err e;
	struct key *ca_key = key_new_p256(&e);
	struct key *k = key_new_p256(&e);
	struct cert *ca = issue(&(struct issue_options){ .common_name = "a", .subject_key = ca_key, .is_ca = true });
	struct cert *other = issue(
		&(struct issue_options){ .common_name = "b", .subject_key = k, .issuer_key = ca_key, .issuer = ca });
	struct cert *same_name = issue(
		&(struct issue_options){ .common_name = "a", .subject_key = k, .issuer_key = ca_key, .issuer = ca });

	(void)state;
	assert_int_equal(cert_check_self_signed(ca, &e), 0);
	assert_int_equal(cert_check_self_signed(other, &e), -1);
	assert_int_equal(e.kind, ERR_TRUST);
	assert_non_null(strstr(e.text, "issuer and subject differ"));
	assert_int_equal(cert_check_self_signed(same_name, &e), -1);
	assert_int_equal(e.kind, ERR_TRUST);
	assert_non_null(strstr(e.text, "self-signature is wrong"));
	cert_free(ca);
	cert_free(other);
	cert_free(same_name);
	key_free(ca_key);
	key_free(k);
}

static void an_rsa_certificate_may_be_self_signed(void **state)
{
	struct err e;
	struct key *rsa = key_new_rsa(2048, &e);
	struct cert *c = issue(&(struct issue_options){ .common_name = "a", .subject_key = rsa });

	(void)state;
	assert_int_equal(cert_check_self_signed(c, &e), 0);
	cert_free(c);
	key_free(rsa);
}

static void an_issuer_with_another_key_is_refused(void **state)
{
	struct err e;
	struct key *a = key_new_p256(&e);
	struct key *b = key_new_p256(&e);
	struct cert *ca = issue(&(struct issue_options){ .common_name = "a", .subject_key = a, .is_ca = true });
	struct buf der = { 0 };

	(void)state;
	assert_int_equal(
		cert_issue(
			&(struct issue_options){ .common_name = "b", .subject_key = b, .issuer_key = b, .issuer = ca },
			&der, &e),
		-1);
	assert_int_equal(e.kind, ERR_CONFIG);
	assert_int_equal(der.len, 0);
	cert_free(ca);
	key_free(a);
	key_free(b);
}

static void pem_gives_every_certificate_and_skips_keys(void **state)
{
	struct cert_list list = { 0 };
	struct buf pem = { 0 };
	struct err e;

	(void)state;
	buf_append_str(&pem, "some text\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
	vector_file("trustee-ca.pem", &pem);
	buf_append_str(&pem, "more text\n");
	vector_file("trustee-ca.pem", &pem);
	assert_int_equal(cert_list_add_pem(&list, buf_bytes(&pem), &e), 0);
	assert_int_equal(list.count, 2);
	assert_int_equal(cert_list_add_pem(&list, buf_bytes(&pem), &e), 0);
	assert_int_equal(list.count, 4);
	cert_list_release(&list);
	buf_release(&pem);
}

static void pem_without_a_certificate_or_broken_is_refused_as_a_whole(void **state)
{
	struct cert_list list = { 0 };
	struct buf pem = { 0 };
	struct buf two = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(cert_list_add_pem(&list, bytes_of(NULL, 0), &e), -1);
	assert_int_equal(cert_list_add_pem(&list, bytes_str("hello\n"), &e), -1);
	assert_int_equal(e.kind, ERR_PEER);
	assert_int_equal(cert_list_add_pem(&list,
					   bytes_str("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
					   &e),
			 -1);
	assert_int_equal(cert_list_add_pem(&list,
					   bytes_str("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
					   &e),
			 -1);
	vector_file("trustee-ca.pem", &pem);
	buf_append_bytes(&two, buf_bytes(&pem));
	buf_append(&two, pem.data, pem.len / 2);
	assert_int_equal(cert_list_add_pem(&list, buf_bytes(&two), &e), -1);
	assert_int_equal(list.count, 0);
	assert_null(list.items);
	buf_release(&two);
	buf_release(&pem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_profile_gives_the_bytes_of_the_vector),
		cmocka_unit_test(the_parts_of_the_vector_are_found),
		cmocka_unit_test(without_evidence_both_extensions_are_absent),
		cmocka_unit_test(evidence_of_a_mebibyte_fits),
		cmocka_unit_test(only_a_p256_key_makes_one),
		cmocka_unit_test(a_certificate_cut_short_or_followed_by_bytes_is_refused),
		cmocka_unit_test(a_certificate_with_any_byte_changed_is_refused),
		cmocka_unit_test(a_certificate_of_somebody_else_is_not_self_signed),
		cmocka_unit_test(an_rsa_certificate_may_be_self_signed),
		cmocka_unit_test(an_issuer_with_another_key_is_refused),
		cmocka_unit_test(pem_gives_every_certificate_and_skips_keys),
		cmocka_unit_test(pem_without_a_certificate_or_broken_is_refused_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
