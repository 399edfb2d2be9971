/* SPDX-License-Identifier: Apache-2.0 */
/* attester - identities from agents and services that the test plays. */
#include "../vectors.h"

#include "agent.h"
#include "attest/attester.h"
#include "attest/evidence.h"
#include "attest/limits.h"
#include "attest/token.h"
#include "attestation_agent.pb-c.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/base64.h"
#include "crypto/cert.h"
#include "run.h"
#include "service.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define DEADLINE_MS 10000
#define CALLS 80

struct caller {
	struct attester_events events;
	struct attester_call *call;
	bool done;
	struct identity *id;
	enum reason reason;
	struct err why;
	struct caller *cancels; /* from inside collected */
};

static struct mint *mint;

static struct loop *loop;
static struct agent agent;
static char aa_addr[128];
static struct attest_conf conf;
static struct attester *attester;
static struct caller callers[CALLS];
static unsigned collected;

static void on_collected(struct attester_events *self, struct identity *id, enum reason reason, const struct err *why)
{
	struct caller *c = container_of(self, struct caller, events);

	assert_false(c->done);
	c->done = true;
	c->call = NULL;
	c->id = id;
	c->reason = reason;
	if (why != NULL)
		c->why = *why;
	collected++;
	if (c->cancels != NULL && c->cancels->call != NULL) {
		attester_call_cancel(c->cancels->call);
		c->cancels->call = NULL;
	}
}

static void collect(unsigned i)
{
	callers[i].events.collected = on_collected;
	callers[i].call = attester_collect(attester, loop, &callers[i].events);
}

static bool wait_collected(unsigned wanted)
{
	return run_until_count(loop, &collected, wanted, DEADLINE_MS);
}

static int set_up(void **state)
{
	struct err e;

	(void)state;
	loop = loop_new(&e);
	agent_start(&agent, loop);
	snprintf(aa_addr, sizeof(aa_addr), "unix://%s", agent.path);
	conf = (struct attest_conf){
		.model = MODEL_BACKGROUND_CHECK,
		.provider = AA_COCO,
		.aa_type = AA_UDS,
		.aa_addr = aa_addr,
		.aa_timeout_ms = 5000,
		.refresh_interval_s = 600,
	};
	return 0;
}

static int set_up_per_handshake(void **state)
{
	int rc = set_up(state);

	conf.refresh_interval_s = 0;
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	attester_free(attester);
	attester = NULL;
	agent_free(&agent);
	loop_free(loop);
	for (unsigned i = 0; i < CALLS; i++)
		identity_unref(callers[i].id);
	memset(callers, 0, sizeof(callers));
	collected = 0;
	return 0;
}

static void open_attester(enum binding binding)
{
	struct err e;

	attester = attester_new(loop, &conf, binding, "add_egress[0]", &e);
	if (attester == NULL)
		fail_msg("%s", e.text);
	attester_start(attester);
}

static struct identity *wait_current(unsigned deadline_ms)
{
	uint64_t end = clock_ms() + deadline_ms;
	struct identity *id;

	do {
		run_for(loop, 2);
		id = attester_current(attester);
	} while (id == NULL && clock_ms() < end);
	return id;
}

/* The next one that is not old. */
static struct identity *wait_other(const struct identity *old, unsigned deadline_ms)
{
	uint64_t end = clock_ms() + deadline_ms;

	while (clock_ms() < end) {
		struct identity *id = wait_current(deadline_ms);

		if (id != old)
			return id;
		identity_unref(id);
	}
	return NULL;
}

/* What is in an identity's certificate; certificate and key must fit together. */
struct content {
	struct evidence_blob blob;
	struct coco_evidence evidence; /* background check */
	struct buf spki;
};

