/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as_protobuf - requests to the attestation service from protobuf, in two layouts on one path.
 * spec: attestation.md 3.1.
 *
 * Nothing in a message says which layout it has: in today's, field 1 is a nested message, in that of services
 * up to 1.5.2 it is the name of the TEE. A message is taken for what it decodes as.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "lab/as_request.h"

struct as_protobuf;

/* What a service understands: one layout, or, for whoever asks, both. */
enum as_layouts { AS_BOTH_LAYOUTS, AS_ONLY_V1_6_0, AS_ONLY_V1_5_2 };

/*
 * gives what holds the request, which borrows from it; as_protobuf_free(). Fails with ERR_PEER when it cannot
 * be decoded, with ERR_TRUST when a member's content is refused, and with ERR_LIMIT.
 */
struct as_protobuf *as_protobuf_parse(struct bytes message, enum as_layouts known, struct appraise_request *out,
				      enum as_layout *layout, struct err *e);
void as_protobuf_free(struct as_protobuf *p);

/* Appends an AttestationResponse. */
void as_protobuf_format_response(struct bytes token, struct buf *out);
