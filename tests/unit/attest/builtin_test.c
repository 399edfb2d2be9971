/* SPDX-License-Identifier: Apache-2.0 */
/* builtin - sample evidence, good and bad, under both policies. */
#include "../vectors.h"

#include "attest/builtin.h"
#include "attest/provider.h"
#include "peer.h"
#include "run.h"

static enum reason verify(const struct coco_evidence *ev, enum builtin_policy policy)
{
	enum reason reason = REASON_DONE;
	struct err e;

	if (builtin_verify(ev, policy, &reason, &e) == 0)
		return REASON_DONE;
	assert_int_not_equal(reason, REASON_DONE);
	return reason;
}

static void replace(struct buf *b, const char *from, const char *to)
{
	struct buf out = { 0 };
	ssize_t at = bytes_find(buf_bytes(b), bytes_str(from));

	assert_true(at >= 0);
	buf_append(&out, b->data, (size_t)at);
	buf_append_str(&out, to);
	buf_append(&out, b->data + at + strlen(from), b->len - (size_t)at - strlen(from));
	buf_release(b);
	*b = out;
}

static void trust_all_accepts_sample_and_hardware_only_does_not(void **state)
{
	struct peer p;

	(void)state;
	peer_init(&p, BINDING_CURRENT);
	assert_int_equal(verify(&p.evidence, POLICY_TRUST_ALL), REASON_DONE);
	assert_int_equal(verify(&p.evidence, POLICY_HARDWARE_ONLY), REASON_POLICY_REFUSED);
	peer_release(&p);
}

static void legacy_runtime_data_is_checked_alike(void **state)
{
	struct peer p;

	(void)state;
	peer_init(&p, BINDING_LEGACY);
	assert_int_equal(verify(&p.evidence, POLICY_TRUST_ALL), REASON_DONE);
	replace(&p.evidence.runtime_data, "{\"", "{\"x\":1,\"");
	assert_int_equal(verify(&p.evidence, POLICY_TRUST_ALL), REASON_BINDING_MISMATCH);
	peer_release(&p);
}

static void the_runtime_data_is_hashed_in_canonical_form(void **state)
{
	struct peer p;

	(void)state;
	peer_init(&p, BINDING_CURRENT);
	replace(&p.evidence.runtime_data, "{\"", " { \"");
	assert_int_equal(verify(&p.evidence, POLICY_TRUST_ALL), REASON_DONE);
	peer_release(&p);
}

static void evidence_of_another_key_is_refused(void **state)
{
	struct peer p;
	struct peer other;

	(void)state;
	peer_init(&p, BINDING_CURRENT);
	peer_init(&other, BINDING_CURRENT);
	buf_clear(&p.evidence.evidence);
	buf_append_bytes(&p.evidence.evidence, buf_bytes(&other.evidence.evidence));
	assert_int_equal(verify(&p.evidence, POLICY_TRUST_ALL), REASON_BINDING_MISMATCH);
	peer_release(&p);
	peer_release(&other);
}

static void the_named_hash_is_the_one_that_counts(void **state)
{
	struct peer p;

	(void)state;
	peer_init(&p, BINDING_CURRENT);
	p.evidence.hash = DIGEST_SHA256;
	assert_int_equal(verify(&p.evidence, POLICY_TRUST_ALL), REASON_BINDING_MISMATCH);
	peer_release(&p);
}