static void open_identity(const struct identity *id, struct content *out)
{
	struct err e;
	struct cert *cert = cert_from_der(buf_bytes(&id->cert_der), &e);
	struct key *key = key_from_pkcs8(buf_bytes(&id->key_der), &e);
	struct buf spki = { 0 };
	struct bytes extension;

	*out = (struct content){ 0 };
	assert_non_null(cert);
	assert_non_null(key);
	assert_int_equal(cert_check_self_signed(cert, &e), 0);
	assert_int_equal(cert_spki(cert, &out->spki, &e), 0);
	assert_int_equal(key_spki(key, &spki, &e), 0);
	assert_bytes_equal(buf_bytes(&spki), buf_bytes(&out->spki));
	assert_true(cert_extension(cert, EVIDENCE_OID, &extension));
	assert_int_equal(evidence_blob_parse(extension, &out->blob, &e), 0);
	if (out->blob.tag == EVIDENCE_TAG_COCO)
		assert_int_equal(coco_evidence_parse(buf_bytes(&out->blob.raw), &out->evidence, &e), 0);
	buf_release(&spki);
	key_free(key);
	cert_free(cert);
}

static void content_release(struct content *c)
{
	evidence_blob_release(&c->blob);
	coco_evidence_release(&c->evidence);
	buf_release(&c->spki);
}

static void assert_bound(const struct content *c, enum binding binding)
{
	struct err e;
	struct json *doc = json_parse(buf_bytes(&c->evidence.runtime_data), JSON_STRICT, &e);
	struct json *sample = json_parse(buf_bytes(&c->evidence.evidence), JSON_STRICT, &e);
	struct buf report_data = { 0 };
	uint8_t digest[48];

	assert_int_equal(key_binding_check(doc, buf_bytes(&c->blob.claims_buffer), buf_bytes(&c->spki), binding, &e),
			 0);
	assert_int_equal(base64_decode(bytes_str(json_string(json_member(sample, "report_data"))), &report_data, &e),
			 0);
	digest_compute(DIGEST_SHA384, buf_bytes(&c->evidence.runtime_data), digest);
	assert_bytes_equal(buf_bytes(&report_data), bytes_of(digest, sizeof(digest)));
	buf_release(&report_data);
	json_free(doc);
	json_free(sample);
}

/* ---- the current identity ---- */

static void check_first_identity(enum binding binding)
{
	struct identity *id;
	struct content c;

	open_attester(binding);
	assert_null(attester_current(attester));
	assert_false(attester_is_per_handshake(attester));
	id = wait_current(DEADLINE_MS);
	assert_non_null(id);
	assert_string_equal(id->tee, "sample");
	assert_true(id->expires_unix <= clock_unix() + 6 * 3600);
	assert_true(id->expires_unix > clock_unix() + 6 * 3600 - 10);
	open_identity(id, &c);
	assert_int_equal(c.blob.tag, EVIDENCE_TAG_COCO);
	assert_string_equal(c.evidence.tee, "sample");
	assert_false(c.evidence.has_additional);
	assert_bound(&c, binding);
	content_release(&c);
	identity_unref(id);
	assert_int_equal(agent.requests, 3);
}

static void an_agent_gives_a_bound_identity(void **state)
{
	(void)state;
	check_first_identity(BINDING_CURRENT);
}

static void a_legacy_identity_is_bound_the_old_way(void **state)
{
	(void)state;
	check_first_identity(BINDING_LEGACY);
}

static void answer_with_device(struct agent *a, struct agent_request *req)
{
	struct buf payload = { 0 };

	if (strcmp(req->in.method, "GetAdditionalEvidence") != 0) {
		agent_behave(a, req);
		return;
	}
	assert_int_equal(req->in.payload.len, 0); /* empty runtime data */
	agent_format_bytes(bytes_str("{\"sampledevice\":{\"report_data\":\"\",\"svn\":\"2\"}}"), &payload);
	agent_answer(req->conn, req->stream, 0, "", buf_bytes(&payload));
	buf_release(&payload);
}

static void additional_evidence_goes_along(void **state)
{
	struct identity *id;
	struct content c;

	(void)state;
	agent.on_request = answer_with_device;
	open_attester(BINDING_CURRENT);
	id = wait_current(DEADLINE_MS);
	open_identity(id, &c);
	assert_true(c.evidence.has_additional);
	assert_int_equal(bytes_find(buf_bytes(&c.evidence.additional), bytes_str("{\"sampledevice\"")), 0);
	content_release(&c);
	identity_unref(id);
}

