/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial - what a test of verdicts needs: an attestation service, a peer, a configuration that has the one ask about
 * the other, and callers who want to know. A judge and a verifier are asked in the same way.
 *
 * Threads: the loop's.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attest/judge.h"
#include "attest/verifier.h"
#include "base/clock.h"
#include "peer.h"
#include "run.h"
#include "service.h"

#define TRIAL_CALLERS 1000
#define TRIAL_DEADLINE_MS 10000

struct trial;

struct caller {
	struct trial *trial;
	struct judge_call *judge_call; /* one of the two, until it is decided */
	struct judge_events judge_events;
	struct verify_call *verify_call;
	struct verify_events verify_events;
	bool decided;
	struct verdict verdict;
	void (*then)(struct caller *self); /* from inside decided, or NULL */
};

struct trial {
	struct mint *mint; /* the service's */
	struct mint *other_mint;

	/* Of one test. */
	struct loop *loop;
	struct service service;
	struct peer peer;
	struct verify_conf conf;
	char *policies[2]; /* "default", which conf demands, and "second" */
	struct caller callers[TRIAL_CALLERS];
	unsigned decided;
};

/* The mints, once for all tests. Nothing is logged from now on. -1: no mint. */
int trial_init(struct trial *t);
void trial_release(struct trial *t);

/* Loop, peer (BINDING_CURRENT) and service (AS_RESTFUL or AS_GRPC), and the configuration for it. */
void trial_begin(struct trial *t, enum as_type type);
/* Judges and verifiers are gone. */
void trial_end(struct trial *t);

/* Background check by our service; verdicts hold for a minute. */
void trial_set_conf(struct trial *t, enum as_type type);

/* As the caller of this number, who has nothing under way. */
void trial_ask_judge(struct trial *t, unsigned caller, struct judge *j, const struct peer *p);
void trial_ask_verifier(struct trial *t, unsigned caller, struct verifier *v, const struct peer *p);
/* A caller who waits. */
void trial_cancel(struct trial *t, unsigned caller);

/* Until that many callers have been told something; false: not in time. */
bool trial_wait(struct trial *t, unsigned decided);
/* Forgets what callers were told. */
void trial_forget(struct trial *t);

/* What the first caller is told, all others forgotten; borrowed, until the next one. */
const struct verdict *trial_verdict_of_judge(struct trial *t, struct judge *j, const struct peer *p);
const struct verdict *trial_verdict_of_verifier(struct trial *t, struct verifier *v, const struct peer *p);

#define assert_accepted(v)                                                                                             \
	do {                                                                                                           \
		const struct verdict *verdict_ = (v);                                                                  \
                                                                                                                       \
		if (!verdict_->accepted)                                                                               \
			fail_msg("%s: %s", reason_word(verdict_->reason), verdict_->why.text);                         \
	} while (0)

#define assert_refused(v, why)                                                                                         \
	do {                                                                                                           \
		const struct verdict *verdict_ = (v);                                                                  \
                                                                                                                       \
		assert_false(verdict_->accepted);                                                                      \
		assert_string_equal(reason_word(verdict_->reason), reason_word(why));                                  \
	} while (0)

/* For about that many seconds. */
#define assert_holds_for(v, seconds)                                                                                   \
	do {                                                                                                           \
		uint64_t expires_ms_ = (v)->expires_ms;                                                                \
                                                                                                                       \
		assert_true(expires_ms_ > clock_ms() + (seconds)*1000 - 5000);                                         \
		assert_true(expires_ms_ <= clock_ms() + (seconds)*1000);                                               \
	} while (0)

/* By our service's word about a peer of peer.h, with trial_set_conf(). */
#define assert_accepted_by_service(v)                                                                                  \
	do {                                                                                                           \
		const struct verdict *word_ = (v);                                                                     \
                                                                                                                       \
		assert_accepted(word_);                                                                                \
		assert_string_equal(word_->tee, "sample");                                                             \
		assert_string_equal(word_->policy, "default");                                                         \
		assert_holds_for(word_, 60);                                                                           \
	} while (0)
