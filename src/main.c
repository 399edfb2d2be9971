/* SPDX-License-Identifier: Apache-2.0 */
/* main - argv to command; the only caller of exit(). */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd.h"
#include "cmd_line.h"
#include "crypto/tls.h"

#define EXIT_USAGE 2

/*
 * Before the constructors of shared libraries: that of libssh, which some builds of libcurl bring, uses libcrypto, and
 * then its memory could not be counted any more.
 */
static void before_all(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	(void)envp;
	tls_count_memory();
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(int, char **, char **) = before_all;

/* Else a socket could become descriptor 2, and the log would go to a peer. */
static void open_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static int usage_error(const struct err *e)
{
	fprintf(stderr, "tng: %s\nTry: tng --help\n", e->text);
	return EXIT_USAGE;
}

/* Somebody who looks at the terminal must not have to guess that the reason is in a file. */
static void say_start_failed(const struct log_options *log, const char *text)
{
	log_error("%s", text);
	if (log->file != NULL || log->error_file != NULL)
		fprintf(stderr, "tng: %s\n", text);
}

static int launch(const struct cmd_line *line, const struct log_options *log)
{
	struct config_report report;
	struct err e;
	struct config *c = cmd_line_load(line, &report, &e);
	int rc = 1;

	for (size_t i = 0; i < report.warnings.count; i++)
		log_warn("%s", report.warnings.items[i]);
	for (size_t i = 0; i < report.errors.count; i++)
		say_start_failed(log, report.errors.items[i]);
	if (c == NULL)
		say_start_failed(log, e.text);
	else
		rc = cmd_launch(c);
	config_report_release(&report);
	config_free(c);
	return rc;
}

static int run_with_log(const struct cmd_line *line)
{
	struct log_options log;
	struct log_notes notes;
	struct err e;
	int rc;

	if (log_options_resolve(&line->log, getenv, &log, &notes, &e) != 0)
		return usage_error(&e);
	if (line->command == COMMAND_CHECK) { /* it writes no log */
		log_notes_release(&notes);
		return cmd_check(line);
	}
	if (log_open(&log, &e) != 0) {
		fprintf(stderr, "tng: %s\n", e.text);
		log_notes_release(&notes);
		return EXIT_FAILURE;
	}
	log_notes_write(&notes);
	rc = line->command == COMMAND_LAUNCH ? launch(line, &log) : cmd_lab(line->rest_count, line->rest);
	log_close();
	return rc;
}

static int run(int argc, char **argv)
{
	struct cmd_line line;
	struct err e;

	if (cmd_line_parse(argc, argv, &line, &e) != 0)
		return usage_error(&e);
	switch (line.command) {
	case COMMAND_LAUNCH:
	case COMMAND_CHECK:
	case COMMAND_LAB:
		return run_with_log(&line);
	case COMMAND_DOCTOR:
		return cmd_doctor(line.rest_count, line.rest);
	case COMMAND_IPTABLES:
		return cmd_iptables(line.rest_count, line.rest);
	case COMMAND_CLEANUP_IPTABLES:
		return cmd_cleanup_iptables(line.rest_count, line.rest);
	case COMMAND_HELP:
		return cmd_help(line.topic);
	case COMMAND_VERSION:
		return cmd_version();
	}
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	open_standard_descriptors();
	signal(SIGPIPE, SIG_IGN);
	exit(run(argc, argv));
}