static const char *additional_failure;

static void fail_additional(struct agent *a, struct agent_request *req)
{
	if (strcmp(req->in.method, "GetAdditionalEvidence") != 0)
		agent_behave(a, req);
	else if (strcmp(additional_failure, "status") == 0)
		agent_answer(req->conn, req->stream, TTRPC_INTERNAL, "no", bytes_of(NULL, 0));
	else if (strcmp(additional_failure, "empty") == 0)
		agent_answer(req->conn, req->stream, 0, "", bytes_of(NULL, 0));
	else if (strcmp(additional_failure, "garbage") == 0)
		agent_answer(req->conn, req->stream, 0, "", bytes_str("\xff"));
	else if (strcmp(additional_failure, "close") == 0)
		agent_close(req->conn);
	/* "hang": nothing */
}

static void any_failure_of_additional_evidence_means_none(void **state)
{
	static const char *const failures[] = { "status", "empty", "garbage", "close", "hang" };

	(void)state;
	conf.aa_timeout_ms = 300;
	agent.on_request = fail_additional;
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		struct identity *id;
		struct content c;

		additional_failure = failures[i];
		open_attester(BINDING_CURRENT);
		id = wait_current(DEADLINE_MS);
		assert_non_null(id);
		open_identity(id, &c);
		assert_false(c.evidence.has_additional);
		content_release(&c);
		identity_unref(id);
		attester_free(attester);
		attester = NULL;
	}
}

static void an_absent_agent_is_found_when_it_comes(void **state)
{
	struct identity *id;

	(void)state;
	agent_stop(&agent);
	open_attester(BINDING_CURRENT);
	run_for(loop, 50);
	assert_null(attester_current(attester));
	agent_listen(&agent);
	id = wait_current(3000);
	assert_non_null(id);
	identity_unref(id);
}

static void every_certificate_has_a_fresh_key(void **state)
{
	struct identity *first;
	struct identity *second;

	(void)state;
	conf.refresh_interval_s = 1;
	open_attester(BINDING_CURRENT);
	first = wait_current(DEADLINE_MS);
	second = wait_other(first, 3000);
	assert_non_null(second);
	assert_false(bytes_equal(buf_bytes(&first->key_der), buf_bytes(&second->key_der)));
	identity_unref(first);
	identity_unref(second);
}

static bool agent_refuses;

static void behave_or_refuse(struct agent *a, struct agent_request *req)
{
	if (agent_refuses)
		agent_answer(req->conn, req->stream, TTRPC_INTERNAL, "not now", bytes_of(NULL, 0));
	else
		agent_behave(a, req);
}

/* Runs until the agent was asked count times more. */
static void wait_requests(unsigned count)
{
	assert_true(run_until_count(loop, &agent.requests, agent.requests + count, DEADLINE_MS));
	run_for(loop, 5);
}

