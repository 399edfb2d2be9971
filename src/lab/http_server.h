/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server - HTTP/1.1 requests from bytes, and answers to bytes (RFC 9112). Knows no socket.
 *
 * Fed piece by piece; holds no more than the head, then the body up to the limit of its user.
 *
 * Threads: any; a parser belongs to its connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

#define HTTP_HEAD_MAX (32u << 10)
#define HTTP_HEADERS_MAX 100

/* A line that gives the size of a chunk, extensions included; all trailers together. */
#define HTTP_CHUNK_LINE_MAX 256
#define HTTP_TRAILERS_MAX (8u << 10)

struct http_header {
	char *name; /* lower case */
	char *value;
};

struct http_request {
	char *method;
	char *path;  /* as sent, up to '?' */
	char *query; /* behind '?', or NULL */
	struct http_header headers[HTTP_HEADERS_MAX];
	size_t header_count;
	struct buf body;
	bool keep_alive;
	bool expects_continue;
};

/* The value of the first header of this (lower case) name, or NULL. */
const char *http_request_header(const struct http_request *r, const char *name);

/* Whether the media type is this one, whatever its parameters. */
bool http_request_is_type(const struct http_request *r, const char *type);

enum http_progress {
	HTTP_MORE,	/* all was consumed, and it is not yet a request */
	HTTP_CONTINUE,	/* the head is there and the client waits for 100 before it sends the body */
	HTTP_COMPLETE,	/* request holds it until http_parser_next() */
	HTTP_TOO_LARGE, /* the body is over the limit; the rest of the connection cannot be read */
	HTTP_BROKEN,	/* answer with status and close */
};

struct http_parser {
	struct http_request request;
	size_t body_max;
	unsigned status; /* with HTTP_BROKEN */
	bool in_head;	 /* a byte of the head has come, the end has not */

	enum http_state {
		HTTP_HEAD,
		HTTP_BODY_SIZED,
		HTTP_CHUNK_SIZE,
		HTTP_CHUNK_DATA,
		HTTP_CHUNK_END,
		HTTP_TRAILERS,
		HTTP_DONE,
		HTTP_ERROR
	} state;
	struct buf line;	/* the head, a chunk's size line, or the trailers, as far as they came */
	uint64_t left;		/* of the body, or of the chunk */
	bool continue_was_told; /* HTTP_CONTINUE was given */
};

void http_parser_init(struct http_parser *p, size_t body_max);
void http_parser_release(struct http_parser *p);

/* Eats from in what belongs to the request; in is moved on. */
enum http_progress http_parser_feed(struct http_parser *p, struct bytes *in);

/* Forgets the request; ready for the one behind it. */
void http_parser_next(struct http_parser *p);

/* The head of an answer. type NULL: no Content-Type. extra: more lines, each with its CRLF, or NULL. */
struct http_answer {
	unsigned status;
	const char *type;
	const char *extra;
	bool close;
};
void http_format_head(const struct http_answer *a, uint64_t body_len, struct buf *out);

/* The word behind the status. */
const char *http_status_text(unsigned status);
