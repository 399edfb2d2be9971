/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aa - the attestation agent: ttrpc on a unix socket. spec: attestation.md 1.
 *
 * Calls of one connection run side by side; an answer that is pending does not hold back the others. A
 * client that closed its direction still gets its answers, then we close.
 */
#include <stdlib.h>

#include "attest/coco/protobuf.h"
#include "attest/coco/ttrpc_frame.h"
#include "attestation_agent.pb-c.h"
#include "lab/lab.h"
#include "lab/sample.h"

#define SERVICE "attestation_agent.AttestationAgentService"

/* Calls of one connection that wait at a time; reading pauses. */
#define CALLS_MAX 256

/* How much of a foreign name an error text repeats. */
#define NAME_MAX_LEN 200

#define GARBAGE_LEN 32

/* Beside those of ttrpc_frame.h, numbered as in gRPC. */
enum { CODE_UNKNOWN = 2, CODE_DEADLINE_EXCEEDED = 4, CODE_NOT_FOUND = 5 };

struct aa_conn {
	struct conn conn;
	struct list calls;
	size_t call_count;
	uint64_t discarding; /* bytes left of a payload that is too long */
	struct ttrpc_header discarded;
};

enum method { GET_EVIDENCE, GET_TEE_TYPE, GET_ADDITIONAL_EVIDENCE, NOT_PROVIDED };

static const struct method_spec {
	const char *name;
	enum method method;
	enum call_kind call;
	const char *failure; /* of INTERNAL */
} methods[] = {
	{ "GetEvidence", GET_EVIDENCE, CALL_EVIDENCE, "AA-KBC get evidence failed" },
	{ "GetTeeType", GET_TEE_TYPE, CALL_TEE, "AA-KBC get tee type failed" },
	{ "GetAdditionalEvidence", GET_ADDITIONAL_EVIDENCE, CALL_DEVICE, "AA-KBC get evidence failed" },
	{ "GetToken", NOT_PROVIDED, CALL_OTHER, "AA-KBC get token failed" },
	{ "GetAdditionalTees", NOT_PROVIDED, CALL_OTHER, "AA-KBC get tee type failed" },
	{ "ExtendRuntimeMeasurement", NOT_PROVIDED, CALL_OTHER, "AA extend runtime measurement failed" },
	{ "BindInitData", NOT_PROVIDED, CALL_OTHER, "AA bind init data failed" },
};

/* A call that waits for its answer. */
struct aa_call {
	struct list link;
	struct aa_conn *owner;
	const struct method_spec *method;
	uint32_t stream;
	struct buf runtime_data;
	struct dealt dealt;
	struct pending pending;
	struct timer timeout; /* of the request */
};

static struct aa_conn *aa_conn_of(struct conn *c)
{
	return container_of(c, struct aa_conn, conn);
}

static struct lab *lab_of_conn(struct aa_conn *a)
{
	return lab_of(a->conn.listener, TARGET_AA);
}

static struct target *target_of(struct aa_conn *a)
{
	return &lab_of_conn(a)->targets[TARGET_AA];
}

static void send_failure(struct aa_conn *a, uint32_t stream, int code, const char *fmt, ...) PRINTF_LIKE(4, 5);

static void send_failure(struct aa_conn *a, uint32_t stream, int code, const char *fmt, ...)
{
	struct err e;
	va_list args;
	char *text;

	va_start(args, fmt);
	text = mem_vformat(fmt, args);
	va_end(args);
	target_of(a)->refused++;
	/* Short, so it fits. */
	if (ttrpc_response_format(stream, code, text, (struct bytes){ 0 }, &a->conn.out, &e) < 0)
		conn_close(&a->conn);
	free(text);
}

static void send_too_long(struct aa_conn *a, uint32_t stream, uint64_t len)
{
	send_failure(a, stream, TTRPC_INVALID_ARGUMENT, "message length %llu exceed maximum message size of %u",
		     (unsigned long long)len, TTRPC_PAYLOAD_MAX);
}