static unsigned count_lines(int fd)
{
	char text[8192];
	ssize_t len = pread(fd, text, sizeof(text), 0);
	unsigned lines = 0;

	for (ssize_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	return lines;
}

static void a_failed_renewal_keeps_the_old_identity_and_is_logged_once(void **state)
{
	char path[] = "/tmp/tng-log-XXXXXX";
	int log = mkstemp(path);
	int old_stderr = dup(STDERR_FILENO);
	struct identity *first;
	struct identity *now;

	(void)state;
	unlink(path);
	conf.refresh_interval_s = 1;
	agent.on_request = behave_or_refuse;
	dup2(log, STDERR_FILENO);
	log_set_level(LOG_INFO);
	open_attester(BINDING_CURRENT);
	first = wait_current(DEADLINE_MS);
	assert_int_equal(count_lines(log), 1); /* has evidence */
	agent_refuses = true;
	wait_requests(1);
	wait_requests(1);
	now = attester_current(attester);
	assert_ptr_equal(now, first);
	identity_unref(now);
	assert_int_equal(count_lines(log), 2); /* cannot renew */
	agent_refuses = false;
	now = wait_other(first, 5000);
	assert_non_null(now);
	assert_int_equal(count_lines(log), 3); /* has evidence */
	log_set_level(LOG_OFF);
	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
	close(log);
	identity_unref(first);
	identity_unref(now);
}

static void name_unknown_tee(struct agent *a, struct agent_request *req)
{
	struct buf payload = { 0 };

	if (strcmp(req->in.method, "GetTeeType") != 0) {
		agent_behave(a, req);
		return;
	}
	agent_format_bytes(bytes_str("az-snp-vtpm"), &payload);
	agent_answer(req->conn, req->stream, 0, "", buf_bytes(&payload));
	buf_release(&payload);
}

static void a_tee_that_no_peer_knows_is_not_presented(void **state)
{
	(void)state;
	agent.on_request = name_unknown_tee;
	open_attester(BINDING_CURRENT);
	wait_requests(3);
	run_for(loop, 20);
	assert_null(attester_current(attester));
}

/* ---- passport ---- */

static struct service service;
static char *policy_items[] = { "default" };

static void set_passport(void)
{
	service_start(&service, loop, mint);
	conf.model = MODEL_PASSPORT;
	conf.as = (struct as_conf){ .type = AS_RESTFUL,
				    .addr = service.web.url,
				    .policy_ids = { policy_items, 1 },
				    .connect_timeout_ms = 1000,
				    .timeout_ms = 2000 };
}

static void a_passport_holds_the_services_token(void **state)
{
	struct identity *id;
	struct content c;
	int64_t expires;
	struct err e;

	(void)state;
	set_passport();
	open_attester(BINDING_CURRENT);
	id = wait_current(DEADLINE_MS);
	assert_non_null(id);
	open_identity(id, &c);
	assert_int_equal(c.blob.tag, EVIDENCE_TAG_COCO_TOKEN);
	assert_int_equal(token_peek_expiry(buf_bytes(&c.blob.raw), &expires, &e), 0);
	assert_int_equal(id->expires_unix, expires);
	assert_string_equal(id->tee, "sample");
	content_release(&c);
	identity_unref(id);
	service_stop(&service);
}

static void a_passport_is_renewed_before_its_token_expires(void **state)
{
	struct identity *first;
	struct identity *second;

	(void)state;
	set_passport();
	service.token.lifetime_s = 5;
	open_attester(BINDING_CURRENT);
	first = wait_current(DEADLINE_MS);
	second = wait_other(first, 6000);
	assert_non_null(second);
	assert_true(clock_unix() < first->expires_unix);
	identity_unref(first);
	identity_unref(second);
	service_stop(&service);
}

static void a_passport_that_cannot_be_renewed_ends_with_its_token(void **state)
{
	struct identity *first;
	struct identity *now;

	(void)state;
	set_passport();
	service.token.lifetime_s = 2;
	open_attester(BINDING_CURRENT);
	first = wait_current(DEADLINE_MS);
	service.mode = SERVICE_REFUSE;
	for (;;) {
		run_for(loop, 20);
		now = attester_current(attester);
		if (now == NULL)
			break;
		assert_ptr_equal(now, first);
		identity_unref(now);
	}
	assert_true(clock_unix() >= first->expires_unix);
	service.mode = SERVICE_SERVE;
	now = wait_current(6000);
	assert_non_null(now);
	identity_unref(now);
	identity_unref(first);
	service_stop(&service);
}

static void an_expired_token_is_not_presented(void **state)
{
	(void)state;
	set_passport();
	service.token.expired = true;
	open_attester(BINDING_CURRENT);
	assert_true(run_until_count(loop, &service.evaluations, 1, DEADLINE_MS));
	run_for(loop, 50);
	assert_null(attester_current(attester));
	service_stop(&service);
}

/* ---- API-server-rest ---- */

static struct web asr;
static bool asr_has_device;

static void asr_behave(struct web *w, struct web_request *req)
{
	static const char start[] = "/aa/evidence?runtime_data=";
	static const char end[] = "&encoding=base64";
	struct buf digest = { 0 };
	struct buf evidence = { 0 };
	struct err e;

	(void)w;
	if (strcmp(req->path, "/info") == 0) {
		web_answer_str(req, 200, "{\"tee\":\"sample\",\"version\":\"x\",\"additional_tees\":[]}");
		return;
	}
	if (strcmp(req->path, "/aa/additional-evidence?runtime_data=&encoding=base64") == 0) {
		web_answer_str(req, 200, asr_has_device ? "{\"sampledevice\":{}}" : "");
		return;
	}
	assert_memory_equal(req->path, start, strlen(start));
	assert_int_equal(strlen(req->path), strlen(start) + 64 + strlen(end));
	assert_int_equal(base64url_decode(bytes_of(req->path + strlen(start), 64), &digest, &e), 0);
	buf_format(&evidence, "{\"cc_eventlog\":null,\"measure_register\":\"%064d\",\"report_data\":\"", 0);
	base64_encode(buf_bytes(&digest), &evidence);
	buf_append_str(&evidence, "\",\"svn\":\"1\"}");
	web_answer(req, 200, buf_bytes(&evidence));
	buf_release(&digest);
	buf_release(&evidence);
}

static void set_asr(void)
{
	asr = (struct web){ .on_request = asr_behave };
	web_start(&asr, loop);
	conf.provider = AA_COCO_ASR;
	conf.asr_addr = asr.url;
}

static void an_api_server_gives_a_bound_identity(void **state)
{
	struct identity *first;
	struct identity *second;
	struct content c;

	(void)state;
	set_asr();
	conf.refresh_interval_s = 1;
	open_attester(BINDING_CURRENT);
	first = wait_current(DEADLINE_MS);
	assert_non_null(first);
	assert_string_equal(first->tee, "sample");
	open_identity(first, &c);
	assert_bound(&c, BINDING_CURRENT);
	assert_false(c.evidence.has_additional);
	content_release(&c);
	assert_int_equal(asr.requests, 3);
	asr_has_device = true;
	second = wait_other(first, 3000);
	assert_int_equal(asr.requests, 5); /* the TEE is known */
	open_identity(second, &c);
	assert_true(c.evidence.has_additional);
	content_release(&c);
	identity_unref(first);
	identity_unref(second);
	asr_has_device = false;
	web_stop(&asr);
}

static const char *asr_fault_path;

static void asr_fail(struct web *w, struct web_request *req)
{
	if (strncmp(req->path, asr_fault_path, strlen(asr_fault_path)) == 0)
		web_answer_str(req, 500, "ttrpc request error");
	else
		asr_behave(w, req);
}

static void what_an_api_server_refuses_is_told(void **state)
{
	static const char *const paths[] = { "/info", "/aa/evidence" };

	(void)state;
	set_asr();
	conf.refresh_interval_s = 0;
	asr.on_request = asr_fail;
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		asr_fault_path = paths[i];
		open_attester(BINDING_CURRENT);
		collect(i);
		assert_true(wait_collected(i + 1));
		assert_null(callers[i].id);
		assert_int_equal(callers[i].reason, REASON_ATTESTER_UNAVAILABLE);
		assert_non_null(strstr(callers[i].why.text, "status 500: ttrpc request error"));
		assert_non_null(strstr(callers[i].why.text, paths[i]));
		attester_free(attester);
		attester = NULL;
	}
	asr_fault_path = "/aa/additional";
	open_attester(BINDING_CURRENT);
	collect(2);
	assert_true(wait_collected(3));
	assert_non_null(callers[2].id);
	web_stop(&asr);
}

