/* SPDX-License-Identifier: Apache-2.0 */
/* verifier - single flights, the cache, and callers on many threads, with a service that the test plays. */
#include "../vectors.h"

#include "attest/verdict_cache.h"
#include "attest/verifier.h"
#include "base/clock.h"
#include "base/log.h"
#include "peer.h"
#include "run.h"
#include "service.h"

#include <pthread.h>
#include <signal.h>

#define DEADLINE_MS 10000
#define CALLS 1000

struct caller {
	struct verify_events events;
	struct verify_call *call;
	bool decided;
	struct verdict verdict;
	struct caller *cancels; /* from inside decided */
};

static struct mint *mint;
static struct mint *other_mint;

static struct loop *loop;
static struct service service;
static struct verdict_cache *cache;
static struct verify_conf conf;
static char *policy_items[] = { "default", "second" };
static struct verifier *verifier;
static struct peer peer;
static struct caller callers[CALLS];
static unsigned decided;

static void on_decided(struct verify_events *self, const struct verdict *verdict)
{
	struct caller *c = container_of(self, struct caller, events);

	assert_false(c->decided);
	c->decided = true;
	c->call = NULL;
	c->verdict = *verdict;
	decided++;
	if (c->cancels != NULL && c->cancels->call != NULL) {
		verify_call_cancel(c->cancels->call);
		c->cancels->call = NULL;
	}
}

static void check_peer(unsigned i, struct verifier *v, const struct peer *p)
{
	callers[i].events.decided = on_decided;
	callers[i].call = verifier_check(v, loop, buf_bytes(&p->cert_der), p->cert_sha256, &callers[i].events);
}

static void check(unsigned i)
{
	check_peer(i, verifier, &peer);
}

static void cancel(unsigned i)
{
	verify_call_cancel(callers[i].call);
	callers[i].call = NULL;
}

static bool wait_decided(unsigned wanted)
{
	return run_until_count(loop, &decided, wanted, DEADLINE_MS);
}

/* Forgets what callers were told. */
static void forget(void)
{
	memset(callers, 0, sizeof(callers));
	decided = 0;
}

static const struct verdict *verdict_of(struct verifier *v, const struct peer *p)
{
	forget();
	check_peer(0, v, p);
	assert_true(wait_decided(1));
	return &callers[0].verdict;
}

#define assert_accepted(v, p)                                                                                          \
	do {                                                                                                           \
		const struct verdict *verdict_ = verdict_of(v, p);                                                     \
                                                                                                                       \
		if (!verdict_->accepted)                                                                               \
			fail_msg("%s: %s", reason_word(verdict_->reason), verdict_->why.text);                         \
	} while (0)

#define assert_refused(v, p, why)                                                                                      \
	do {                                                                                                           \
		const struct verdict *verdict_ = verdict_of(v, p);                                                     \
                                                                                                                       \
		assert_false(verdict_->accepted);                                                                      \
		assert_string_equal(reason_word(verdict_->reason), reason_word(why));                                  \
	} while (0)

static bool is_cached(struct verifier *v, const struct peer *p)
{
	struct verdict verdict;

	return verifier_cached(v, p->cert_sha256, &verdict);
}

static struct verifier *open_named(const struct verify_conf *c, enum binding binding, const char *name)
{
	struct err e;
	struct verifier *v = verifier_new(loop, c, binding, cache, name, &e);

	if (v == NULL)
		fail_msg("%s", e.text);
	verifier_start(v);
	return v;
}

static void set_conf(void)
{
	conf = (struct verify_conf){
		.model = MODEL_BACKGROUND_CHECK,
		.as = { .type = AS_RESTFUL,
			.addr = service.web.url,
			.policy_ids = { policy_items, 1 },
			.connect_timeout_ms = 2000,
			.timeout_ms = 5000 },
		.verdict_max_age_s = 60,
	};
}

static void open_verifier(void)
{
	verifier = open_named(&conf, BINDING_CURRENT, "add_ingress[0]");
}

static int set_up(void **state)
{
	struct err e;

	(void)state;
	loop = loop_new(&e);
	service_start(&service, loop, mint);
	cache = verdict_cache_new(100);
	peer_init(&peer, BINDING_CURRENT);
	set_conf();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	verifier_free(verifier);
	verifier = NULL;
	service_stop(&service);
	verdict_cache_free(cache);
	peer_release(&peer);
	loop_free(loop);
	forget();
	return 0;
}

