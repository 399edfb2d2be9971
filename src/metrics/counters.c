/* SPDX-License-Identifier: Apache-2.0 */
/* counters - adding up. */
#include "metrics/counters.h"

#include "base/bytes.h"

static uint64_t sum(struct counters *const *blocks, size_t count, size_t offset)
{
	uint64_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += counter_read((const atomic_uint_fast64_t *)((const char *)blocks[i] + offset));
	return total;
}

void counters_format(struct counters *const *blocks, size_t count, struct buf *out)
{
	static const struct {
		const char *name;
		size_t offset;
	} plain[] = {
		{ "flows_total", offsetof(struct counters, flows_total) },
		{ "flows_active", offsetof(struct counters, flows_active) },
		{ "bytes_to_far", offsetof(struct counters, bytes_to_far) },
		{ "bytes_to_near", offsetof(struct counters, bytes_to_near) },
		{ "handshakes", offsetof(struct counters, handshakes) },
		{ "verdict_hits", offsetof(struct counters, verdict_hits) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		buf_format(out, "%s%s=%llu", i == 0 ? "" : " ", plain[i].name,
			   (unsigned long long)sum(blocks, count, plain[i].offset));
	for (int r = 0; r < REASON_COUNT; r++) {
		uint64_t n =
			sum(blocks, count, offsetof(struct counters, ends) + (size_t)r * sizeof(atomic_uint_fast64_t));

		if (n > 0)
			buf_format(out, " end_%s=%llu", reason_word(r), (unsigned long long)n);
	}
}
