/* SPDX-License-Identifier: Apache-2.0 */
/* judge - verdicts of services that the test plays, the queue to them, and trust anchors. */
#include "../vectors.h"

#include "base/clock.h"
#include "trial.h"

#include <sys/resource.h>
#include <unistd.h>

static struct trial t;
static struct basis_events basis_events;
static unsigned basis_changes;
static struct judge *judge;

static void check_peer(unsigned i, const struct peer *p)
{
	trial_ask_judge(&t, i, judge, p);
}

static void check(unsigned i)
{
	check_peer(i, &t.peer);
}

static void cancel(unsigned i)
{
	trial_cancel(&t, i);
}

static const struct verdict *verdict_of(struct judge *j, const struct peer *p)
{
	return trial_verdict_of_judge(&t, j, p);
}

static struct judge *open_named(const struct verify_conf *c, enum binding binding, const char *name)
{
	struct err e;
	struct judge *j = judge_new(t.loop, c, binding, name, &basis_events, &e);

	if (j == NULL)
		fail_msg("%s", e.text);
	judge_start(j);
	return j;
}

static void open_judge(void)
{
	judge = open_named(&t.conf, BINDING_CURRENT, "add_ingress[0]");
}

static void on_basis_changed(struct basis_events *self)
{
	(void)self;
	basis_changes++;
}

static int set_up_with(enum as_type type)
{
	basis_events.changed = on_basis_changed;
	basis_changes = 0;
	trial_begin(&t, type);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with(AS_RESTFUL);
}

static int set_up_grpc(void **state)
{
	(void)state;
	return set_up_with(AS_GRPC);
}

static int tear_down(void **state)
{
	(void)state;
	judge_free(judge);
	judge = NULL;
	trial_end(&t);
	return 0;
}

/* ---- one verdict ---- */

static void a_background_check_is_accepted(void **state)
{
	(void)state;
	open_judge();
	assert_accepted_by_service(verdict_of(judge, &t.peer));
	assert_int_equal(t.service.evaluations, 1);
	assert_int_equal(t.service.certificates, 1);
}

static void an_ear_token_is_accepted(void **state)
{
	(void)state;
	t.service.token.form = TOKEN_EAR;
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
}

static void evidence_of_a_mebibyte_is_judged_like_any_other(void **state)
{
	struct buf *text = &t.peer.evidence.evidence;
	struct buf large = { 0 };

	(void)state;
	buf_append_str(&large, "{\"pad\":\"");
	for (int i = 0; i < 65536; i++)
		buf_append_str(&large, "0123456789abcdef");
	buf_append_str(&large, "\",");
	buf_append(&large, text->data + 1, text->len - 1);
	buf_release(text);
	*text = large;
	peer_certify_evidence(&t.peer, BINDING_CURRENT);
	assert_true(t.peer.cert_der.len > 1 << 20);
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
}

static void a_service_of_1_5_2_is_asked_in_its_own_layout(void **state)
{
	(void)state;
	t.service.mode = SERVICE_OLD_LAYOUT;
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
	assert_int_equal(t.service.evaluations, 2);
}

static void headers_go_with_every_request(void **state)
{
	struct header_conf headers[] = { { "Authorization", "Bearer abc" } };

	(void)state;
	t.conf.as.headers = headers;
	t.conf.as.header_count = 1;
	t.service.no_certificates = true;
	open_judge();
	assert_true(run_until_count(t.loop, &t.service.certificates, 1, TRIAL_DEADLINE_MS));
	assert_non_null(strstr(t.service.last_head, "\nauthorization: Bearer abc\r"));
	judge_free(judge);
	t.service.no_certificates = false;
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
	assert_non_null(strstr(t.service.last_head, "\nauthorization: Bearer abc\r"));
	assert_non_null(strstr(t.service.last_head, "\ncontent-type: application/json\r"));
}

