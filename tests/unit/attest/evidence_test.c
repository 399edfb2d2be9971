/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/evidence.h"

#include "../vectors.h"
#include "codec/base64.h"
#include "codec/cbor.h"

static struct buf hex(const char *file, const char *name)
{
	struct buf b = { 0 };

	vector_hex(file, name, &b);
	return b;
}

static void append_text(const char *file, const char *name, struct buf *out)
{
	char *text = vector_text(file, name);

	buf_append_str(out, text);
	free(text);
}

/* The evidence of rats-tls.md 4.6, bound in this way. */
static struct coco_evidence example(enum binding binding)
{
	struct coco_evidence ev = { .tee = mem_strdup("sample"), .hash = DIGEST_SHA384 };

	append_text("rats-tls.txt", "agent_evidence", &ev.evidence);
	append_text("rats-tls.txt", binding == BINDING_LEGACY ? "legacy_runtime" : "runtime", &ev.runtime_data);
	return ev;
}

static struct buf example_extension(void)
{
	struct buf der = hex("rats-tls.txt", "certificate");
	struct buf value = { 0 };
	struct cert *c;
	struct bytes found;
	struct err e;

	c = cert_from_der(buf_bytes(&der), &e);
	assert_true(cert_extension(c, EVIDENCE_OID, &found));
	buf_append_bytes(&value, found);
	cert_free(c);
	buf_release(&der);
	return value;
}

static void the_current_binding_is_that_of_the_vectors(void **state)
{
	static const char *const files[] = { "rats-tls.txt", "coco-evidence.txt" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct buf spki = hex(files[i], "spki");
		struct buf rd = hex(files[i], "rd");
		char *runtime = vector_text(files[i], "runtime");
		struct key_binding b;
		struct err e;

		assert_int_equal(key_binding_make(buf_bytes(&spki), BINDING_CURRENT, &b, &e), 0);
		assert_string_equal(buf_str(&b.runtime_data), runtime);
		assert_int_equal(b.runtime_data.len, 66);
		assert_int_equal(b.claims_buffer.len, 0);
		assert_bytes_equal(bytes_of(b.report_data, 48), buf_bytes(&rd));
		key_binding_release(&b);
		free(runtime);
		buf_release(&spki);
		buf_release(&rd);
	}
}

static void the_service_of_intel_gets_the_hash_of_the_vector(void **state)
{
	struct buf rd = hex("rats-tls.txt", "ita_rd");
	char *runtime = vector_text("rats-tls.txt", "runtime");
	uint8_t out[64];

	(void)state;
	digest_compute(DIGEST_SHA512, bytes_str(runtime), out);
	assert_bytes_equal(bytes_of(out, sizeof(out)), buf_bytes(&rd));
	free(runtime);
	buf_release(&rd);
}

static void the_legacy_binding_is_that_of_the_vectors(void **state)
{
	static const char *const files[] = { "rats-tls.txt", "coco-evidence.txt" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct buf spki = hex(files[i], "spki");
		struct buf ch = hex(files[i], "legacy_ch");
		struct buf rd = hex(files[i], "legacy_rd");
		char *runtime = vector_text(files[i], "legacy_runtime");
		struct key_binding b;
		uint8_t digest[32];
		struct err e;

		assert_int_equal(key_binding_make(buf_bytes(&spki), BINDING_LEGACY, &b, &e), 0);
		assert_string_equal(buf_str(&b.runtime_data), runtime);
		assert_int_equal(b.claims_buffer.len, 51);
		digest_compute(DIGEST_SHA256, buf_bytes(&b.claims_buffer), digest);
		assert_bytes_equal(bytes_of(digest, 32), buf_bytes(&ch));
		assert_bytes_equal(bytes_of(b.report_data, 48), buf_bytes(&rd));
		if (i == 0) {
			struct buf claims = hex(files[i], "legacy_claims_buffer");

			assert_bytes_equal(buf_bytes(&b.claims_buffer), buf_bytes(&claims));
			buf_release(&claims);
		}
		key_binding_release(&b);
		free(runtime);
		buf_release(&spki);
		buf_release(&ch);
		buf_release(&rd);
	}
}

static void an_attester_cannot_bind_both_ways(void **state)
{
	struct key_binding b;
	struct err e;

	(void)state;
	assert_int_equal(key_binding_make(bytes_str("spki"), BINDING_BOTH, &b, &e), -1);
	assert_int_equal(e.kind, ERR_CONFIG);
	key_binding_release(&b);
}

