/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway - the configured entries, running.
 *
 * Threads: the caller's, which blocks in gateway_run().
 */
#pragma once

#include "base/err.h"
#include "config/config.h"

struct gateway;

/*
 * keeps c. Opens every listening socket and reads every trust anchor, so that what is wrong with them is an error
 * of the start. Blocks SIGTERM, SIGINT, SIGUSR1 and SIGPIPE for this and all later threads.
 */
struct gateway *gateway_new(const struct config *c, struct err *e);

/*
 * Runs until SIGTERM or SIGINT, drains, and returns 0; 1 when a listener was lost. A second signal ends the process at
 * once with 128 + its number. SIGUSR1 logs the counters.
 */
int gateway_run(struct gateway *g);
void gateway_free(struct gateway *g);
