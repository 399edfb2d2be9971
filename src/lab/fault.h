/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault - what the lab does wrong on purpose, and how often it was asked for what.
 *
 * A target is one simulated component. It has at most one fault, which replaces the one before, and any
 * number of modes, which stay beside it ("device", "old", ...). A call takes what applies to it; with a
 * count, a fault or mode is gone after so many calls.
 *
 * Threads: the loop's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/list.h"
#include "codec/json.h"
#include "io/loop.h"

enum target_id { TARGET_AA, TARGET_ASR, TARGET_AS_REST, TARGET_AS_GRPC, TARGET_COUNT };

/* What a call is for. */
enum call_kind {
	CALL_TEE,	  /* GetTeeType, /info */
	CALL_EVIDENCE,	  /* GetEvidence, /aa/evidence */
	CALL_DEVICE,	  /* GetAdditionalEvidence, /aa/additional-evidence */
	CALL_TOKEN,	  /* AttestationEvaluate, /attestation */
	CALL_CHALLENGE,	  /* /challenge */
	CALL_CERTIFICATE, /* /certificate */
	CALL_OTHER,
	CALL_KINDS
};

enum fault_kind {
	FAULT_NONE,
	FAULT_SLOW,
	FAULT_HANG,
	FAULT_HOLD,
	FAULT_REFUSE,
	FAULT_TRUNCATED,
	FAULT_GARBAGE,
	FAULT_HUGE,
	FAULT_DOWN,
	FAULT_EXPIRED,
	FAULT_WRONG_MEASUREMENT,
	FAULT_WRONG_POLICY,
	FAULT_WRONG_KEY,
	FAULT_WRONG_SIGNATURE,
	FAULT_UNTRUSTED,
	MODE_DEVICE,
	MODE_EVIDENCE_SIZE,
	MODE_OLD,
	MODE_NEW,
	MODE_NO_CERTIFICATE,
	MODE_NO_CHALLENGE,
	MODE_NO_X5C,
	MODE_PADDED_X5C,
	FAULT_KINDS
};

/* Defaults and bounds of what comes over the control socket. */
#define FAULT_SLOW_MS 1000
#define FAULT_MS_MAX 3600000
#define FAULT_HUGE_BYTES (16u << 20)
#define FAULT_HUGE_BYTES_MAX (1u << 30)
#define EVIDENCE_SIZE_MAX (64u << 20)

struct fault {
	enum fault_kind kind;
	uint64_t ms;	/* slow */
	uint64_t bytes; /* huge, evidence_size */
	uint64_t left;	/* calls it is still for; 0: no end */
	int only;	/* a call_kind, or -1 */
};

/* What one call was dealt. */
struct dealt {
	enum fault_kind fault;
	uint64_t ms;
	uint64_t bytes;
	uint32_t modes; /* bits of 1 << kind */
	uint64_t evidence_size;
};

static inline bool dealt_mode(const struct dealt *d, enum fault_kind mode)
{
	return (d->modes >> mode & 1) != 0;
}

#define TARGET_METHODS 12

struct counter {
	const char *name;
	uint64_t calls;
};

struct target {
	enum target_id id;
	struct fault fault;
	struct fault modes[FAULT_KINDS]; /* kind is FAULT_NONE where it is off */
	struct counter methods[TARGET_METHODS];
	uint64_t issued;  /* tokens, evidence */
	uint64_t refused; /* requests that were answered with an error */
	struct list held; /* struct pending: faults hold and hang, and slow while it waits */
	size_t held_count;
	char *last_tee;
	char *last_layout;   /* which form of request: "v1_6_0" or "v1_5_2" */
	char *last_policies; /* as JSON array */
	char *last_headers;  /* as JSON object */
};

void target_init(struct target *t, enum target_id id);
void target_release(struct target *t);

/* Forgets what was counted and seen. */
void target_reset_counters(struct target *t);

/* Counts the call. name is a constant string; names beyond TARGET_METHODS count as the last one. */
void target_count(struct target *t, const char *name);

/* As a JSON object, with connections as one of its members. */
void target_format(const struct target *t, uint64_t connections, uint64_t open, struct buf *out);

const char *target_name(enum target_id id);

/* false for a name that is none; "all" gives TARGET_COUNT. */
bool target_from_name(const char *name, enum target_id *id);

/*
 * {"kind":"slow","ms":3000,"count":2,...} as in docs/lab.md; target and cmd are ignored here. targets gets
 * the bits (1 << id) of the targets the fault is for, which is an error when the one that was named has no
 * use for it.
 */
int fault_parse(const struct json *j, struct fault *out, uint32_t *targets, struct err *e) MUST_CHECK;

/* Sets or replaces. FAULT_NONE removes the fault and all modes. */
void fault_set(struct target *t, const struct fault *f);

/* What applies to this call; counts down. */
struct dealt fault_deal(struct target *t, enum call_kind call);

/*
 * An answer that is not given yet. Embedded in the call; resume is called from the loop when the time of
 * "slow" is over or "hold" was released.
 */
struct pending {
	struct list link;
	struct timer timer;
	struct loop *loop;
	struct target *target;
	bool held; /* by "hold": "release" may end it */
	void (*resume)(struct pending *self);
};

void pending_init(struct pending *p, void (*resume)(struct pending *self));

/* Whether this call has to wait; then resume comes later, or never ("hang"). */
bool pending_start(struct pending *p, struct loop *loop, struct target *t, const struct dealt *d);

/* For calls that end before. Does nothing when p does not wait. */
void pending_cancel(struct pending *p);
static inline bool pending_is_started(const struct pending *p)
{
	return p->target != NULL;
}

/* Ends the fault "hold" and resumes what it held; gives how many. */
size_t target_release_held(struct target *t);
