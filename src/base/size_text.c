/* SPDX-License-Identifier: Apache-2.0 */
/* size_text - sizes with units. */
#include "base/size_text.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

static const char letters[] = "KMGT";

static bool parse_unit(const char *text, unsigned *shift)
{
	const char *letter;

	*shift = 0;
	if (text[0] == '\0' || strcasecmp(text, "B") == 0)
		return true;
	letter = strchr(letters, text[0] & ~0x20);
	if (letter == NULL || *letter == '\0')
		return false;
	*shift = 10 * (unsigned)(letter - letters + 1);
	return text[1] == '\0' || strcasecmp(text + 1, "B") == 0 || strcasecmp(text + 1, "iB") == 0;
}

bool size_text_parse(const char *text, uint64_t *bytes)
{
	uint64_t value = 0;
	size_t digits = strspn(text, "0123456789");
	unsigned shift;

	for (size_t i = 0; i < digits; i++) {
		if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
			return false;
	}
	text += digits;
	if (digits == 0 || !parse_unit(text + strspn(text, " "), &shift))
		return false;
	*bytes = value << shift;
	return *bytes >> shift == value;
}

void size_text_format(uint64_t bytes, struct buf *out)
{
	size_t unit = strlen(letters);

	while (unit > 0 && (bytes == 0 || bytes % ((uint64_t)1 << 10 * unit) != 0))
		unit--;
	buf_format(out, "%" PRIu64, bytes >> 10 * unit);
	if (unit > 0)
		buf_format(out, "%ciB", letters[unit - 1]);
}
