/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client - libcurl's multi interface on a struct loop.
 *
 * libcurl tells us by on_socket() which descriptors to watch and by on_timer() when it wants to be called
 * next; we tell it by drive() what has happened, and collect the requests that have ended. It keeps idle
 * connections in the multi handle, which lives from the first request until none has been under way for
 * IDLE_MS: that closes them, and forgets resolved names.
 *
 * A kept connection may be closed by the service at the moment we use it again. libcurl notices most of
 * that; what it does not (an answer 408 that was under way, a connection that ends without an answer) is
 * tried once more over a new connection here.
 */
#include "http/client.h"

#include "base/clock.h"
#include "http/curl.h"
#include "io/loop.h"

#include <stdlib.h>
#include <strings.h>

/* Attestation services close a connection after 5 s without a request. */
#define KEEP_CONNECTION_S 4L
#define KEPT_CONNECTIONS 16L
#define IDLE_MS 5000
#define HEADERS_MAX (64 * 1024)

struct http_client {
	struct loop *loop;
	CURLM *multi; /* NULL while there is nothing to do */
	struct timer timer;
	struct timer idle;
	struct list calls;
};

struct socket_watch {
	struct watch watch;
	struct http_client *client;
};

struct http_call {
	struct list link;
	struct http_client *client;
	struct http_events *events;
	CURL *easy;
	struct curl_slist *headers;
	struct buf body;
	size_t body_max;
	struct buf reply_body;
	struct buf reply_headers;
	bool too_large;
	bool retried;
	uint64_t deadline_ms;
	struct err refused; /* why it could not start */
	struct task end_refused;
	char error[CURL_ERROR_SIZE];
};

static struct bytes trim(struct bytes b)
{
	while (b.len > 0 && (b.data[0] == ' ' || b.data[0] == '\t'))
		b = bytes_of(b.data + 1, b.len - 1);
	while (b.len > 0 && strchr(" \t\r", b.data[b.len - 1]) != NULL)
		b.len--;
	return b;
}

struct bytes http_reply_header(const struct http_reply *r, const char *name)
{
	struct bytes rest = r->headers;
	struct bytes found = { 0 };
	size_t name_len = strlen(name);

	while (rest.len > 0) {
		const uint8_t *lf = memchr(rest.data, '\n', rest.len);
		size_t len = lf == NULL ? rest.len : (size_t)(lf - rest.data);

		if (len > name_len && rest.data[name_len] == ':' &&
		    strncasecmp((const char *)rest.data, name, name_len) == 0)
			found = trim(bytes_of(rest.data + name_len + 1, len - name_len - 1));
		len += lf == NULL ? 0 : 1;
		rest = bytes_of(rest.data + len, rest.len - len);
	}
	return found;
}

/* The compiler cannot check what follows an option: its type is in these names. */
static void set_number(CURL *easy, CURLoption option, long value)
{
	curl.easy_setopt(easy, option, value);
}

static void set_text(CURL *easy, CURLoption option, const char *value)
{
	curl.easy_setopt(easy, option, value);
}

static void set_pointer(CURL *easy, CURLoption option, void *value)
{
	curl.easy_setopt(easy, option, value);
}

/* Takes the call out of everything. */
static void call_free(struct http_call *call)
{
	struct http_client *c = call->client;

	list_remove(&call->link);
	task_cancel(&call->end_refused);
	if (call->easy != NULL) {
		if (c->multi != NULL)
			curl.multi_remove_handle(c->multi, call->easy);
		curl.easy_cleanup(call->easy);
	}
	curl.slist_free_all(call->headers);
	buf_release_secret(&call->body);
	buf_release(&call->reply_body);
	buf_release(&call->reply_headers);
	free(call);
	if (list_is_empty(&c->calls) && c->multi != NULL)
		timer_start(c->loop, &c->idle, IDLE_MS);
}

static enum err_kind kind_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return ERR_TIMEOUT;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return ERR_CONFIG;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_ISSUER_ERROR:
		return ERR_TRUST;
	case CURLE_PARTIAL_FILE:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_HTTP_RETURNED_ERROR:
		return ERR_PEER;
	default: /* could not connect or resolve, lost the connection, and all that never happens */
		return ERR_SYSTEM;
	}
}

