/* SPDX-License-Identifier: Apache-2.0 */
/* run - drives a loop in a test until something has happened. Threads: the loop's. */
#pragma once

#include <stdbool.h>

#include "io/loop.h"

/* Runs until *done or the deadline; returns *done. */
bool run_until(struct loop *l, const bool *done, unsigned deadline_ms);

/* The same until *count reaches wanted. */
bool run_until_count(struct loop *l, const unsigned *count, unsigned wanted, unsigned deadline_ms);

/* A few rounds, for what must not happen. */
void run_for(struct loop *l, unsigned ms);
