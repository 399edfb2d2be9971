/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttrpc - calls to an agent over one unix connection, which is opened again whenever it has ended.
 *
 * Calls run side by side and answers come in any order. A call ends with its answer, with its time-out,
 * or at once when the agent cannot be reached; while the connection is lost under it, a call is sent a
 * second time over a new one, so an agent may restart between two calls or under one.
 *
 * Threads: all calls and callbacks on the loop's.
 */
#pragma once

#include "attest/coco/ttrpc_frame.h"
#include "base/bytes.h"
#include "base/err.h"

struct loop;
struct ttrpc;
struct ttrpc_call;

/*
 * Why a call failed is in why->kind: ERR_SYSTEM: cannot be reached; ERR_TIMEOUT; ERR_LIMIT: the answer
 * is too large; ERR_PEER: the agent refused, then code is its status, or broke the protocol, then it is 0.
 */
struct ttrpc_events {
	/* payload is NULL after a failure and borrowed otherwise. The call is gone when this returns. */
	void (*answered)(struct ttrpc_events *self, const struct bytes *payload, int code, const struct err *why);
};

/* path: of the socket. Connects with the first call. Answers above answer_max bytes are refused. */
struct ttrpc *ttrpc_new(struct loop *l, const char *path, size_t answer_max);

/* Cancels all calls. */
void ttrpc_free(struct ttrpc *t);

/* keeps events until answered or cancel; copies the request. Fails for a request that is too large. */
struct ttrpc_call *ttrpc_call(struct ttrpc *t, const struct ttrpc_request *req, struct ttrpc_events *events,
			      struct err *e);

/* Before answered. The agent is not told: ttrpc has no word for it. */
void ttrpc_call_cancel(struct ttrpc_call *call);