/* Of the whole response: an empty status, then the payload as field 2. */
static uint64_t response_len(size_t payload_len)
{
	uint64_t len = 2 + 1 + payload_len;

	do {
		len++;
		payload_len >>= 7;
	} while (payload_len > 0);
	return len;
}

static void send_success(struct aa_conn *a, uint32_t stream, struct bytes payload)
{
	struct err e;

	if (ttrpc_response_format(stream, TTRPC_OK, NULL, payload, &a->conn.out, &e) < 0)
		send_too_long(a, stream, response_len(payload.len));
	else
		target_of(a)->issued++;
}

static void pack(const ProtobufCMessage *message, struct buf *out)
{
	buf_reserve(out, protobuf_c_message_get_packed_size(message));
	out->len += protobuf_c_message_pack(message, out->data + out->len);
}

static void pack_evidence(struct buf *evidence, struct buf *out)
{
	Aa__GetEvidenceResponse message = AA__GET_EVIDENCE_RESPONSE__INIT;

	message.evidence.data = evidence->data;
	message.evidence.len = evidence->len;
	pack(&message.base, out);
}

static void answer_evidence(struct aa_conn *a, struct aa_call *call)
{
	struct buf evidence = { 0 };
	struct buf payload = { 0 };

	sample_evidence(buf_bytes(&call->runtime_data), &call->dealt, &evidence);
	pack_evidence(&evidence, &payload);
	send_success(a, call->stream, buf_bytes(&payload));
	buf_release(&evidence);
	buf_release(&payload);
}

static void answer_tee_type(struct aa_conn *a, struct aa_call *call)
{
	Aa__GetTeeTypeResponse message = AA__GET_TEE_TYPE_RESPONSE__INIT;
	char tee[] = SAMPLE_TEE;
	struct buf payload = { 0 };

	message.tee = tee;
	pack(&message.base, &payload);
	send_success(a, call->stream, buf_bytes(&payload));
	buf_release(&payload);
}

/* Without a device: as an agent that does not know the method. */
static void answer_additional_evidence(struct aa_conn *a, struct aa_call *call)
{
	struct buf evidence = { 0 };
	struct buf payload = { 0 };

	if (!dealt_mode(&call->dealt, MODE_DEVICE)) {
		send_failure(a, call->stream, TTRPC_UNIMPLEMENTED, "%s method", call->method->name);
		return;
	}
	sample_device_evidence(buf_bytes(&call->runtime_data), &evidence);
	pack_evidence(&evidence, &payload);
	send_success(a, call->stream, buf_bytes(&payload));
	buf_release(&evidence);
	buf_release(&payload);
}

static void answer_truly(struct aa_conn *a, struct aa_call *call)
{
	switch (call->method->method) {
	case GET_EVIDENCE:
		answer_evidence(a, call);
		break;
	case GET_TEE_TYPE:
		answer_tee_type(a, call);
		break;
	case GET_ADDITIONAL_EVIDENCE:
		answer_additional_evidence(a, call);
		break;
	case NOT_PROVIDED:
		send_failure(a, call->stream, CODE_NOT_FOUND, "/" SERVICE "/%s is not supported", call->method->name);
		break;
	}
}

static void send_header(struct aa_conn *a, uint32_t stream, uint32_t length)
{
	struct ttrpc_header h = { .length = length, .stream = stream, .type = TTRPC_RESPONSE };

	ttrpc_header_format(&h, buf_reserve(&a->conn.out, TTRPC_HEADER_LEN));
	a->conn.out.len += TTRPC_HEADER_LEN;
}