/* ---- an identity for each handshake ---- */

static void each_handshake_gets_its_own(void **state)
{
	(void)state;
	open_attester(BINDING_CURRENT);
	assert_true(attester_is_per_handshake(attester));
	run_for(loop, 20);
	assert_int_equal(agent.requests, 0);
	collect(0);
	collect(1);
	assert_true(wait_collected(2));
	assert_non_null(callers[0].id);
	assert_non_null(callers[1].id);
	assert_false(bytes_equal(buf_bytes(&callers[0].id->key_der), buf_bytes(&callers[1].id->key_der)));
	assert_null(attester_current(attester));
}

static void an_absent_agent_refuses_the_handshake_at_once(void **state)
{
	(void)state;
	agent_stop(&agent);
	conf.aa_timeout_ms = 60000;
	open_attester(BINDING_CURRENT);
	collect(0);
	assert_true(wait_collected(1));
	assert_null(callers[0].id);
	assert_int_equal(callers[0].reason, REASON_ATTESTER_UNAVAILABLE);
}

static void hold(struct agent *a, struct agent_request *req)
{
	(void)a;
	(void)req;
}

static void an_agent_that_hangs_runs_out_of_time(void **state)
{
	(void)state;
	agent.on_request = hold;
	conf.aa_timeout_ms = 200;
	open_attester(BINDING_CURRENT);
	collect(0);
	assert_true(wait_collected(1));
	assert_int_equal(callers[0].reason, REASON_ATTESTER_UNAVAILABLE);
	assert_int_equal(callers[0].why.kind, ERR_TIMEOUT);
}

