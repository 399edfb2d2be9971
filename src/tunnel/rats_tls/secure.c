/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secure - the life of a connection before it carries bytes.
 *
 *   IDENTITY --> HANDSHAKE --> FLUSHING --> VERDICT --> over
 *       |            |             |           |
 *       +------------+-------------+-----------+--> failed
 *
 * IDENTITY   refresh_interval is 0: fresh evidence is being collected for this handshake alone
 * HANDSHAKE  libssl talks to the peer (handshake.h)
 * FLUSHING   the handshake is over, the last of our messages is on its way
 * VERDICT    the verifier thinks
 */
#include "tunnel/rats_tls/secure.h"

#include <stdlib.h>
#include <string.h>

#include "attest/attester.h"
#include "attest/identity.h"
#include "attest/verifier.h"
#include "crypto/digest.h"
#include "io/worker.h"
#include "metrics/counters.h"
#include "tunnel/rats_tls/handshake.h"
#include "tunnel/rats_tls/record_stream.h"
#include "tunnel/rats_tls/secure_side.h"

enum phase { PHASE_IDENTITY, PHASE_HANDSHAKE, PHASE_FLUSHING, PHASE_VERDICT, PHASE_OVER };

struct secure {
	struct secure_side *side;
	struct record_stream *rs;
	struct secure_events *events;
	enum phase phase;
	bool succeeded;	     /* in PHASE_OVER */
	bool said_something; /* PHASE_IDENTITY of a server: evidence is being collected */
	char *server_name;
	struct handshake handshake;
	struct secured result;
	struct timer deadline;
	struct task task; /* tells the owner */
	struct attester_call *collecting;
	struct attester_events attester_events;
	struct verify_call *verifying;
	struct verify_events verify_events;
	enum reason reason;
	struct err why;
};

/* ---- ends ---- */

static void secure_free(struct secure *s)
{
	struct loop *loop = s->side->worker->loop;

	timer_cancel(loop, &s->deadline);
	task_cancel(&s->task);
	if (s->collecting != NULL)
		attester_call_cancel(s->collecting);
	if (s->verifying != NULL)
		verify_call_cancel(s->verifying);
	handshake_release(&s->handshake);
	free(s->server_name);
	free(s);
}

static void fail(struct secure *s, enum reason reason, const struct err *why)
{
	if (s->phase == PHASE_OVER)
		return;
	s->phase = PHASE_OVER;
	s->reason = reason;
	s->why = *why;
	task_schedule(s->side->worker->loop, &s->task);
}

static void fail_gone(struct secure *s, const char *when)
{
	struct err why;

	err_set(&why, ERR_PEER, "the peer was gone before %s", when);
	fail(s, REASON_PEER_CLOSED, &why);
}

static void tell_success(struct secure *s)
{
	struct secure_events *events = s->events;
	struct counters *counters = s->side->worker->counters;

	s->result.cert = buf_bytes(&s->handshake.cert);
	counter_add(&counters->handshakes, 1);
	if (s->result.from_cache)
		counter_add(&counters->verdict_hits, 1);
	handshake_open_records(&s->handshake);
	s->rs->secure = NULL;
	events->secured(events, &s->result);
	secure_free(s);
}

/* The owner hears of the end from here only, so that nothing on the way there needs to survive it. */
static void on_task(struct task *t)
{
	struct secure *s = container_of(t, struct secure, task);
	struct secure_events *events = s->events;
	enum reason reason = s->reason;
	struct err why = s->why;

	if (s->succeeded) {
		tell_success(s);
		return;
	}
	/* The owner may close the stream later than now. */
	loop_unwatch(s->side->worker->loop, &s->rs->watch);
	s->rs->secure = NULL;
	secure_free(s);
	events->failed(events, reason, &why);
}

static void succeed(struct secure *s)
{
	s->phase = PHASE_OVER;
	s->succeeded = true;
	task_schedule(s->side->worker->loop, &s->task);
}

