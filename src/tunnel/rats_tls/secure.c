/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secure - the life of a connection before it carries bytes.
 *
 *   IDENTITY --> HANDSHAKE --> FLUSHING --> VERDICT --> over
 *       |            |             |           |
 *       +------------+-------------+-----------+--> failed
 *
 * IDENTITY   refresh_interval is 0: fresh evidence is being collected for this handshake alone
 * HANDSHAKE  libssl talks to the peer
 * FLUSHING   the handshake is over, the last of our messages is on its way
 * VERDICT    the verifier thinks
 *
 * The handshake object of libssl, some 20 to 40 KiB, goes as soon as the handshake is over, unless libssl is to do the
 * records as well; what stays for the verdict is the peer's certificate, which counts against the same budget.
 */
#include "tunnel/rats_tls/secure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attest/attester.h"
#include "attest/identity.h"
#include "base/log.h"
#include "crypto/digest.h"
#include "crypto/tls_records.h"
#include "io/pool.h"
#include "io/worker.h"
#include "metrics/counters.h"
#include "tunnel/rats_tls/record_stream.h"

#define CERT_COPIES 3 /* ours, the verifier's, and that in its request */
#define TLS_HANDSHAKE_RECORD 22
#define TLS_ALERT_RECORD 21

enum phase { PHASE_IDENTITY, PHASE_HANDSHAKE, PHASE_FLUSHING, PHASE_VERDICT, PHASE_OVER };