static void hold_first(struct agent *a, struct agent_request *req)
{
	if (a->requests > 1)
		agent_behave(a, req);
}

static void a_handshake_that_hangs_delays_no_other(void **state)
{
	(void)state;
	agent.on_request = hold_first;
	open_attester(BINDING_CURRENT);
	collect(0);
	wait_requests(1);
	collect(1);
	assert_true(wait_collected(1));
	assert_non_null(callers[1].id);
	assert_false(callers[0].done);
	attester_call_cancel(callers[0].call);
	run_for(loop, 5);
	assert_int_equal(collected, 1);
}

static void handshakes_over_the_bound_wait_in_order(void **state)
{
	(void)state;
	agent.on_request = hold;
	conf.aa_timeout_ms = 60000;
	open_attester(BINDING_CURRENT);
	for (unsigned i = 0; i < CALLS; i++)
		collect(i);
	assert_true(run_until_count(loop, &agent.evidence_requests, ATTEST_COLLECTIONS_MAX, DEADLINE_MS));
	run_for(loop, 20);
	assert_int_equal(agent.evidence_requests, ATTEST_COLLECTIONS_MAX);
	attester_call_cancel(callers[CALLS - 1].call);
	attester_call_cancel(callers[0].call);
	run_for(loop, 20);
	assert_int_equal(agent.evidence_requests, ATTEST_COLLECTIONS_MAX + 1);
	agent_stop(&agent); /* the same requests come again */
	agent.on_request = agent_behave;
	agent_listen(&agent);
	assert_true(wait_collected(CALLS - 2));
	for (unsigned i = 1; i < CALLS - 1; i++)
		assert_non_null(callers[i].id);
}

static void who_waits_too_long_for_the_agent_is_refused(void **state)
{
	(void)state;
	agent.on_request = hold;
	conf.aa_timeout_ms = 200;
	open_attester(BINDING_CURRENT);
	for (unsigned i = 0; i < CALLS; i++)
		collect(i);
	assert_true(wait_collected(CALLS));
	for (unsigned i = 0; i < CALLS; i++)
		assert_int_equal(callers[i].reason, REASON_ATTESTER_UNAVAILABLE);
}

static void a_cancel_may_cross_the_answer(void **state)
{
	(void)state;
	open_attester(BINDING_CURRENT);
	agent_stop(&agent); /* both fail in one round */
	collect(0);
	collect(1);
	callers[0].cancels = &callers[1];
	assert_true(wait_collected(1));
	run_for(loop, 10);
	assert_int_equal(collected, 1);
}

static void an_attester_can_be_freed_under_its_callers(void **state)
{
	(void)state;
	agent.on_request = hold;
	open_attester(BINDING_CURRENT);
	collect(0);
	wait_requests(1);
	collect(1);
	attester_free(attester);
	attester = NULL;
	run_for(loop, 10);
	assert_int_equal(collected, 0);
	attester_call_cancel(callers[0].call);
	attester_call_cancel(callers[1].call);
}

