/* SPDX-License-Identifier: Apache-2.0 */
/* reason - the words. */
#include "metrics/reason.h"

static const char *const words[] = {
#define X(name, word, text) word,
	REASONS(X)
#undef X
};

static const char *const texts[] = {
#define X(name, word, text) text,
	REASONS(X)
#undef X
};

const char *reason_word(enum reason r)
{
	return words[r];
}

const char *reason_text(enum reason r)
{
	return texts[r];
}
