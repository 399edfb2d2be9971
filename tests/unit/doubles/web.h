/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web - plays an HTTP/1.1 or gRPC server on a port of 127.0.0.1, on the test's own loop.
 *
 * Threads: the loop's.
 */
#pragma once

#include <nghttp2/nghttp2.h>

#include "base/bytes.h"
#include "io/loop.h"

struct web;

struct web_conn {
	struct list link;
	struct web *web;
	struct watch watch;
	struct buf in;
	nghttp2_session *session; /* gRPC */
	struct list streams;
};

/* Lives until it is answered or its connection closed. */
struct web_request {
	struct list link; /* gRPC: of the connection's streams */
	struct web_conn *conn;
	char *method;
	char *path;
	char *head; /* all header lines, names in lower case */
	struct buf body;
	int32_t stream; /* gRPC */
	struct buf answer;
	size_t answered;
	int grpc_status;
	char *grpc_message;
};

struct web {
	struct loop *loop;
	struct watch listener;
	uint16_t port;
	char url[64]; /* "http://127.0.0.1:port" */
	bool grpc;
	struct list conns;
	unsigned connections;
	unsigned requests;
	/* takes req: ends it with web_answer(), web_drop() or grpc_answer(), now or later. */
	void (*on_request)(struct web *self, struct web_request *req);
};

void web_start(struct web *w, struct loop *l);
void grpc_start(struct web *w, struct loop *l);
void web_stop(struct web *w);
/* Closes all connections. */
void web_drop_all(struct web *w);

void web_answer(struct web_request *req, int status, struct bytes body);
void web_answer_str(struct web_request *req, int status, const char *body);
/* Sends these bytes instead, and closes when told so. */
void web_answer_raw(struct web_request *req, struct bytes raw, bool then_close);
/* Closes the connection without an answer. */
void web_drop(struct web_request *req);

/* message: of protobuf; sent only with status 0. Others are answered with trailers only. */
void grpc_answer(struct web_request *req, int status, const char *text, struct bytes message);

/* The value of a header line, or NULL; borrowed, ends at the line's end: compare with strncmp(). */
const char *web_header(const struct web_request *req, const char *name);
void web_request_free(struct web_request *req);