static void the_extension_is_that_of_the_vector(void **state)
{
	struct coco_evidence ev = example(BINDING_CURRENT);
	struct buf expected = example_extension();
	struct buf raw = { 0 };
	struct buf value = { 0 };

	(void)state;
	coco_evidence_format(&ev, BINDING_CURRENT, &raw);
	assert_int_equal(raw.len, 259);
	evidence_blob_format(EVIDENCE_TAG_COCO, buf_bytes(&raw), bytes_of(NULL, 0), &value);
	assert_bytes_equal(buf_bytes(&value), buf_bytes(&expected));
	coco_evidence_release(&ev);
	buf_release(&expected);
	buf_release(&raw);
	buf_release(&value);
}

static void the_extension_of_the_vector_is_read(void **state)
{
	struct buf value = example_extension();
	struct coco_evidence expected = example(BINDING_CURRENT);
	struct coco_evidence ev;
	struct evidence_blob blob;
	struct err e;

	(void)state;
	assert_int_equal(evidence_blob_parse(buf_bytes(&value), &blob, &e), 0);
	assert_int_equal(blob.tag, EVIDENCE_TAG_COCO);
	assert_int_equal(blob.claims_buffer.len, 0);
	assert_int_equal(coco_evidence_parse(buf_bytes(&blob.raw), &ev, &e), 0);
	assert_string_equal(ev.tee, "sample");
	assert_bytes_equal(buf_bytes(&ev.evidence), buf_bytes(&expected.evidence));
	assert_bytes_equal(buf_bytes(&ev.runtime_data), buf_bytes(&expected.runtime_data));
	assert_false(ev.has_additional);
	assert_int_equal(ev.hash, DIGEST_SHA384);
	coco_evidence_release(&ev);
	coco_evidence_release(&expected);
	evidence_blob_release(&blob);
	buf_release(&value);
}

static void the_evidence_of_the_other_vector_passes_both_ways(void **state)
{
	struct buf raw = hex("coco-evidence.txt", "coco_evidence");
	struct buf again = { 0 };
	struct coco_evidence ev;
	struct err e;

	(void)state;
	assert_int_equal(coco_evidence_parse(buf_bytes(&raw), &ev, &e), 0);
	coco_evidence_format(&ev, BINDING_CURRENT, &again);
	assert_bytes_equal(buf_bytes(&again), buf_bytes(&raw));
	coco_evidence_release(&ev);
	buf_release(&again);
	buf_release(&raw);
}

static void the_legacy_extension_has_four_members_and_the_claims_buffer(void **state)
{
	struct coco_evidence ev = example(BINDING_LEGACY);
	struct buf head = hex("rats-tls.txt", "legacy_ext_head");
	struct buf claims = hex("rats-tls.txt", "legacy_claims_buffer");
	struct buf raw = { 0 };
	struct buf value = { 0 };
	struct coco_evidence back;
	struct evidence_blob blob;
	struct err e;

	(void)state;
	coco_evidence_format(&ev, BINDING_LEGACY, &raw);
	evidence_blob_format(EVIDENCE_TAG_COCO, buf_bytes(&raw), buf_bytes(&claims), &value);
	assert_bytes_equal(bytes_of(value.data, head.len), buf_bytes(&head));
	assert_int_equal(raw.len, 243);
	assert_bytes_equal(bytes_of(value.data + value.len - 53, 2), bytes_of("\x58\x33", 2));

	assert_int_equal(evidence_blob_parse(buf_bytes(&value), &blob, &e), 0);
	assert_bytes_equal(buf_bytes(&blob.claims_buffer), buf_bytes(&claims));
	assert_int_equal(coco_evidence_parse(buf_bytes(&blob.raw), &back, &e), 0);
	assert_false(back.has_additional);
	coco_evidence_release(&back);
	evidence_blob_release(&blob);
	coco_evidence_release(&ev);
	buf_release(&head);
	buf_release(&claims);
	buf_release(&raw);
	buf_release(&value);
}

