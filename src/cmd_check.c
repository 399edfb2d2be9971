/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_check - tng check: is this configuration right, and what does it mean in full. */
#include <stdio.h>

#include "cmd.h"
#include "cmd_line.h"

/* Warnings first: they are few, and the last line on the terminal tells the result. */
static void print_report(const struct config_report *report)
{
	for (size_t i = 0; i < report->warnings.count; i++)
		fprintf(stderr, "warning: %s\n", report->warnings.items[i]);
	for (size_t i = 0; i < report->errors.count; i++)
		fprintf(stderr, "%s\n", report->errors.items[i]);
}

static int print_effective(const struct config *c)
{
	struct buf text = { 0 };
	int rc = 0;

	config_format(c, &text);
	if (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0) {
		perror("tng check: standard output");
		rc = 1;
	}
	buf_release(&text);
	return rc;
}

int cmd_check(const struct cmd_line *line)
{
	struct config_report report;
	struct err e;
	struct config *c = cmd_line_load(line, &report, &e);
	int rc = 1;

	print_report(&report);
	if (c == NULL)
		fprintf(stderr, "tng check: %s\n", e.text);
	else
		rc = print_effective(c);
	config_report_release(&report);
	config_free(c);
	return rc;
}
