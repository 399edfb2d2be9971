/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server - requests of HTTP/1.0 and 1.1 as a state machine over bytes.
 *
 *   HEAD --> BODY_SIZED ------------------------------> DONE
 *     |                                                   ^
 *     +----> CHUNK_SIZE <-> CHUNK_DATA -> CHUNK_END       |
 *     |           +-----> TRAILERS -----------------------+
 *     +---- no body --------------------------------------+
 *
 * HEAD        collects up to the empty line
 * CHUNK_END   expects the CRLF behind a chunk's data
 *
 * Whatever could be read in two ways is refused: a length beside a transfer coding, two lengths, folded
 * lines, a space in front of the colon, a bare LF.
 */
#include "lab/http_server.h"

#include <stdlib.h>
#include <strings.h>

static enum http_progress broken(struct http_parser *p, unsigned status)
{
	p->state = HTTP_ERROR;
	p->status = status;
	return HTTP_BROKEN;
}

const char *http_request_header(const struct http_request *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++) {
		if (strcmp(r->headers[i].name, name) == 0)
			return r->headers[i].value;
	}
	return NULL;
}

bool http_request_is_type(const struct http_request *r, const char *type)
{
	const char *value = http_request_header(r, "content-type");
	size_t len = strlen(type);

	if (value == NULL || strncasecmp(value, type, len) != 0)
		return false;
	value += len;
	return value[strspn(value, " \t")] == '\0' || value[strspn(value, " \t")] == ';';
}

static void request_release(struct http_request *r)
{
	free(r->method);
	free(r->path);
	free(r->query);
	for (size_t i = 0; i < r->header_count; i++) {
		free(r->headers[i].name);
		free(r->headers[i].value);
	}
	buf_release(&r->body);
	*r = (struct http_request){ 0 };
}

void http_parser_init(struct http_parser *p, size_t body_max)
{
	*p = (struct http_parser){ .body_max = body_max };
}

void http_parser_release(struct http_parser *p)
{
	request_release(&p->request);
	buf_release(&p->line);
}

void http_parser_next(struct http_parser *p)
{
	size_t body_max = p->body_max;

	http_parser_release(p);
	http_parser_init(p, body_max);
}

/* tchar of RFC 9110, section 5.6.2 */
static bool is_token(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++) {
		uint8_t c = b.data[i];

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
			continue;
		if (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL)
			return false;
	}
	return b.len > 0;
}

/* Visible ASCII: what a request target may consist of. */
static bool is_visible(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++) {
		if (b.data[i] <= 0x20 || b.data[i] >= 0x7f)
			return false;
	}
	return b.len > 0;
}

static bool is_field_text(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++) {
		if ((b.data[i] < 0x20 && b.data[i] != '\t') || b.data[i] == 0x7f)
			return false;
	}
	return true;
}

/* The part in front of the first sep, which is removed with it; all of b and found = false without one. */
static struct bytes split(struct bytes *b, const char *sep, bool *found)
{
	struct bytes needle = bytes_str(sep);
	ssize_t at = bytes_find(*b, needle);
	struct bytes head = *b;

	*found = at >= 0;
	if (at < 0) {
		*b = bytes_of(b->data + b->len, 0);
		return head;
	}
	head.len = (size_t)at;
	b->data += head.len + needle.len;
	b->len -= head.len + needle.len;
	return head;
}

static struct bytes trim(struct bytes b)
{
	while (b.len > 0 && (b.data[0] == ' ' || b.data[0] == '\t')) {
		b.data++;
		b.len--;
	}
	while (b.len > 0 && (b.data[b.len - 1] == ' ' || b.data[b.len - 1] == '\t'))
		b.len--;
	return b;
}

static char *to_string(struct bytes b)
{
	return mem_strndup((const char *)b.data, b.len);
}

/* 0, or the status to refuse with. */
static unsigned parse_request_line(struct http_request *r, struct bytes line)
{
	bool found;
	struct bytes method = split(&line, " ", &found);
	struct bytes target = split(&line, " ", &found);
	struct bytes path;

	if (!found || !is_token(method) || !is_visible(target))
		return 400;
	if (bytes_equal_str(line, "HTTP/1.1"))
		r->keep_alive = true;
	else if (!bytes_equal_str(line, "HTTP/1.0"))
		return line.len > 5 && memcmp(line.data, "HTTP/", 5) == 0 ? 505 : 400;
	path = split(&target, "?", &found);
	r->method = to_string(method);
	r->path = to_string(path);
	r->query = found ? to_string(target) : NULL;
	return 0;
}

static unsigned parse_field(struct http_request *r, struct bytes line)
{
	bool found;
	struct bytes name = split(&line, ":", &found);
	struct http_header *h;

	if (!found || !is_token(name) || !is_field_text(line))
		return 400;
	if (r->header_count == HTTP_HEADERS_MAX)
		return 431;
	h = &r->headers[r->header_count++];
	h->name = to_string(name);
	h->value = to_string(trim(line));
	for (char *c = h->name; *c != '\0'; c++) {
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	}
	return 0;
}

