/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge - the stages of a call.
 *
 *   BEGUN --> (local checks) --> QUEUED --> ASKING --> (token) --> decided
 *                   |               ^          |          ^
 *                   +--> PARKED ----+          +-> PARKED-+
 *
 * BEGUN   nothing has been looked at yet
 * QUEUED  waits for one of the few requests that the service may have from us at a time
 * ASKING  the service is asked
 * PARKED  waits for trust anchors: for the first ones, or for newer ones since the token's signer is not
 *         endorsed by those we have
 *
 * What can be refused without the service is refused before it: a certificate that cannot be read, one
 * that holds the other model, evidence for another key. Passports are judged without the service. A call ends
 * with what the newest trust anchors say, whichever there were when it began.
 *
 * serve() takes up what has begun and hands out the requests; it runs from a task, so that many who leave at
 * once do not have the service asked for others who are about to leave as well.
 */
#include "attest/judge.h"

#include "attest/anchors.h"
#include "attest/builtin.h"
#include "attest/coco/as.h"
#include "attest/limits.h"
#include "attest/peer_evidence.h"
#include "attest/token.h"
#include "attest/trust.h"
#include "attest/verdict_key.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "io/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define ACCEPTED_LINES 20 /* a second */

struct judge {
	struct loop *loop;
	const struct verify_conf *conf;
	enum binding binding;
	char *name;
	struct basis_events *events;

	enum token_trust trust;
	struct as_client *as;	 /* NULL: nobody is ever asked */
	struct cert_list files;	 /* trusted_certs_paths */
	struct anchors *anchors; /* NULL: the files, or no anchors at all */
	struct anchors_events anchors_events;

	struct list begun;
	struct list queued;
	struct list parked;
	size_t asking_count;
	size_t asking_max;
	struct task serve;
	struct timer queue_deadline;
	struct log_limit accepted_lines;
};

struct judge_call {
	struct judge *judge;
	struct judge_events *events;
	struct list link;    /* of the list of its stage; in none while ASKING */
	struct buf cert_der; /* until it has been read */
	struct peer_evidence peer;
	bool has_token;
	bool parked_once;
	uint64_t begun_ms;
	uint64_t deadline_ms; /* QUEUED */
	struct as_events answers;
	struct as_call *asking;
};

/* ---- verdicts ---- */

static void call_free(struct judge_call *call)
{
	list_remove(&call->link);
	buf_release(&call->cert_der);
	peer_evidence_release(&call->peer);
	free(call);
}

/* Once for each verdict, not for each connection that it serves. */
static void log_accepted(struct judge *j, const struct verdict *verdict)
{
	uint64_t now = clock_ms();
	unsigned skipped;

	if (!log_limit_pass(&j->accepted_lines, ACCEPTED_LINES, now, &skipped))
		return;
	log_info("%s: peer accepted: tee %s, policy %s, judged by %s, valid for %llu s", j->name, verdict->tee,
		 verdict->policy,
		 j->conf->model == MODEL_PASSPORT ? "its passport"
		 : j->conf->as.type == AS_BUILTIN ? "the builtin service"
						  : j->conf->as.addr,
		 (unsigned long long)(MAX(verdict->expires_ms, now) - now + 500) / 1000);
}

static void decide(struct judge_call *call, const struct verdict *verdict)
{
	struct judge_events *events = call->events;
	struct judge *j = call->judge;

	call_free(call);
	events->decided(events, verdict);
	if (verdict->accepted)
		log_accepted(j, verdict);
}

static void refuse(struct judge_call *call, enum reason reason, const struct err *why)
{
	struct verdict verdict = { .accepted = false, .reason = reason, .why = *why };

	decide(call, &verdict);
}

static uint64_t max_age_end(const struct judge_call *call)
{
	return call->begun_ms + (uint64_t)call->judge->conf->verdict_max_age_s * 1000;
}

static void accept_token(struct judge_call *call, const struct token_claims *claims, int64_t now_unix)
{
	struct verdict verdict = { .accepted = true };
	int64_t left_s = MAX(claims->expires_unix - now_unix, (int64_t)0);
	const char *said = call->peer.evidence.tee;

	verdict.expires_ms = MIN(max_age_end(call), clock_ms() + (uint64_t)left_s * 1000);
	snprintf(verdict.tee, sizeof(verdict.tee), "%s", claims->tee[0] != '\0' || said == NULL ? claims->tee : said);
	snprintf(verdict.policy, sizeof(verdict.policy), "%s", claims->policies);
	decide(call, &verdict);
}

