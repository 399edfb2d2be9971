/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool - runs a program of the system and waits for its end.
 *
 * Found in a fixed list of folders whatever PATH says, started with a list of arguments and a small environment of its
 * own; there is no shell. What it writes is collected up to a limit. A tool that does not end in time is killed.
 *
 * Threads: any without a loop; it blocks.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#define TOOL_OUTPUT_MAX (16u << 20)
#define TOOL_TIMEOUT_MS 20000

struct tool_run {
	const char *const *argv; /* argv[0]: an absolute path; ends with NULL */
	struct bytes input;
	struct buf *output; /* standard output is appended; NULL: thrown away */
	struct buf *errors; /* standard error likewise */
};

/* gives an absolute path, or NULL when no folder has it. */
char *tool_find(const char *name);

/* The exit status; 128 + n after signal n. -1: could not be run, took too long, or wrote too much. */
int tool_run(const struct tool_run *run, struct err *e) MUST_CHECK;

/* The same, and anything but status 0 is an error with what the tool wrote about it. */
int tool_run_ok(const struct tool_run *run, struct err *e) MUST_CHECK;
