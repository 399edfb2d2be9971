/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd - what tng can be told to do.
 *
 * A command returns the exit status: 0 done or valid, 1 could not be done, 2 wrong command line.
 *
 * Threads: the main one.
 */
#pragma once

struct config;
struct cmd_line;

/* tng launch: runs the gateway until a signal. The log is open. Keeps c until it returns. */
int cmd_launch(struct config *c);

/* tng check: every mistake to standard error, or the effective configuration to standard output. */
int cmd_check(const struct cmd_line *line);

/* tng lab: argv[0] is "lab". */
int cmd_lab(int argc, char **argv);

/* tng doctor, tng precheck: argv[0] is the command. */
int cmd_doctor(int argc, char **argv);

/* tng iptables, tng cleanup-iptables: argv[0] is the command. */
int cmd_iptables(int argc, char **argv);
int cmd_cleanup_iptables(int argc, char **argv);

/* topic: a command's name, or NULL for the whole. To standard output. */
int cmd_help(const char *topic);
int cmd_version(void);