static void a_wrong_address_is_a_configuration_error(void **state)
{
	struct err e;

	(void)state;
	conf.aa_addr = "/run/aa.sock";
	assert_null(attester_new(loop, &conf, BINDING_CURRENT, "x", &e));
	assert_int_equal(e.kind, ERR_CONFIG);
	conf.aa_addr = NULL;
	assert_null(attester_new(loop, &conf, BINDING_CURRENT, "x", &e));
	conf.aa_addr = aa_addr;
	conf.model = MODEL_PASSPORT;
	conf.as.type = AS_BUILTIN;
	assert_null(attester_new(loop, &conf, BINDING_CURRENT, "x", &e));
	assert_int_equal(e.kind, ERR_CONFIG);
}

/* ---- threads ---- */

#define ROUNDS 40

static void *run_loop(void *p)
{
	loop_run(p);
	return NULL;
}

static void stop_attestation(struct mail *m)
{
	(void)m;
	loop_stop(loop);
}

static void *collect_and_leave(void *p)
{
	unsigned *seed = p;
	struct loop *own;
	struct err e;

	own = loop_new(&e);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct caller c[2] = { 0 };

		for (unsigned k = 0; k < 2; k++) {
			c[k].events.collected = on_collected;
			c[k].call = attester_collect(attester, own, &c[k].events);
			identity_unref(attester_current(attester));
		}
		if (rand_r(seed) % 2 == 0)
			run_for(own, rand_r(seed) % 4);
		if (c[1].call != NULL)
			attester_call_cancel(c[1].call);
		assert_true(run_until(own, &c[0].done, DEADLINE_MS));
		assert_non_null(c[0].id);
		identity_unref(c[0].id);
		identity_unref(c[1].id);
	}
	loop_free(own);
	return NULL;
}

static void workers_may_ask_and_leave_at_any_time(void **state)
{
	struct mail stop = { .deliver = stop_attestation };
	pthread_t attestation;
	pthread_t worker;
	unsigned seed = 1;

	(void)state;
	open_attester(BINDING_CURRENT);
	pthread_create(&attestation, NULL, run_loop, loop);
	pthread_create(&worker, NULL, collect_and_leave, &seed);
	pthread_join(worker, NULL);
	loop_post(loop, &stop);
	pthread_join(attestation, NULL);
	collected = 0;
}

static int make_mint(void **state)
{
	struct err e;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_OFF);
	mint = mint_new(clock_unix(), &e);
	return mint == NULL ? -1 : 0;
}

static int free_mint(void **state)
{
	(void)state;
	mint_free(mint);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TEST_EACH(f) cmocka_unit_test_setup_teardown(f, set_up_per_handshake, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_agent_gives_a_bound_identity),
		TEST(a_legacy_identity_is_bound_the_old_way),
		TEST(additional_evidence_goes_along),
		TEST(any_failure_of_additional_evidence_means_none),
		TEST(an_absent_agent_is_found_when_it_comes),
		TEST(every_certificate_has_a_fresh_key),
		TEST(a_failed_renewal_keeps_the_old_identity_and_is_logged_once),
		TEST(a_tee_that_no_peer_knows_is_not_presented),
		TEST(a_passport_holds_the_services_token),
		TEST(a_passport_is_renewed_before_its_token_expires),
		TEST(a_passport_that_cannot_be_renewed_ends_with_its_token),
		TEST(an_expired_token_is_not_presented),
		TEST(an_api_server_gives_a_bound_identity),
		TEST(what_an_api_server_refuses_is_told),
		TEST_EACH(each_handshake_gets_its_own),
		TEST_EACH(an_absent_agent_refuses_the_handshake_at_once),
		TEST_EACH(an_agent_that_hangs_runs_out_of_time),
		TEST_EACH(a_handshake_that_hangs_delays_no_other),
		TEST_EACH(handshakes_over_the_bound_wait_in_order),
		TEST_EACH(who_waits_too_long_for_the_agent_is_refused),
		TEST_EACH(a_cancel_may_cross_the_answer),
		TEST_EACH(an_attester_can_be_freed_under_its_callers),
		TEST_EACH(a_wrong_address_is_a_configuration_error),
		TEST_EACH(workers_may_ask_and_leave_at_any_time),
	};

	return cmocka_run_group_tests(tests, make_mint, free_mint);
}
