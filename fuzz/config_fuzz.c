/* SPDX-License-Identifier: Apache-2.0 */
/* What loads must format to a document that loads again, to the same text and without a word. */
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reads_back(const struct config *c)
{
	struct config_report report;
	struct buf first = { 0 };
	struct buf second = { 0 };
	struct config *back;

	config_format(c, &first);
	back = config_load(buf_bytes(&first), "formatted", &report);
	if (back == NULL) {
		fprintf(stderr, "%s\n%s\n", buf_str(&first), report.errors.items[0]);
		abort();
	}
	config_format(back, &second);
	if (!bytes_equal(buf_bytes(&first), buf_bytes(&second)))
		abort();
	config_free(back);
	config_report_release(&report);
	buf_release(&first);
	buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_report report;
	struct config *c = config_load(bytes_of(data, size), "fuzz", &report);

	if ((c == NULL) != (report.errors.count > 0))
		abort();
	if (c != NULL)
		check_reads_back(c);
	config_free(c);
	config_report_release(&report);
	return 0;
}
