/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vectors of attestation.md, appendix A, and neighbours of them that are made by replacing a piece of
 * text in header or payload and signing again with the key of the EAR token's signer (scalar 3).
 */
#include "attest/token.h"

#include <pthread.h>

#include "../vectors.h"
#include "attest/evidence.h"
#include "codec/base64.h"
#include "codec/jwt.h"
#include "crypto/jws.h"

#define NOW 1800000000 /* January 2027; the signer's certificate is good from 2025 to 2049 */
#define ACCEPTED REASON_COUNT

struct fixture {
	struct cert_list anchors;
	struct cert_list other_anchors;
	struct buf spki;
	struct buf ear; /* the tokens as they are */
	struct buf simple;
	struct buf header; /* JSON of the EAR token's parts, and of the other's payload */
	struct buf ear_payload;
	struct buf simple_payload;
	struct key *signer;
	struct key *other_signer;
};

static struct fixture f;

static struct key *key_of_scalar(uint8_t scalar)
{
	uint8_t bytes[32] = { [31] = scalar };
	struct err e;
	struct key *k = key_from_p256_scalar(bytes_of(bytes, sizeof(bytes)), &e);

	assert_non_null(k);
	return k;
}

static void take_parts(const struct buf *token, struct buf *header, struct buf *payload)
{
	struct jwt j;
	struct err e;

	assert_int_equal(jwt_split(buf_bytes(token), &j, &e), 0);
	if (header != NULL)
		buf_append_bytes(header, buf_bytes(&j.header));
	buf_append_bytes(payload, buf_bytes(&j.payload));
	jwt_release(&j);
}

static int set_up(void **state)
{
	struct buf pem = { 0 };
	struct buf der = { 0 };
	struct err e;
	int rc;

	(void)state;
	f.signer = key_of_scalar(3);
	f.other_signer = key_of_scalar(4);
	vector_file("trustee-ca.pem", &pem);
	rc = cert_list_add_pem(&f.anchors, buf_bytes(&pem), &e);
	if (rc == 0)
		rc = cert_issue(&(struct issue_options){ .organization = "Trustee CA",
							 .subject_key = f.other_signer,
							 .is_ca = true },
				&der, &e);
	if (rc == 0)
		cert_list_add(&f.other_anchors, cert_from_der(buf_bytes(&der), &e));
	buf_release(&pem);
	buf_release(&der);
	vector_hex("coco-evidence.txt", "spki", &f.spki);
	vector_file("token-ear.jwt", &f.ear);
	vector_file("token-simple.jwt", &f.simple);
	take_parts(&f.ear, &f.header, &f.ear_payload);
	take_parts(&f.simple, NULL, &f.simple_payload);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	cert_list_release(&f.anchors);
	cert_list_release(&f.other_anchors);
	buf_release(&f.spki);
	buf_release(&f.ear);
	buf_release(&f.simple);
	buf_release(&f.header);
	buf_release(&f.ear_payload);
	buf_release(&f.simple_payload);
	key_free(f.signer);
	key_free(f.other_signer);
	return 0;
}

static char *default_id[] = { (char *)"default" };
static const struct string_list default_policy = { default_id, 1 };

static struct token_rules usual_rules(void)
{
	return (struct token_rules){ .trust = TOKEN_TRUST_ANCHORS,
				     .anchors = &f.anchors,
				     .policy_ids = &default_policy,
				     .binding = BINDING_CURRENT,
				     .spki = buf_bytes(&f.spki),
				     .now_unix = NOW };
}

/* ACCEPTED, or the reason of the refusal. */
static enum reason judge(struct bytes token, const struct token_rules *rules, struct token_claims *claims,
			 struct err *e)
{
	enum reason reason = ACCEPTED;

	*e = (struct err){ 0 };
	if (token_verify(token, rules, claims, &reason, e) == 0)
		return ACCEPTED;
	assert_int_not_equal(e->kind, ERR_NONE);
	assert_int_not_equal(reason, ACCEPTED);
	assert_int_equal(claims->expires_unix, 0);
	return reason;
}

static enum reason judge_usual(struct bytes token)
{
	struct token_rules rules = usual_rules();
	struct token_claims claims;
	struct err e;

	return judge(token, &rules, &claims, &e);
}

/* A copy with the one piece replaced; all of it when from is "". */
static struct buf replaced(const struct buf *text, const char *from, const char *to)
{
	struct buf out = { 0 };
	ssize_t at = from == NULL ? 0 : bytes_find(buf_bytes(text), bytes_str(from));
	size_t len = from == NULL ? 0 : *from == '\0' ? text->len : strlen(from);

	if (at < 0)
		fail_msg("no %s in the vector", from);
	buf_append(&out, text->data, (size_t)at);
	buf_append_str(&out, to == NULL ? "" : to);
	buf_append(&out, text->data + at + len, text->len - (size_t)at - len);
	return out;
}

struct change {
	const char *header_from; /* NULL: nothing is replaced; "": everything */
	const char *header_to;
	const char *payload_from;
	const char *payload_to;
	enum reason expected;
};