static void a_background_check_is_accepted_and_cached(void **state)
{
	(void)state;
	open_verifier();
	assert_accepted(verifier, &peer);
	assert_string_equal(callers[0].verdict.tee, "sample");
	assert_string_equal(callers[0].verdict.policy, "default");
	assert_true(callers[0].verdict.expires_ms > clock_ms() + 55000);
	assert_true(callers[0].verdict.expires_ms <= clock_ms() + 60000);
	assert_true(is_cached(verifier, &peer));
	assert_accepted(verifier, &peer);
	assert_int_equal(service.evaluations, 1);
	assert_int_equal(service.certificates, 1);
}

/* ---- flights ---- */

static void a_thousand_checks_of_one_certificate_are_one_call(void **state)
{
	(void)state;
	open_verifier();
	service.mode = SERVICE_HOLD;
	for (unsigned i = 0; i < CALLS / 2; i++)
		check(i);
	assert_true(run_until_count(loop, &service.held_count, 1, DEADLINE_MS));
	for (unsigned i = CALLS / 2; i < CALLS; i++)
		check(i);
	run_for(loop, 5);
	assert_int_equal(decided, 0);
	service_release(&service);
	assert_true(wait_decided(CALLS));
	for (unsigned i = 0; i < CALLS; i++)
		assert_true(callers[i].verdict.accepted);
	assert_int_equal(service.evaluations, 1);
	assert_int_equal(service.certificates, 1);
}

static void a_refusal_is_told_to_those_who_wait_and_forgotten(void **state)
{
	(void)state;
	open_verifier();
	service.mode = SERVICE_REFUSE;
	for (unsigned i = 0; i < 10; i++)
		check(i);
	assert_true(wait_decided(10));
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(callers[i].verdict.reason, REASON_AS_REFUSED);
	assert_int_equal(service.evaluations, 1);
	assert_false(is_cached(verifier, &peer));
	assert_refused(verifier, &peer, REASON_AS_REFUSED);
	assert_int_equal(service.evaluations, 2);
	service.mode = SERVICE_SERVE;
	assert_accepted(verifier, &peer);
	assert_int_equal(service.evaluations, 3);
}

static void on_decided_check_again(struct verify_events *self, const struct verdict *verdict)
{
	on_decided(self, verdict);
	service.mode = SERVICE_SERVE;
	check_peer(1, verifier, &peer);
}

static void a_check_that_begins_as_the_flight_ends_begins_another(void **state)
{
	(void)state;
	open_verifier();
	service.mode = SERVICE_REFUSE;
	callers[0].events.decided = on_decided_check_again;
	callers[0].call =
		verifier_check(verifier, loop, buf_bytes(&peer.cert_der), peer.cert_sha256, &callers[0].events);
	assert_true(wait_decided(2));
	assert_false(callers[0].verdict.accepted);
	assert_true(callers[1].verdict.accepted);
}

static bool has_no_connection(void)
{
	run_for(loop, 5);
	return list_is_empty(&service.web.conns);
}

static void the_last_who_leaves_cancels_the_call(void **state)
{
	(void)state;
	open_verifier();
	service.mode = SERVICE_HOLD;
	for (unsigned i = 0; i < 3; i++)
		check(i);
	assert_true(run_until_count(loop, &service.held_count, 1, DEADLINE_MS));
	cancel(0);
	cancel(1);
	assert_false(has_no_connection());
	cancel(2);
	assert_true(has_no_connection());
	service.held_count = 0;
	service.mode = SERVICE_SERVE;
	assert_accepted(verifier, &peer);
	assert_int_equal(service.evaluations, 2);
}

static void who_stays_is_served(void **state)
{
	(void)state;
	open_verifier();
	service.mode = SERVICE_HOLD;
	check(0);
	check(1);
	assert_true(run_until_count(loop, &service.held_count, 1, DEADLINE_MS));
	cancel(0);
	service_release(&service);
	assert_true(wait_decided(1));
	assert_true(callers[1].verdict.accepted);
	assert_false(callers[0].decided);
}

static void a_check_cancelled_at_once_asks_nobody(void **state)
{
	(void)state;
	open_verifier();
	check(0);
	cancel(0);
	check(1);
	cancel(1);
	run_for(loop, 20);
	assert_int_equal(service.evaluations, 0);
	assert_int_equal(decided, 0);
}