static void describe_failure(const struct http_call *call, CURLcode code, struct err *e)
{
	if (call->too_large) {
		err_set(e, ERR_LIMIT, "the answer exceeds %zu bytes", call->body_max);
		return;
	}
	/* What is no HTTP at all is HTTP/0.9 for libcurl, which is not supported. */
	if (code == CURLE_UNSUPPORTED_PROTOCOL && call->error[0] == 'R')
		code = CURLE_WEIRD_SERVER_REPLY;
	err_set(e, kind_of(code), "%s", call->error[0] != '\0' ? call->error : curl.easy_strerror(code));
}

/* Was this the fate of a kept connection rather than the service's answer? */
static bool connection_was_stale(const struct http_call *call, CURLcode code, long status)
{
	long new_connections = 0;

	curl.easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &new_connections);
	if (call->retried || new_connections > 0)
		return false;
	switch (code) {
	case CURLE_OK:
		return status == 408;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
		return call->reply_headers.len == 0;
	default:
		return false;
	}
}

static bool retry(struct http_call *call)
{
	uint64_t now = clock_ms();

	if (now >= call->deadline_ms)
		return false;
	curl.multi_remove_handle(call->client->multi, call->easy);
	buf_clear(&call->reply_body);
	buf_clear(&call->reply_headers);
	call->retried = true;
	set_number(call->easy, CURLOPT_FRESH_CONNECT, 1);
	set_number(call->easy, CURLOPT_TIMEOUT_MS, (long)(call->deadline_ms - now));
	return curl.multi_add_handle(call->client->multi, call->easy) == CURLM_OK;
}

static void end_call(struct http_call *call, CURLcode code)
{
	struct http_events *events = call->events;
	struct http_reply reply = { 0 };
	long status = 0;
	struct err e;

	curl.easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (connection_was_stale(call, code, status) && retry(call))
		return;
	if (code != CURLE_OK) {
		describe_failure(call, code, &e);
		call_free(call);
		events->ended(events, NULL, &e);
		return;
	}
	/* The content must outlive the call, which the callback shall find gone. */
	struct buf body = call->reply_body;
	struct buf headers = call->reply_headers;

	call->reply_body = call->reply_headers = (struct buf){ 0 };
	call_free(call);
	reply.status = (int)status;
	reply.body = buf_bytes(&body);
	reply.headers = buf_bytes(&headers);
	events->ended(events, &reply, NULL);
	buf_release(&body);
	buf_release(&headers);
}

static void end_finished(struct http_client *c)
{
	int left;

	while (c->multi != NULL) {
		CURLMsg *message = curl.multi_info_read(c->multi, &left);
		struct http_call *call = NULL;

		if (message == NULL)
			break;
		if (message->msg != CURLMSG_DONE)
			continue;
		curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
		end_call(call, message->data.result);
	}
}

static void drive(struct http_client *c, curl_socket_t fd, int events)
{
	int running;

	if (c->multi == NULL)
		return;
	curl.multi_socket_action(c->multi, fd, events, &running);
	end_finished(c);
}

static void on_ready(struct watch *w, uint32_t epoll_events)
{
	struct socket_watch *s = container_of(w, struct socket_watch, watch);
	int events = 0;

	if ((epoll_events & (EPOLLIN | EPOLLHUP)) != 0)
		events |= CURL_CSELECT_IN;
	if ((epoll_events & EPOLLOUT) != 0)
		events |= CURL_CSELECT_OUT;
	if ((epoll_events & EPOLLERR) != 0)
		events |= CURL_CSELECT_ERR;
	drive(s->client, w->fd, events);
}

static void forget_socket(struct http_client *c, struct socket_watch *s)
{
	if (s == NULL)
		return;
	loop_unwatch(c->loop, &s->watch);
	free(s);
}

