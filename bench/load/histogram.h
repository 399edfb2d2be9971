/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram - durations, kept to about one and a half percent.
 *
 * Threads: one.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6 /* each power of two is cut into 64 */
#define HISTOGRAM_LEN ((64 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS)

/* {0} is empty. */
struct histogram {
	uint64_t count;
	uint64_t max;
	uint64_t bins[HISTOGRAM_LEN];
};

void histogram_add(struct histogram *h, uint64_t value);

/* The value below which a share (0 to 1) of all lies; 0 when there is none. */
uint64_t histogram_quantile(const struct histogram *h, double share);
