/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rights - what the gateway may still do once it has started.
 *
 * Capabilities belong to threads and pass to those that a thread starts: they are dropped after the listeners are open
 * and the guard is forked, and before the first thread. What is kept is what the data path asks the kernel for again
 * and again, or what standing in for a guard that was killed takes.
 *
 * Threads: the main thread, as long as it is the only one.
 */
#pragma once

#include "base/err.h"

struct gateway;

/* Every capability goes but those that the entries need: from the bounding set as well. */
int rights_drop(const struct gateway *g, struct err *e) MUST_CHECK;