/* Whether a comma-separated header has this word. */
static bool has_word(const struct http_request *r, const char *name, const char *word)
{
	for (size_t i = 0; i < r->header_count; i++) {
		struct bytes rest = bytes_str(r->headers[i].value);
		bool found = strcmp(r->headers[i].name, name) == 0;

		while (found) {
			struct bytes one = trim(split(&rest, ",", &found));

			if (one.len == strlen(word) && strncasecmp((const char *)one.data, word, one.len) == 0)
				return true;
		}
	}
	return false;
}

static size_t count_headers(const struct http_request *r, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < r->header_count; i++)
		count += strcmp(r->headers[i].name, name) == 0;
	return count;
}

/* Digits only, no sign; false when there is anything else or too many of them. */
static bool parse_number(const char *text, unsigned base, uint64_t *out)
{
	size_t len = strlen(text);

	*out = 0;
	if (len == 0 || len > 15 || strspn(text, base == 10 ? "0123456789" : "0123456789abcdefABCDEF") != len)
		return false;
	*out = strtoull(text, NULL, (int)base);
	return true;
}

/* How the body is delimited, RFC 9112 section 6.3. */
static unsigned decide_body(struct http_parser *p)
{
	struct http_request *r = &p->request;
	const char *coding = http_request_header(r, "transfer-encoding");
	const char *length = http_request_header(r, "content-length");

	p->state = HTTP_DONE;
	if (coding != NULL) {
		if (length != NULL || count_headers(r, "transfer-encoding") > 1)
			return 400;
		if (strcasecmp(coding, "chunked") != 0)
			return 501;
		p->state = HTTP_CHUNK_SIZE;
	} else if (length != NULL) {
		if (count_headers(r, "content-length") > 1 || !parse_number(length, 10, &p->left))
			return 400;
		if (p->left > 0)
			p->state = HTTP_BODY_SIZED;
	}
	return 0;
}

static unsigned parse_head(struct http_parser *p, struct bytes head)
{
	struct http_request *r = &p->request;
	bool found;
	unsigned status = parse_request_line(r, split(&head, "\r\n", &found));

	while (status == 0 && head.len > 0)
		status = parse_field(r, split(&head, "\r\n", &found));
	if (status != 0)
		return status;
	if (r->keep_alive && count_headers(r, "host") != 1)
		return 400;
	r->expects_continue = r->keep_alive && has_word(r, "expect", "100-continue");
	if (has_word(r, "connection", "close"))
		r->keep_alive = false;
	else if (has_word(r, "connection", "keep-alive"))
		r->keep_alive = true;
	return decide_body(p);
}

/* Moves up to len bytes from in behind out. */
static void take(struct bytes *in, struct buf *out, size_t len)
{
	len = MIN(len, in->len);
	buf_append(out, in->data, len);
	in->data += len;
	in->len -= len;
}

/*
 * Collects in p->line up to and including end; 1 when it is complete, 0 when more is needed, -1 when it is
 * longer than max.
 */
static int collect(struct http_parser *p, struct bytes *in, const char *end, size_t max)
{
	size_t end_len = strlen(end);
	size_t had = p->line.len;
	size_t from = had > end_len ? had - end_len : 0;
	size_t room = max + 1 - MIN(had, max);
	size_t tried = MIN(in->len, room);
	ssize_t at;

	if (tried == 0)
		return 0;
	buf_append(&p->line, in->data, tried);
	at = bytes_find(bytes_of(p->line.data + from, p->line.len - from), bytes_str(end));
	if (at >= 0) {
		size_t whole = from + (size_t)at + end_len;
		size_t used = whole - had;

		in->data += used;
		in->len -= used;
		p->line.len = whole;
		return whole <= max ? 1 : -1;
	}
	in->data += tried;
	in->len -= tried;
	return p->line.len > max ? -1 : 0;
}

/* Empty lines in front of a request are skipped, RFC 9112 section 2.2. */
static void skip_empty_lines(struct http_parser *p, struct bytes *in)
{
	while (p->line.len == 0 && in->len > 0 && (in->data[0] == '\r' || in->data[0] == '\n')) {
		in->data++;
		in->len--;
	}
}

static enum http_progress feed_head(struct http_parser *p, struct bytes *in)
{
	unsigned status;
	int rc;