static void mint(const struct buf *payload, const struct change *c, struct buf *token)
{
	struct buf header = replaced(&f.header, c->header_from, c->header_to);
	struct buf body = replaced(payload, c->payload_from, c->payload_to);
	struct err e;

	assert_int_equal(jwt_sign(buf_bytes(&header), buf_bytes(&body), f.signer, "ES256", token, &e), 0);
	buf_release(&header);
	buf_release(&body);
}

static void check_changes(const struct buf *payload, const struct token_rules *rules, const struct change *changes,
			  size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct buf token = { 0 };
		struct token_claims claims;
		enum reason reason;
		struct err e;

		mint(payload, &changes[i], &token);
		reason = judge(buf_bytes(&token), rules, &claims, &e);
		if (reason != changes[i].expected)
			fail_msg("change %zu (%s -> %s): %s, %s", i,
				 changes[i].header_from != NULL ? changes[i].header_from : changes[i].payload_from,
				 changes[i].header_from != NULL ? changes[i].header_to : changes[i].payload_to,
				 reason == ACCEPTED ? "accepted" : reason_word(reason), e.text);
		buf_release(&token);
	}
}

#define CHECK_CHANGES(payload, rules, changes) check_changes(payload, rules, changes, ARRAY_SIZE(changes))

static void the_ear_vector_is_accepted(void **state)
{
	struct token_rules rules = usual_rules();
	struct token_claims claims;
	struct err e;

	(void)state;
	assert_int_equal(f.ear.len, 2294);
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), ACCEPTED);
	assert_int_equal(claims.expires_unix, 2493072000);
	assert_string_equal(claims.tee, "sample");
	assert_string_equal(claims.policies, "default");
}

static void the_simple_vector_is_accepted(void **state)
{
	struct token_rules rules = usual_rules();
	struct token_claims claims;
	struct err e;

	(void)state;
	assert_int_equal(f.simple.len, 2968);
	assert_int_equal(judge(buf_bytes(&f.simple), &rules, &claims, &e), ACCEPTED);
	assert_int_equal(claims.expires_unix, 2493072000);
	assert_string_equal(claims.tee, "sample");
	assert_string_equal(claims.policies, "default");
}

static void another_anchor_endorses_nothing(void **state)
{
	struct token_rules rules = usual_rules();
	const struct cert_list none = { 0 };
	struct token_claims claims;
	struct err e;

	(void)state;
	rules.anchors = &f.other_anchors; /* of the same name */
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), REASON_TOKEN_UNTRUSTED);
	assert_int_equal(e.kind, ERR_TRUST);
	assert_int_equal(judge(buf_bytes(&f.simple), &rules, &claims, &e), REASON_TOKEN_UNTRUSTED);
	rules.anchors = &none;
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), REASON_TOKEN_UNTRUSTED);
	rules.anchors = NULL;
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), REASON_TOKEN_UNTRUSTED);
}

static void a_signer_is_endorsed_only_while_its_certificate_is_valid(void **state)
{
	struct token_rules rules = usual_rules();
	struct token_claims claims;
	struct err e;

	(void)state;
	rules.now_unix = 1735689600; /* 2025-01-01 */
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), ACCEPTED);
	rules.now_unix--;
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), REASON_TOKEN_UNTRUSTED);
}

static void a_token_with_any_character_changed_is_refused(void **state)
{
	struct buf token = { 0 };

	(void)state;
	buf_append_bytes(&token, buf_bytes(&f.ear));
	for (size_t i = 0; i < token.len; i += 3) {
		uint8_t was = token.data[i];

		token.data[i] = was == 'A' ? 'B' : 'A';
		if (judge_usual(buf_bytes(&token)) == ACCEPTED)
			fail_msg("accepted with character %zu changed", i);
		token.data[i] = was;
	}
	for (size_t len = 0; len < token.len; len += 7)
		assert_int_not_equal(judge_usual(bytes_of(token.data, len)), ACCEPTED);
	buf_append_str(&token, "\n");
	assert_int_equal(judge_usual(buf_bytes(&token)), REASON_TOKEN_INVALID);
	buf_release(&token);
}

static void a_wrong_signature_is_told_as_such(void **state)
{
	struct buf token = { 0 };
	struct buf other = { 0 };
	struct err e;

	(void)state;
	/* the payload of the one under the signature of the other */
	assert_int_equal(jwt_sign(buf_bytes(&f.header), buf_bytes(&f.ear_payload), f.other_signer, "ES256", &other, &e),
			 0);
	assert_int_equal(judge_usual(buf_bytes(&other)), REASON_TOKEN_SIGNATURE);
	buf_append(&token, f.ear.data, f.ear.len - 86);
	assert_int_equal(judge_usual(buf_bytes(&token)), REASON_TOKEN_SIGNATURE);
	buf_release(&token);
	buf_release(&other);
}