static void answer(struct aa_conn *a, struct aa_call *call)
{
	static const uint8_t garbage[GARBAGE_LEN] = { 0xff, 0xff, 0xff, 0xff, 0xff };
	size_t start = a->conn.out.len;

	switch (call->dealt.fault) {
	case FAULT_REFUSE:
		send_failure(a, call->stream, TTRPC_INTERNAL, "[ERROR:attestation-agent] %s", call->method->failure);
		return;
	case FAULT_GARBAGE:
		send_header(a, call->stream, GARBAGE_LEN);
		buf_append(&a->conn.out, garbage, sizeof(garbage));
		return;
	case FAULT_HUGE:
		send_header(a, call->stream, (uint32_t)call->dealt.bytes);
		a->conn.filler = call->dealt.bytes;
		conn_finish(&a->conn);
		return;
	case FAULT_TRUNCATED:
		answer_truly(a, call);
		a->conn.out.len = start + MAX((a->conn.out.len - start) / 2, (size_t)TTRPC_HEADER_LEN + 1);
		conn_finish(&a->conn);
		return;
	default:
		answer_truly(a, call);
		return;
	}
}

static void call_free(struct aa_call *call)
{
	pending_cancel(&call->pending);
	timer_cancel(call->owner->conn.loop, &call->timeout);
	list_remove(&call->link);
	call->owner->call_count--;
	buf_release(&call->runtime_data);
	free(call);
}

/* The call is over; so may be the connection. */
static void call_end(struct aa_call *call)
{
	struct aa_conn *a = call->owner;

	call_free(call);
	conn_flush(&a->conn);
	conn_schedule(&a->conn);
}

static void on_resume(struct pending *p)
{
	struct aa_call *call = container_of(p, struct aa_call, pending);

	answer(call->owner, call);
	call_end(call);
}

static void on_timeout(struct timer *t)
{
	struct aa_call *call = container_of(t, struct aa_call, timeout);

	send_failure(call->owner, call->stream, CODE_DEADLINE_EXCEEDED, "timeout");
	call_end(call);
}

/* takes what is in runtime_data. */
static void start_call(struct aa_conn *a, uint32_t stream, const struct method_spec *m, struct buf *runtime_data,
		       int64_t timeout_nano)
{
	struct lab *lab = lab_of_conn(a);
	struct target *t = target_of(a);
	struct aa_call *call = mem_new_of(struct aa_call);

	call->owner = a;
	call->method = m;
	call->stream = stream;
	call->runtime_data = *runtime_data;
	*runtime_data = (struct buf){ 0 };
	call->dealt = fault_deal(t, m->call);
	pending_init(&call->pending, on_resume);
	timer_init(&call->timeout, on_timeout);
	list_append(&a->calls, &call->link);
	a->call_count++;
	if (!pending_start(&call->pending, lab->loop, t, &call->dealt)) {
		answer(a, call);
		call_free(call);
	} else if (timeout_nano > 0 && call->dealt.fault != FAULT_HANG) {
		timer_start(lab->loop, &call->timeout, (uint64_t)timeout_nano / 1000000);
	}
}

/* Both evidence methods take one field of bytes; the other methods take what we do not look at. */
static bool parse_runtime_data(struct bytes payload, struct buf *out)
{
	struct protobuf_budget budget;
	Aa__GetEvidenceRequest *message;

	protobuf_budget_init(&budget, payload.len);
	message = aa__get_evidence_request__unpack(&budget.allocator, payload.len, payload.data);
	if (message == NULL)
		return false;
	buf_append(out, message->runtime_data.data, message->runtime_data.len);
	aa__get_evidence_request__free_unpacked(message, &budget.allocator);
	return true;
}

static const struct method_spec *find_method(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(name, methods[i].name) == 0)
			return &methods[i];
	}
	return NULL;
}

static void on_request(struct aa_conn *a, uint32_t stream, struct bytes payload)
{
	struct ttrpc_request_in in = { 0 };
	struct buf runtime_data = { 0 };
	const struct method_spec *m;
	struct err e;

	if (ttrpc_request_parse(payload, &in, &e) < 0) {
		send_failure(a, stream, TTRPC_INVALID_ARGUMENT, "Unexpected EOF");
		return;
	}
	m = find_method(in.method);
	target_count(target_of(a), m != NULL ? m->name : "other");
	if (strcmp(in.service, SERVICE) != 0)
		send_failure(a, stream, TTRPC_INVALID_ARGUMENT, "%.*s service does not exist", NAME_MAX_LEN,
			     in.service);
	else if (m == NULL)
		send_failure(a, stream, TTRPC_UNIMPLEMENTED, "%.*s method", NAME_MAX_LEN, in.method);
	else if (!parse_runtime_data(buf_bytes(&in.payload), &runtime_data))
		send_failure(a, stream, CODE_UNKNOWN, "ttrpc err: Unexpected EOF");
	else
		start_call(a, stream, m, &runtime_data, in.timeout_nano);
	buf_release(&runtime_data);
	ttrpc_request_in_release(&in);
}