static void malformed_sample_evidence_is_refused(void **state)
{
	static const char *const changes[][2] = {
		{ "\"measure_register\":\"0", "\"measure_register\":\"g" },
		{ "\"measure_register\":\"0", "\"measure_register\":\"" },
		{ "\"measure_register\":\"0", "\"measure_register\":\"00" },
		{ "\"measure_register\"", "\"other\"" },
		{ "\"cc_eventlog\":null", "\"cc_eventlog\":\"AAAA\"" },
		{ "\"svn\":\"1\"", "\"svn\":1" },
		{ ",\"svn\":\"1\"", "" },
		{ "\"report_data\":\"", "\"report_data\":\"*" },
		{ "\"report_data\"", "\"report\"" },
		{ "{", "[" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct peer p;

		peer_init(&p, BINDING_CURRENT);
		replace(&p.evidence.evidence, changes[i][0], changes[i][1]);
		assert_int_equal(verify(&p.evidence, POLICY_TRUST_ALL), REASON_EVIDENCE_INVALID);
		peer_release(&p);
	}
}

static void any_svn_and_no_event_log_member_are_fine(void **state)
{
	struct peer p;

	(void)state;
	peer_init(&p, BINDING_CURRENT);
	replace(&p.evidence.evidence, "\"svn\":\"1\"", "\"svn\":\"anything\"");
	replace(&p.evidence.evidence, "\"cc_eventlog\":null,", "");
	assert_int_equal(verify(&p.evidence, POLICY_TRUST_ALL), REASON_DONE);
	peer_release(&p);
}

static void evidence_of_other_tees_is_refused(void **state)
{
	struct peer p;

	(void)state;
	peer_init(&p, BINDING_CURRENT);
	free(p.evidence.tee);
	p.evidence.tee = mem_strdup("tdx");
	assert_int_equal(verify(&p.evidence, POLICY_TRUST_ALL), REASON_POLICY_REFUSED);
	peer_release(&p);
}

static enum reason verify_with_additional(const char *text)
{
	struct peer p;
	enum reason reason;

	peer_init(&p, BINDING_CURRENT);
	p.evidence.has_additional = true;
	buf_append_str(&p.evidence.additional, text);
	reason = verify(&p.evidence, POLICY_TRUST_ALL);
	peer_release(&p);
	return reason;
}

static void additional_evidence_is_checked_or_refused(void **state)
{
	(void)state;
	assert_int_equal(verify_with_additional("{\"sampledevice\":{\"report_data\":\"\",\"svn\":\"2\"}}"),
			 REASON_DONE);
	assert_int_equal(verify_with_additional("{}"), REASON_DONE);
	assert_int_equal(verify_with_additional("{\"sampledevice\":{\"report_data\":\"\"}}"), REASON_EVIDENCE_INVALID);
	assert_int_equal(verify_with_additional("{\"sampledevice\":{\"report_data\":\"=\",\"svn\":\"2\"}}"),
			 REASON_EVIDENCE_INVALID);
	assert_int_equal(verify_with_additional("{\"sampledevice\":[]}"), REASON_EVIDENCE_INVALID);
	assert_int_equal(verify_with_additional("{\"nvidia\":{}}"), REASON_EVIDENCE_INVALID);
	assert_int_equal(verify_with_additional("[]"), REASON_EVIDENCE_INVALID);
	assert_int_equal(verify_with_additional("{"), REASON_EVIDENCE_INVALID);
}

struct collector {
	struct provider_events events;
	bool done;
	struct provider_evidence ev;
};

static void on_collected(struct provider_events *self, struct provider_evidence *ev, const struct err *why)
{
	struct collector *c = container_of(self, struct collector, events);

	(void)why;
	c->ev = *ev;
	*ev = (struct provider_evidence){ 0 };
	c->done = true;
}

static void what_the_builtin_provider_makes_is_accepted(void **state)
{
	struct collector c = { .events.collected = on_collected };
	struct provider_call *call;
	struct provider *provider;
	struct loop *loop;
	struct peer p;
	struct err e;

	(void)state;
	loop = loop_new(&e);
	provider = provider_builtin.open(loop, NULL, &e);
	peer_init(&p, BINDING_CURRENT);
	call = provider_builtin.collect(provider, bytes_str("left"), &c.events);
	provider_builtin.cancel(call);
	provider_builtin.collect(provider, bytes_of(p.binding.report_data, 48), &c.events);
	assert_false(c.done);
	assert_true(run_until(loop, &c.done, 1000));
	assert_string_equal(c.ev.tee, "sample");
	assert_false(c.ev.has_additional);
	assert_bytes_equal(buf_bytes(&c.ev.evidence), buf_bytes(&p.evidence.evidence));
	provider_evidence_release(&c.ev);
	provider_builtin.close(provider);
	loop_free(loop);
	peer_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trust_all_accepts_sample_and_hardware_only_does_not),
		cmocka_unit_test(legacy_runtime_data_is_checked_alike),
		cmocka_unit_test(the_runtime_data_is_hashed_in_canonical_form),
		cmocka_unit_test(evidence_of_another_key_is_refused),
		cmocka_unit_test(the_named_hash_is_the_one_that_counts),
		cmocka_unit_test(malformed_sample_evidence_is_refused),
		cmocka_unit_test(any_svn_and_no_event_log_member_are_fine),
		cmocka_unit_test(evidence_of_other_tees_is_refused),
		cmocka_unit_test(additional_evidence_is_checked_or_refused),
		cmocka_unit_test(what_the_builtin_provider_makes_is_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
