/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab - simulated attestation components in one process, for quickstart, tests and demonstrations.
 *
 * An attestation agent (ttrpc), an API server (HTTP) and an attestation service (HTTP and gRPC), each with
 * the faults of fault.h, and a control socket. docs/lab.md is the manual.
 *
 * Threads: one, the loop's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/loop.h"
#include "lab/appraise.h"
#include "lab/conn.h"
#include "lab/fault.h"

#define LAB_LIFETIME_S 300
#define LAB_LIFETIME_MAX_S 31536000

struct lab_options {
	const char *dir;
	uint16_t as_rest_port; /* 0: a free one */
	uint16_t as_grpc_port;
	uint16_t asr_port;
	enum token_form form;
	unsigned lifetime_s;
	char *policy_ids[APPRAISE_POLICIES_MAX]; /* beside "default" */
	size_t policy_count;
	const char *measurement; /* NULL: that of the lab's own agent */
	const char *faults;	 /* a JSON array of faults to begin with, or NULL */
};

/* What the servers share. */
struct lab {
	struct loop *loop;
	struct mint *mint;
	struct appraise_service service;
	struct target targets[TARGET_COUNT];
	struct listener listeners[TARGET_COUNT];
	struct listener control;
};

/* What a listener belongs to. */
struct lab *lab_of_control(struct listener *l);
struct lab *lab_of(struct listener *l, enum target_id id);

/* Sets the fault and, for "down" and its end, the listeners. */
int lab_apply_fault(struct lab *lab, const struct fault *f, uint32_t targets, struct err *e) MUST_CHECK;

bool token_form_from_name(const char *name, enum token_form *form);

/* Ends the lab's loop. */
void lab_stop(struct lab *lab);

/* Runs until it is told to stop. Prints the line with the addresses when it is ready. */
int lab_run(const struct lab_options *options, struct err *e) MUST_CHECK;

/* The servers' protocols. */
extern const struct conn_ops aa_server;	     /* aa.c */
extern const struct conn_ops asr_server;     /* asr.c */
extern const struct conn_ops as_rest_server; /* as_rest.c */
extern const struct conn_ops as_grpc_server; /* as_grpc.c */
extern const struct conn_ops control_server; /* control.c */