struct secure {
	struct secure_side *side;
	struct record_stream *rs;
	struct secure_events *events;
	enum phase phase;
	bool handshake_over;
	bool succeeded;	     /* in PHASE_OVER */
	bool first_byte;     /* has come */
	bool drained;	     /* the socket held no more when it was last read */
	bool said_something; /* PHASE_IDENTITY of a server: evidence is being collected */
	char *server_name;
	struct tls_handshake *tls;
	struct buf out; /* for the peer, not yet sent */
	size_t out_sent;
	struct buf early; /* read behind the handshake */
	struct record_side rx;
	struct record_side tx;
	struct buf cert;
	size_t charged; /* to the budget of handshakes */
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

/* ---- the side ---- */

static int show(struct secure_side *s, struct identity *id, struct err *e)
{
	if (s->shown == id)
		return 0;
	identity_unref(s->shown);
	s->shown = NULL;
	if (tls_config_set_identity(s->config, buf_bytes(&id->cert_der), buf_bytes(&id->key_der), e) < 0)
		return -1;
	s->shown = identity_ref(id);
	return 0;
}

int secure_side_init(struct secure_side *s, const struct secure_side_options *o, struct err *e)
{
	struct tls_options tls = {
		.role = o->role,
		.alpn = o->alpn,
		.want_peer_cert = o->role == TLS_SERVER && o->verifier != NULL,
		.max_cert_size = o->certificate_size,
		.libctx = o->worker->libctx,
		.libssl_records = o->libssl_records,
	};

	*s = (struct secure_side){
		.worker = o->worker,
		.role = o->role,
		.name = o->name,
		.attester = o->attester,
		.dummy = o->dummy,
		.verifier = o->verifier,
		.first_byte_ms = o->first_byte_ms,
		.handshake_ms = o->handshake_ms,
		.verify_ms = o->verify_ms,
		.libssl_records = o->libssl_records,
	};
	s->config = tls_config_new(&tls, e);
	if (s->config == NULL)
		return -1;
	if (s->attester == NULL && s->dummy != NULL)
		return show(s, s->dummy, e);
	return 0;
}

void secure_side_release(struct secure_side *s)
{
	tls_config_free(s->config);
	s->config = NULL;
	identity_unref(s->shown);
	s->shown = NULL;
}

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
	tls_budget_give(s->charged);
	tls_handshake_free(s->tls);
	record_side_wipe(&s->rx);
	record_side_wipe(&s->tx);
	buf_release(&s->out);
	buf_release(&s->early);
	buf_release(&s->cert);
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

static void fail_errno(struct secure *s, enum reason reason, const char *what)
{
	struct err why;

	err_errno(&why, ERR_PEER, "%s", what);
	fail(s, reason, &why);
}

static void open_records(struct secure *s)
{
	if (s->tls == NULL) {
		record_stream_open(s->rs, &s->rx, &s->tx, buf_bytes(&s->early));
		return;
	}
	record_stream_open_libssl(s->rs, s->tls, buf_bytes(&s->early));
	s->tls = NULL;
}

static void tell_success(struct secure *s)
{
	struct secure_events *events = s->events;
	struct counters *counters = s->side->worker->counters;

	s->result.cert = buf_bytes(&s->cert);
	counter_add(&counters->handshakes, 1);
	if (s->result.from_cache)
		counter_add(&counters->verdict_hits, 1);
	open_records(s);
	s->rs->stream.readable = !s->drained;
	if (s->out.len > 0)
		record_stream_cork(s->rs, bytes_of(s->out.data + s->out_sent, s->out.len - s->out_sent));
	s->rs->messages.refuse_tickets = s->side->role == TLS_SERVER;
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
		if (s->side->role == TLS_SERVER && !s->first_byte) {
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

static void judge(struct secure *s)
{
	struct secure_side *side = s->side;

	if (side->verifier == NULL) {
		succeed(s);
		return;
	}
	if (verifier_cached(side->verifier, s->result.cert_sha256, &s->result.verdict)) {
		s->result.attested = true;
		s->result.from_cache = true;
		succeed(s);
		return;
	}
	s->phase = PHASE_VERDICT;
	timer_start(side->worker->loop, &s->deadline, side->verify_ms);
	s->verifying = verifier_check(side->verifier, side->worker->loop, buf_bytes(&s->cert), s->result.cert_sha256,
				      &s->verify_events);
}

/* ---- handshake ---- */

static bool flush(struct secure *s)
{
	while (s->out_sent < s->out.len) {
		ssize_t n = send(s->rs->watch.fd, s->out.data + s->out_sent, s->out.len - s->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN && loop_watch_output(s->side->worker->loop, &s->rs->watch) == 0;
		s->out_sent += (size_t)n;
	}
	buf_clear(&s->out);
	s->out_sent = 0;
	return true;
}

/* For what outlives the handshake object: until the verdict, or until the peer has read it. */
static bool take_budget(struct secure *s, size_t size)
{
	struct err why;

	if (tls_budget_take(size)) {
		s->charged += size;
		return true;
	}
	err_set(&why, ERR_LIMIT, "handshakes in flight use all of limits.handshake_memory");
	fail(s, REASON_HANDSHAKE_MEMORY, &why);
	return false;
}

/* The certificate is kept for the verdict only where there is one to make. */
static bool take_result(struct secure *s)
{
	struct err why;

	if (s->side->libssl_records) {
		tls_records_begin(s->tls);
	} else if (tls_handshake_sides(s->tls, &s->rx, &s->tx, &why) < 0) {
		fail(s, REASON_TLS_FAILED, &why);
		return false;
	}
	s->result.alpn = tls_handshake_alpn(s->tls);
	if (s->side->verifier == NULL)
		return true;
	if (!tls_handshake_peer_cert(s->tls, &s->cert)) {
		err_set(&why, ERR_TRUST, "the peer presented no certificate");
		fail(s, REASON_TLS_NO_CERTIFICATE, &why);
		return false;
	}
	if (!take_budget(s, CERT_COPIES * s->cert.len))
		return false;
	digest_compute(DIGEST_SHA256, buf_bytes(&s->cert), s->result.cert_sha256);
	return true;
}

/*
 * Where the verdict is at hand, the end of the handshake waits for the first bytes of the application and
 * leaves together with them.
 */
static bool may_cork(struct secure *s)
{
	struct secure_side *side = s->side;

	if (s->out.len - s->out_sent > RECORD_STREAM_CORK)
		return false;
	if (side->verifier == NULL)
		return true;
	if (!verifier_cached(side->verifier, s->result.cert_sha256, &s->result.verdict))
		return false;
	s->result.attested = true;
	s->result.from_cache = true;
	return true;
}

static void send_rest(struct secure *s)
{
	if (!flush(s)) {
		fail_errno(s, REASON_PEER_CLOSED, "TLS handshake");
		return;
	}
	if (s->out.len > 0) {
		s->phase = PHASE_FLUSHING;
		return;
	}
	buf_release(&s->out);
	timer_cancel(s->side->worker->loop, &s->deadline);
	judge(s);
}

static void finish_handshake(struct secure *s)
{
	if (!take_result(s))
		return;
	if (!s->side->libssl_records) {
		tls_handshake_free(s->tls);
		s->tls = NULL;
	}
	if (s->out.len > 0 && may_cork(s))
		succeed(s);
	else
		send_rest(s);
}

/* rats-tls.md 8: what a TLS port answers to something else. */
static void refuse_plaintext(struct secure *s, uint8_t first)
{
	static const uint8_t decode_error[] = { 0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x32 };
	struct err why;

	if (s->side->role == TLS_SERVER)
		buf_append(&s->out, decode_error, sizeof(decode_error));
	flush(s);
	err_set(&why, ERR_PEER, "the first byte is 0x%02x: this is not TLS", first);
	fail(s, REASON_TLS_PLAINTEXT, &why);
}

static void step(struct secure *s, struct bytes in)
{
	enum reason reason = REASON_TLS_FAILED;
	struct err why = { 0 };
	size_t used = 0;
	enum tls_step result = tls_handshake_step(s->tls, in, &used, &s->out, &reason, &why);

	if (result != TLS_DONE && !flush(s) && result != TLS_FAILED) {
		fail_errno(s, REASON_PEER_CLOSED, "TLS handshake");
		return;
	}
	switch (result) {
	case TLS_MORE:
		/* So far nothing else is charged; once only, however small the pieces in which the peer goes on. */
		if (s->out.len - s->out_sent > s->charged)
			take_budget(s, s->out.len - s->out_sent - s->charged);
		break;
	case TLS_FAILED:
		fail(s, reason, &why);
		break;
	case TLS_DONE:
		s->handshake_over = true;
		if (!take_budget(s, in.len - used))
			break;
		buf_append(&s->early, in.data + used, in.len - used);
		finish_handshake(s);
		break;
	}
}

static void on_end_of_input(struct secure *s, ssize_t n)
{
	struct err why;

	if (n < 0) {
		fail_errno(s, REASON_PEER_CLOSED, "TLS handshake");
		return;
	}
	err_set(&why, ERR_PEER, "the peer closed before the handshake was over");
	fail(s, REASON_PEER_CLOSED, &why);
}

static void note_first_byte(struct secure *s)
{
	if (s->first_byte)
		return;
	s->first_byte = true;
	timer_start(s->side->worker->loop, &s->deadline, s->side->handshake_ms);
}

static void read_handshake(struct secure *s)
{
	uint8_t *scratch = pool_cipher_scratch(s->side->worker->pool);

	while (s->phase == PHASE_HANDSHAKE && !s->handshake_over) {
		bool is_first = !s->first_byte;
		ssize_t n = recv(s->rs->watch.fd, scratch, POOL_READ_SIZE, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			s->drained = true;
			return;
		}
		if (n <= 0) {
			on_end_of_input(s, n);
			return;
		}
		note_first_byte(s);
		if (is_first && scratch[0] != TLS_HANDSHAKE_RECORD &&
		    (s->side->role == TLS_SERVER || scratch[0] != TLS_ALERT_RECORD)) {
			refuse_plaintext(s, scratch[0]);
			return;
		}
		step(s, bytes_of(scratch, (size_t)n));
		/* The rest of a short read can only come with another event. */
		if (n < POOL_READ_SIZE && !s->rs->hung_up) {
			s->drained = true;
			return;
		}
	}
}

static void collect(struct secure *s);

static void on_ready(struct watch *w, uint32_t events)
{
	struct record_stream *rs = container_of(w, struct record_stream, watch);
	struct secure *s = rs->secure;

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		rs->hung_up = true;
	if (events & ~(uint32_t)EPOLLOUT)
		s->drained = false;
	if (s->phase == PHASE_IDENTITY && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
		struct err why;

		err_set(&why, ERR_PEER, "the peer was gone before we had evidence");
		fail(s, REASON_PEER_CLOSED, &why);
		return;
	}
	if (s->phase == PHASE_IDENTITY && s->collecting == NULL && (events & EPOLLIN)) {
		/* Not for everybody who connects: the agent works for those who say something. */
		s->said_something = true;
		collect(s);
		return;
	}
	if (s->phase == PHASE_VERDICT) {
		/* A half-closed peer may still want its answer; one that is gone does not. */
		if (events & (EPOLLERR | EPOLLHUP)) {
			struct err why;

			err_set(&why, ERR_PEER, "the peer was gone before the verdict");
			fail(s, REASON_PEER_CLOSED, &why);
		}
		return;
	}
	if (s->phase == PHASE_HANDSHAKE && s->out.len > 0 && !flush(s)) {
		fail_errno(s, REASON_PEER_CLOSED, "TLS handshake");
		return;
	}
	if (s->phase == PHASE_HANDSHAKE)
		read_handshake(s);
	if (s->phase == PHASE_FLUSHING)
		send_rest(s);
}

/* ---- begin ---- */

static int begin_handshake(struct secure *s, struct err *e)
{
	s->tls = tls_handshake_new(s->side->config, s->server_name, e);
	if (s->tls == NULL)
		return -1;
	s->phase = PHASE_HANDSHAKE;
	if (s->side->role == TLS_SERVER) {
		timer_start(s->side->worker->loop, &s->deadline, s->side->first_byte_ms);
		return 0;
	}
	timer_start(s->side->worker->loop, &s->deadline, s->side->handshake_ms);
	step(s, (struct bytes){ NULL, 0 });
	return 0;
}

static void begin_or_fail(struct secure *s)
{
	struct err why;

	if (begin_handshake(s, &why) < 0)
		fail(s, why.kind == ERR_LIMIT ? REASON_HANDSHAKE_MEMORY : REASON_TLS_FAILED, &why);
}

static void on_collected(struct attester_events *self, struct identity *id, enum reason reason, const struct err *why)
{
	struct secure *s = container_of(self, struct secure, attester_events);
	struct err mine;

	s->collecting = NULL;
	if (s->phase != PHASE_IDENTITY) {
		identity_unref(id);
		return;
	}
	if (id == NULL) {
		fail(s, reason, why);
		return;
	}
	if (show(s->side, id, &mine) < 0)
		fail(s, REASON_INTERNAL, &mine);
	else
		begin_or_fail(s);
	identity_unref(id);
	/* What came while we collected was an edge that is gone. */
	if (s->phase == PHASE_HANDSHAKE && s->side->role == TLS_SERVER)
		read_handshake(s);
}

static void collect(struct secure *s)
{
	struct secure_side *side = s->side;

	timer_start(side->worker->loop, &s->deadline, side->verify_ms);
	s->collecting = attester_collect(side->attester, side->worker->loop, &s->attester_events);
}

static void begin(struct secure *s)
{
	struct secure_side *side = s->side;
	struct identity *id;
	struct err why;

	if (side->attester == NULL) {
		begin_or_fail(s);
		return;
	}
	if (attester_is_per_handshake(side->attester)) {
		s->phase = PHASE_IDENTITY;
		if (side->role == TLS_CLIENT)
			collect(s);
		else
			timer_start(side->worker->loop, &s->deadline, side->first_byte_ms);
		return;
	}
	id = attester_current(side->attester);
	if (id == NULL) {
		err_set(&why, ERR_TRUST, "%s.attest: no valid evidence at the moment", side->name);
		fail(s, REASON_ATTESTER_UNAVAILABLE, &why);
		return;
	}
	if (show(side, id, &why) < 0)
		fail(s, REASON_INTERNAL, &why);
	else
		begin_or_fail(s);
	identity_unref(id);
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
	if (!rs->watch.active && loop_watch(side->worker->loop, &rs->watch, WATCH_STREAM, &why) < 0)
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