	skip_empty_lines(p, in);
	if (in->len == 0)
		return HTTP_MORE;
	p->in_head = true;
	rc = collect(p, in, "\r\n\r\n", HTTP_HEAD_MAX);
	if (rc < 0)
		return broken(p, 431);
	if (rc == 0)
		return HTTP_MORE;
	p->in_head = false;
	/* The last field keeps its CRLF, so that all lines look alike. */
	status = parse_head(p, bytes_of(p->line.data, p->line.len - 2));
	buf_release(&p->line);
	if (status != 0)
		return broken(p, status);
	if (p->state == HTTP_BODY_SIZED && p->left > p->body_max) {
		p->state = HTTP_ERROR;
		return HTTP_TOO_LARGE;
	}
	return HTTP_COMPLETE; /* of this step */
}

static enum http_progress feed_chunk_size(struct http_parser *p, struct bytes *in)
{
	int rc = collect(p, in, "\r\n", HTTP_CHUNK_LINE_MAX);
	struct bytes line;
	char *digits;
	bool found;
	bool good;

	if (rc < 0)
		return broken(p, 400);
	if (rc == 0)
		return HTTP_MORE;
	line = bytes_of(p->line.data, p->line.len - 2);
	digits = to_string(trim(split(&line, ";", &found)));
	good = parse_number(digits, 16, &p->left);
	free(digits);
	buf_clear(&p->line);
	if (!good)
		return broken(p, 400);
	if (p->left > p->body_max - p->request.body.len) {
		p->state = HTTP_ERROR;
		return HTTP_TOO_LARGE;
	}
	p->state = p->left == 0 ? HTTP_TRAILERS : HTTP_CHUNK_DATA;
	return HTTP_COMPLETE;
}

static enum http_progress feed_data(struct http_parser *p, struct bytes *in, enum http_state then)
{
	size_t before = in->len;

	take(in, &p->request.body, (size_t)MIN(p->left, (uint64_t)in->len));
	p->left -= before - in->len;
	if (p->left > 0)
		return HTTP_MORE;
	p->state = then;
	return HTTP_COMPLETE;
}

static enum http_progress feed_chunk_end(struct http_parser *p, struct bytes *in)
{
	int rc = collect(p, in, "\r\n", 2);

	if (rc < 0 || (p->line.len > 0 && p->line.data[0] != '\r') || (rc == 0 && p->line.len == 2))
		return broken(p, 400);
	if (rc == 0)
		return HTTP_MORE;
	buf_clear(&p->line);
	p->state = HTTP_CHUNK_SIZE;
	return HTTP_COMPLETE;
}

/* Trailers are dropped; the empty line may be the first. */
static enum http_progress feed_trailers(struct http_parser *p, struct bytes *in)
{
	int rc = collect(p, in, "\r\n", HTTP_TRAILERS_MAX);

	if (rc < 0)
		return broken(p, 431);
	if (rc == 0)
		return HTTP_MORE;
	if (p->line.len == 2)
		p->state = HTTP_DONE;
	/* Counted together: a chain of trailers is no way around the limit. */
	p->left += p->line.len;
	buf_clear(&p->line);
	return p->left > HTTP_TRAILERS_MAX ? broken(p, 431) : HTTP_COMPLETE;
}

static enum http_progress feed_step(struct http_parser *p, struct bytes *in)
{
	switch (p->state) {
	case HTTP_HEAD:
		return feed_head(p, in);
	case HTTP_BODY_SIZED:
		return feed_data(p, in, HTTP_DONE);
	case HTTP_CHUNK_SIZE:
		return feed_chunk_size(p, in);
	case HTTP_CHUNK_DATA:
		return feed_data(p, in, HTTP_CHUNK_END);
	case HTTP_CHUNK_END:
		return feed_chunk_end(p, in);
	case HTTP_TRAILERS:
		return feed_trailers(p, in);
	case HTTP_DONE:
	case HTTP_ERROR:
		break;
	}
	return HTTP_BROKEN;
}

enum http_progress http_parser_feed(struct http_parser *p, struct bytes *in)
{
	while (p->state != HTTP_DONE) {
		enum http_progress progress = feed_step(p, in);

		if (progress != HTTP_COMPLETE)
			return progress;
		if (p->request.expects_continue && !p->continue_was_told && p->state != HTTP_DONE) {
			p->continue_was_told = true;
			if (in->len == 0)
				return HTTP_CONTINUE;
		}
	}
	return HTTP_COMPLETE;
}

const char *http_status_text(unsigned status)
{
	switch (status) {
	case 100:
		return "Continue";
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 413:
		return "Payload Too Large";
	case 422:
		return "Unprocessable Entity";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	}
	return "Status";
}

void http_format_head(const struct http_answer *a, uint64_t body_len, struct buf *out)
{
	buf_format(out, "HTTP/1.1 %u %s\r\ncontent-length: %llu\r\n", a->status, http_status_text(a->status),
		   (unsigned long long)body_len);
	if (a->type != NULL)
		buf_format(out, "content-type: %s\r\n", a->type);
	if (a->extra != NULL)
		buf_append_str(out, a->extra);
	if (a->close)
		buf_append_str(out, "connection: close\r\n");
	buf_append_str(out, "\r\n");
}