static void a_key_without_its_certificate_is_untrusted(void **state)
{
	struct token_rules rules = usual_rules();
	struct token_claims claims;
	struct buf x = { 0 };
	struct buf y = { 0 };
	struct buf head = { 0 };
	struct buf token = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(key_jwk_members(f.other_signer, &x, &y, &e), 0);
	buf_append_str(&head,
		       "{\"alg\":\"ES256\",\"jwk\":{\"alg\":\"ES256\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"");
	base64url_encode(buf_bytes(&x), &head);
	buf_append_str(&head, "\",\"y\":\"");
	base64url_encode(buf_bytes(&y), &head);
	buf_append_str(&head, "\"}}");
	assert_int_equal(jwt_sign(buf_bytes(&head), buf_bytes(&f.ear_payload), f.other_signer, "ES256", &token, &e), 0);
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), REASON_TOKEN_UNTRUSTED);
	/* the same is fine where no endorsement is asked for */
	rules.trust = TOKEN_TRUST_EMBEDDED;
	rules.anchors = NULL;
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), ACCEPTED);
	buf_release(&x);
	buf_release(&y);
	buf_release(&head);
	buf_release(&token);
}

/* The chain of the vector, and a key that is not in it. */
static void a_certificate_for_another_key_endorses_nothing(void **state)
{
	struct buf x = { 0 };
	struct buf y = { 0 };
	struct buf text = { 0 };
	struct buf half = { 0 };
	struct buf head = { 0 };
	struct buf token = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(key_jwk_members(f.other_signer, &x, &y, &e), 0);
	base64url_encode(buf_bytes(&x), &text);
	half = replaced(&f.header, "Xsvk0aYzCkTI9--VHUvxZebGtyHvramF-0FmG8bn_Ww", buf_str(&text));
	buf_clear(&text);
	base64url_encode(buf_bytes(&y), &text);
	head = replaced(&half, "hzRkDEmY_343SwbOGmSi7NgqsDY4T7g9mnmxJ6J9UDI", buf_str(&text));
	assert_int_equal(jwt_sign(buf_bytes(&head), buf_bytes(&f.ear_payload), f.other_signer, "ES256", &token, &e), 0);
	assert_int_equal(judge_usual(buf_bytes(&token)), REASON_TOKEN_UNTRUSTED);
	buf_release(&x);
	buf_release(&y);
	buf_release(&text);
	buf_release(&half);
	buf_release(&head);
	buf_release(&token);
}

/* The vector has base64url; the tolerance for the rest is what CoCo's own service needs. */
static void x5c_may_be_any_base64(void **state)
{
	struct buf der = { 0 };
	struct buf padded = { 0 };
	struct buf token = { 0 };
	struct buf folded = { 0 };
	struct change c = { .expected = ACCEPTED };
	ssize_t at = bytes_find(buf_bytes(&f.header), bytes_str("\"MIIBOj"));
	const char *from = (const char *)f.header.data + at + 1;
	char *old = mem_strndup(from, strcspn(from, "\""));
	struct err e;

	(void)state;
	assert_int_equal(base64_decode_any(bytes_str(old), &der, &e), 0);
	base64_encode(buf_bytes(&der), &padded);
	assert_true(strchr(buf_str(&padded), '+') != NULL || strchr(buf_str(&padded), '/') != NULL);
	c.header_from = old;
	c.header_to = buf_str(&padded);
	mint(&f.ear_payload, &c, &token);
	assert_int_equal(judge_usual(buf_bytes(&token)), ACCEPTED);

	buf_append(&folded, padded.data, 64);
	buf_append_str(&folded, "\\n");
	buf_append_str(&folded, buf_str(&padded) + 64);
	buf_clear(&token);
	c.header_to = buf_str(&folded);
	mint(&f.ear_payload, &c, &token);
	assert_int_equal(judge_usual(buf_bytes(&token)), ACCEPTED);

	free(old);
	buf_release(&der);
	buf_release(&padded);
	buf_release(&folded);
	buf_release(&token);
}

/* The leaf's x5c needs padding, the CA's does not. */
static void x5c_of_the_leaf_may_be_padded(void **state)
{
	struct buf der = { 0 };
	struct buf padded = { 0 };
	struct buf token = { 0 };
	struct change c = { .expected = ACCEPTED };
	ssize_t at = bytes_find(buf_bytes(&f.header), bytes_str("\"MIIBJz"));
	const char *from = (const char *)f.header.data + at + 1;
	char *old = mem_strndup(from, strcspn(from, "\""));
	struct err e;

	(void)state;
	assert_int_equal(base64_decode_any(bytes_str(old), &der, &e), 0);
	base64_encode(buf_bytes(&der), &padded);
	c.header_from = old;
	c.header_to = buf_str(&padded);
	mint(&f.ear_payload, &c, &token);
	assert_int_equal(judge_usual(buf_bytes(&token)), ACCEPTED);
	free(old);
	buf_release(&der);
	buf_release(&padded);
	buf_release(&token);
}

