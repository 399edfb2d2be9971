/* SPDX-License-Identifier: Apache-2.0 */
/* clock - the two clocks. */
#include "base/clock.h"

#include <time.h>

uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int64_t clock_unix(void)
{
	return time(NULL);
}