static void decide_builtin(struct judge_call *call)
{
	enum builtin_policy policy = call->judge->conf->builtin_policy;
	struct verdict verdict = { .accepted = true };
	enum reason reason;
	struct err e;

	if (builtin_verify(&call->peer.evidence, policy, &reason, &e) < 0) {
		refuse(call, reason, &e);
		return;
	}
	verdict.expires_ms = max_age_end(call);
	snprintf(verdict.tee, sizeof(verdict.tee), "%s", call->peer.evidence.tee);
	snprintf(verdict.policy, sizeof(verdict.policy), "%s", builtin_policy_name(policy));
	decide(call, &verdict);
}

/* ---- anchors and tokens ---- */

static const struct cert_list *current_anchors(const struct judge *j)
{
	return j->anchors != NULL ? anchors_list(j->anchors) : &j->files;
}

static bool anchors_are_missing(const struct judge *j)
{
	return j->trust == TOKEN_TRUST_ANCHORS && current_anchors(j) == NULL;
}

/* true: the call waits for anchors. */
static bool park(struct judge_call *call)
{
	struct judge *j = call->judge;

	if (j->anchors == NULL || call->parked_once || !anchors_ask(j->anchors))
		return false;
	call->parked_once = true;
	list_remove(&call->link);
	list_append(&j->parked, &call->link);
	return true;
}

static void refuse_without_anchors(struct judge_call *call)
{
	struct err e = *anchors_why(call->judge->anchors);

	err_wrap(&e, "no trust anchors yet");
	refuse(call, REASON_AS_UNAVAILABLE, &e);
}

static void decide_token(struct judge_call *call)
{
	struct judge *j = call->judge;
	struct token_claims claims;
	enum reason reason = REASON_INTERNAL;
	struct err e;
	struct token_rules rules = {
		.trust = j->trust,
		.anchors = current_anchors(j),
		.policy_ids = &j->conf->as.policy_ids,
		.binding = j->binding,
		.spki = buf_bytes(&call->peer.spki),
		.claims_buffer = buf_bytes(&call->peer.claims_buffer),
		.now_unix = clock_unix(),
	};

	if (token_verify(buf_bytes(&call->peer.token), &rules, &claims, &reason, &e) == 0) {
		accept_token(call, &claims, rules.now_unix);
		return;
	}
	if (reason == REASON_TOKEN_UNTRUSTED && park(call))
		return;
	refuse(call, reason, &e);
}

/* ---- the service ---- */

static void on_evaluated(struct as_events *self, const struct bytes *content, enum reason reason, const struct err *why)
{
	struct judge_call *call = container_of(self, struct judge_call, answers);
	struct judge *j = call->judge;

	call->asking = NULL;
	j->asking_count--;
	task_schedule(j->loop, &j->serve);
	if (content == NULL) {
		refuse(call, reason, why);
		return;
	}
	buf_append_bytes(&call->peer.token, *content);
	call->has_token = true;
	decide_token(call);
}

static void ask(struct judge_call *call)
{
	struct judge *j = call->judge;

	list_remove(&call->link);
	j->asking_count++;
	call->begun_ms = clock_ms();
	call->answers.answered = on_evaluated;
	call->asking = as_evaluate(j->as, &call->peer.evidence, &call->answers);
}

static struct judge_call *first_queued(const struct judge *j)
{
	return container_of(j->queued.next, struct judge_call, link);
}

/* All wait equally long, so the first in the queue is the first to run out of time. */
static void start_queue_deadline(struct judge *j)
{
	uint64_t deadline_ms = first_queued(j)->deadline_ms;
	uint64_t now = clock_ms();

	timer_start(j->loop, &j->queue_deadline, deadline_ms > now ? deadline_ms - now : 0);
}

static void on_queue_deadline(struct timer *t)
{
	struct judge *j = container_of(t, struct judge, queue_deadline);
	uint64_t now = clock_ms();
	struct err e;

	while (!list_is_empty(&j->queued)) {
		if (first_queued(j)->deadline_ms > now) {
			start_queue_deadline(j);
			return;
		}
		err_set(&e, ERR_TIMEOUT, "%zu other requests were under way for %u ms", j->asking_count,
			j->conf->as.timeout_ms);
		refuse(first_queued(j), REASON_AS_TIMEOUT, &e);
	}
}

static void serve_queue(struct judge *j)
{
	while (j->asking_count < j->asking_max && !list_is_empty(&j->queued))
		ask(first_queued(j));
	if (list_is_empty(&j->queued))
		timer_cancel(j->loop, &j->queue_deadline);
	else if (!timer_is_started(&j->queue_deadline))
		start_queue_deadline(j);
}

/* ---- from stage to stage ---- */

static void queue(struct judge_call *call)
{
	struct judge *j = call->judge;

	list_remove(&call->link);
	call->deadline_ms = clock_ms() + j->conf->as.timeout_ms;
	list_append(&j->queued, &call->link);
}

/* What is left to do when the local checks are done. */
static void proceed(struct judge_call *call)
{
	if (anchors_are_missing(call->judge)) {
		if (!park(call))
			refuse_without_anchors(call);
	} else if (call->has_token) {
		decide_token(call);
	} else {
		queue(call);
	}
}

