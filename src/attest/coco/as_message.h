/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as_message - what an attestation service is asked and what it answers. spec: attestation.md 3.
 *
 * There are two generations of services, named after the release that brought their layout, and two
 * protocols. The older layout has no place for additional evidence.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include <stdbool.h>

#include "attest/evidence.h"
#include "base/bytes.h"
#include "base/err.h"
#include "config/config.h"
#include "http/client.h"
#include "metrics/reason.h"

/* Entries of additional evidence that we pass on. Each makes the request some 130 bytes longer than itself. */
#define AS_ADDITIONAL_MAX 32

enum as_layout { AS_V1_6_0, AS_V1_5_2 };

/*
 * Append a request body. policy_ids goes in as it is. Fail with ERR_PEER for runtime data or additional
 * evidence that are no JSON objects, with ERR_LIMIT above AS_ADDITIONAL_MAX.
 */
int as_rest_format(enum as_layout layout, const struct coco_evidence *ev, const struct string_list *policy_ids,
		   struct buf *out, struct err *e) MUST_CHECK;
/* With the five bytes in front. */
int as_grpc_format(enum as_layout layout, const struct coco_evidence *ev, const struct string_list *policy_ids,
		   struct buf *out, struct err *e) MUST_CHECK;

/* What an answer says. */
struct as_answer {
	struct buf token;  /* three base64url parts; what they say is not looked at */
	bool other_layout; /* refused, and perhaps only for the layout: try AS_V1_5_2 */
	bool unreadable;   /* the service could not read this layout */
};

/* Refused or unreadable: -1 with reason and other_layout set. */
int as_rest_parse(const struct http_reply *reply, struct as_answer *out, enum reason *reason, struct err *e) MUST_CHECK;
int as_grpc_parse(const struct http_reply *reply, struct as_answer *out, enum reason *reason, struct err *e) MUST_CHECK;
