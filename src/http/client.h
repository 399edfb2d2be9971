/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client - HTTP requests to attestation services and agents, without blocking.
 *
 * libcurl does the protocol, a struct loop does the waiting. HTTP/1.1, or HTTP/2 from the first byte
 * (gRPC), each with TLS and the system's certificate store when the URL says https. Connections of
 * HTTP/1.1 are kept for a few seconds and no longer, since services close them after five; HTTP/2 has one
 * for each request. No redirect is followed: a service that has moved is the operator's to configure.
 * Proxies are taken from the environment, as libcurl does, unless direct is set.
 *
 * Threads: all calls and callbacks on the loop's.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

struct http_call;
struct http_client;
struct loop;

struct http_header {
	const char *name;
	const char *value;
};

enum http_protocol { HTTP_1, HTTP_2 };

struct http_request {
	enum http_protocol protocol;
	const char *url;
	const struct http_header *headers;
	size_t header_count;
	bool post; /* else GET */
	struct bytes body;
	bool direct; /* by no proxy */
	unsigned connect_timeout_ms;
	unsigned timeout_ms; /* of everything */
	size_t body_max;     /* of the answer */
};

struct http_reply {
	int status;
	struct bytes body;
	struct bytes headers; /* "name: value" lines that end with LF, trailers behind the headers */
};

/* The last header or trailer of this name, without white space around it; NULL data: none. Borrowed. */
struct bytes http_reply_header(const struct http_reply *r, const char *name);

/*
 * reply is NULL when there was no complete answer. Then why->kind is ERR_TIMEOUT, ERR_SYSTEM (not reached,
 * or the connection was lost), ERR_TRUST (TLS), ERR_LIMIT (answer too large), ERR_PEER (not HTTP, or cut
 * off), ERR_CONFIG (URL). Both are borrowed; the call is gone when this returns.
 */
struct http_events {
	void (*ended)(struct http_events *self, const struct http_reply *reply, const struct err *why);
};

/* NULL and e where libcurl cannot be loaded. */
struct http_client *http_client_new(struct loop *l, struct err *e);

/* Cancels all requests. Not from inside ended. */
void http_client_free(struct http_client *c);

/* keeps events until ended or cancel; copies the request. */
struct http_call *http_call(struct http_client *c, const struct http_request *req, struct http_events *events);

/* Before ended. */
void http_call_cancel(struct http_call *call);