static void begin(struct judge_call *call)
{
	const struct verify_conf *conf = call->judge->conf;
	enum reason reason = REASON_INTERNAL;
	struct err e;

	call->begun_ms = clock_ms();
	if (peer_evidence_read(buf_bytes(&call->cert_der), conf->model, call->judge->binding, &call->peer, &reason,
			       &e) < 0) {
		refuse(call, reason, &e);
		return;
	}
	buf_release(&call->cert_der);
	call->has_token = conf->model == MODEL_PASSPORT;
	if (conf->as.type == AS_BUILTIN)
		decide_builtin(call);
	else
		proceed(call);
}

static void serve(struct task *t)
{
	struct judge *j = container_of(t, struct judge, serve);

	while (!list_is_empty(&j->begun))
		begin(container_of(list_pop(&j->begun), struct judge_call, link));
	serve_queue(j);
}

static void on_anchors(struct anchors_events *self)
{
	struct judge *j = container_of(self, struct judge, anchors_events);
	struct list waiting;

	j->events->changed(j->events);
	list_init(&waiting);
	list_splice(&waiting, &j->parked);
	while (!list_is_empty(&waiting))
		proceed(container_of(list_pop(&waiting), struct judge_call, link));
	serve_queue(j);
}

struct judge_call *judge_decide(struct judge *j, struct buf *cert_der, struct judge_events *events)
{
	struct judge_call *call = mem_new_of(struct judge_call);

	call->judge = j;
	call->events = events;
	call->cert_der = *cert_der;
	*cert_der = (struct buf){ 0 };
	list_init(&call->link);
	list_append(&j->begun, &call->link);
	task_schedule(j->loop, &j->serve);
	return call;
}

void judge_call_cancel(struct judge_call *call)
{
	struct judge *j = call->judge;

	if (call->asking != NULL) {
		as_call_cancel(call->asking);
		j->asking_count--;
		task_schedule(j->loop, &j->serve);
	}
	call_free(call);
}

/* ---- life ---- */

void judge_basis(const struct judge *j, uint8_t sha256[32])
{
	struct verdict_basis basis = {
		.name = j->name,
		.conf = j->conf,
		.binding = j->binding,
		.trust = j->trust,
		.anchors = current_anchors(j),
	};

	verdict_basis_hash(&basis, sha256);
}

static size_t requests_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return ATTEST_REQUESTS_MAX;
	return MAX(MIN((size_t)limit.rlim_cur / ATTEST_REQUESTS_FD_SHARE, (size_t)ATTEST_REQUESTS_MAX), (size_t)4);
}

static int open_parts(struct judge *j, struct err *e)
{
	const struct verify_conf *conf = j->conf;
	bool asks = conf->model == MODEL_BACKGROUND_CHECK && conf->as.type != AS_BUILTIN;
	enum trust_source source;

	if (trust_source_of(conf, &source, e) < 0)
		return -1;
	j->trust = source == TRUST_EMBEDDED ? TOKEN_TRUST_EMBEDDED : TOKEN_TRUST_ANCHORS;
	if (source == TRUST_FILES && trust_load_files(&conf->trusted_certs_paths, &j->files, e) < 0)
		return -1;
	if (asks || source == TRUST_SERVICE) {
		j->as = as_client_new(j->loop, &conf->as, e);
		if (j->as == NULL)
			return -1;
	}
	if (source == TRUST_SERVICE)
		j->anchors = anchors_new(j->loop, j->as, j->name, &j->anchors_events);
	return 0;
}

struct judge *judge_new(struct loop *loop, const struct verify_conf *conf, enum binding binding, const char *name,
			struct basis_events *events, struct err *e)
{
	struct judge *j = mem_new_of(struct judge);

	j->loop = loop;
	j->conf = conf;
	j->binding = binding;
	j->name = mem_format("%s.verify", name);
	j->events = events;
	j->anchors_events.fetched = on_anchors;
	list_init(&j->begun);
	list_init(&j->queued);
	list_init(&j->parked);
	j->asking_max = requests_max();
	task_init(&j->serve, serve);
	timer_init(&j->queue_deadline, on_queue_deadline);
	if (open_parts(j, e) < 0) {
		err_wrap(e, "%s", j->name);
		judge_free(j);
		return NULL;
	}
	return j;
}

void judge_start(struct judge *j)
{
	if (j->anchors != NULL)
		anchors_start(j->anchors);
}

void judge_free(struct judge *j)
{
	if (j == NULL)
		return;
	task_cancel(&j->serve);
	timer_cancel(j->loop, &j->queue_deadline);
	anchors_free(j->anchors);
	as_client_free(j->as);
	cert_list_release(&j->files);
	free(j->name);
	free(j);
}
