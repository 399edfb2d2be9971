/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local_addr - is an address one of this host's?
 *
 * The kernel is asked each time (one netlink message, answered at once): addresses come and go, "local" routes make
 * whole ranges ours, and the question is rare.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>

#include "io/sock.h"

/* true also when the kernel does not say: the caller then refuses. */
bool local_addr_is_ours(const struct sock_addr *a);