static void on_frame(struct aa_conn *a, const struct ttrpc_header *h, struct bytes payload)
{
	if (h->type == TTRPC_DATA)
		send_failure(a, h->stream, TTRPC_INVALID_ARGUMENT, "Stream is no longer active");
	else if (h->type == TTRPC_REQUEST && h->stream % 2 == 0)
		send_failure(a, h->stream, TTRPC_INVALID_ARGUMENT, "stream id must be odd");
	else if (h->type == TTRPC_REQUEST)
		on_request(a, h->stream, payload);
}

/* A payload over the limit is read and dropped, then refused. */
static bool discard_step(struct aa_conn *a)
{
	uint64_t have = MIN(a->discarding, (uint64_t)conn_input(&a->conn).len);

	conn_consume(&a->conn, (size_t)have);
	a->discarding -= have;
	if (a->discarding > 0)
		return false;
	send_too_long(a, a->discarded.stream, a->discarded.length);
	return true;
}

/* false: no further progress for now. */
static bool input_step(struct aa_conn *a)
{
	struct bytes in = conn_input(&a->conn);
	struct ttrpc_header h;

	if (a->discarding > 0)
		return discard_step(a);
	if (in.len < TTRPC_HEADER_LEN)
		return false;
	h = ttrpc_header_parse(in.data);
	if (h.length > TTRPC_PAYLOAD_MAX) {
		conn_consume(&a->conn, TTRPC_HEADER_LEN);
		a->discarding = h.length;
		a->discarded = h;
		return true;
	}
	if (in.len - TTRPC_HEADER_LEN < h.length)
		return false;
	on_frame(a, &h, bytes_of(in.data + TTRPC_HEADER_LEN, h.length));
	conn_consume(&a->conn, TTRPC_HEADER_LEN + h.length);
	return true;
}

/* The client will ask no more: we are done once nothing is pending that will ever be answered. */
static void on_input_ended(struct aa_conn *a)
{
	LIST_EACH (link, &a->calls) {
		struct aa_call *call = container_of(link, struct aa_call, link);

		if (call->dealt.fault == FAULT_HANG)
			call_free(call);
	}
	if (list_is_empty(&a->calls))
		conn_finish(&a->conn);
}

static void on_input(struct conn *c)
{
	struct aa_conn *a = aa_conn_of(c);
	bool progress = true;

	while (progress && !c->closed && !c->finishing && !conn_is_full(c) && a->call_count < CALLS_MAX)
		progress = input_step(a);
	if (c->closed || c->finishing)
		return;
	conn_flush(c);
	if (c->closed)
		return;
	conn_pause(c, a->call_count >= CALLS_MAX);
	if (progress && !conn_is_full(c) && a->call_count < CALLS_MAX)
		conn_schedule(c); /* it was full, and all of that was sent at once */
	if (c->input_ended && !progress)
		on_input_ended(a);
}

static struct conn *open_conn(struct listener *l)
{
	struct aa_conn *a = mem_new_of(struct aa_conn);

	(void)l;
	list_init(&a->calls);
	return &a->conn;
}

static void on_deadline(struct conn *c)
{
	conn_finish(c); /* none is set */
}

static void on_closed(struct conn *c)
{
	struct aa_conn *a = aa_conn_of(c);

	LIST_EACH (link, &a->calls)
		call_free(container_of(link, struct aa_call, link));
	free(a);
}

const struct conn_ops aa_server = {
	.open = open_conn,
	.on_input = on_input,
	.on_deadline = on_deadline,
	.on_closed = on_closed,
};
