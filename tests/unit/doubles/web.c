/* SPDX-License-Identifier: Apache-2.0 */
/* web - an HTTP server that does as the test says. */
#include "web.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void web_request_free(struct web_request *req)
{
	list_remove(&req->link);
	free(req->method);
	free(req->path);
	free(req->head);
	free(req->grpc_message);
	buf_release(&req->body);
	buf_release(&req->answer);
	free(req);
}

static void conn_close(struct web_conn *c)
{
	loop_unwatch(c->web->loop, &c->watch);
	close(c->watch.fd);
	list_remove(&c->link);
	while (!list_is_empty(&c->streams))
		web_request_free(container_of(c->streams.next, struct web_request, link));
	if (c->session != NULL)
		nghttp2_session_del(c->session);
	buf_release(&c->in);
	free(c);
}

static void send_all(struct web_conn *c, struct bytes raw)
{
	while (raw.len > 0) {
		ssize_t len = send(c->watch.fd, raw.data, raw.len, MSG_NOSIGNAL);

		if (len <= 0)
			return;
		raw = bytes_of(raw.data + len, raw.len - (size_t)len);
	}
}

const char *web_header(const struct web_request *req, const char *name)
{
	char *key = mem_format("\n%s: ", name);
	const char *at = strstr(req->head, key);

	at = at == NULL ? NULL : at + strlen(key);
	free(key);
	return at;
}

void web_answer_raw(struct web_request *req, struct bytes raw, bool then_close)
{
	struct web_conn *c = req->conn;

	send_all(c, raw);
	web_request_free(req);
	if (then_close)
		conn_close(c);
}

void web_answer(struct web_request *req, int status, struct bytes body)
{
	struct buf raw = { 0 };

	buf_format(&raw, "HTTP/1.1 %d Whatever\r\ncontent-length: %zu\r\n\r\n", status, body.len);
	buf_append_bytes(&raw, body);
	web_answer_raw(req, buf_bytes(&raw), false);
	buf_release(&raw);
}

void web_answer_str(struct web_request *req, int status, const char *body)
{
	web_answer(req, status, bytes_str(body));
}

void web_drop(struct web_request *req)
{
	struct web_conn *c = req->conn;

	web_request_free(req);
	conn_close(c);
}

static struct web_request *request_new(struct web_conn *c)
{
	struct web_request *req = mem_new_of(struct web_request);

	req->conn = c;
	list_init(&req->link);
	list_append(&c->streams, &req->link);
	return req;
}

/* ---- HTTP/1.1 ---- */

/* 0: more is needed. */
static size_t whole_request(struct web_conn *c, size_t *head_len)
{
	ssize_t end = bytes_find(buf_bytes(&c->in), bytes_str("\r\n\r\n"));
	const char *length;
	size_t body = 0;

	if (end < 0)
		return 0;
	*head_len = (size_t)end + 4;
	buf_str(&c->in);
	length = strcasestr((char *)c->in.data, "\r\ncontent-length:");
	if (length != NULL && (size_t)(length - (char *)c->in.data) < *head_len)
		body = strtoul(length + 17, NULL, 10);
	return c->in.len >= *head_len + body ? *head_len + body : 0;
}

static void lower_names(char *head)
{
	bool in_name = true;

	for (char *at = head; *at != '\0'; at++) {
		if (*at == '\n')
			in_name = true;
		else if (*at == ':')
			in_name = false;
		else if (in_name)
			*at = (char)tolower((unsigned char)*at);
	}
}

static void take_request(struct web_conn *c, size_t head_len, size_t len)
{
	struct web_request *req = request_new(c);
	char *space;
	char *line;

	req->head = mem_strndup((char *)c->in.data, head_len);
	line = mem_strndup(req->head, strcspn(req->head, "\r"));
	space = strchr(line, ' ');
	*space = '\0';
	req->method = mem_strdup(line);
	*strchr(space + 1, ' ') = '\0';
	req->path = mem_strdup(space + 1);
	free(line);
	lower_names(req->head);
	buf_append(&req->body, c->in.data + head_len, len - head_len);
	memmove(c->in.data, c->in.data + len, c->in.len - len);
	c->in.len -= len;
	c->web->requests++;
	c->web->on_request(c->web, req);
}

static void on_readable_h1(struct watch *w, uint32_t events)
{
	struct web_conn *c = container_of(w, struct web_conn, watch);
	ssize_t got = recv(w->fd, buf_reserve(&c->in, 65536), 65536, MSG_DONTWAIT);
	size_t head_len;
	size_t len;

	(void)events;
	if (got <= 0) {
		conn_close(c);
		return;
	}
	c->in.len += (size_t)got;
	len = whole_request(c, &head_len);
	if (len > 0)
		take_request(c, head_len, len);
}