static void a_header_that_we_do_not_take_is_refused(void **state)
{
	const struct change changes[] = {
		{ "", "", NULL, NULL, REASON_TOKEN_INVALID },
		{ "", "[]", NULL, NULL, REASON_TOKEN_INVALID },
		{ "", "{}", NULL, NULL, REASON_TOKEN_INVALID },
		{ "", "{\"alg\":\"ES256\"}", NULL, NULL, REASON_TOKEN_INVALID },
		{ "", "{\"alg\":\"none\"}", NULL, NULL, REASON_TOKEN_INVALID },
		{ "", "{\"alg\":\"HS256\",\"jwk\":{\"alg\":\"HS256\",\"kty\":\"oct\",\"k\":\"AAAA\"}}", NULL, NULL,
		  REASON_TOKEN_INVALID },
		{ "\"alg\":\"ES256\",\"jwk\"", "\"alg\":\"none\",\"jwk\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"alg\":\"ES256\",\"jwk\"", "\"alg\":\"HS256\",\"jwk\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"alg\":\"ES256\",\"jwk\"", "\"alg\":\"RS256\",\"jwk\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"alg\":\"ES256\",\"jwk\"", "\"alg\":\"ES512\",\"jwk\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"alg\":\"ES256\",\"jwk\"", "\"alg\":7,\"jwk\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"alg\":\"ES256\",\"jwk\"", "\"jwk\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "{\"alg\":\"ES256\",\"x5c\"", "{\"x5c\"", NULL, NULL, REASON_TOKEN_INVALID }, /* missing jwk.alg */
		{ "{\"alg\":\"ES256\",\"x5c\"", "{\"alg\":\"ES384\",\"x5c\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"typ\":\"JWT\"", "\"crit\":[\"exp\"]", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"kty\":\"EC\"", "\"kty\":\"RSA\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"kty\":\"EC\"", "\"kty\":\"oct\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"kty\":\"EC\"", "\"kty\":\"OKP\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"kty\":\"EC\",", "", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"kty\":\"EC\"", "\"kty\":\"EC\",\"d\":\"AA\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"crv\":\"P-256\"", "\"crv\":\"P-384\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"crv\":\"P-256\",", "", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"x\":\"Xs", "\"x\":\"Xt", NULL, NULL, REASON_TOKEN_INVALID }, /* no point */
		{ "\"x\":\"Xs", "\"x\":\"X+", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"x\":\"Xsvk0aYzCkTI9--VHUvxZebGtyHvramF-0FmG8bn_Ww\",", "", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"typ\":\"JWT\"", "\"typ\":\"JWT\",\"typ\":\"JWT\"", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"x5c\"", "\"x5d\"", NULL, NULL, REASON_TOKEN_UNTRUSTED },
		{ "\"x5c\":[", "\"x5c\":[7,", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"x5c\":[", "\"x5c\":[\"\",", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"x5c\":[", "\"x5c\":[\"AAAA\",", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"x5c\":[\"MIIB", "\"x5c\":[\"MIIC", NULL, NULL, REASON_TOKEN_INVALID },
		{ "\"x5c\":[", "\"x5c\":[],\"old\":[", NULL, NULL, REASON_TOKEN_UNTRUSTED },
		{ "\"x5c\":[", "\"x5c\":[\"A\",\"A\",\"A\",\"A\",\"A\",\"A\",\"A\",\"A\",\"A\",", NULL, NULL,
		  REASON_TOKEN_INVALID },
		{ "\"typ\":\"JWT\",", "\"kid\":\"new\",", NULL, NULL, ACCEPTED },
		{ "\"typ\":\"JWT\",", "", NULL, NULL, ACCEPTED },
	};
	struct token_rules rules = usual_rules();

	(void)state;
	CHECK_CHANGES(&f.ear_payload, &rules, changes);
}

static void times_are_checked_with_a_minute_of_leeway(void **state)
{
	/* NOW is 1800000000 */
	const struct change changes[] = {
		{ NULL, NULL, "2493072000", "1799999939", REASON_TOKEN_EXPIRED },
		{ NULL, NULL, "2493072000", "1799999940", ACCEPTED },
		{ NULL, NULL, "2493072000", "1799999941", ACCEPTED },
		{ NULL, NULL, "2493072000", "1799999939.4", REASON_TOKEN_EXPIRED },
		{ NULL, NULL, "2493072000", "1799999939.6", ACCEPTED },
		{ NULL, NULL, "2493072000", "1.9e9", ACCEPTED },
		{ NULL, NULL, "2493072000", "0", REASON_TOKEN_EXPIRED },
		{ NULL, NULL, "2493072000", "-1", REASON_TOKEN_INVALID },
		{ NULL, NULL, "2493072000", "9007199254740992", ACCEPTED },
		{ NULL, NULL, "2493072000", "9007199254740994", REASON_TOKEN_INVALID },
		{ NULL, NULL, "2493072000", "1e300", REASON_TOKEN_INVALID },
		{ NULL, NULL, "2493072000", "1e999", REASON_TOKEN_INVALID },
		{ NULL, NULL, "2493072000", "\"2493072000\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "2493072000", "null", REASON_TOKEN_INVALID },
		{ NULL, NULL, ",\"exp\":2493072000", "", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"exp\"", "\"nbf\":1800000060,\"exp\"", ACCEPTED },
		{ NULL, NULL, "\"exp\"", "\"nbf\":1800000061,\"exp\"", REASON_TOKEN_EARLY },
		{ NULL, NULL, "\"exp\"", "\"nbf\":\"1\",\"exp\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"exp\"", "\"nbf\":null,\"exp\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"iat\":1767225600", "\"iat\":\"later\"", ACCEPTED },
	};
	struct token_rules rules = usual_rules();

	(void)state;
	CHECK_CHANGES(&f.ear_payload, &rules, changes);
}

static void an_audience_or_another_profile_is_refused(void **state)
{
	const struct change changes[] = {
		{ NULL, NULL, "\"exp\"", "\"aud\":\"somebody\",\"exp\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"exp\"", "\"aud\":[],\"exp\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"exp\"", "\"aud\":null,\"exp\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "2024:conf", "2025:conf", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"tag:github.com,2024:confidential-containers/Trustee\"", "null", REASON_TOKEN_INVALID },
		/* without its profile it is a simple token, and lacks everything */
		{ NULL, NULL, "\"eat_profile\"", "\"eat\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "", "[]", REASON_TOKEN_INVALID },
		{ NULL, NULL, "", "", REASON_TOKEN_INVALID },
		{ NULL, NULL, "", "{}", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"exp\"", "\"exp\":1,\"exp\"", REASON_TOKEN_INVALID },
	};
	struct token_rules rules = usual_rules();

	(void)state;
	CHECK_CHANGES(&f.ear_payload, &rules, changes);
}

#define GPU(status, policy)                                                                                            \
	"\"submods\":{\"gpu0\":{\"ear.status\":\"" status "\",\"ear.trustworthiness-vector\":{},"                      \
	"\"ear.appraisal-policy-id\":\"" policy "\"},"

static void every_submodule_of_an_ear_counts(void **state)
{
	const struct change changes[] = {
		{ NULL, NULL, "\"affirming\"", "\"warning\"", REASON_TOKEN_STATUS },
		{ NULL, NULL, "\"affirming\"", "\"contraindicated\"", REASON_TOKEN_STATUS },
		{ NULL, NULL, "\"affirming\"", "\"none\"", REASON_TOKEN_STATUS },
		{ NULL, NULL, "\"affirming\"", "\"Affirming\"", REASON_TOKEN_STATUS },
		{ NULL, NULL, "\"affirming\"", "\"\"", REASON_TOKEN_STATUS },
		{ NULL, NULL, "\"affirming\"", "2", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"ear.status\":\"affirming\",", "", REASON_TOKEN_INVALID },
		{ NULL, NULL, "ear.trustworthiness-vector", "vector", REASON_TOKEN_INVALID },
		{ NULL, NULL, "{\"configuration\":2,\"executables\":2,\"file-system\":2,\"hardware\":2}", "7",
		  REASON_TOKEN_INVALID },
		{ NULL, NULL, "{\"configuration\":2,\"executables\":2,\"file-system\":2,\"hardware\":2}", "{}",
		  ACCEPTED },
		{ NULL, NULL, "ear.appraisal-policy-id", "policy", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"default\"", "\"\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"default\"", "\"other\"", REASON_TOKEN_POLICY },
		{ NULL, NULL, "\"default\"", "\"default2\"", REASON_TOKEN_POLICY },
		{ NULL, NULL, "\"default\"", "\"Default\"", REASON_TOKEN_POLICY },
		{ NULL, NULL, "\"submods\":{", GPU("affirming", "default"), ACCEPTED },
		{ NULL, NULL, "\"submods\":{", GPU("affirming", "other"), REASON_TOKEN_POLICY },
		{ NULL, NULL, "\"submods\":{", GPU("warning", "default"), REASON_TOKEN_STATUS },
		{ NULL, NULL, "\"submods\":{", "\"submods\":{\"gpu0\":{},", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"submods\":{", "\"submods\":{\"gpu0\":null,", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"submods\"", "\"submods\":{},\"old\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"submods\"", "\"submods\":[],\"old\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"submods\"", "\"old\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"cpu0\"", "\"cpu\"", REASON_TOKEN_INVALID }, /* openanolis 1.5.2 */
		{ NULL, NULL, "\"cpu0\"", "\"cpu1\"", REASON_TOKEN_INVALID },
	};
	struct token_rules rules = usual_rules();

	(void)state;
	CHECK_CHANGES(&f.ear_payload, &rules, changes);
}

static void a_simple_token_names_its_policies(void **state)
{
	const struct change changes[] = {
		{ NULL, NULL, "\"policy-id\":\"default\"", "\"policy-id\":\"other\"", REASON_TOKEN_POLICY },
		{ NULL, NULL, "\"policy-id\":\"default\"", "\"policy-id\":\"\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"policy-id\":\"default\"", "\"policy-id\":null", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"policy-id\":\"default\"", "\"x\":\"default\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"policy-id\":\"default\"}", "\"policy-id\":\"a\"},{\"policy-id\":\"default\"}",
		  ACCEPTED },
		{ NULL, NULL, "\"policy-id\":\"default\"}", "\"policy-id\":\"default\"},{}", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"policy-id\":\"default\"}", "\"policy-id\":\"default\"},\"default\"",
		  REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"evaluation-reports\"", "\"evaluation-reports\":[],\"old\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"evaluation-reports\"", "\"evaluation-reports\":{},\"old\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"evaluation-reports\"", "\"old\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"nbf\":1767225600", "\"nbf\":1800000061", REASON_TOKEN_EARLY },
		{ NULL, NULL, "\"tee\":\"sample\"", "\"tee\":7", ACCEPTED },
	};
	struct token_rules rules = usual_rules();

	(void)state;
	CHECK_CHANGES(&f.simple_payload, &rules, changes);
}

static void the_runtime_data_belongs_to_the_key(void **state)
{
	const struct change ear[] = {
		{ NULL, NULL, "{\"pubkey-hash\"", "{\"more\":[1],\"pubkey-hash\"", ACCEPTED },
		{ NULL, NULL, "ggFYIFz", "ggFYIFy", REASON_BINDING_MISMATCH },
		{ NULL, NULL, "{\"pubkey-hash\"", "{\"pubkey\"", REASON_BINDING_MISMATCH },
		{ NULL, NULL, "\"ggFYIFzSUvsM6JMkNvr4zNEECYG4nuSta5/p4qK35xqssnzT\"", "7", REASON_BINDING_MISMATCH },
		{ NULL, NULL, "runtime_data_claims", "claims", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"runtime_data_claims\"", "\"runtime_data_claims\":null,\"old\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"runtime_data_claims\"", "\"runtime_data_claims\":{},\"old\"",
		  REASON_BINDING_MISMATCH },
		{ NULL, NULL, "ear.veraison.annotated-evidence", "evidence", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"ear.veraison.annotated-evidence\"", "\"ear.veraison.annotated-evidence\":[],\"old\"",
		  REASON_TOKEN_INVALID },
	};
	const struct change simple[] = {
		{ NULL, NULL, "{\"pubkey-hash\"", "{\"more\":[1],\"pubkey-hash\"", ACCEPTED },
		{ NULL, NULL, "ggFYIFz", "ggFYIFy", REASON_BINDING_MISMATCH },
		{ NULL, NULL, "\"runtime_data\"", "\"data\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"runtime_data\"", "\"runtime_data\":\"\",\"old\"", REASON_TOKEN_INVALID },
		{ NULL, NULL, "\"customized_claims\"", "\"claims\"", REASON_TOKEN_INVALID },
	};
	struct token_rules rules = usual_rules();
	struct token_claims claims;
	struct buf other = { 0 };
	struct err e;

	(void)state;
	CHECK_CHANGES(&f.ear_payload, &rules, ear);
	CHECK_CHANGES(&f.simple_payload, &rules, simple);
	vector_hex("rats-tls.txt", "spki", &other);
	rules.spki = buf_bytes(&other);
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), REASON_BINDING_MISMATCH);
	assert_int_equal(judge(buf_bytes(&f.simple), &rules, &claims, &e), REASON_BINDING_MISMATCH);
	rules.spki = bytes_of(NULL, 0);
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), REASON_BINDING_MISMATCH);
	buf_release(&other);
}

