/* SPDX-License-Identifier: Apache-2.0 */
/* dial_reason - what a failed dial is called, by whom it was to reach. Threads: any. */
#pragma once

#include "io/dial.h"
#include "metrics/reason.h"

/* The other gateway. */
enum reason dial_reason_peer(enum dial_failure failure);

enum reason dial_reason_service(enum dial_failure failure);
