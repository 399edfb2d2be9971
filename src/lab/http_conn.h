/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_conn - serves one HTTP/1.1 connection of a simulated component: reads requests one after the other,
 * deals them their fault, lets the component answer, and keeps its deadlines.
 *
 * Threads: the loop's.
 */
#pragma once

#include <stdint.h>

#include "lab/conn.h"
#include "lab/http_server.h"
#include "lab/lab.h"

/* As the services have them. */
#define HTTP_HEAD_TIMEOUT_MS 5000
#define HTTP_IDLE_TIMEOUT_MS 120000

/* Ours: a body that stops coming. */
#define HTTP_BODY_TIMEOUT_MS 60000

struct http_reply {
	unsigned status;
	const char *type;  /* NULL: no Content-Type */
	const char *extra; /* header lines, each with its CRLF, or NULL */
	struct buf body;
};

/* What a request is, before it is answered. */
struct http_route {
	enum call_kind call;
	const char *name; /* for the counters */
};

/* One const struct for each component. */
struct http_component {
	enum target_id target;
	size_t body_max;
	struct http_route (*route)(const struct http_request *r);
	void (*answer)(struct lab *lab, const struct http_request *r, const struct dealt *d, struct http_reply *reply);

	/* The body is over body_max; NULL: 413. */
	void (*too_large)(const struct http_request *r, struct http_reply *reply);
};

/* For conn_ops.open. */
struct conn *http_conn_new(const struct http_component *component);

/* For the rest of conn_ops. */
void http_conn_input(struct conn *c);
void http_conn_deadline(struct conn *c);
void http_conn_closed(struct conn *c);
