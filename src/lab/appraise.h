/* SPDX-License-Identifier: Apache-2.0 */
/*
 * appraise - the lab's attestation service behind its two protocols: request in, token or refusal out.
 * spec: attestation.md 3.2, 7.3.
 *
 * It really verifies: the report data of sample evidence must be the digest of the runtime data. What it
 * cannot know, the state of the machine, is decided by one value: a measure_register other than the
 * expected one is contraindicated.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "codec/json.h"
#include "lab/fault.h"
#include "lab/mint.h"

#define APPRAISE_ENTRIES_MAX 16
#define APPRAISE_POLICIES_MAX 64

/* The default policy, which always exists and is meant when a request names none. */
#define APPRAISE_DEFAULT_POLICY "default"

/* What the operator of the lab has set. */
struct appraise_service {
	const struct mint *mint;
	enum token_form form;
	unsigned lifetime_s;
	char measurement[65]; /* expected measure_register, in hex */
	char *policy_ids[APPRAISE_POLICIES_MAX];
	size_t policy_count;
};

enum runtime_kind { RUNTIME_NONE, RUNTIME_RAW, RUNTIME_STRUCTURED };

/* All borrowed. */
struct appraise_entry {
	const char *tee;
	const char *evidence; /* base64url */
	enum runtime_kind runtime;
	const char *raw; /* base64url */
	const struct json *structured;
	const char *hash_name; /* NULL: sha384 */
	bool has_init_data;
};

struct appraise_request {
	struct appraise_entry entries[APPRAISE_ENTRIES_MAX];
	size_t entry_count;
	const char *policy_ids[APPRAISE_POLICIES_MAX];
	size_t policy_count;
	bool knows_sampledevice; /* the REST service does, the gRPC service does not */
	int64_t now_unix;
};

/* Why there is no token; each protocol has its own words for it. */
enum refusal_kind {
	REFUSE_ENCODING,  /* evidence is no base64url */
	REFUSE_FORMAT,	  /* evidence is no JSON */
	REFUSE_TEE,	  /* no such TEE */
	REFUSE_ARGUMENT,  /* hash name, raw runtime data, init data */
	REFUSE_CHALLENGE, /* challenge_token is none of ours */
	REFUSE_VERIFIER,  /* a TEE that we know but do not simulate */
	REFUSE_EVALUATION /* evidence, binding, policy */
};

struct refusal {
	enum refusal_kind kind;
	char field[64]; /* e.g. verification_requests[0].evidence, or "" */
	struct err cause;
};

/* Appends the token, or fills why. d holds the faults that this call was dealt. */
int appraise(const struct appraise_service *s, const struct appraise_request *r, const struct dealt *d, struct buf *jwt,
	     struct refusal *why) MUST_CHECK;

/* Whether a service of this kind knows a TEE of this name. */
bool appraise_is_tee(const char *name, bool knows_sampledevice);