static void the_token_extension_is_that_of_the_vector(void **state)
{
	char *jwt = vector_text("rats-tls.txt", "token_jwt");
	struct buf expected = hex("rats-tls.txt", "token_extension");
	struct buf value = { 0 };
	struct evidence_blob blob;
	struct err e;

	(void)state;
	evidence_blob_format(EVIDENCE_TAG_COCO_TOKEN, bytes_str(jwt), bytes_of(NULL, 0), &value);
	assert_bytes_equal(buf_bytes(&value), buf_bytes(&expected));
	assert_int_equal(evidence_blob_parse(buf_bytes(&value), &blob, &e), 0);
	assert_int_equal(blob.tag, EVIDENCE_TAG_COCO_TOKEN);
	assert_true(bytes_equal_str(buf_bytes(&blob.raw), jwt));
	evidence_blob_release(&blob);
	buf_clear(&value);
	evidence_blob_format(EVIDENCE_TAG_ITA_TOKEN, bytes_str(jwt), bytes_of(NULL, 0), &value);
	assert_bytes_equal(bytes_of(value.data, 5), bytes_of("\xda\x00\x17\xa0\x01", 5));
	free(jwt);
	buf_release(&value);
	buf_release(&expected);
}

static void the_ita_evidence_of_the_vector_is_told_by_its_tag(void **state)
{
	char *runtime = vector_text("rats-tls.txt", "runtime");
	struct buf head = hex("rats-tls.txt", "ita_head");
	struct buf raw = { 0 };
	struct buf value = { 0 };
	struct evidence_blob blob;
	struct coco_evidence ev;
	struct err e;

	(void)state;
	cbor_write_map(&raw, 2);
	cbor_write_text(&raw, bytes_str("tdx_quote"));
	cbor_write_bytes(&raw, bytes_str("QUOTE"));
	cbor_write_text(&raw, bytes_str("runtime_data"));
	cbor_write_bytes(&raw, bytes_str(runtime));
	evidence_blob_format(EVIDENCE_TAG_ITA, buf_bytes(&raw), bytes_of(NULL, 0), &value);
	assert_int_equal(value.len, 107);
	assert_bytes_equal(bytes_of(value.data, head.len), buf_bytes(&head));
	assert_int_equal(evidence_blob_parse(buf_bytes(&value), &blob, &e), 0);
	assert_int_equal(blob.tag, EVIDENCE_TAG_ITA);
	assert_int_equal(coco_evidence_parse(buf_bytes(&blob.raw), &ev, &e), -1);
	evidence_blob_release(&blob);
	free(runtime);
	buf_release(&head);
	buf_release(&raw);
	buf_release(&value);
}

static void additional_evidence_travels_in_the_current_form_only(void **state)
{
	struct coco_evidence ev = example(BINDING_CURRENT);
	struct coco_evidence back;
	struct buf raw = { 0 };
	struct err e;

	(void)state;
	ev.has_additional = true;
	buf_append_str(&ev.additional, "{\"sampledevice\":{}}");
	coco_evidence_format(&ev, BINDING_CURRENT, &raw);
	assert_int_equal(coco_evidence_parse(buf_bytes(&raw), &back, &e), 0);
	assert_true(back.has_additional);
	assert_string_equal(buf_str(&back.additional), "{\"sampledevice\":{}}");
	coco_evidence_release(&back);
	buf_clear(&raw);
	coco_evidence_format(&ev, BINDING_LEGACY, &raw);
	assert_int_equal(coco_evidence_parse(buf_bytes(&raw), &back, &e), 0);
	assert_false(back.has_additional);
	coco_evidence_release(&back);
	coco_evidence_release(&ev);
	buf_release(&raw);
}

static int parse_blob_hex(const char *text)
{
	struct buf value = { 0 };
	struct evidence_blob blob;
	struct err e = { 0 };
	int rc;

	hex_to_buf(text, &value);
	rc = evidence_blob_parse(buf_bytes(&value), &blob, &e);
	if (rc != 0)
		assert_int_equal(e.kind, ERR_PEER);
	evidence_blob_release(&blob);
	buf_release(&value);
	return rc;
}

