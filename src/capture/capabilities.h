/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capabilities - giving up what is not needed (capabilities(7)).
 *
 * Threads: the only one of its process; those that it starts later have what it has.
 */
#pragma once

#include <sys/capability.h>

#include "base/err.h"

/*
 * Only these stay, and nothing more comes by exec(). The first ones, as many as effective says, are in force; all of
 * them pass to programs that we run, also when we are not root.
 */
int capabilities_keep(const cap_value_t *keep, int count, int effective, struct err *e) MUST_CHECK;