static void on_deadline(struct timer *t)
{
	struct secure *s = container_of(t, struct secure, deadline);
	struct err why;

	switch (s->phase) {
	case PHASE_IDENTITY:
		if (s->side->role == TLS_SERVER && !s->said_something) {
			err_set(&why, ERR_TIMEOUT, "no byte in %u ms", s->side->first_byte_ms);
			fail(s, REASON_FIRST_BYTE_TIMEOUT, &why);
			break;
		}
		err_set(&why, ERR_TIMEOUT, "no evidence of our own in time");
		fail(s, REASON_ATTESTER_UNAVAILABLE, &why);
		break;
	case PHASE_HANDSHAKE:
	case PHASE_FLUSHING:
		if (s->side->role == TLS_SERVER && !s->handshake.first_byte) {
			err_set(&why, ERR_TIMEOUT, "no byte in %u ms", s->side->first_byte_ms);
			fail(s, REASON_FIRST_BYTE_TIMEOUT, &why);
			break;
		}
		err_set(&why, ERR_TIMEOUT, "TLS handshake not finished in %u ms", s->side->handshake_ms);
		fail(s, REASON_TLS_TIMEOUT, &why);
		break;
	case PHASE_VERDICT:
		err_set(&why, ERR_TIMEOUT, "no verdict in %u ms", s->side->verify_ms);
		fail(s, REASON_AS_TIMEOUT, &why);
		break;
	case PHASE_OVER:
		break;
	}
}

/* ---- verdict ---- */

static void on_decided(struct verify_events *self, const struct verdict *verdict)
{
	struct secure *s = container_of(self, struct secure, verify_events);

	s->verifying = NULL;
	if (s->phase != PHASE_VERDICT)
		return; /* the peer went away in the same round */
	if (!verdict->accepted) {
		fail(s, verdict->reason, &verdict->why);
		return;
	}
	s->result.attested = true;
	s->result.verdict = *verdict;
	succeed(s);
}

/* Nobody is to be asked: there is no verifier, or its verdict is at hand. */
static bool is_believed(struct secure *s)
{
	struct verifier *verifier = s->side->verifier;

	if (verifier == NULL)
		return true;
	if (!verifier_cached(verifier, s->result.cert_sha256, &s->result.verdict))
		return false;
	s->result.attested = true;
	s->result.from_cache = true;
	return true;
}

static void judge(struct secure *s)
{
	struct secure_side *side = s->side;

	timer_cancel(side->worker->loop, &s->deadline);
	if (is_believed(s)) {
		succeed(s);
		return;
	}
	s->phase = PHASE_VERDICT;
	timer_start(side->worker->loop, &s->deadline, side->verify_ms);
	s->verifying = verifier_check(side->verifier, side->worker->loop, buf_bytes(&s->handshake.cert),
				      s->result.cert_sha256, &s->verify_events);
}

/* ---- handshake ---- */

static void send_rest(struct secure *s)
{
	struct err why;

	if (handshake_send_rest(&s->handshake, &why) < 0)
		fail(s, REASON_PEER_CLOSED, &why);
	else if (handshake_unsent(&s->handshake) > 0)
		s->phase = PHASE_FLUSHING;
	else
		judge(s);
}

/*
 * Where the verdict is at hand, the end of the handshake waits for the first bytes of the application and
 * leaves together with them.
 */
static void finish_handshake(struct secure *s)
{
	size_t unsent = handshake_unsent(&s->handshake);

	s->result.alpn = s->handshake.alpn;
	if (s->side->verifier != NULL)
		digest_compute(DIGEST_SHA256, buf_bytes(&s->handshake.cert), s->result.cert_sha256);
	if (unsent > 0 && unsent <= RECORD_STREAM_CORK && is_believed(s))
		succeed(s);
	else
		send_rest(s);
}

static void on_step(struct secure *s, enum handshake_step step, enum reason reason, const struct err *why)
{
	switch (step) {
	case HANDSHAKE_WAITS:
		break;
	case HANDSHAKE_OVER:
		finish_handshake(s);
		break;
	case HANDSHAKE_FAILED:
		fail(s, reason, why);
		break;
	}
}

static void go_on(struct secure *s)
{
	bool had_begun = s->handshake.first_byte;
	enum reason reason = REASON_TLS_FAILED;
	struct err why = { 0 };
	enum handshake_step step = handshake_go_on(&s->handshake, &reason, &why);

	if (s->handshake.first_byte && !had_begun)
		timer_start(s->side->worker->loop, &s->deadline, s->side->handshake_ms);
	on_step(s, step, reason, &why);
}

