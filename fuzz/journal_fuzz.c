/* SPDX-License-Identifier: Apache-2.0 */
/* An undo journal from disk. What is accepted is written again, and accepted again. */
#include <stdlib.h>

#include "capture/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal j, again;
	struct buf text = { 0 };
	struct err e = { 0 };

	if (journal_parse(bytes_of(data, size), "fuzz", &j, &e) != 0)
		return 0;
	journal_format(&j, &text);
	if (journal_parse(buf_bytes(&text), "fuzz", &again, &e) != 0)
		abort();
	buf_release(&text);
	journal_release(&again);
	journal_release(&j);
	return 0;
}
