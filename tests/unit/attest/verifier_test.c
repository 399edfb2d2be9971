/* SPDX-License-Identifier: Apache-2.0 */
/* verifier - single flights, the cache, and callers on many threads, with a service that the test plays. */
#include "../vectors.h"

#include "attest/verdict_cache.h"
#include "base/clock.h"
#include "trial.h"

#include <pthread.h>

static struct trial t;
static struct verdict_cache *cache;
static struct verifier *verifier;

static void check(unsigned i)
{
	trial_ask_verifier(&t, i, verifier, &t.peer);
}

static void cancel(unsigned i)
{
	trial_cancel(&t, i);
}

static const struct verdict *verdict_of(struct verifier *v, const struct peer *p)
{
	return trial_verdict_of_verifier(&t, v, p);
}

static bool is_cached(struct verifier *v, const struct peer *p)
{
	struct verdict verdict;

	return verifier_cached(v, p->cert_sha256, &verdict);
}

static struct verifier *open_named(const struct verify_conf *c, enum binding binding, const char *name)
{
	struct err e;
	struct verifier *v = verifier_new(t.loop, c, binding, cache, name, &e);

	if (v == NULL)
		fail_msg("%s", e.text);
	verifier_start(v);
	return v;
}

static void open_verifier(void)
{
	verifier = open_named(&t.conf, BINDING_CURRENT, "add_ingress[0]");
}

static int set_up(void **state)
{
	(void)state;
	trial_begin(&t, AS_RESTFUL);
	cache = verdict_cache_new(100);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	verifier_free(verifier);
	verifier = NULL;
	verdict_cache_free(cache);
	trial_end(&t);
	return 0;
}

static void a_background_check_is_accepted_and_cached(void **state)
{
	(void)state;
	open_verifier();
	assert_accepted_by_service(verdict_of(verifier, &t.peer));
	assert_true(is_cached(verifier, &t.peer));
	assert_accepted(verdict_of(verifier, &t.peer));
	assert_int_equal(t.service.evaluations, 1);
	assert_int_equal(t.service.certificates, 1);
}

/* ---- flights ---- */

static void a_thousand_checks_of_one_certificate_are_one_call(void **state)
{
	(void)state;
	open_verifier();
	t.service.mode = SERVICE_HOLD;
	for (unsigned i = 0; i < TRIAL_CALLERS / 2; i++)
		check(i);
	assert_true(run_until_count(t.loop, &t.service.held_count, 1, TRIAL_DEADLINE_MS));
	for (unsigned i = TRIAL_CALLERS / 2; i < TRIAL_CALLERS; i++)
		check(i);
	run_for(t.loop, 5);
	assert_int_equal(t.decided, 0);
	service_release(&t.service);
	assert_true(trial_wait(&t, TRIAL_CALLERS));
	for (unsigned i = 0; i < TRIAL_CALLERS; i++)
		assert_true(t.callers[i].verdict.accepted);
	assert_int_equal(t.service.evaluations, 1);
	assert_int_equal(t.service.certificates, 1);
}

static void a_refusal_is_told_to_those_who_wait_and_forgotten(void **state)
{
	(void)state;
	open_verifier();
	t.service.mode = SERVICE_REFUSE;
	for (unsigned i = 0; i < 10; i++)
		check(i);
	assert_true(trial_wait(&t, 10));
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(t.callers[i].verdict.reason, REASON_AS_REFUSED);
	assert_int_equal(t.service.evaluations, 1);
	assert_false(is_cached(verifier, &t.peer));
	assert_refused(verdict_of(verifier, &t.peer), REASON_AS_REFUSED);
	assert_int_equal(t.service.evaluations, 2);
	t.service.mode = SERVICE_SERVE;
	assert_accepted(verdict_of(verifier, &t.peer));
	assert_int_equal(t.service.evaluations, 3);
}

static void check_again(struct caller *self)
{
	(void)self;
	t.service.mode = SERVICE_SERVE;
	check(1);
}

static void a_check_that_begins_as_the_flight_ends_begins_another(void **state)
{
	(void)state;
	open_verifier();
	t.service.mode = SERVICE_REFUSE;
	t.callers[0].then = check_again;
	check(0);
	assert_true(trial_wait(&t, 2));
	assert_false(t.callers[0].verdict.accepted);
	assert_true(t.callers[1].verdict.accepted);
}