static void what_the_service_does_wrong_has_a_reason(void **state)
{
	(void)state;
	open_judge();
	t.service.mode = SERVICE_REFUSE;
	assert_refused(verdict_of(judge, &t.peer), REASON_AS_REFUSED);
	t.service.mode = SERVICE_GARBAGE;
	assert_refused(verdict_of(judge, &t.peer), REASON_AS_MALFORMED);
	t.service.mode = SERVICE_SERVE;
	t.service.token.wrong_signature = true;
	assert_refused(verdict_of(judge, &t.peer), REASON_TOKEN_SIGNATURE);
	t.service.token = (struct mint_options){ .form = TOKEN_SIMPLE, .expired = true };
	assert_refused(verdict_of(judge, &t.peer), REASON_TOKEN_EXPIRED);
	t.service.token = (struct mint_options){ .form = TOKEN_SIMPLE, .wrong_policy = true };
	assert_refused(verdict_of(judge, &t.peer), REASON_TOKEN_POLICY);
	t.service.token = (struct mint_options){ .form = TOKEN_SIMPLE };
	service_stop(&t.service);
	assert_refused(verdict_of(judge, &t.peer), REASON_AS_UNAVAILABLE);
}

static void a_service_that_hangs_runs_out_of_time(void **state)
{
	(void)state;
	t.conf.as.timeout_ms = 500;
	open_judge();
	t.service.mode = SERVICE_HOLD;
	assert_refused(verdict_of(judge, &t.peer), REASON_AS_TIMEOUT);
}

/* ---- local checks ---- */

static void a_certificate_that_is_none_is_refused_without_a_call(void **state)
{
	struct buf der = { 0 };

	(void)state;
	open_judge();
	buf_append_bytes(&der, buf_bytes(&t.peer.cert_der));
	t.peer.cert_der.len /= 2;
	assert_refused(verdict_of(judge, &t.peer), REASON_CERTIFICATE_INVALID);
	t.peer.cert_der.len = der.len;
	t.peer.cert_der.data[der.len - 1] ^= 1; /* of the signature */
	assert_refused(verdict_of(judge, &t.peer), REASON_CERTIFICATE_INVALID);
	t.peer.cert_der.len = 0;
	assert_refused(verdict_of(judge, &t.peer), REASON_CERTIFICATE_INVALID);
	assert_int_equal(t.service.evaluations, 0);
	buf_release(&der);
}

static void a_certificate_without_evidence_is_refused_without_a_call(void **state)
{
	(void)state;
	open_judge();
	peer_certify_extension(&t.peer, bytes_of(NULL, 0));
	assert_refused(verdict_of(judge, &t.peer), REASON_NO_EVIDENCE);
	peer_certify_extension(&t.peer, bytes_str("garbage"));
	assert_refused(verdict_of(judge, &t.peer), REASON_EVIDENCE_INVALID);
	peer_certify(&t.peer, EVIDENCE_TAG_COCO, bytes_str("garbage"));
	assert_refused(verdict_of(judge, &t.peer), REASON_EVIDENCE_INVALID);
	assert_int_equal(t.service.evaluations, 0);
}

static void the_other_model_is_refused_without_a_call(void **state)
{
	(void)state;
	open_judge();
	peer_certify(&t.peer, EVIDENCE_TAG_COCO_TOKEN, bytes_str("a.b.c"));
	assert_refused(verdict_of(judge, &t.peer), REASON_MODEL_MISMATCH);
	peer_certify(&t.peer, EVIDENCE_TAG_ITA, bytes_str("x"));
	assert_refused(verdict_of(judge, &t.peer), REASON_MODEL_MISMATCH);
	assert_int_equal(t.service.evaluations, 0);
}

static void copied_evidence_is_refused_without_a_call(void **state)
{
	struct peer thief;

	(void)state;
	open_judge();
	peer_init(&thief, BINDING_CURRENT);
	coco_evidence_release(&thief.evidence);
	thief.evidence = t.peer.evidence;
	peer_certify_evidence(&thief, BINDING_CURRENT);
	thief.evidence = (struct coco_evidence){ 0 };
	assert_refused(verdict_of(judge, &thief), REASON_BINDING_MISMATCH);
	assert_int_equal(t.service.evaluations, 0);
	peer_release(&thief);
}