static int watch_socket(struct http_client *c, curl_socket_t fd, int what, struct socket_watch *s)
{
	uint32_t events = 0;
	struct err e;

	if (what != CURL_POLL_OUT)
		events |= EPOLLIN;
	if (what != CURL_POLL_IN)
		events |= EPOLLOUT;
	if (s != NULL)
		return loop_rewatch(c->loop, &s->watch, events, &e);
	s = mem_new_of(struct socket_watch);
	s->client = c;
	s->watch.fd = fd;
	s->watch.ready = on_ready;
	if (loop_watch(c->loop, &s->watch, events, &e) < 0) {
		free(s);
		return -1;
	}
	curl.multi_assign(c->multi, fd, s);
	return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *client, void *socket)
{
	(void)easy;
	if (what != CURL_POLL_REMOVE)
		return watch_socket(client, fd, what, socket);
	forget_socket(client, socket);
	return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *client)
{
	struct http_client *c = client;

	(void)multi;
	if (timeout_ms < 0)
		timer_cancel(c->loop, &c->timer);
	else
		timer_start(c->loop, &c->timer, (uint64_t)timeout_ms);
	return 0;
}

static void on_timeout(struct timer *t)
{
	drive(container_of(t, struct http_client, timer), CURL_SOCKET_TIMEOUT, 0);
}

static void close_multi(struct http_client *c)
{
	if (c->multi == NULL)
		return;
	curl.multi_cleanup(c->multi);
	c->multi = NULL;
	timer_cancel(c->loop, &c->timer);
	timer_cancel(c->loop, &c->idle);
}

static void on_idle(struct timer *t)
{
	struct http_client *c = container_of(t, struct http_client, idle);

	if (list_is_empty(&c->calls))
		close_multi(c);
}

static int open_multi(struct http_client *c, struct err *e)
{
	if (c->multi != NULL)
		return 0;
	c->multi = curl.multi_init();
	if (c->multi == NULL)
		return err_set(e, ERR_SYSTEM, "curl_multi_init");
	curl.multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl.multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl.multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl.multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	curl.multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
	curl.multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *p)
{
	struct http_call *call = p;
	size_t len = size * count;

	if (len > call->body_max - call->reply_body.len) {
		call->too_large = true;
		return 0;
	}
	buf_append(&call->reply_body, data, len);
	return len;
}

/* A status line begins a new block: what came before belonged to an interim answer or to a proxy. */
static size_t on_header(char *data, size_t size, size_t count, void *p)
{
	struct http_call *call = p;
	size_t len = size * count;

	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
		buf_clear(&call->reply_headers);
	if (len > HEADERS_MAX - call->reply_headers.len)
		return 0;
	buf_append(&call->reply_headers, data, len);
	return len;
}

static bool is_clean(const char *text, bool is_name)
{
	for (; *text != '\0'; text++) {
		unsigned char ch = (unsigned char)*text;

		if (ch == 0x7f || (ch < 0x20 && ch != '\t'))
			return false;
		if (is_name && (ch <= 0x20 || ch == ':' || ch == ';'))
			return false;
	}
	return true;
}

/* libcurl spells a header without a value "Name;", and adds some of its own unless told not to. */
static int add_headers(struct http_call *call, const struct http_request *req, struct err *e)
{
	struct curl_slist *list = curl.slist_append(NULL, "Expect:");

	for (size_t i = 0; i < req->header_count; i++) {
		const struct http_header *h = &req->headers[i];
		char *line;

		if (h->name[0] == '\0' || !is_clean(h->name, true) || !is_clean(h->value, false)) {
			curl.slist_free_all(list);
			return err_set(e, ERR_CONFIG, "%s cannot be sent as an HTTP header", h->name);
		}
		line = h->value[0] == '\0' ? mem_format("%s;", h->name) : mem_format("%s: %s", h->name, h->value);
		list = curl.slist_append(list, line);
		free(line);
	}
	call->headers = list;
	return 0;
}

static long version_of(const struct http_request *req)
{
	if (req->protocol == HTTP_1)
		return CURL_HTTP_VERSION_1_1;
	if (strncasecmp(req->url, "https:", 6) == 0)
		return CURL_HTTP_VERSION_2TLS;
	return CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
}

