/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host - what rules depend on and the configuration does not say.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* An address that others can reach, fd00::/8 included: IPv6 that is not captured would leave in clear. */
bool host_has_ipv6(void);

/*
 * gives where cgroup2 is mounted below /sys/fs/cgroup, as rules_set_cgroup_mount() wants it; NULL with e when it is
 * mounted elsewhere, or not at all.
 */
char *host_cgroup_mount(struct err *e);

/* The same, from the text of /proc/self/mountinfo. */
char *cgroup_mount_of(const char *mountinfo, struct err *e);