/* The service is a liar: its token is about another key. */
static void a_token_for_another_key_is_refused(void **state)
{
	(void)state;
	open_judge();
	t.service.token.wrong_key = true;
	assert_refused(verdict_of(judge, &t.peer), REASON_BINDING_MISMATCH);
}

static void each_binding_takes_its_own_form_and_both_takes_either(void **state)
{
	struct judge *legacy;
	struct judge *both;
	struct peer old;

	(void)state;
	peer_init(&old, BINDING_LEGACY);
	open_judge();
	legacy = open_named(&t.conf, BINDING_LEGACY, "add_ingress[1]");
	both = open_named(&t.conf, BINDING_BOTH, "add_ingress[2]");
	assert_accepted(verdict_of(legacy, &old));
	assert_accepted(verdict_of(both, &old));
	assert_accepted(verdict_of(both, &t.peer));
	assert_refused(verdict_of(judge, &old), REASON_BINDING_MISMATCH);
	assert_refused(verdict_of(legacy, &t.peer), REASON_BINDING_MISMATCH);
	judge_free(legacy);
	judge_free(both);
	peer_release(&old);
}

/* ---- the queue ---- */

#define SLOTS 8
#define PEERS 12

static struct peer crowd[PEERS];
static struct rlimit old_limit;

static void open_crowded(unsigned timeout_ms)
{
	struct rlimit low;

	getrlimit(RLIMIT_NOFILE, &old_limit);
	low = old_limit;
	low.rlim_cur = 4 * SLOTS;
	setrlimit(RLIMIT_NOFILE, &low);
	t.conf.as.timeout_ms = timeout_ms;
	open_judge();
	setrlimit(RLIMIT_NOFILE, &old_limit);
	t.service.mode = SERVICE_HOLD;
	for (unsigned i = 0; i < PEERS; i++) {
		peer_init(&crowd[i], BINDING_CURRENT);
		check_peer(i, &crowd[i]);
	}
}

static void release_crowd(void)
{
	for (unsigned i = 0; i < PEERS; i++)
		peer_release(&crowd[i]);
}

static void more_checks_than_slots_wait_in_order(void **state)
{
	(void)state;
	open_crowded(60000);
	assert_true(run_until_count(t.loop, &t.service.held_count, SLOTS, TRIAL_DEADLINE_MS));
	run_for(t.loop, 20);
	assert_int_equal(t.service.held_count, SLOTS);
	cancel(SLOTS); /* first in the queue */
	cancel(0);     /* makes room for the next */
	assert_true(run_until_count(t.loop, &t.service.held_count, SLOTS + 1, TRIAL_DEADLINE_MS));
	t.service.held[0] = t.service.held[SLOTS]; /* the first one's connection is gone */
	t.service.held_count = SLOTS;
	service_release(&t.service);
	t.service.mode = SERVICE_SERVE;
	assert_true(trial_wait(&t, PEERS - 2));
	for (unsigned i = 1; i < PEERS; i++)
		assert_int_equal(t.callers[i].decided, i != SLOTS);
	release_crowd();
}

static void who_waits_too_long_for_a_slot_is_refused(void **state)
{
	(void)state;
	open_crowded(500);
	assert_true(trial_wait(&t, PEERS));
	for (unsigned i = 0; i < PEERS; i++)
		assert_int_equal(t.callers[i].verdict.reason, REASON_AS_TIMEOUT);
	t.service.held_count = 0;
	release_crowd();
}

static void a_verdict_lives_no_longer_than_its_token(void **state)
{
	(void)state;
	t.service.token.lifetime_s = 20;
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
	assert_holds_for(&t.callers[0].verdict, 20);
}

static void who_leaves_is_told_nothing_at_any_stage(void **state)
{
	(void)state;
	open_judge();
	t.service.mode = SERVICE_HOLD;
	check(0);
	cancel(0); /* nothing has been looked at */
	check(1);
	run_for(t.loop, 0);
	cancel(1); /* waits for anchors, or is asked about */
	check(2);
	assert_true(run_until_count(t.loop, &t.service.held_count, 1, TRIAL_DEADLINE_MS));
	cancel(2);
	run_for(t.loop, 5);
	assert_int_equal(t.decided, 0);
	t.service.held_count = 0;
	t.service.mode = SERVICE_SERVE;
	assert_accepted(verdict_of(judge, &t.peer));
}

