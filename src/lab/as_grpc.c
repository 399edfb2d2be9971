/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as_grpc - the attestation service over gRPC: HTTP/2 without TLS, prior knowledge. spec: attestation.md 3.1.
 *
 * A stream is one call. It collects its message, is dealt its fault, and is answered with a message and
 * trailers, or with trailers only when it is refused. libnghttp2 keeps the protocol; what it wants to send is
 * moved to the connection by pump().
 */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "lab/as_protobuf.h"
#include "lab/lab.h"

#define PATH "/attestation.AttestationService/AttestationEvaluate"

#define MESSAGE_MAX 4194304u
#define PREFIX_LEN 5

/* As the services announce them. */
#define WINDOW_SIZE (1 << 20)
#define FRAME_SIZE 16384
#define HEADER_LIST_SIZE 16384
#define STREAMS_MAX 200

/* All messages that one connection is sending us, together. */
#define CONN_BODY_MAX (64u << 20)

#define GARBAGE_LEN 32

enum grpc_status {
	GRPC_OK = 0,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13
};

struct grpc_conn {
	struct conn conn;
	nghttp2_session *session;
	struct list streams;
	size_t body_len; /* of all streams */
	bool cut;	 /* the fault "truncated": nothing behind what is sent */
};

struct grpc_stream {
	struct list link;
	struct grpc_conn *owner;
	int32_t id;
	char *path;
	struct buf headers; /* as JSON members, for "stats" */
	struct buf body;
	bool too_large; /* the rest of the body is dropped */
	struct dealt dealt;
	struct pending pending;

	struct buf reply; /* a gRPC message with its prefix */
	size_t reply_at;
	uint64_t filler; /* behind it */
};

static struct grpc_conn *grpc_conn_of(struct conn *c)
{
	return container_of(c, struct grpc_conn, conn);
}

static struct lab *lab_of_conn(struct grpc_conn *g)
{
	return lab_of(g->conn.listener, TARGET_AS_GRPC);
}

static struct target *target_of(struct grpc_conn *g)
{
	return &lab_of_conn(g)->targets[TARGET_AS_GRPC];
}

/* --- sending --- */

/* Whether nghttp2 had something to say that the connection had room for. */
static bool pump_some(struct grpc_conn *g)
{
	struct conn *c = &g->conn;
	bool any = false;

	while (!conn_is_full(c) && !g->cut) {
		const uint8_t *data;
		ssize_t len = nghttp2_session_mem_send(g->session, &data);

		if (len < 0)
			conn_close(c);
		if (len <= 0)
			break;
		buf_append(&c->out, data, (size_t)len);
		any = true;
	}
	conn_flush(c);
	return any;
}

/* Moves it on until the session is dry or the client takes no more; then on_input comes when it does. */
static void pump(struct grpc_conn *g)
{
	struct conn *c = &g->conn;

	while (!c->closed && !c->finishing && !conn_is_full(c) && pump_some(g))
		;
	if (c->closed || c->finishing)
		return;
	if (g->cut || (!nghttp2_session_want_read(g->session) && !nghttp2_session_want_write(g->session)))
		conn_finish(c);
}

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)name,
		.namelen = strlen(name),
		.value = (uint8_t *)value,
		.valuelen = strlen(value),
	};
}

/* The percent-encoding of grpc-message. */
static char *encode_message(const char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	struct buf out = { 0 };

	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
		if (*c >= 0x20 && *c < 0x7f && *c != '%')
			buf_append(&out, c, 1);
		else
			buf_format(&out, "%%%c%c", digits[*c >> 4], digits[*c & 15]);
	}
	return buf_take_str(&out);
}