/* The 2.2.4 form of A.2. */
static void the_legacy_form_is_taken_where_it_is_asked_for(void **state)
{
	struct token_rules rules = usual_rules();
	struct key_binding binding;
	struct token_claims claims;
	struct change c = { .payload_from = "{\"pubkey-hash\":\"ggFYIFzSUvsM6JMkNvr4zNEECYG4nuSta5/p4qK35xqssnzT\"}" };
	char *runtime = vector_text("coco-evidence.txt", "legacy_runtime");
	struct buf token = { 0 };
	struct buf extended = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(key_binding_make(buf_bytes(&f.spki), BINDING_LEGACY, &binding, &e), 0);
	c.payload_to = runtime;
	mint(&f.simple_payload, &c, &token);
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), REASON_BINDING_MISMATCH);
	rules.binding = BINDING_BOTH;
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), REASON_BINDING_MISMATCH); /* no claims buffer */
	rules.claims_buffer = buf_bytes(&binding.claims_buffer);
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), ACCEPTED);
	assert_int_equal(judge(buf_bytes(&f.simple), &rules, &claims, &e), ACCEPTED);
	rules.binding = BINDING_LEGACY;
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), ACCEPTED);
	assert_int_equal(judge(buf_bytes(&f.simple), &rules, &claims, &e), REASON_BINDING_MISMATCH);

	buf_format(&extended, "{\"more\":1,%s", runtime + 1);
	c.payload_to = buf_str(&extended);
	buf_clear(&token);
	mint(&f.simple_payload, &c, &token);
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), REASON_BINDING_MISMATCH);

	free(runtime);
	buf_release(&extended);
	buf_release(&token);
	key_binding_release(&binding);
}