/* ---- anchors ---- */

static void while_there_are_no_anchors_nobody_is_asked(void **state)
{
	(void)state;
	t.service.no_certificates = true;
	open_judge();
	assert_refused(verdict_of(judge, &t.peer), REASON_AS_UNAVAILABLE); /* waits for the first fetch */
	assert_refused(verdict_of(judge, &t.peer), REASON_AS_UNAVAILABLE); /* does not wait */
	assert_int_equal(t.service.certificates, 1);
	assert_int_equal(t.service.evaluations, 0);
	t.service.no_certificates = false;
	assert_true(run_until_count(t.loop, &t.service.certificates, 2, TRIAL_DEADLINE_MS));
	run_for(t.loop, 20);
	assert_accepted(verdict_of(judge, &t.peer));
}

static void a_new_signer_is_learned_but_not_at_every_token(void **state)
{
	(void)state;
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
	t.service.mint = t.other_mint;
	peer_release(&t.peer);
	peer_init(&t.peer, BINDING_CURRENT);
	trial_forget(&t);
	for (unsigned i = 0; i < 10; i++)
		check(i);
	assert_true(trial_wait(&t, 10));
	for (unsigned i = 0; i < 10; i++)
		assert_true(t.callers[i].verdict.accepted);
	assert_int_equal(t.service.certificates, 2);
	peer_release(&t.peer);
	peer_init(&t.peer, BINDING_CURRENT);
	t.service.mint = t.mint;
	assert_refused(verdict_of(judge, &t.peer), REASON_TOKEN_UNTRUSTED);
	assert_int_equal(t.service.certificates, 2);
}

static void an_untrusted_signer_is_refused(void **state)
{
	(void)state;
	t.service.token.untrusted = true;
	open_judge();
	assert_refused(verdict_of(judge, &t.peer), REASON_TOKEN_UNTRUSTED); /* the anchors have just come */
	assert_int_equal(t.service.certificates, 1);
	assert_refused(verdict_of(judge, &t.peer), REASON_TOKEN_UNTRUSTED); /* newer ones do not help */
	assert_int_equal(t.service.certificates, 2);
	assert_refused(verdict_of(judge, &t.peer), REASON_TOKEN_UNTRUSTED);
	assert_int_equal(t.service.certificates, 2);
}

static void anchors_that_come_are_part_of_the_basis(void **state)
{
	uint8_t before[32];
	uint8_t after[32];

	(void)state;
	open_judge();
	judge_basis(judge, before);
	assert_int_equal(basis_changes, 0);
	assert_accepted(verdict_of(judge, &t.peer));
	judge_basis(judge, after);
	assert_int_equal(basis_changes, 1);
	assert_memory_not_equal(before, after, sizeof(before));
}

static void without_endorsement_any_signer_does(void **state)
{
	(void)state;
	t.service.token.untrusted = true;
	t.conf.skip_as_token_cert_verify = true;
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
	assert_int_equal(t.service.certificates, 0);
}

