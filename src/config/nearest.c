/* SPDX-License-Identifier: Apache-2.0 */
/* nearest - edit distance. */
#include "config/nearest.h"

#include <string.h>

#include "base/mem.h"

/* Nothing we know is longer; what is, is not near. */
#define NAME_MAX_LEN 64

/* Insertions, deletions, replacements and swaps of neighbours that lead from a to b. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[3][NAME_MAX_LEN + 1]; /* of two letters ago, of the last letter, of this one */
	size_t *older = rows[0];
	size_t *old = rows[1];
	size_t *row = rows[2];
	size_t a_len = strlen(a);
	size_t b_len = strlen(b);

	for (size_t j = 0; j <= b_len; j++)
		old[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *spare = older;

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = MIN(MIN(old[j], row[j - 1]) + 1, old[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = MIN(row[j], older[j - 2] + 1);
		}
		older = old;
		old = row;
		row = spare;
	}
	return old[b_len];
}

const char *nearest_name(const char *text, const char *const *names, size_t count)
{
	const char *best = NULL;
	size_t best_distance = NAME_MAX_LEN;

	if (strlen(text) > NAME_MAX_LEN)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t d = distance(text, names[i]);

		if (d < best_distance && d <= MAX(strlen(names[i]) / 3, (size_t)1)) {
			best = names[i];
			best_distance = d;
		}
	}
	return best;
}
