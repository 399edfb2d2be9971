/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_line - argv as a struct.
 *
 * Options for the log may stand before or after the command, those of a command only after it.
 *
 * Threads: one.
 */
#pragma once

#include "base/err.h"
#include "base/log_options.h"
#include "config/config.h"

enum command {
	COMMAND_LAUNCH,
	COMMAND_CHECK,
	COMMAND_LAB,
	COMMAND_DOCTOR,
	COMMAND_IPTABLES,
	COMMAND_CLEANUP_IPTABLES,
	COMMAND_HELP,
	COMMAND_VERSION,
};

struct cmd_line {
	enum command command;
	const char *config_file; /* COMMAND_LAUNCH and COMMAND_CHECK: one of these two */
	const char *config_content;
	struct log_request log;
	const char *topic; /* COMMAND_HELP, or NULL */
	int rest_count;	   /* of the commands behind COMMAND_CHECK: their own argv */
	char **rest;
};

/* keeps argv, whose order may change. ERR_CONFIG for a wrong command line. */
int cmd_line_parse(int argc, char **argv, struct cmd_line *line, struct err *e) MUST_CHECK;

/*
 * The configuration that the line names; the files that it names in turn are there as well. NULL after an error, or
 * with report->errors. config_free(), config_report_release().
 */
struct config *cmd_line_load(const struct cmd_line *line, struct config_report *report, struct err *e);