static void every_configured_policy_must_be_named(void **state)
{
	char *ids[] = { (char *)"default", (char *)"second" };
	const struct string_list two = { ids, 2 };
	const struct string_list none = { NULL, 0 };
	struct token_rules rules = usual_rules();
	struct token_claims claims;
	struct buf token = { 0 };
	struct err e;

	(void)state;
	rules.policy_ids = &two;
	assert_int_equal(judge(buf_bytes(&f.simple), &rules, &claims, &e), REASON_TOKEN_POLICY);
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), REASON_TOKEN_POLICY);
	mint(&f.simple_payload,
	     &(struct change){
		     .payload_from = "\"policy-id\":\"default\"}",
		     .payload_to = "\"policy-id\":\"second\"},{\"policy-id\":\"third\"},{\"policy-id\":\"default\"}" },
	     &token);
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), ACCEPTED);
	assert_string_equal(claims.policies, "second,third,default");

	/* any token would do */
	rules.policy_ids = &none;
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), REASON_TOKEN_POLICY);
	assert_int_equal(e.kind, ERR_CONFIG);
	rules.policy_ids = NULL;
	assert_int_equal(judge(buf_bytes(&f.ear), &rules, &claims, &e), REASON_TOKEN_POLICY);
	assert_int_equal(e.kind, ERR_CONFIG);
	buf_release(&token);
}