static bool has_no_connection(void)
{
	run_for(t.loop, 5);
	return list_is_empty(&t.service.web.conns);
}

static void the_last_who_leaves_cancels_the_call(void **state)
{
	(void)state;
	open_verifier();
	t.service.mode = SERVICE_HOLD;
	for (unsigned i = 0; i < 3; i++)
		check(i);
	assert_true(run_until_count(t.loop, &t.service.held_count, 1, TRIAL_DEADLINE_MS));
	cancel(0);
	cancel(1);
	assert_false(has_no_connection());
	cancel(2);
	assert_true(has_no_connection());
	t.service.held_count = 0;
	t.service.mode = SERVICE_SERVE;
	assert_accepted(verdict_of(verifier, &t.peer));
	assert_int_equal(t.service.evaluations, 2);
}

static void who_stays_is_served(void **state)
{
	(void)state;
	open_verifier();
	t.service.mode = SERVICE_HOLD;
	check(0);
	check(1);
	assert_true(run_until_count(t.loop, &t.service.held_count, 1, TRIAL_DEADLINE_MS));
	cancel(0);
	service_release(&t.service);
	assert_true(trial_wait(&t, 1));
	assert_true(t.callers[1].verdict.accepted);
	assert_false(t.callers[0].decided);
}

static void a_check_cancelled_at_once_asks_nobody(void **state)
{
	(void)state;
	open_verifier();
	check(0);
	cancel(0);
	check(1);
	cancel(1);
	run_for(t.loop, 20);
	assert_int_equal(t.service.evaluations, 0);
	assert_int_equal(t.decided, 0);
}

static void cancel_the_next(struct caller *self)
{
	if (self[1].verify_call != NULL)
		cancel(1);
}

static void a_cancel_may_cross_the_answer(void **state)
{
	(void)state;
	open_verifier();
	check(0);
	check(1);
	t.callers[0].then = cancel_the_next;
	assert_true(trial_wait(&t, 1));
	run_for(t.loop, 5);
	assert_int_equal(t.decided, 1);
	assert_true(is_cached(verifier, &t.peer));
	trial_forget(&t);
	check(0);
	check(1);
	t.callers[0].then = cancel_the_next;
	assert_true(trial_wait(&t, 1));
	run_for(t.loop, 5);
	assert_int_equal(t.decided, 1);
}

static void a_verifier_can_be_freed_under_its_callers(void **state)
{
	(void)state;
	open_verifier();
	t.service.mode = SERVICE_HOLD;
	check(0);
	check(1);
	assert_true(run_until_count(t.loop, &t.service.held_count, 1, TRIAL_DEADLINE_MS));
	check(2);
	verifier_free(verifier);
	verifier = NULL;
	run_for(t.loop, 5);
	assert_int_equal(t.decided, 0);
	for (unsigned i = 0; i < 3; i++)
		cancel(i);
	t.service.held_count = 0;
}

/* ---- the cache ---- */

static void neither_another_key_nor_another_entry_nor_another_policy_profits(void **state)
{
	struct verify_conf two_policies = t.conf;
	struct verifier *other_entry;
	struct verifier *other_policy;
	struct peer other;

	(void)state;
	two_policies.as.policy_ids.count = 2;
	peer_init(&other, BINDING_CURRENT);
	open_verifier();
	other_entry = open_named(&t.conf, BINDING_CURRENT, "add_ingress[1]");
	other_policy = open_named(&two_policies, BINDING_CURRENT, "add_ingress[0]");
	assert_accepted(verdict_of(verifier, &t.peer));
	assert_true(is_cached(verifier, &t.peer));
	assert_false(is_cached(verifier, &other));
	assert_false(is_cached(other_entry, &t.peer));
	assert_false(is_cached(other_policy, &t.peer));
	assert_refused(verdict_of(other_policy, &t.peer), REASON_TOKEN_POLICY);
	verifier_free(other_entry);
	verifier_free(other_policy);
	peer_release(&other);
}

static void two_verifiers_with_one_configuration_and_name_agree(void **state)
{
	struct verifier *twin;

	(void)state;
	open_verifier();
	twin = open_named(&t.conf, BINDING_CURRENT, "add_ingress[0]");
	assert_accepted(verdict_of(verifier, &t.peer));
	run_for(t.loop, 20); /* the twin's anchors */
	assert_true(is_cached(twin, &t.peer));
	verifier_free(twin);
}

