/* SPDX-License-Identifier: Apache-2.0 */
/* histogram - bins as wide as their values ask for. */
#include "histogram.h"

#define SUB_COUNT (1u << HISTOGRAM_SUB_BITS)

/* Values below 64 have a bin of their own; above, a bin is the power of two and the six bits below
 * it. */
static unsigned bin_of(uint64_t value)
{
	unsigned shift;

	if (value < SUB_COUNT)
		return (unsigned)value;
	shift = 63 - HISTOGRAM_SUB_BITS - (unsigned)__builtin_clzll(value);
	return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

/* The middle of a bin. */
static uint64_t value_of(unsigned bin)
{
	unsigned shift;
	uint64_t low;

	if (bin < 2 * SUB_COUNT)
		return bin;
	shift = (bin >> HISTOGRAM_SUB_BITS) - 1;
	low = (uint64_t)(bin - (shift << HISTOGRAM_SUB_BITS)) << shift;
	return low + ((uint64_t)1 << shift) / 2;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->bins[bin_of(value)]++;
	h->count++;
	if (value > h->max)
		h->max = value;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
	uint64_t wanted = (uint64_t)(share * (double)h->count);
	uint64_t seen = 0;

	for (unsigned bin = 0; bin < HISTOGRAM_LEN; bin++) {
		seen += h->bins[bin];
		if (seen > wanted)
			return value_of(bin);
	}
	return h->max;
}