/* Trailers only: the whole answer is one block of headers. */
static void refuse(struct grpc_stream *s, enum grpc_status status, const char *text)
{
	struct grpc_conn *g = s->owner;
	char *message = encode_message(text);
	char number[16];
	nghttp2_nv headers[5];
	size_t count = 0;

	snprintf(number, sizeof(number), "%d", (int)status);
	headers[count++] = header(":status", "200");
	headers[count++] = header("content-type", "application/grpc");
	headers[count++] = header("grpc-status", number);
	if (message[0] != '\0')
		headers[count++] = header("grpc-message", message);
	headers[count++] = header("content-length", "0");
	target_of(g)->refused++;
	nghttp2_submit_response(g->session, s->id, headers, count, NULL);
	free(message);
}

static ssize_t read_reply(nghttp2_session *session, int32_t id, uint8_t *out, size_t size, uint32_t *flags,
			  nghttp2_data_source *source, void *owner)
{
	struct grpc_stream *s = source->ptr;
	struct grpc_conn *g = owner;
	size_t left = s->reply.len - s->reply_at;
	size_t len = MIN(size, left);
	const nghttp2_nv trailer = header("grpc-status", "0");

	if (left == 0 && s->filler > 0) {
		len = (size_t)MIN((uint64_t)size, s->filler);
		memset(out, 0, len);
		s->filler -= len;
	} else {
		if (len > 0)
			memcpy(out, s->reply.data + s->reply_at, len);
		s->reply_at += len;
	}
	if (s->reply_at < s->reply.len || s->filler > 0)
		return (ssize_t)len;
	if (s->dealt.fault == FAULT_TRUNCATED) {
		if (len > 0)
			return (ssize_t)len;
		g->cut = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	nghttp2_submit_trailer(session, id, &trailer, 1);
	return (ssize_t)len;
}

/* Answers with what is in s->reply. */
static void send_reply(struct grpc_stream *s)
{
	const nghttp2_nv headers[] = { header(":status", "200"), header("content-type", "application/grpc") };
	nghttp2_data_provider provider = { .source.ptr = s, .read_callback = read_reply };

	nghttp2_submit_response(s->owner->session, s->id, headers, ARRAY_SIZE(headers), &provider);
}

static void append_prefix(struct buf *out, uint64_t message_len)
{
	struct writer w = writer_of(buf_reserve(out, PREFIX_LEN), PREFIX_LEN);

	writer_u8(&w, 0); /* not compressed */
	writer_u32(&w, (uint32_t)message_len);
	out->len += PREFIX_LEN;
}

/* --- calls --- */

static void refuse_because(struct grpc_stream *s, const struct refusal *why)
{
	static const char *const words[] = {
		[REFUSE_ENCODING] = "Illegal input Evidence",
		[REFUSE_FORMAT] = "Illegal input Evidence",
		[REFUSE_TEE] = "parse TEE type",
		[REFUSE_ARGUMENT] = "Illegal argument",
		[REFUSE_CHALLENGE] = "Attestation evaluation failed",
		[REFUSE_VERIFIER] = "Attestation evaluation failed",
		[REFUSE_EVALUATION] = "Attestation evaluation failed",
	};
	char *text = mem_format("%s: %s", words[why->kind], why->cause.text);

	refuse(s, GRPC_ABORTED, text);
	free(text);
}

static enum as_layouts layouts_known(const struct dealt *d)
{
	if (dealt_mode(d, MODE_OLD))
		return AS_ONLY_V1_5_2;
	return dealt_mode(d, MODE_NEW) ? AS_ONLY_V1_6_0 : AS_BOTH_LAYOUTS;
}

/* Whether there is a token, which is then in s->reply; else the stream is refused. */
static bool evaluate(struct grpc_stream *s, struct bytes message)
{
	struct lab *lab = lab_of_conn(s->owner);
	struct target *t = target_of(s->owner);
	struct appraise_request request = { .now_unix = clock_unix() };
	struct buf token = { 0 };
	struct buf response = { 0 };
	enum as_layout layout;
	struct refusal why;
	struct err e;
	bool good = false;
	struct as_protobuf *p = as_protobuf_parse(message, layouts_known(&s->dealt), &request, &layout, &e);

	if (p == NULL) {
		refuse(s, e.kind == ERR_TRUST ? GRPC_ABORTED : GRPC_INTERNAL, e.text);
		return false;
	}
	as_request_note(&request, layout, t);
	if (appraise(&lab->service, &request, &s->dealt, &token, &why) < 0) {
		refuse_because(s, &why);
		goto out;
	}
	as_protobuf_format_response(buf_bytes(&token), &response);
	append_prefix(&s->reply, response.len);
	buf_append_bytes(&s->reply, buf_bytes(&response));
	t->issued++;
	good = true;
out:
	as_protobuf_free(p);
	buf_release(&token);
	buf_release(&response);
	return good;
}

static void refuse_too_large(struct grpc_stream *s, uint32_t len)
{
	char *text = mem_format("Error, decoded message length too large: found %u bytes, the limit is: %u bytes", len,
				MESSAGE_MAX);

	refuse(s, GRPC_OUT_OF_RANGE, text);
	free(text);
}

/* The message in the body, or a refusal. */
static bool unwrap_message(struct grpc_stream *s, struct bytes *message)
{
	struct reader r = reader_of(buf_bytes(&s->body));
	uint8_t compressed = reader_u8(&r);
	uint32_t len = reader_u32(&r);

	if (s->body.len == 0) {
		refuse(s, GRPC_INTERNAL, "Missing request message.");
	} else if (len > MESSAGE_MAX) {
		refuse_too_large(s, len);
	} else if (compressed != 0) {
		refuse(s, GRPC_INTERNAL,
		       compressed == 1 ? "protocol error: received message with compressed-flag but no "
					 "grpc-encoding was specified"
				       : "protocol error: received message with invalid compression flag");
	} else if (r.failed || s->too_large || reader_left(&r) != len) {
		refuse(s, GRPC_INTERNAL, "Unexpected EOF decoding stream.");
	} else {
		*message = reader_bytes(&r, len);
		return true;
	}
	return false;
}

static void answer(struct grpc_stream *s)
{
	static const uint8_t garbage[GARBAGE_LEN] = { 0xff, 0xff, 0xff, 0xff };
	struct bytes message;

	if (!unwrap_message(s, &message) || !evaluate(s, message))
		return;
	switch (s->dealt.fault) {
	case FAULT_GARBAGE:
		buf_clear(&s->reply);
		append_prefix(&s->reply, sizeof(garbage));
		buf_append(&s->reply, garbage, sizeof(garbage));
		break;
	case FAULT_HUGE:
		buf_clear(&s->reply);
		append_prefix(&s->reply, s->dealt.bytes);
		s->filler = s->dealt.bytes;
		break;
	case FAULT_TRUNCATED:
		s->reply.len /= 2;
		break;
	default:
		break;
	}
	send_reply(s);
}

static void on_resume(struct pending *p)
{
	struct grpc_stream *s = container_of(p, struct grpc_stream, pending);

	answer(s);
	pump(s->owner);
}

static void note_headers(struct grpc_stream *s, struct target *t)
{
	struct buf out = { 0 };

	buf_append_str(&out, "{");
	buf_append_bytes(&out, buf_bytes(&s->headers));
	buf_append_str(&out, "}");
	free(t->last_headers);
	t->last_headers = buf_take_str(&out);
}

/* The request is complete. */
static void on_request(struct grpc_stream *s)
{
	struct lab *lab = lab_of_conn(s->owner);
	struct target *t = target_of(s->owner);

	if (s->path == NULL || strcmp(s->path, PATH) != 0) {
		target_count(t, "other");
		refuse(s, GRPC_UNIMPLEMENTED, "");
		return;
	}
	target_count(t, "AttestationEvaluate");
	note_headers(s, t);
	s->dealt = fault_deal(t, CALL_TOKEN);
	if (!pending_start(&s->pending, lab->loop, t, &s->dealt))
		answer(s);
}

/* --- what nghttp2 tells us --- */

static void stream_free(struct grpc_stream *s)
{
	pending_cancel(&s->pending);
	list_remove(&s->link);
	s->owner->body_len -= s->body.len;
	free(s->path);
	buf_release(&s->headers);
	buf_release(&s->body);
	buf_release(&s->reply);
	free(s);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
	struct grpc_conn *g = owner;
	struct grpc_stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	s = mem_new_of(struct grpc_stream);
	s->owner = g;
	s->id = frame->hd.stream_id;
	pending_init(&s->pending, on_resume);
	list_append(&g->streams, &s->link);
	nghttp2_session_set_stream_user_data(session, s->id, s);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *owner)
{
	struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags;
	(void)owner;
	if (s == NULL)
		return 0;
	if (s->headers.len + name_len + value_len > 6 * HEADER_LIST_SIZE)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (bytes_equal_str(bytes_of(name, name_len), ":path") && s->path == NULL)
		s->path = mem_strndup((const char *)value, value_len);
	buf_append_str(&s->headers, s->headers.len > 0 ? "," : "");
	json_append_string(&s->headers, bytes_of(name, name_len));
	buf_append_str(&s->headers, ":");
	json_append_string(&s->headers, bytes_of(value, value_len));
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *owner)
{
	struct grpc_conn *g = owner;
	struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, id);

	(void)flags;
	if (s == NULL || s->too_large)
		return 0;
	/* Answered when all has come: clients do not look for an answer while they send. */
	if (s->body.len + len > MESSAGE_MAX + PREFIX_LEN) {
		s->too_large = true;
		return 0;
	}
	if (g->body_len + len > CONN_BODY_MAX)
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_ENHANCE_YOUR_CALM);
	buf_append(&s->body, data, len);
	g->body_len += len;
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
	struct grpc_stream *s;

	(void)owner;
	if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
	    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (s != NULL)
		on_request(s);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *owner)
{
	struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, id);

	(void)error;
	(void)owner;
	if (s != NULL)
		stream_free(s);
	return 0;
}