static void without_an_age_every_check_is_a_call(void **state)
{
	(void)state;
	t.conf.verdict_max_age_s = 0;
	open_verifier();
	assert_accepted(verdict_of(verifier, &t.peer));
	assert_false(is_cached(verifier, &t.peer));
	assert_accepted(verdict_of(verifier, &t.peer));
	assert_int_equal(t.service.evaluations, 2);
}

static void after_the_age_the_service_is_asked_again(void **state)
{
	struct verdict verdict;

	(void)state;
	t.conf.verdict_max_age_s = 1;
	open_verifier();
	assert_accepted(verdict_of(verifier, &t.peer));
	assert_true(is_cached(verifier, &t.peer));
	t.service.mode = SERVICE_REFUSE;
	while (verifier_cached(verifier, t.peer.cert_sha256, &verdict))
		run_for(t.loop, 20);
	assert_refused(verdict_of(verifier, &t.peer), REASON_AS_REFUSED);
}

/* ---- threads ---- */

#define WORKERS 3
#define ROUNDS 60

struct worker {
	pthread_t thread;
	struct loop *loop;
	unsigned seed;
	unsigned accepted;
};

static struct peer shared[4];

static void *run_loop(void *p)
{
	loop_run(p);
	return NULL;
}

struct worker_caller {
	struct verify_events events;
	struct worker *worker;
	struct verify_call *call;
	bool done;
};

static void on_worker_decided(struct verify_events *self, const struct verdict *verdict)
{
	struct worker_caller *c = container_of(self, struct worker_caller, events);

	c->done = true;
	c->call = NULL;
	c->worker->accepted += verdict->accepted;
}

/* Asks twice about each peer, and leaves one of the two alone now and then. */
static void *work(void *p)
{
	struct worker *w = p;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct peer *subject = &shared[i % ARRAY_SIZE(shared)];
		struct worker_caller c[2];

		for (unsigned k = 0; k < 2; k++) {
			c[k] = (struct worker_caller){ .worker = w, .events.decided = on_worker_decided };
			c[k].call = verifier_check(verifier, w->loop, buf_bytes(&subject->cert_der),
						   subject->cert_sha256, &c[k].events);
		}
		if (rand_r(&w->seed) % 2 == 0)
			run_for(w->loop, rand_r(&w->seed) % 3);
		if (c[1].call != NULL)
			verify_call_cancel(c[1].call);
		assert_true(run_until(w->loop, &c[0].done, TRIAL_DEADLINE_MS));
	}
	return NULL;
}

static void stop_attestation(struct mail *m)
{
	(void)m;
	loop_stop(t.loop);
}

static void workers_may_ask_and_leave_at_any_time(void **state)
{
	struct worker workers[WORKERS] = { 0 };
	struct mail stop = { .deliver = stop_attestation };
	pthread_t attestation;
	struct err e;

	(void)state;
	t.conf.verdict_max_age_s = 0;
	t.conf.skip_as_token_cert_verify = true;
	open_verifier();
	for (unsigned i = 0; i < ARRAY_SIZE(shared); i++)
		peer_init(&shared[i], BINDING_CURRENT);
	pthread_create(&attestation, NULL, run_loop, t.loop);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i].seed = i;
		workers[i].loop = loop_new(&e);
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_true(workers[i].accepted >= ROUNDS);
		loop_free(workers[i].loop);
	}
	loop_post(t.loop, &stop);
	pthread_join(attestation, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(shared); i++)
		peer_release(&shared[i]);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_background_check_is_accepted_and_cached),
		TEST(a_thousand_checks_of_one_certificate_are_one_call),
		TEST(a_refusal_is_told_to_those_who_wait_and_forgotten),
		TEST(a_check_that_begins_as_the_flight_ends_begins_another),
		TEST(the_last_who_leaves_cancels_the_call),
		TEST(who_stays_is_served),
		TEST(a_check_cancelled_at_once_asks_nobody),
		TEST(a_cancel_may_cross_the_answer),
		TEST(a_verifier_can_be_freed_under_its_callers),
		TEST(neither_another_key_nor_another_entry_nor_another_policy_profits),
		TEST(two_verifiers_with_one_configuration_and_name_agree),
		TEST(without_an_age_every_check_is_a_call),
		TEST(after_the_age_the_service_is_asked_again),
		TEST(workers_may_ask_and_leave_at_any_time),
	};

	return cmocka_run_group_tests(tests, init, release);
}