static char *write_file(const struct buf *text)
{
	char *path = mem_strdup("/tmp/tng-anchors-XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text->data, text->len), (ssize_t)text->len);
	close(fd);
	return path;
}

static void files_are_anchors_instead_of_the_services_word(void **state)
{
	struct buf pem = { 0 };
	char *paths[1];

	(void)state;
	mint_ca_pem(t.other_mint, &pem); /* all certificates of a file count */
	mint_ca_pem(t.mint, &pem);
	paths[0] = write_file(&pem);
	t.conf.trusted_certs_paths = (struct string_list){ paths, 1 };
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
	assert_int_equal(t.service.certificates, 0);
	judge_free(judge);
	unlink(paths[0]);
	free(paths[0]);
	buf_clear(&pem);
	mint_ca_pem(t.other_mint, &pem);
	paths[0] = write_file(&pem);
	open_judge();
	assert_refused(verdict_of(judge, &t.peer), REASON_TOKEN_UNTRUSTED);
	assert_int_equal(t.service.certificates, 0);
	unlink(paths[0]);
	free(paths[0]);
	buf_release(&pem);
}

static void expect_refused_conf(void)
{
	struct err e;

	assert_null(judge_new(t.loop, &t.conf, BINDING_CURRENT, "x", &basis_events, &e));
	assert_int_equal(e.kind, ERR_CONFIG);
}

static void what_would_accept_anything_does_not_start(void **state)
{
	char *paths[] = { "/does/not/exist" };
	struct buf nothing = { 0 };

	(void)state;
	t.conf.as.policy_ids.count = 0;
	expect_refused_conf();
	trial_set_conf(&t, AS_RESTFUL);
	t.conf.as.addr = NULL;
	expect_refused_conf();
	t.conf.model = MODEL_PASSPORT;
	expect_refused_conf();
	t.conf.as.type = AS_GRPC;
	t.conf.as.addr = t.service.web.url;
	expect_refused_conf();
	t.conf.as.type = AS_BUILTIN;
	expect_refused_conf();
	trial_set_conf(&t, AS_RESTFUL);
	t.conf.verify_signer_transparency = true;
	expect_refused_conf();
	trial_set_conf(&t, AS_RESTFUL);
	t.conf.trusted_certs_paths = (struct string_list){ paths, 1 };
	expect_refused_conf();
	paths[0] = write_file(&nothing);
	expect_refused_conf();
	unlink(paths[0]);
	free(paths[0]);
}

/* ---- passport ---- */

static void make_token(struct peer *p, struct buf *jwt)
{
	struct err e;
	struct json *evidence = json_parse(buf_bytes(&p->evidence.evidence), JSON_STRICT, &e);
	struct json *runtime_data = json_parse(buf_bytes(&p->evidence.runtime_data), JSON_STRICT, &e);
	struct mint_entry entry = {
		.tee = "sample", .evidence = evidence, .runtime_data = runtime_data, .affirming = true
	};
	const char *policies[] = { "default" };
	struct mint_options o = { .form = TOKEN_EAR,
				  .now_unix = clock_unix(),
				  .lifetime_s = 300,
				  .entries = &entry,
				  .entry_count = 1,
				  .policy_ids = policies,
				  .policy_count = 1 };

	assert_int_equal(mint_token(t.mint, &o, jwt, &e), 0);
	json_free(evidence);
	json_free(runtime_data);
}

static void a_passport_is_judged_without_the_service(void **state)
{
	struct buf jwt = { 0 };
	struct peer thief;

	(void)state;
	t.conf.model = MODEL_PASSPORT;
	t.service.token.form = TOKEN_EAR;
	open_judge();
	assert_refused(verdict_of(judge, &t.peer), REASON_MODEL_MISMATCH);
	make_token(&t.peer, &jwt);
	peer_certify(&t.peer, EVIDENCE_TAG_COCO_TOKEN, buf_bytes(&jwt));
	assert_accepted(verdict_of(judge, &t.peer));
	peer_init(&thief, BINDING_CURRENT);
	peer_certify(&thief, EVIDENCE_TAG_COCO_TOKEN, buf_bytes(&jwt));
	assert_refused(verdict_of(judge, &thief), REASON_BINDING_MISMATCH);
	peer_certify(&thief, EVIDENCE_TAG_COCO_TOKEN, bytes_str("no token"));
	assert_refused(verdict_of(judge, &thief), REASON_TOKEN_INVALID);
	peer_certify(&thief, EVIDENCE_TAG_COCO_TOKEN, bytes_of(NULL, 0));
	assert_refused(verdict_of(judge, &thief), REASON_TOKEN_INVALID);
	assert_int_equal(t.service.evaluations, 0);
	assert_int_equal(t.service.certificates, 1);
	peer_release(&thief);
	buf_release(&jwt);
}

/* ---- gRPC ---- */

static void over_grpc_the_token_speaks_for_itself(void **state)
{
	(void)state;
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
	assert_int_equal(t.service.evaluations, 1);
	assert_int_equal(t.service.certificates, 0);
}

static void a_grpc_service_of_1_5_2_is_asked_in_its_own_layout(void **state)
{
	(void)state;
	t.service.mode = SERVICE_OLD_LAYOUT;
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
	assert_int_equal(t.service.evaluations, 2);
}

static void what_a_grpc_service_does_wrong_has_a_reason(void **state)
{
	(void)state;
	t.conf.as.timeout_ms = 1000;
	open_judge();
	t.service.mode = SERVICE_REFUSE;
	assert_refused(verdict_of(judge, &t.peer), REASON_AS_REFUSED);
	assert_non_null(strstr(t.callers[0].verdict.why.text, "Attestation evaluation failed"));
	t.service.mode = SERVICE_GARBAGE;
	assert_refused(verdict_of(judge, &t.peer), REASON_AS_MALFORMED);
	t.service.mode = SERVICE_HOLD;
	assert_refused(verdict_of(judge, &t.peer), REASON_AS_TIMEOUT);
	service_stop(&t.service);
	assert_refused(verdict_of(judge, &t.peer), REASON_AS_UNAVAILABLE);
}

/* ---- builtin ---- */

static void the_builtin_service_decides_by_policy(void **state)
{
	struct judge *strict;

	(void)state;
	t.conf.as.type = AS_BUILTIN;
	t.conf.as.addr = NULL;
	t.conf.builtin_policy = POLICY_HARDWARE_ONLY;
	strict = open_named(&t.conf, BINDING_CURRENT, "add_ingress[1]");
	assert_refused(verdict_of(strict, &t.peer), REASON_POLICY_REFUSED);
	judge_free(strict);
	t.conf.builtin_policy = POLICY_TRUST_ALL;
	open_judge();
	assert_accepted(verdict_of(judge, &t.peer));
	assert_string_equal(t.callers[0].verdict.policy, "trust_all");
	assert_int_equal(t.service.web.requests, 0);
}

static int init(void **state)
{
	(void)state;
	return trial_init(&t);
}

static int release(void **state)
{
	(void)state;
	trial_release(&t);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TEST_GRPC(f) cmocka_unit_test_setup_teardown(f, set_up_grpc, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_background_check_is_accepted),
		TEST(an_ear_token_is_accepted),
		TEST(evidence_of_a_mebibyte_is_judged_like_any_other),
		TEST(a_service_of_1_5_2_is_asked_in_its_own_layout),
		TEST(headers_go_with_every_request),
		TEST(what_the_service_does_wrong_has_a_reason),
		TEST(a_service_that_hangs_runs_out_of_time),
		TEST(a_certificate_that_is_none_is_refused_without_a_call),
		TEST(a_certificate_without_evidence_is_refused_without_a_call),
		TEST(the_other_model_is_refused_without_a_call),
		TEST(copied_evidence_is_refused_without_a_call),
		TEST(a_token_for_another_key_is_refused),
		TEST(each_binding_takes_its_own_form_and_both_takes_either),
		TEST(more_checks_than_slots_wait_in_order),
		TEST(who_waits_too_long_for_a_slot_is_refused),
		TEST(a_verdict_lives_no_longer_than_its_token),
		TEST(who_leaves_is_told_nothing_at_any_stage),
		TEST(while_there_are_no_anchors_nobody_is_asked),
		TEST(a_new_signer_is_learned_but_not_at_every_token),
		TEST(an_untrusted_signer_is_refused),
		TEST(anchors_that_come_are_part_of_the_basis),
		TEST(without_endorsement_any_signer_does),
		TEST(files_are_anchors_instead_of_the_services_word),
		TEST(what_would_accept_anything_does_not_start),
		TEST(a_passport_is_judged_without_the_service),
		TEST_GRPC(over_grpc_the_token_speaks_for_itself),
		TEST_GRPC(a_grpc_service_of_1_5_2_is_asked_in_its_own_layout),
		TEST_GRPC(what_a_grpc_service_does_wrong_has_a_reason),
		TEST(the_builtin_service_decides_by_policy),
	};

	return cmocka_run_group_tests(tests, init, release);
}