/* --- the connection --- */

static int new_session(struct grpc_conn *g)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_SIZE },
		{ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_SIZE },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_SIZE },
	};
	nghttp2_session_callbacks *callbacks;
	int rc;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return -1;
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	rc = nghttp2_session_server_new(&g->session, callbacks, g);
	nghttp2_session_callbacks_del(callbacks);
	if (rc != 0)
		return -1;
	if (nghttp2_submit_settings(g->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings)) != 0 ||
	    nghttp2_session_set_local_window_size(g->session, NGHTTP2_FLAG_NONE, 0, WINDOW_SIZE) != 0)
		return -1;
	return 0;
}

static struct conn *open_conn(struct listener *l)
{
	struct grpc_conn *g = mem_new_of(struct grpc_conn);

	(void)l;
	list_init(&g->streams);
	return &g->conn;
}

static void receive(struct grpc_conn *g)
{
	struct conn *c = &g->conn;
	struct bytes in = conn_input(c);
	ssize_t used;

	if (in.len == 0)
		return;
	used = nghttp2_session_mem_recv(g->session, in.data, in.len);
	if (used < 0) {
		log_debug("lab: gRPC: %s", nghttp2_strerror((int)used));
		conn_finish(c);
		return;
	}
	conn_consume(c, (size_t)used);
}

static void on_input(struct conn *c)
{
	struct grpc_conn *g = grpc_conn_of(c);

	if (g->session == NULL && new_session(g) < 0) {
		conn_close(c);
		return;
	}
	receive(g);
	pump(g);
	/* HTTP/2 has no half-closed connections worth answering. */
	if (c->input_ended && !c->closed)
		conn_finish(c);
}

static void on_deadline(struct conn *c)
{
	conn_finish(c); /* none is set */
}

static void on_closed(struct conn *c)
{
	struct grpc_conn *g = grpc_conn_of(c);

	LIST_EACH (link, &g->streams)
		stream_free(container_of(link, struct grpc_stream, link));
	nghttp2_session_del(g->session);
	free(g);
}

const struct conn_ops as_grpc_server = {
	.open = open_conn,
	.on_input = on_input,
	.on_deadline = on_deadline,
	.on_closed = on_closed,
};
