/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor - looks at a host and says what would keep capture from working.
 *
 * Every check tells what was found, whether the given configuration needs it, and what to do. Nothing of the host is
 * changed: what the kernel can do is tried in a network namespace of its own, which goes with the process that made it.
 *
 * Threads: the main thread; it blocks for some seconds at most.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "config/config.h"

enum doctor_result {
	DOCTOR_OK,
	DOCTOR_NOTE,	/* worth knowing */
	DOCTOR_WARN,	/* may hurt */
	DOCTOR_FAIL,	/* will not work */
	DOCTOR_UNKNOWN, /* could not be looked at */
};

struct doctor_check {
	const char *group;
	char *name;
	enum doctor_result result;
	bool needed; /* by the configuration, or by any when there is none */
	char *found;
	char *advice; /* NULL: nothing to do */
};

struct doctor_report {
	struct doctor_check *checks;
	size_t count;
};

struct doctor_options {
	const struct config *config; /* NULL: none was given */
	const char *bypass;	     /* "HOST:PORT" to connect to past the rules, or NULL */
	bool probe;		     /* connect into each capture */
};

void doctor_examine(const struct doctor_options *options, struct doctor_report *report);
void doctor_report_release(struct doctor_report *report);

/* Whether anything that is needed fails. */
bool doctor_report_fails(const struct doctor_report *report);
void doctor_report_print(const struct doctor_report *report, struct buf *out);
void doctor_report_print_json(const struct doctor_report *report, struct buf *out);
