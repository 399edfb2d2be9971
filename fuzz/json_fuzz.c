/* SPDX-License-Identifier: Apache-2.0 */
/* What parses must format to text that parses to an equal value, compactly and canonically. */
#include <stdlib.h>

#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reads_back(const struct json *j, void (*format)(const struct json *, struct buf *), bool exact)
{
	struct buf text = { 0 };
	struct err e;
	struct json *back;

	format(j, &text);
	back = json_parse(buf_bytes(&text), JSON_STRICT, &e);
	if (back == NULL || (exact && !json_equal(j, back)))
		abort();
	json_free(back);
	buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;
	struct json *j = json_parse(bytes_of(data, size), JSON_WITH_COMMENTS, &e);

	if (j == NULL)
		return 0;
	check_reads_back(j, json_format, true);
	check_reads_back(j, json_format_canonical, false); /* numbers become doubles */
	json_free(j);
	return 0;
}
