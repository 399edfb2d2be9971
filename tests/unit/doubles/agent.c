/* SPDX-License-Identifier: Apache-2.0 */
/* agent - a ttrpc server of few words. */
#include "agent.h"

#include "attestation_agent.pb-c.h"
#include "codec/base64.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void agent_close(struct agent_conn *c)
{
	loop_unwatch(c->agent->loop, &c->watch);
	close(c->watch.fd);
	list_remove(&c->link);
	buf_release(&c->in);
	free(c);
}

void agent_send(struct agent_conn *c, struct bytes raw)
{
	while (raw.len > 0) {
		ssize_t len = send(c->watch.fd, raw.data, raw.len, MSG_NOSIGNAL);

		if (len <= 0)
			return;
		raw = bytes_of(raw.data + len, raw.len - (size_t)len);
	}
}

void agent_answer(struct agent_conn *c, uint32_t stream, int code, const char *message, struct bytes payload)
{
	struct buf frame = { 0 };
	struct err e;
	int rc = ttrpc_response_format(stream, code, message, payload, &frame, &e);

	assert(rc == 0);
	agent_send(c, buf_bytes(&frame));
	buf_release(&frame);
}

void agent_format_bytes(struct bytes value, struct buf *out)
{
	Aa__GetEvidenceResponse m = AA__GET_EVIDENCE_RESPONSE__INIT;

	m.evidence.data = (uint8_t *)value.data;
	m.evidence.len = value.len;
	buf_reserve(out, aa__get_evidence_response__get_packed_size(&m));
	out->len += aa__get_evidence_response__pack(&m, out->data + out->len);
}

static void answer_bytes(struct agent_request *req, struct bytes value)
{
	struct buf payload = { 0 };

	agent_format_bytes(value, &payload);
	agent_answer(req->conn, req->stream, TTRPC_OK, "", buf_bytes(&payload));
	buf_release(&payload);
}

void agent_behave(struct agent *a, struct agent_request *req)
{
	struct buf evidence = { 0 };
	Aa__GetEvidenceRequest *m;

	(void)a;
	if (strcmp(req->in.method, "GetTeeType") == 0) {
		answer_bytes(req, bytes_str("sample"));
		return;
	}
	if (strcmp(req->in.method, "GetEvidence") != 0) {
		agent_answer(req->conn, req->stream, TTRPC_UNIMPLEMENTED, "no such method", bytes_of(NULL, 0));
		return;
	}
	m = aa__get_evidence_request__unpack(NULL, req->in.payload.len, req->in.payload.data);
	assert(m != NULL);
	buf_format(&evidence, "{\"cc_eventlog\":null,\"measure_register\":\"%064d\",\"report_data\":\"", 0);
	base64_encode(bytes_of(m->runtime_data.data, m->runtime_data.len), &evidence);
	buf_append_str(&evidence, "\",\"svn\":\"1\"}");
	answer_bytes(req, buf_bytes(&evidence));
	aa__get_evidence_request__free_unpacked(m, NULL);
	buf_release(&evidence);
}

static void take_frame(struct agent_conn *c, const struct ttrpc_header *h)
{
	struct agent *a = c->agent;
	struct agent_request req = { .conn = c, .stream = h->stream };
	struct buf frame = c->in;
	struct err e;
	size_t end = TTRPC_HEADER_LEN + h->length;

	c->in = (struct buf){ 0 };
	buf_append(&c->in, frame.data + end, frame.len - end);
	assert(h->type == TTRPC_REQUEST && h->stream % 2 == 1);
	if (ttrpc_request_parse(bytes_of(frame.data + TTRPC_HEADER_LEN, h->length), &req.in, &e) < 0)
		abort();
	buf_release(&frame);
	a->requests++;
	if (strcmp(req.in.method, "GetEvidence") == 0)
		a->evidence_requests++;
	(a->on_request != NULL ? a->on_request : agent_behave)(a, &req);
	ttrpc_request_in_release(&req.in);
}

/* A test may close the connection from its callback. */
static bool is_open(struct agent *a, const struct agent_conn *c)
{
	LIST_EACH (l, &a->conns) {
		if (container_of(l, struct agent_conn, link) == c)
			return true;
	}
	return false;
}

static void on_readable(struct watch *w, uint32_t events)
{
	struct agent_conn *c = container_of(w, struct agent_conn, watch);
	struct agent *a = c->agent;
	struct ttrpc_header h;
	ssize_t len;

	(void)events;
	len = recv(w->fd, buf_reserve(&c->in, 65536), 65536, MSG_DONTWAIT);
	if (len == 0) {
		agent_close(c);
		return;
	}
	c->in.len += len > 0 ? (size_t)len : 0;
	while (is_open(a, c) && c->in.len >= TTRPC_HEADER_LEN) {
		h = ttrpc_header_parse(c->in.data);
		if (c->in.len < TTRPC_HEADER_LEN + h.length)
			break;
		take_frame(c, &h);
	}
}

static void on_connection(struct watch *w, uint32_t events)
{
	struct agent *a = container_of(w, struct agent, listener);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
	struct agent_conn *c;
	struct err e;

	(void)events;
	if (fd < 0)
		return;
	a->connections++;
	c = mem_new_of(struct agent_conn);
	c->agent = a;
	c->watch = (struct watch){ .ready = on_readable, .fd = fd };
	list_append(&a->conns, &c->link);
	if (!a->deaf && loop_watch(a->loop, &c->watch, EPOLLIN, &e) < 0)
		abort();
}

void agent_listen(struct agent *a)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct err e;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	unlink(a->path);
	memcpy(addr.sun_path, a->path, strlen(a->path));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 16) < 0)
		abort();
	a->listener = (struct watch){ .ready = on_connection, .fd = fd };
	if (loop_watch(a->loop, &a->listener, EPOLLIN, &e) < 0)
		abort();
}

void agent_start(struct agent *a, struct loop *l)
{
	char dir[] = "/tmp/tng-agent-XXXXXX";

	*a = (struct agent){ .loop = l };
	list_init(&a->conns);
	if (mkdtemp(dir) == NULL)
		abort();
	snprintf(a->path, sizeof(a->path), "%s/aa.sock", dir);
	agent_listen(a);
}

void agent_stop(struct agent *a)
{
	while (!list_is_empty(&a->conns))
		agent_close(container_of(a->conns.next, struct agent_conn, link));
	if (a->listener.fd < 0)
		return;
	loop_unwatch(a->loop, &a->listener);
	close(a->listener.fd);
	a->listener.fd = -1;
	unlink(a->path);
}

void agent_free(struct agent *a)
{
	agent_stop(a);
	*strrchr(a->path, '/') = '\0';
	rmdir(a->path);
}