/* n ids of this length beside the configured one. */
static void check_joined(size_t n, size_t len, const char *expected_end)
{
	struct token_rules rules = usual_rules();
	struct token_claims claims;
	struct buf reports = { 0 };
	struct buf token = { 0 };
	struct err e;

	for (size_t i = 0; i < n; i++) {
		buf_append_str(&reports, "\"policy-id\":\"");
		for (size_t c = 0; c < len; c++)
			buf_append(&reports, &(char){ (char)('a' + (int)i) }, 1);
		buf_append_str(&reports, "\"},{");
	}
	buf_append_str(&reports, "\"policy-id\":\"default\"}");
	mint(&f.simple_payload,
	     &(struct change){ .payload_from = "\"policy-id\":\"default\"}", .payload_to = buf_str(&reports) }, &token);
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), ACCEPTED);
	assert_true(strlen(claims.policies) >= strlen(expected_end));
	assert_string_equal(claims.policies + strlen(claims.policies) - strlen(expected_end), expected_end);
	buf_release(&reports);
	buf_release(&token);
}

static void a_long_list_of_policies_is_cut_between_ids(void **state)
{
	(void)state;
	check_joined(0, 0, "default");
	check_joined(1, 87, "a,default"); /* 87 + 1 + 7 is all of 95 */
	check_joined(1, 88, "a,...");
	check_joined(1, 91, "a,...");
	check_joined(1, 92, "...");
	check_joined(1, 500, "...");
	check_joined(9, 10, "h,...");
	check_joined(26, 3, ",...");
}

static void too_many_reports_are_refused(void **state)
{
	struct buf reports = { 0 };
	struct buf token = { 0 };

	(void)state;
	for (int i = 0; i < 255; i++)
		buf_format(&reports, "{\"policy-id\":\"%d\"},", i);
	for (int more = 0; more < 2; more++) {
		struct buf all = { 0 };

		buf_format(&all, "\"evaluation-reports\":[%s%s", buf_str(&reports),
			   more ? "{\"policy-id\":\"x\"}," : "");
		buf_clear(&token);
		mint(&f.simple_payload,
		     &(struct change){ .payload_from = "\"evaluation-reports\":[", .payload_to = buf_str(&all) },
		     &token);
		assert_int_equal(judge_usual(buf_bytes(&token)), more ? REASON_TOKEN_INVALID : ACCEPTED);
		buf_release(&all);
	}
	buf_release(&reports);
	buf_release(&token);
}

static void a_name_that_is_no_tee_is_not_told(void **state)
{
	static const char *const names[] = { "", "a name", "\\u0000",
					     "a-name-that-is-far-too-long-to-be-one-of-a-tee" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *tee = mem_format("\"tee\":\"%s\"", names[i]);
		char *member = mem_format("\"%s\":{\"svn\"", names[i]);
		struct token_rules rules = usual_rules();
		struct token_claims claims;
		struct buf token = { 0 };
		struct err e;

		mint(&f.simple_payload, &(struct change){ .payload_from = "\"tee\":\"sample\"", .payload_to = tee },
		     &token);
		assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), ACCEPTED);
		assert_string_equal(claims.tee, "");
		buf_clear(&token);
		mint(&f.ear_payload, &(struct change){ .payload_from = "\"sample\":{\"svn\"", .payload_to = member },
		     &token);
		assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), ACCEPTED);
		assert_string_equal(claims.tee, "");
		free(tee);
		free(member);
		buf_release(&token);
	}
}

static void the_expiry_of_an_unverified_token_can_be_read(void **state)
{
	static const char *const wrong[] = { "", "e30.e30.AA", "e30.e30", "e30.W10.AA", "e30.AA.AA" };
	int64_t expires = 0;
	struct err e;

	(void)state;
	assert_int_equal(token_peek_expiry(buf_bytes(&f.ear), &expires, &e), 0);
	assert_int_equal(expires, 2493072000);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(token_peek_expiry(bytes_str(wrong[i]), &expires, &e), -1);
		assert_int_equal(e.kind, ERR_PEER);
	}
}

