/* SPDX-License-Identifier: Apache-2.0 */
/* loading - configurations for tests. Include it behind cmocka.h. */
#pragma once

#include <stdlib.h>

#include "base/mem.h"
#include "config/config.h"

/* Documents are written as people write configurations, without the backslashes. */
static char *with_quotes(const char *text)
{
	char *copy = mem_strdup(text);

	for (char *c = copy; *c != '\0'; c++) {
		if (*c == '\'')
			*c = '"';
	}
	return copy;
}

static struct config *load(const char *text, struct config_report *report)
{
	char *document = with_quotes(text);
	struct config *c = config_load(bytes_str(document), "f", report);

	free(document);
	return c;
}

static struct config *load_good(const char *text)
{
	struct config_report report;
	struct config *c = load(text, &report);

	if (c == NULL)
		fail_msg("%s: %s", text, report.errors.items[0]);
	assert_int_equal(report.errors.count, 0);
	config_report_release(&report);
	return c;
}
