/* SPDX-License-Identifier: Apache-2.0 */
/* trial - a service, a peer, and callers. */
#include "trial.h"

#include <signal.h>
#include <string.h>

#include "base/log.h"

int trial_init(struct trial *t)
{
	struct err e;

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_OFF);
	t->mint = mint_new(clock_unix(), &e);
	t->other_mint = mint_new(clock_unix(), &e);
	return t->mint == NULL || t->other_mint == NULL ? -1 : 0;
}

void trial_release(struct trial *t)
{
	mint_free(t->mint);
	mint_free(t->other_mint);
}

void trial_set_conf(struct trial *t, enum as_type type)
{
	t->policies[0] = "default";
	t->policies[1] = "second";
	t->conf = (struct verify_conf){
		.model = MODEL_BACKGROUND_CHECK,
		.as = { .type = type,
			.addr = t->service.web.url,
			.policy_ids = { t->policies, 1 },
			.connect_timeout_ms = 2000,
			.timeout_ms = 5000 },
		.verdict_max_age_s = 60,
	};
}

void trial_begin(struct trial *t, enum as_type type)
{
	struct err e;

	t->loop = loop_new(&e);
	assert_non_null(t->loop);
	if (type == AS_GRPC)
		service_start_grpc(&t->service, t->loop, t->mint);
	else
		service_start(&t->service, t->loop, t->mint);
	peer_init(&t->peer, BINDING_CURRENT);
	trial_set_conf(t, type);
	trial_forget(t);
}

void trial_end(struct trial *t)
{
	service_stop(&t->service);
	peer_release(&t->peer);
	loop_free(t->loop);
	trial_forget(t);
}

/* ---- callers ---- */

static void tell(struct caller *c, const struct verdict *verdict)
{
	assert_false(c->decided);
	c->decided = true;
	c->judge_call = NULL;
	c->verify_call = NULL;
	c->verdict = *verdict;
	c->trial->decided++;
	if (c->then != NULL)
		c->then(c);
}

static void on_judged(struct judge_events *self, const struct verdict *verdict)
{
	tell(container_of(self, struct caller, judge_events), verdict);
}

static void on_verified(struct verify_events *self, const struct verdict *verdict)
{
	tell(container_of(self, struct caller, verify_events), verdict);
}

void trial_ask_judge(struct trial *t, unsigned caller, struct judge *j, const struct peer *p)
{
	struct caller *c = &t->callers[caller];
	struct buf der = { 0 };

	c->trial = t;
	c->judge_events.decided = on_judged;
	buf_append_bytes(&der, buf_bytes(&p->cert_der));
	c->judge_call = judge_decide(j, &der, &c->judge_events);
	assert_int_equal(der.len, 0);
	assert_null(der.data);
}

void trial_ask_verifier(struct trial *t, unsigned caller, struct verifier *v, const struct peer *p)
{
	struct caller *c = &t->callers[caller];

	c->trial = t;
	c->verify_events.decided = on_verified;
	c->verify_call = verifier_check(v, t->loop, buf_bytes(&p->cert_der), p->cert_sha256, &c->verify_events);
}

void trial_cancel(struct trial *t, unsigned caller)
{
	struct caller *c = &t->callers[caller];

	if (c->judge_call != NULL)
		judge_call_cancel(c->judge_call);
	else
		verify_call_cancel(c->verify_call);
	c->judge_call = NULL;
	c->verify_call = NULL;
}

bool trial_wait(struct trial *t, unsigned decided)
{
	return run_until_count(t->loop, &t->decided, decided, TRIAL_DEADLINE_MS);
}

void trial_forget(struct trial *t)
{
	memset(t->callers, 0, sizeof(t->callers));
	t->decided = 0;
}

static const struct verdict *first_verdict(struct trial *t)
{
	assert_true(trial_wait(t, 1));
	return &t->callers[0].verdict;
}

const struct verdict *trial_verdict_of_judge(struct trial *t, struct judge *j, const struct peer *p)
{
	trial_forget(t);
	trial_ask_judge(t, 0, j, p);
	return first_verdict(t);
}

const struct verdict *trial_verdict_of_verifier(struct trial *t, struct verifier *v, const struct peer *p)
{
	trial_forget(t);
	trial_ask_verifier(t, 0, v, p);
	return first_verdict(t);
}
