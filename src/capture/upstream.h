/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upstream - whether an upstream TNG with rules runs in this network namespace.
 *
 * It binds the abstract unix address "@tng", which anybody may do. So it counts only when the process that has it could
 * change rules (it is root's or ours), or when nobody can be found who has it.
 *
 * Threads: any; looks through /proc.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * pid: of the process, or 0 when it is not visible from here. false, and *pid set: somebody without rights has the
 * name.
 */
bool upstream_runs(pid_t *pid);

/* Refuses while one runs, and says so in the log when somebody only pretends. */
int upstream_check(struct err *e) MUST_CHECK;
