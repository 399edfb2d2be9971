/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/identity.h"

#include "../vectors.h"
#include "attest/evidence.h"
#include "crypto/cert.h"

static void the_dummy_is_self_signed_without_evidence_and_holds_its_key(void **state)
{
	struct err e;
	struct identity *id = identity_new_dummy(&e);
	struct cert *c;
	struct key *in_cert;
	struct key *own;
	struct bytes value;

	(void)state;
	assert_non_null(id);
	c = cert_from_der(buf_bytes(&id->cert_der), &e);
	assert_non_null(c);
	assert_int_equal(cert_check_self_signed(c, &e), 0);
	assert_false(cert_extension(c, EVIDENCE_OID, &value));
	in_cert = cert_key(c, &e);
	own = key_from_pkcs8(buf_bytes(&id->key_der), &e);
	assert_true(key_equal_public(in_cert, own));
	assert_string_equal(id->tee, "");
	assert_true(id->expires_unix == INT64_MAX);
	key_free(own);
	key_free(in_cert);
	cert_free(c);
	assert_ptr_equal(identity_ref(id), id);
	identity_unref(id);
	assert_true(id->cert_der.len > 0);
	identity_unref(id);
	identity_unref(NULL);
}

static void two_dummies_have_different_keys(void **state)
{
	struct err e;
	struct identity *a = identity_new_dummy(&e);
	struct identity *b = identity_new_dummy(&e);

	(void)state;
	assert_false(bytes_equal(buf_bytes(&a->key_der), buf_bytes(&b->key_der)));
	identity_unref(a);
	identity_unref(b);
}

static void an_identity_carries_its_evidence(void **state)
{
	struct err e;
	struct key *k = key_new_p256(&e);
	struct identity_options options = { .key = k,
					    .evidence = bytes_str("evidence"),
					    .not_before = 1,
					    .not_after = 2,
					    .expires_unix = 2,
					    .tee = "tdx" };
	struct identity *id = identity_new(&options, &e);
	struct cert *c = cert_from_der(buf_bytes(&id->cert_der), &e);
	struct bytes value;

	(void)state;
	assert_true(cert_extension(c, EVIDENCE_OID, &value));
	assert_true(bytes_equal_str(value, "evidence"));
	assert_string_equal(id->tee, "tdx");
	cert_free(c);
	identity_unref(id);

	options.tee = "a name that is longer than any that we know";
	assert_null(identity_new(&options, &e));
	key_free(k);
	options.tee = "tdx";
	k = key_new_rsa(2048, &e);
	options.key = k;
	assert_null(identity_new(&options, &e));
	key_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_dummy_is_self_signed_without_evidence_and_holds_its_key),
		cmocka_unit_test(two_dummies_have_different_keys),
		cmocka_unit_test(an_identity_carries_its_evidence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