/* ---- gRPC ---- */

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *p)
{
	struct web_conn *c = p;

	(void)session;
	(void)flags;
	send_all(c, bytes_of(data, len));
	return (ssize_t)len;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *p)
{
	struct web_conn *c = p;
	struct web_request *req = request_new(c);

	req->stream = frame->hd.stream_id;
	req->head = mem_strdup("\n");
	nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, req);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *p)
{
	struct web_request *req = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	char *longer;

	(void)p;
	(void)flags;
	if (req == NULL)
		return 0;
	if (name_len == 5 && memcmp(name, ":path", 5) == 0)
		req->path = mem_strndup((const char *)value, value_len);
	longer = mem_format("%s%.*s: %.*s\n", req->head, (int)name_len, (const char *)name, (int)value_len,
			    (const char *)value);
	free(req->head);
	req->head = longer;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *p)
{
	struct web_request *req = nghttp2_session_get_stream_user_data(session, stream);

	(void)flags;
	(void)p;
	if (req != NULL)
		buf_append(&req->body, data, len);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *p)
{
	struct web_conn *c = p;
	struct web_request *req;

	if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 ||
	    (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
		return 0;
	req = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (req == NULL)
		return 0;
	c->web->requests++;
	c->web->on_request(c->web, req);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *p)
{
	struct web_request *req = nghttp2_session_get_stream_user_data(session, stream);

	(void)code;
	(void)p;
	if (req != NULL)
		web_request_free(req);
	return 0;
}

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0 };
}

static ssize_t read_answer(nghttp2_session *session, int32_t stream, uint8_t *to, size_t len, uint32_t *flags,
			   nghttp2_data_source *source, void *p)
{
	struct web_request *req = source->ptr;
	size_t part = MIN(len, req->answer.len - req->answered);
	char status[16];
	nghttp2_nv trailers[1];

	(void)p;
	memcpy(to, req->answer.data + req->answered, part);
	req->answered += part;
	if (req->answered == req->answer.len) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		snprintf(status, sizeof(status), "%d", req->grpc_status);
		trailers[0] = header("grpc-status", status);
		nghttp2_submit_trailer(session, stream, trailers, 1);
	}
	return (ssize_t)part;
}

void grpc_answer(struct web_request *req, int status, const char *text, struct bytes message)
{
	nghttp2_session *session = req->conn->session;
	nghttp2_data_provider provider = { .source.ptr = req, .read_callback = read_answer };
	uint8_t prefix[5];
	struct writer w = writer_of(prefix, sizeof(prefix));
	char number[16];
	nghttp2_nv headers[4] = { header(":status", "200"), header("content-type", "application/grpc") };

	req->grpc_status = status;
	if (status != 0) {
		snprintf(number, sizeof(number), "%d", status);
		headers[2] = header("grpc-status", number);
		headers[3] = header("grpc-message", text);
		nghttp2_submit_response(session, req->stream, headers, 4, NULL);
	} else {
		writer_u8(&w, 0);
		writer_u32(&w, (uint32_t)message.len);
		buf_append(&req->answer, prefix, sizeof(prefix));
		buf_append_bytes(&req->answer, message);
		nghttp2_submit_response(session, req->stream, headers, 2, &provider);
	}
	nghttp2_session_send(session);
}

static void on_readable_h2(struct watch *w, uint32_t events)
{
	struct web_conn *c = container_of(w, struct web_conn, watch);
	uint8_t data[16384];
	ssize_t got = recv(w->fd, data, sizeof(data), MSG_DONTWAIT);

	(void)events;
	if (got <= 0 || nghttp2_session_mem_recv(c->session, data, (size_t)got) < 0) {
		conn_close(c);
		return;
	}
	nghttp2_session_send(c->session);
}

static void open_session(struct web_conn *c)
{
	nghttp2_session_callbacks *callbacks;

	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_server_new(&c->session, callbacks, c);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0);
	nghttp2_session_send(c->session);
}

/* ---- both ---- */

static void on_connection(struct watch *watch, uint32_t events)
{
	struct web *w = container_of(watch, struct web, listener);
	int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC);
	struct web_conn *c;
	struct err e;

	(void)events;
	if (fd < 0)
		return;
	w->connections++;
	c = mem_new_of(struct web_conn);
	c->web = w;
	list_init(&c->streams);
	c->watch = (struct watch){ .ready = w->grpc ? on_readable_h2 : on_readable_h1, .fd = fd };
	list_append(&w->conns, &c->link);
	if (w->grpc)
		open_session(c);
	if (loop_watch(w->loop, &c->watch, EPOLLIN, &e) < 0)
		abort();
}

static void start(struct web *w, struct loop *l, bool grpc)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	struct err e;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	w->loop = l;
	w->grpc = grpc;
	list_init(&w->conns);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		abort();
	w->port = ntohs(addr.sin_port);
	snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%u", w->port);
	w->listener = (struct watch){ .ready = on_connection, .fd = fd };
	if (loop_watch(l, &w->listener, EPOLLIN, &e) < 0)
		abort();
}

void web_start(struct web *w, struct loop *l)
{
	start(w, l, false);
}

void grpc_start(struct web *w, struct loop *l)
{
	start(w, l, true);
}

void web_drop_all(struct web *w)
{
	while (!list_is_empty(&w->conns))
		conn_close(container_of(w->conns.next, struct web_conn, link));
}

void web_stop(struct web *w)
{
	web_drop_all(w);
	if (w->listener.fd < 0)
		return;
	loop_unwatch(w->loop, &w->listener);
	close(w->listener.fd);
	w->listener.fd = -1;
}
