/* SPDX-License-Identifier: Apache-2.0 */
/* What iptables-save prints: nothing of it may become a command that is not a removal of ours. */
#include <stdlib.h>
#include <string.h>

#include "capture/saved.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(const char *text)
{
	for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
		if (strncmp(line, "-D ", 3) != 0 && strncmp(line, "-F ", 3) != 0 && strncmp(line, "-X ", 3) != 0 &&
		    line[0] != '*' && strncmp(line, "COMMIT\n", 7) != 0)
			abort();
		if (strchr(line, '\n') == NULL)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct saved s;
	struct buf out = { 0 };
	struct err e;

	if (saved_parse(bytes_of(data, size), &s, &e) != 0)
		return 0;
	saved_doom(&s, &(struct saved_query){ .prefix = "TNG", .upstream = true });
	saved_print_restore(&s, NULL, &out);
	check_lines(buf_str(&out));
	buf_clear(&out);
	saved_print_commands(&s, "iptables", &out);
	buf_release(&out);
	saved_release(&s);
	return 0;
}
