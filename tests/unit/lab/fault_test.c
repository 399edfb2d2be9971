/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int parse(const char *text, struct fault *f, uint32_t *targets, struct err *e)
{
	struct json *j = json_parse(bytes_str(text), JSON_STRICT, e);
	int rc;

	assert_non_null(j);
	rc = fault_parse(j, f, targets, e);
	json_free(j);
	return rc;
}

static void set(struct target *t, const char *text)
{
	struct fault f;
	uint32_t targets;
	struct err e;

	if (parse(text, &f, &targets, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	fault_set(t, &f);
}

static void assert_refused(const char *text, const char *expected)
{
	struct fault f;
	uint32_t targets;
	struct err e;

	assert_int_equal(parse(text, &f, &targets, &e), -1);
	assert_string_equal(e.text, expected);
}

static void a_fault_names_its_targets(void **state)
{
	struct fault f;
	uint32_t targets;
	struct err e;

	(void)state;
	assert_int_equal(
		parse("{\"cmd\":\"fault\",\"target\":\"as_rest\",\"kind\":\"slow\",\"ms\":3000}", &f, &targets, &e), 0);
	assert_int_equal(f.kind, FAULT_SLOW);
	assert_int_equal(f.ms, 3000);
	assert_int_equal(targets, 1u << TARGET_AS_REST);

	assert_int_equal(parse("{\"kind\":\"expired\",\"target\":\"all\"}", &f, &targets, &e), 0);
	assert_int_equal(targets, 1u << TARGET_AS_REST | 1u << TARGET_AS_GRPC);
}

static void faults_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	assert_refused("{\"kind\":\"fast\"}", "kind: no fault of this name, see docs/lab.md");
	assert_refused("{\"kind\":1}", "kind: no fault of this name, see docs/lab.md");
	assert_refused("{}", "kind: no fault of this name, see docs/lab.md");
	assert_refused("[]", "a fault is an object");
	assert_refused("{\"kind\":\"expired\",\"target\":\"aa\"}", "expired: not for target aa");
	assert_refused("{\"kind\":\"slow\",\"target\":\"as\"}", "target: expected aa, asr, as_rest, as_grpc or all");
	assert_refused("{\"kind\":\"slow\",\"ms\":-1}", "ms: expected an integer from 0 to 3600000");
	assert_refused("{\"kind\":\"slow\",\"ms\":3600001}", "ms: expected an integer from 0 to 3600000");
	assert_refused("{\"kind\":\"slow\",\"count\":0}", "count: expected an integer from 1 to 2147483647");
	assert_refused("{\"kind\":\"evidence_size\",\"bytes\":67108865}",
		       "bytes: expected an integer from 0 to 67108864");
	assert_refused("{\"kind\":\"slow\",\"milliseconds\":1}", "milliseconds: unknown member");
	assert_refused("{\"kind\":\"down\",\"count\":1}", "down: ends with none, not by count or call");
	assert_refused("{\"kind\":\"slow\",\"call\":\"x\"}",
		       "call: expected tee, evidence, device, token, challenge, certificate or other");
}

static void a_fault_replaces_the_one_before_and_modes_stay(void **state)
{
	struct target t;
	struct dealt d;

	(void)state;
	target_init(&t, TARGET_AS_REST);
	set(&t, "{\"kind\":\"padded_x5c\"}");
	set(&t, "{\"kind\":\"slow\"}");
	set(&t, "{\"kind\":\"expired\"}");
	d = fault_deal(&t, CALL_TOKEN);
	assert_int_equal(d.fault, FAULT_EXPIRED);
	assert_true(dealt_mode(&d, MODE_PADDED_X5C));
	assert_false(dealt_mode(&d, MODE_OLD));

	set(&t, "{\"kind\":\"none\"}");
	d = fault_deal(&t, CALL_TOKEN);
	assert_int_equal(d.fault, FAULT_NONE);
	assert_int_equal(d.modes, 0);
	target_release(&t);
}

static void a_count_is_used_up_by_the_calls_it_is_for(void **state)
{
	struct target t;

	(void)state;
	target_init(&t, TARGET_AS_REST);
	set(&t, "{\"kind\":\"expired\",\"count\":2}");
	assert_int_equal(fault_deal(&t, CALL_CERTIFICATE).fault, FAULT_NONE);
	assert_int_equal(fault_deal(&t, CALL_TOKEN).fault, FAULT_EXPIRED);
	assert_int_equal(fault_deal(&t, CALL_CERTIFICATE).fault, FAULT_NONE);
	assert_int_equal(fault_deal(&t, CALL_TOKEN).fault, FAULT_EXPIRED);
	assert_int_equal(fault_deal(&t, CALL_TOKEN).fault, FAULT_NONE);
	target_release(&t);
}

static void a_fault_for_one_call_spares_the_others(void **state)
{
	struct target t;

	(void)state;
	target_init(&t, TARGET_AS_REST);
	set(&t, "{\"kind\":\"refuse\",\"call\":\"certificate\"}");
	assert_int_equal(fault_deal(&t, CALL_TOKEN).fault, FAULT_NONE);
	assert_int_equal(fault_deal(&t, CALL_CERTIFICATE).fault, FAULT_REFUSE);
	target_release(&t);
}

static void stats_are_json_whatever_was_seen(void **state)
{
	struct target t;
	struct buf out = { 0 };
	struct json *j;
	struct err e;

	(void)state;
	target_init(&t, TARGET_AS_REST);
	target_count(&t, "attestation");
	target_count(&t, "attestation");
	target_count(&t, "other");
	t.last_tee = mem_strdup("sam\"ple");
	target_format(&t, 3, 1, &out);
	j = json_parse(buf_bytes(&out), JSON_STRICT, &e);
	assert_non_null(j);
	assert_string_equal(json_at(j, "calls/attestation")->text, "2");
	assert_string_equal(json_string(json_member(j, "last_tee")), "sam\"ple");
	assert_string_equal(json_member(j, "connections")->text, "3");
	json_free(j);
	buf_release(&out);
	target_release(&t);
}

struct call {
	struct pending pending;
	int resumed;
	struct loop *stop;
};

static void on_resume(struct pending *p)
{
	struct call *c = container_of(p, struct call, pending);

	c->resumed++;
	loop_stop(c->stop);
}

static void held_calls_wait_for_the_release_and_hanging_ones_for_ever(void **state)
{
	struct err e;
	struct loop *l = loop_new(&e);
	struct call held = { .stop = l };
	struct call hanging = { .stop = l };
	struct target t;

	(void)state;
	assert_non_null(l);
	target_init(&t, TARGET_AA);
	pending_init(&held.pending, on_resume);
	pending_init(&hanging.pending, on_resume);
	assert_false(pending_start(&held.pending, l, &t, &(struct dealt){ .fault = FAULT_NONE }));
	assert_true(pending_start(&hanging.pending, l, &t, &(struct dealt){ .fault = FAULT_HANG }));
	assert_true(pending_start(&held.pending, l, &t, &(struct dealt){ .fault = FAULT_HOLD }));
	assert_int_equal(t.held_count, 2);

	assert_int_equal(target_release_held(&t), 1);
	assert_int_equal(held.resumed, 0);
	loop_run(l);
	assert_int_equal(held.resumed, 1);
	assert_int_equal(hanging.resumed, 0);
	assert_int_equal(t.held_count, 1);

	pending_cancel(&hanging.pending);
	pending_cancel(&hanging.pending);
	assert_int_equal(t.held_count, 0);
	target_release(&t);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fault_names_its_targets),
		cmocka_unit_test(faults_that_make_no_sense_are_refused),
		cmocka_unit_test(a_fault_replaces_the_one_before_and_modes_stay),
		cmocka_unit_test(a_count_is_used_up_by_the_calls_it_is_for),
		cmocka_unit_test(a_fault_for_one_call_spares_the_others),
		cmocka_unit_test(stats_are_json_whatever_was_seen),
		cmocka_unit_test(held_calls_wait_for_the_release_and_hanging_ones_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