static void a_cancel_may_cross_the_answer(void **state)
{
	(void)state;
	open_verifier();
	check(0);
	check(1);
	callers[0].cancels = &callers[1];
	assert_true(wait_decided(1));
	run_for(loop, 5);
	assert_int_equal(decided, 1);
	assert_true(is_cached(verifier, &peer));
	forget();
	check(0);
	check(1);
	callers[0].cancels = &callers[1];
	assert_true(wait_decided(1));
	run_for(loop, 5);
	assert_int_equal(decided, 1);
}

static void a_verifier_can_be_freed_under_its_callers(void **state)
{
	(void)state;
	open_verifier();
	service.mode = SERVICE_HOLD;
	check(0);
	check(1);
	assert_true(run_until_count(loop, &service.held_count, 1, DEADLINE_MS));
	check(2);
	verifier_free(verifier);
	verifier = NULL;
	run_for(loop, 5);
	assert_int_equal(decided, 0);
	for (unsigned i = 0; i < 3; i++)
		cancel(i);
	service.held_count = 0;
}

/* ---- the cache ---- */

static void neither_another_key_nor_another_entry_nor_another_policy_profits(void **state)
{
	struct verify_conf two_policies = conf;
	struct verifier *other_entry;
	struct verifier *other_policy;
	struct peer other;

	(void)state;
	two_policies.as.policy_ids.count = 2;
	peer_init(&other, BINDING_CURRENT);
	open_verifier();
	other_entry = open_named(&conf, BINDING_CURRENT, "add_ingress[1]");
	other_policy = open_named(&two_policies, BINDING_CURRENT, "add_ingress[0]");
	assert_accepted(verifier, &peer);
	assert_true(is_cached(verifier, &peer));
	assert_false(is_cached(verifier, &other));
	assert_false(is_cached(other_entry, &peer));
	assert_false(is_cached(other_policy, &peer));
	assert_refused(other_policy, &peer, REASON_TOKEN_POLICY);
	verifier_free(other_entry);
	verifier_free(other_policy);
	peer_release(&other);
}

static void two_verifiers_with_one_configuration_and_name_agree(void **state)
{
	struct verifier *twin;

	(void)state;
	open_verifier();
	twin = open_named(&conf, BINDING_CURRENT, "add_ingress[0]");
	assert_accepted(verifier, &peer);
	run_for(loop, 20); /* the twin's anchors */
	assert_true(is_cached(twin, &peer));
	verifier_free(twin);
}

static void without_an_age_every_check_is_a_call(void **state)
{
	(void)state;
	conf.verdict_max_age_s = 0;
	open_verifier();
	assert_accepted(verifier, &peer);
	assert_false(is_cached(verifier, &peer));
	assert_accepted(verifier, &peer);
	assert_int_equal(service.evaluations, 2);
}

static void after_the_age_the_service_is_asked_again(void **state)
{
	struct verdict verdict;

	(void)state;
	conf.verdict_max_age_s = 1;
	open_verifier();
	assert_accepted(verifier, &peer);
	assert_true(is_cached(verifier, &peer));
	service.mode = SERVICE_REFUSE;
	while (verifier_cached(verifier, peer.cert_sha256, &verdict))
		run_for(loop, 20);
	assert_refused(verifier, &peer, REASON_AS_REFUSED);
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
		assert_true(run_until(w->loop, &c[0].done, DEADLINE_MS));
	}
	return NULL;
}

static void stop_attestation(struct mail *m)
{
	(void)m;
	loop_stop(loop);
}

static void workers_may_ask_and_leave_at_any_time(void **state)
{
	struct worker workers[WORKERS] = { 0 };
	struct mail stop = { .deliver = stop_attestation };
	pthread_t attestation;
	struct err e;

	(void)state;
	conf.verdict_max_age_s = 0;
	conf.skip_as_token_cert_verify = true;
	open_verifier();
	for (unsigned i = 0; i < ARRAY_SIZE(shared); i++)
		peer_init(&shared[i], BINDING_CURRENT);
	pthread_create(&attestation, NULL, run_loop, loop);
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
	loop_post(loop, &stop);
	pthread_join(attestation, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(shared); i++)
		peer_release(&shared[i]);
}

static int make_mints(void **state)
{
	struct err e;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_OFF);
	mint = mint_new(clock_unix(), &e);
	other_mint = mint_new(clock_unix(), &e);
	return mint == NULL || other_mint == NULL ? -1 : 0;
}

static int free_mints(void **state)
{
	(void)state;
	mint_free(mint);
	mint_free(other_mint);
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

	return cmocka_run_group_tests(tests, make_mints, free_mints);
}
