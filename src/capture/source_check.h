/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_check - the one setting of the kernel that stands between TPROXY and what other hosts send.
 *
 * With net.ipv4.conf.all.src_valid_mark the kernel looks up the way back to a packet's source with the packet's mark. A
 * packet that we have marked then finds our table, where every address is local, and is dropped as forged, whatever
 * rp_filter says. What this host itself sends is not checked. (IPv6 has no such check.)
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* The setting is on for all interfaces. */
bool source_check_uses_marks(void);

/* Switches it off, or on again. */
int source_check_set(bool uses_marks, struct err *e) MUST_CHECK;