/* A key that endorses itself: its JWK, then a signature over the EAR payload. */
static void check_embedded(const struct key *k, const char *alg)
{
	struct token_rules rules = usual_rules();
	struct token_claims claims;
	struct buf numbers[2] = { { 0 }, { 0 } };
	struct buf head = { 0 };
	struct buf token = { 0 };
	bool rsa = strcmp(key_type(k), "RSA") == 0;
	struct err e;

	assert_int_equal(key_jwk_members(k, &numbers[0], &numbers[1], &e), 0);
	buf_format(&head, "{\"alg\":\"%s\",\"jwk\":{\"alg\":\"%s\",\"kty\":\"%s\"", alg, alg, key_type(k));
	if (!rsa)
		buf_format(&head, ",\"crv\":\"%s\"", key_curve(k));
	for (size_t i = 0; i < 2 && numbers[i].len > 0; i++) {
		buf_format(&head, ",\"%s\":\"", i == 0 ? (rsa ? "n" : "x") : (rsa ? "e" : "y"));
		base64url_encode(buf_bytes(&numbers[i]), &head);
		buf_append_str(&head, "\"");
	}
	buf_append_str(&head, "}}");
	assert_int_equal(jwt_sign(buf_bytes(&head), buf_bytes(&f.ear_payload), k, alg, &token, &e), 0);
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), REASON_TOKEN_UNTRUSTED);
	rules.trust = TOKEN_TRUST_EMBEDDED;
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), ACCEPTED);
	token.data[token.len - 20] = token.data[token.len - 20] == 'A' ? 'B' : 'A';
	assert_int_equal(judge(buf_bytes(&token), &rules, &claims, &e), REASON_TOKEN_SIGNATURE);
	buf_release(&numbers[0]);
	buf_release(&numbers[1]);
	buf_release(&head);
	buf_release(&token);
}

static void every_kind_of_signer_is_taken(void **state)
{
	static const char *const rsa_algs[] = { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512" };
	/* RFC 8410, section 10.3 */
	static const char ed25519[] =
		"302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
	struct buf der = { 0 };
	struct err e;
	struct key *rsa = key_new_rsa(2048, &e);
	struct key *okp;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rsa_algs); i++)
		check_embedded(rsa, rsa_algs[i]);
	hex_to_buf(ed25519, &der);
	okp = key_from_pkcs8(buf_bytes(&der), &e);
	assert_non_null(okp);
	check_embedded(okp, "EdDSA");
	check_embedded(f.signer, "ES256");
	key_free(okp);
	key_free(rsa);
	buf_release(&der);
}

static void *verify_often(void *wrong)
{
	uintptr_t *count = wrong;

	for (int i = 0; i < 20; i++)
		*count += judge_usual(buf_bytes(i % 2 == 0 ? &f.ear : &f.simple)) != ACCEPTED;
	return NULL;
}

/* The anchors and their keys are shared; the thread sanitizer watches. */
static void several_threads_may_verify_at_once(void **state)
{
	pthread_t threads[4];
	uintptr_t wrong[4] = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, verify_often, &wrong[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(wrong[i], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ear_vector_is_accepted),
		cmocka_unit_test(the_simple_vector_is_accepted),
		cmocka_unit_test(another_anchor_endorses_nothing),
		cmocka_unit_test(a_signer_is_endorsed_only_while_its_certificate_is_valid),
		cmocka_unit_test(a_token_with_any_character_changed_is_refused),
		cmocka_unit_test(a_wrong_signature_is_told_as_such),
		cmocka_unit_test(a_key_without_its_certificate_is_untrusted),
		cmocka_unit_test(a_certificate_for_another_key_endorses_nothing),
		cmocka_unit_test(x5c_may_be_any_base64),
		cmocka_unit_test(x5c_of_the_leaf_may_be_padded),
		cmocka_unit_test(a_header_that_we_do_not_take_is_refused),
		cmocka_unit_test(times_are_checked_with_a_minute_of_leeway),
		cmocka_unit_test(an_audience_or_another_profile_is_refused),
		cmocka_unit_test(every_submodule_of_an_ear_counts),
		cmocka_unit_test(a_simple_token_names_its_policies),
		cmocka_unit_test(the_runtime_data_belongs_to_the_key),
		cmocka_unit_test(the_legacy_form_is_taken_where_it_is_asked_for),
		cmocka_unit_test(every_configured_policy_must_be_named),
		cmocka_unit_test(a_long_list_of_policies_is_cut_between_ids),
		cmocka_unit_test(too_many_reports_are_refused),
		cmocka_unit_test(a_name_that_is_no_tee_is_not_told),
		cmocka_unit_test(the_expiry_of_an_unverified_token_can_be_read),
		cmocka_unit_test(every_kind_of_signer_is_taken),
		cmocka_unit_test(several_threads_may_verify_at_once),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