static void begin_handshake(struct secure *s)
{
	struct secure_side *side = s->side;
	enum reason reason = REASON_TLS_FAILED;
	struct err why = { 0 };
	enum handshake_step step;

	s->phase = PHASE_HANDSHAKE;
	timer_start(side->worker->loop, &s->deadline,
		    side->role == TLS_SERVER ? side->first_byte_ms : side->handshake_ms);
	step = handshake_begin(&s->handshake, side, s->rs, s->server_name, &reason, &why);
	on_step(s, step, reason, &why);
}

/* ---- our own identity ---- */

static void show(struct secure *s, struct identity *id)
{
	struct err why;

	if (secure_side_show(s->side, id, &why) < 0)
		fail(s, REASON_INTERNAL, &why);
	else
		begin_handshake(s);
}

static void on_collected(struct attester_events *self, struct identity *id, enum reason reason, const struct err *why)
{
	struct secure *s = container_of(self, struct secure, attester_events);

	s->collecting = NULL;
	if (s->phase != PHASE_IDENTITY) {
		identity_unref(id);
		return;
	}
	if (id == NULL) {
		fail(s, reason, why);
		return;
	}
	show(s, id);
	identity_unref(id);
	/* What came while we collected was an edge that is gone. */
	if (s->phase == PHASE_HANDSHAKE && s->side->role == TLS_SERVER)
		go_on(s);
}

static void collect(struct secure *s)
{
	struct secure_side *side = s->side;

	timer_start(side->worker->loop, &s->deadline, side->verify_ms);
	s->collecting = attester_collect(side->attester, side->worker->loop, &s->attester_events);
}

static void show_current(struct secure *s)
{
	struct identity *id = attester_current(s->side->attester);
	struct err why;

	if (id == NULL) {
		err_set(&why, ERR_TRUST, "%s.attest: no valid evidence at the moment", s->side->name);
		fail(s, REASON_ATTESTER_UNAVAILABLE, &why);
		return;
	}
	show(s, id);
	identity_unref(id);
}

/* ---- begin ---- */

static void on_ready(struct watch *w, uint32_t events)
{
	struct record_stream *rs = container_of(w, struct record_stream, watch);
	struct secure *s = rs->secure;

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		rs->hung_up = true;
	if (events & ~(uint32_t)EPOLLOUT)
		s->handshake.drained = false;
	switch (s->phase) {
	case PHASE_IDENTITY:
		if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
			fail_gone(s, "we had evidence");
		} else if (s->collecting == NULL && (events & EPOLLIN)) {
			/* Not for everybody who connects: the agent works for those who say something. */
			s->said_something = true;
			collect(s);
		}
		break;
	case PHASE_HANDSHAKE:
		go_on(s);
		break;
	case PHASE_FLUSHING:
		send_rest(s);
		break;
	case PHASE_VERDICT:
		/* A half-closed peer may still want its answer; one that is gone does not. */
		if (events & (EPOLLERR | EPOLLHUP))
			fail_gone(s, "the verdict");
		break;
	case PHASE_OVER:
		break;
	}
}

static void begin(struct secure *s)
{
	struct secure_side *side = s->side;

	if (side->attester == NULL)
		begin_handshake(s);
	else if (!attester_is_per_handshake(side->attester))
		show_current(s);
	else if (side->role == TLS_CLIENT)
		collect(s);
	else
		timer_start(side->worker->loop, &s->deadline, side->first_byte_ms);
}

struct secure *secure_start(struct secure_side *side, struct record_stream *rs, const char *server_name,
			    struct secure_events *events)
{
	struct secure *s = mem_new_of(struct secure);
	struct err why;

	s->side = side;
	s->rs = rs;
	s->events = events;
	s->server_name = server_name == NULL ? NULL : mem_strdup(server_name);
	s->attester_events.collected = on_collected;
	s->verify_events.decided = on_decided;
	timer_init(&s->deadline, on_deadline);
	task_init(&s->task, on_task);
	rs->secure = s;
	rs->watch.ready = on_ready;
	if (!watch_is_active(&rs->watch) && loop_watch(side->worker->loop, &rs->watch, WATCH_STREAM, &why) < 0)
		fail(s, REASON_INTERNAL, &why);
	else
		begin(s);
	return s;
}

void secure_cancel(struct secure *s)
{
	if (s != NULL)
		secure_free(s);
}