static void set_options(struct http_call *call, const struct http_request *req)
{
	CURL *easy = call->easy;

	set_text(easy, CURLOPT_URL, req->url);
	set_text(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	set_number(easy, CURLOPT_HTTP_VERSION, version_of(req));
	set_pointer(easy, CURLOPT_HTTPHEADER, call->headers);
	set_text(easy, CURLOPT_USERAGENT, "tng/" TNG_VERSION);
	set_number(easy, CURLOPT_FOLLOWLOCATION, 0);
	set_number(easy, CURLOPT_CONNECTTIMEOUT_MS, req->connect_timeout_ms);
	set_number(easy, CURLOPT_TIMEOUT_MS, req->timeout_ms);
	set_number(easy, CURLOPT_MAXAGE_CONN, KEEP_CONNECTION_S);
	/* No signals in a process with threads; and do not wait for a name server when a call ends. */
	set_number(easy, CURLOPT_NOSIGNAL, 1);
	set_number(easy, CURLOPT_QUICK_EXIT, 1);
	curl.easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	set_pointer(easy, CURLOPT_WRITEDATA, call);
	curl.easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	set_pointer(easy, CURLOPT_HEADERDATA, call);
	set_pointer(easy, CURLOPT_ERRORBUFFER, call->error);
	set_pointer(easy, CURLOPT_PRIVATE, call);
	if (req->post) {
		set_number(easy, CURLOPT_POST, 1);
		set_text(easy, CURLOPT_POSTFIELDS, buf_str(&call->body));
		curl.easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
	}
	if (req->direct)
		set_text(easy, CURLOPT_NOPROXY, "*");
	if (req->protocol == HTTP_2) {
		/* A proxy would translate to HTTP/1.1. */
		set_number(easy, CURLOPT_HTTPPROXYTUNNEL, 1);
		set_number(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1);
		/* libcurl 7.88 fails with CURLE_HTTP2 when it uses such a connection twice. */
		set_number(easy, CURLOPT_FRESH_CONNECT, 1);
		set_number(easy, CURLOPT_FORBID_REUSE, 1);
	}
}

static int start(struct http_call *call, const struct http_request *req, struct err *e)
{
	if (open_multi(call->client, e) < 0 || add_headers(call, req, e) < 0)
		return -1;
	call->easy = curl.easy_init();
	if (call->easy == NULL)
		return err_set(e, ERR_SYSTEM, "curl_easy_init");
	buf_append_bytes(&call->body, req->body);
	set_options(call, req);
	if (curl.multi_add_handle(call->client->multi, call->easy) != CURLM_OK)
		return err_set(e, ERR_SYSTEM, "curl_multi_add_handle");
	return 0;
}

static void on_refused(struct task *t)
{
	struct http_call *call = container_of(t, struct http_call, end_refused);
	struct http_events *events = call->events;
	struct err e = call->refused;

	call_free(call);
	events->ended(events, NULL, &e);
}

struct http_client *http_client_new(struct loop *l, struct err *e)
{
	struct http_client *c;

	if (curl_load(e) < 0)
		return NULL;
	c = mem_new_of(struct http_client);
	c->loop = l;
	list_init(&c->calls);
	timer_init(&c->timer, on_timeout);
	timer_init(&c->idle, on_idle);
	return c;
}

void http_client_free(struct http_client *c)
{
	if (c == NULL)
		return;
	while (!list_is_empty(&c->calls))
		call_free(container_of(c->calls.next, struct http_call, link));
	close_multi(c);
	free(c);
}

struct http_call *http_call(struct http_client *c, const struct http_request *req, struct http_events *events)
{
	struct http_call *call = mem_new_of(struct http_call);

	call->client = c;
	call->events = events;
	call->body_max = req->body_max;
	call->deadline_ms = clock_ms() + req->timeout_ms;
	list_append(&c->calls, &call->link);
	task_init(&call->end_refused, on_refused);
	timer_cancel(c->loop, &c->idle);
	if (start(call, req, &call->refused) < 0)
		task_schedule(c->loop, &call->end_refused);
	return call;
}

void http_call_cancel(struct http_call *call)
{
	call_free(call);
}
