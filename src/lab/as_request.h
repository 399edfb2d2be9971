/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as_request - requests to the attestation service from their two layouts. spec: attestation.md 3.1, 3.2.1.
 *
 * What is parsed borrows from the document or message, which must outlive it.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "codec/json.h"
#include "lab/appraise.h"

enum as_layout { AS_V1_6_0, AS_V1_5_2 };

const char *as_layout_name(enum as_layout layout);

/*
 * Fills entries and policy_ids of out. The error text names a member that is missing the way the services
 * do: "missing field `tee`".
 */
int as_request_from_json(const struct json *j, enum as_layout layout, struct appraise_request *out,
			 struct err *e) MUST_CHECK;

/* Remembers what was asked for, for "stats". */
void as_request_note(const struct appraise_request *r, enum as_layout layout, struct target *t);
