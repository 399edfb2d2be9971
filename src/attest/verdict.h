/* SPDX-License-Identifier: Apache-2.0 */
/* verdict - what was concluded about a peer. Threads: any. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "metrics/reason.h"

struct verdict {
	bool accepted;
	enum reason reason; /* why not */
	struct err why;
	/*
	 * Monotonic; accepted only. Counted from when the service was asked, so it may have passed when
	 * the service was slow: the verdict is then good for the connection that asked, and no other.
	 */
	uint64_t expires_ms;
	char tee[32];	 /* what the peer runs on, e.g. "tdx"; accepted only */
	char policy[96]; /* the policy ids that the token names, for the log */
};