static void a_blob_is_a_tag_around_two_byte_strings(void **state)
{
	static const char *const good[] = {
		"da00c0c000824040",
		"da00c0c00082410041ff",
		"da00c0c0008240400000",		    /* bytes behind it */
		"da00c0c000825f410041004040ff40ff", /* chunks, and bytes behind */
		"db0000000000c0c000824040",	    /* not the shortest form */
	};
	static const char *const wrong[] = {
		"",
		"da00c0c000",
		"824040",
		"da00c0c0008140",
		"da00c0c00083404040",
		"da00c0c0008240",
		"da00c0c000826040",
		"da00c0c000824060",
		"da00c0c0008240f6",
		"da00c0c000a14040",
		"da00c0c0009f4040ff",
		"da00c0c000824140",
		"c0da00c0c000824040",
		"da00c0c000825f60ff40",
		"da00c0c000825f4100",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(parse_blob_hex(good[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (parse_blob_hex(wrong[i]) == 0)
			fail_msg("accepted %s", wrong[i]);
	}
}

/* What a map of evidence may hold; NULL: the member is missing. */
struct members {
	const char *tee;
	const char *evidence;
	const char *additional; /* "null": null */
	const char *runtime;
	int hash; /* -1: missing */
	const char *extra_key;
};

static int parse_members(const struct members *m, struct coco_evidence *ev, struct err *e)
{
	size_t count = (m->tee != NULL) + (m->evidence != NULL) + (m->additional != NULL) + (m->runtime != NULL) +
		       (m->hash >= 0) + (m->extra_key != NULL);
	struct buf raw = { 0 };
	int rc;

	/* not in upstream's order */
	cbor_write_map(&raw, count);
	if (m->hash >= 0) {
		cbor_write_text(&raw, bytes_str("aa_runtime_data_hash_algo"));
		cbor_write_unsigned(&raw, (uint64_t)m->hash);
	}
	if (m->extra_key != NULL) {
		cbor_write_text(&raw, bytes_str(m->extra_key));
		cbor_write_map(&raw, 1);
		cbor_write_null(&raw);
		cbor_write_unsigned(&raw, 1000);
	}
	if (m->runtime != NULL) {
		cbor_write_text(&raw, bytes_str("aa_runtime_data"));
		cbor_write_text(&raw, bytes_str(m->runtime));
	}
	if (m->additional != NULL) {
		cbor_write_text(&raw, bytes_str("aa_additional_evidence"));
		if (strcmp(m->additional, "null") == 0)
			cbor_write_null(&raw);
		else
			cbor_write_bytes(&raw, bytes_str(m->additional));
	}
	if (m->evidence != NULL) {
		cbor_write_text(&raw, bytes_str("aa_evidence"));
		cbor_write_bytes(&raw, bytes_str(m->evidence));
	}
	if (m->tee != NULL) {
		cbor_write_text(&raw, bytes_str("tee_type"));
		cbor_write_text(&raw, bytes_str(m->tee));
	}
	rc = coco_evidence_parse(buf_bytes(&raw), ev, e);
	if (rc == 0) {
		/* every cut is refused, and so is a byte more */
		for (size_t len = 0; len < raw.len; len++) {
			struct coco_evidence cut;

			assert_int_equal(coco_evidence_parse(bytes_of(raw.data, len), &cut, e), -1);
			assert_null(cut.tee);
		}
		buf_append_str(&raw, "x");
		assert_int_equal(coco_evidence_parse(buf_bytes(&raw), &(struct coco_evidence){ 0 }, e), -1);
	}
	buf_release(&raw);
	return rc;
}

static void members_come_in_any_order_and_unknown_ones_are_ignored(void **state)
{
	static const struct members good[] = {
		{ "tdx", "x", NULL, "{}", 7, NULL },
		{ "tdx", "x", "null", "{}", 7, "new" },
		{ "sgx", "", "{\"nvidia\":{}}", "{\"a\":1}", 1, "" },
		{ "hygontpm", "x", NULL, "{}", 8, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct coco_evidence ev;
		struct err e;

		assert_int_equal(parse_members(&good[i], &ev, &e), 0);
		assert_string_equal(ev.tee, good[i].tee);
		assert_int_equal(ev.hash, good[i].hash);
		assert_int_equal(ev.has_additional, i == 2);
		if (i == 2)
			assert_string_equal(buf_str(&ev.additional), good[i].additional);
		assert_string_equal(buf_str(&ev.runtime_data), good[i].runtime);
		coco_evidence_release(&ev);
	}
}

static void evidence_that_lacks_something_or_has_it_wrong_is_refused(void **state)
{
	static const struct members wrong[] = {
		{ NULL, "x", NULL, "{}", 7, NULL },	      { "tdx", NULL, NULL, "{}", 7, NULL },
		{ "tdx", "x", NULL, NULL, 7, NULL },	      { "tdx", "x", NULL, "{}", -1, NULL },
		{ "tdx", "x", NULL, "{}", 0, NULL },	      { "tdx", "x", NULL, "{}", 2, NULL },
		{ "tdx", "x", NULL, "{}", 6, NULL },	      { "sgx-dcap", "x", NULL, "{}", 7, NULL },
		{ "TDX", "x", NULL, "{}", 7, NULL },	      { "", "x", NULL, "{}", 7, NULL },
		{ "az-tdx-vtpm", "x", NULL, "{}", 7, NULL },  { "tdx", "x", "", "{}", 7, NULL },
		{ "tdx", "x", "[]", "{}", 7, NULL },	      { "tdx", "x", "nul", "{}", 7, NULL },
		{ "tdx", "x", "{", "{}", 7, NULL },	      { "tdx", "x", NULL, "", 7, NULL },
		{ "tdx", "x", NULL, "[]", 7, NULL },	      { "tdx", "x", NULL, "{\"a\":1,\"a\":2}", 7, NULL },
		{ "tdx", "x", NULL, "{}", 7, "tee_type" }, /* repeated, even before its type is looked at */
		{ "tdx", "x", NULL, "{}", 7, "aa_evidence" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct coco_evidence ev;
		struct err e = { 0 };

		if (parse_members(&wrong[i], &ev, &e) == 0)
			fail_msg("accepted case %zu", i);
		assert_int_equal(e.kind, ERR_PEER);
		assert_null(ev.tee);
		assert_null(ev.evidence.data);
	}
}

static void a_tee_name_with_a_nul_byte_is_refused(void **state)
{
	struct coco_evidence ev = example(BINDING_CURRENT);
	struct buf raw = { 0 };
	ssize_t at;
	struct err e;

	(void)state;
	coco_evidence_format(&ev, BINDING_CURRENT, &raw);
	at = bytes_find(buf_bytes(&raw), bytes_str("sample"));
	memcpy(raw.data + at, "tdx\0\0\0", 6);
	coco_evidence_release(&ev);
	assert_int_equal(coco_evidence_parse(buf_bytes(&raw), &ev, &e), -1);
	buf_release(&raw);
}

static int check(const char *runtime, struct bytes claims, struct bytes spki, enum binding binding)
{
	struct err e = { 0 };
	struct json *j = json_parse(bytes_str(runtime), JSON_STRICT, &e);
	int rc;

	assert_non_null(j);
	rc = key_binding_check(j, claims, spki, binding, &e);
	if (rc != 0)
		assert_int_equal(e.kind, ERR_TRUST);
	json_free(j);
	return rc;
}

static void runtime_data_in_the_current_form_belongs_to_its_key(void **state)
{
	struct buf spki = hex("rats-tls.txt", "spki");
	struct buf other = hex("coco-evidence.txt", "spki");
	char *runtime = vector_text("rats-tls.txt", "runtime");
	char *legacy = vector_text("rats-tls.txt", "legacy_runtime");
	char *more = mem_format("{\"x\":1,%s", runtime + 1);
	struct bytes none = { 0 };
	struct bytes garbage = bytes_str("whatever the certificate holds");

	(void)state;
	assert_int_equal(check(runtime, none, buf_bytes(&spki), BINDING_CURRENT), 0);
	assert_int_equal(check(runtime, none, buf_bytes(&spki), BINDING_BOTH), 0);
	assert_int_equal(check(runtime, garbage, buf_bytes(&spki), BINDING_BOTH), 0);
	assert_int_equal(check(more, none, buf_bytes(&spki), BINDING_CURRENT), 0);

	assert_int_equal(check(runtime, none, buf_bytes(&other), BINDING_CURRENT), -1);
	assert_int_equal(check(runtime, none, buf_bytes(&other), BINDING_BOTH), -1);
	assert_int_equal(check(runtime, none, buf_bytes(&spki), BINDING_LEGACY), -1);
	assert_int_equal(check(legacy, none, buf_bytes(&spki), BINDING_CURRENT), -1);
	assert_int_equal(check("{}", none, buf_bytes(&spki), BINDING_CURRENT), -1);
	assert_int_equal(check("{}", none, buf_bytes(&spki), BINDING_BOTH), -1);
	assert_int_equal(check("[]", none, buf_bytes(&spki), BINDING_CURRENT), -1);
	assert_int_equal(check("null", none, buf_bytes(&spki), BINDING_CURRENT), -1);
	assert_int_equal(check("{\"pubkey-hash\":null}", none, buf_bytes(&spki), BINDING_CURRENT), -1);
	assert_int_equal(check("{\"pubkey-hash\":\"\"}", none, buf_bytes(&spki), BINDING_CURRENT), -1);
	assert_int_equal(check("{\"x\":{\"pubkey-hash\":\"ggFYIFeP02froGpcAwD9AbWRlU5jwNY0CdFf+Z3eqcBjZaN7\"}}", none,
			       buf_bytes(&spki), BINDING_CURRENT),
			 -1);
	/* base64url is another text */
	assert_int_equal(check("{\"pubkey-hash\":\"ggFYIFeP02froGpcAwD9AbWRlU5jwNY0CdFf-Z3eqcBjZaN7\"}", none,
			       buf_bytes(&spki), BINDING_CURRENT),
			 -1);
	free(runtime);
	free(legacy);
	free(more);
	buf_release(&spki);
	buf_release(&other);
}

static void runtime_data_in_the_legacy_form_belongs_to_its_claims_and_key(void **state)
{
	struct buf spki = hex("rats-tls.txt", "spki");
	struct buf other = hex("coco-evidence.txt", "spki");
	struct buf claims = hex("rats-tls.txt", "legacy_claims_buffer");
	char *runtime = vector_text("rats-tls.txt", "legacy_runtime");
	char *current = vector_text("rats-tls.txt", "runtime");
	char *more = mem_format("{\"x\":1,%s", runtime + 1);
	char *both = mem_format("{%.*s,%s", (int)strlen(current) - 2, current + 1, runtime + 1);

	(void)state;
	assert_int_equal(check(runtime, buf_bytes(&claims), buf_bytes(&spki), BINDING_LEGACY), 0);
	assert_int_equal(check(runtime, buf_bytes(&claims), buf_bytes(&spki), BINDING_BOTH), 0);

	assert_int_equal(check(runtime, buf_bytes(&claims), buf_bytes(&other), BINDING_LEGACY), -1);
	assert_int_equal(check(runtime, buf_bytes(&claims), buf_bytes(&other), BINDING_BOTH), -1);
	assert_int_equal(check(runtime, buf_bytes(&claims), buf_bytes(&spki), BINDING_CURRENT), -1);
	assert_int_equal(check(more, buf_bytes(&claims), buf_bytes(&spki), BINDING_LEGACY), -1);
	assert_int_equal(check(both, buf_bytes(&claims), buf_bytes(&spki), BINDING_LEGACY), -1);
	assert_int_equal(check(both, buf_bytes(&claims), buf_bytes(&spki), BINDING_BOTH), -1);
	assert_int_equal(check(current, buf_bytes(&claims), buf_bytes(&spki), BINDING_LEGACY), -1);
	assert_int_equal(check(runtime, bytes_of(NULL, 0), buf_bytes(&spki), BINDING_LEGACY), -1);
	for (size_t i = 0; i < claims.len; i++) {
		claims.data[i] ^= 1;
		assert_int_equal(check(runtime, buf_bytes(&claims), buf_bytes(&spki), BINDING_LEGACY), -1);
		claims.data[i] ^= 1;
	}
	free(runtime);
	free(current);
	free(more);
	free(both);
	buf_release(&spki);
	buf_release(&other);
	buf_release(&claims);
}

/* The runtime data that goes with any claims buffer, so that only what is in the buffer can be wrong. */
static int check_claims(const char *claims_hex, struct bytes spki)
{
	struct buf claims = { 0 };
	uint8_t digest[32];
	struct json *j;
	struct buf text = { 0 };
	struct err e;
	int rc;

	hex_to_buf(claims_hex, &claims);
	digest_compute(DIGEST_SHA256, buf_bytes(&claims), digest);
	buf_append_str(&text, "{\"rats-rs.raw_runtime_data\":\"");
	base64url_encode(bytes_of(digest, 32), &text);
	buf_append_str(&text, "\"}");
	j = json_parse(buf_bytes(&text), JSON_STRICT, &e);
	assert_non_null(j);
	rc = key_binding_check(j, buf_bytes(&claims), spki, BINDING_LEGACY, &e);
	json_free(j);
	buf_release(&text);
	buf_release(&claims);
	return rc;
}

static void a_claims_buffer_holds_the_hash_of_the_key(void **state)
{
	static const struct {
		const char *format; /* %s: the hash in hex */
		enum digest_algorithm alg;
		int rc;
	} cases[] = {
		{ "a16b7075626b65792d6861736858248201 5820%s", DIGEST_SHA256, 0 },
		{ "a16b7075626b65792d6861736858348207 5830%s", DIGEST_SHA384, 0 },
		{ "a16b7075626b65792d6861736858448208 5840%s", DIGEST_SHA512, 0 },
		{ "a261784101 6b7075626b65792d6861736858248201 5820%s", DIGEST_SHA256, 0 },
		{ "a16b7075626b65792d6861736858248207 5820%s", DIGEST_SHA256, -1 },	   /* another algorithm */
		{ "a16b7075626b65792d6861736858248202 5820%s", DIGEST_SHA256, -1 },	   /* an unknown one */
		{ "a16b7075626b65792d6861736858258201 5820%s00", DIGEST_SHA256, -1 },	   /* bytes behind the hash */
		{ "a16b7075626b65792d6861736858248201 5820%s00", DIGEST_SHA256, -1 },	   /* and behind the map */
		{ "a16b7075626b65792d6861736878248201 5820%s", DIGEST_SHA256, -1 },	   /* text */
		{ "a16b7075626b65792d6861737458248201 5820%s", DIGEST_SHA256, -1 },	   /* another name */
		{ "a2617801 6b7075626b65792d6861736858248201 5820%s", DIGEST_SHA256, -1 }, /* another claim, a number */
		{ "a26b7075626b65792d68617368416b 6b7075626b65792d6861736858248201 5820%s", DIGEST_SHA256, -1 },
		{ "a0", DIGEST_SHA256, -1 },
	};
	struct buf spki = hex("rats-tls.txt", "spki");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t digest[DIGEST_MAX_LEN];
		struct buf claims = { 0 };
		const char *at = strchr(cases[i].format, '%');
		char *hash;

		digest_compute(cases[i].alg, buf_bytes(&spki), digest);
		hash = bytes_to_hex(bytes_of(digest, digest_len(cases[i].alg)));
		for (const char *c = cases[i].format; *c != '\0'; c++) {
			if (c == at) {
				buf_append_str(&claims, hash);
				c++;
			} else if (*c != ' ') {
				buf_append(&claims, c, 1);
			}
		}
		if (check_claims(buf_str(&claims), buf_bytes(&spki)) != cases[i].rc)
			fail_msg("case %zu", i);
		free(hash);
		buf_release(&claims);
	}
	buf_release(&spki);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_current_binding_is_that_of_the_vectors),
		cmocka_unit_test(the_service_of_intel_gets_the_hash_of_the_vector),
		cmocka_unit_test(the_legacy_binding_is_that_of_the_vectors),
		cmocka_unit_test(an_attester_cannot_bind_both_ways),
		cmocka_unit_test(the_extension_is_that_of_the_vector),
		cmocka_unit_test(the_extension_of_the_vector_is_read),
		cmocka_unit_test(the_evidence_of_the_other_vector_passes_both_ways),
		cmocka_unit_test(the_legacy_extension_has_four_members_and_the_claims_buffer),
		cmocka_unit_test(the_token_extension_is_that_of_the_vector),
		cmocka_unit_test(the_ita_evidence_of_the_vector_is_told_by_its_tag),
		cmocka_unit_test(additional_evidence_travels_in_the_current_form_only),
		cmocka_unit_test(a_blob_is_a_tag_around_two_byte_strings),
		cmocka_unit_test(members_come_in_any_order_and_unknown_ones_are_ignored),
		cmocka_unit_test(evidence_that_lacks_something_or_has_it_wrong_is_refused),
		cmocka_unit_test(a_tee_name_with_a_nul_byte_is_refused),
		cmocka_unit_test(runtime_data_in_the_current_form_belongs_to_its_key),
		cmocka_unit_test(runtime_data_in_the_legacy_form_belongs_to_its_claims_and_key),
		cmocka_unit_test(a_claims_buffer_holds_the_hash_of_the_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
