/* SPDX-License-Identifier: Apache-2.0 */
/* congestion - whose congestion control our connections have. docs/configuration.md, tcp_congestion. Threads: main. */
#pragma once

#include "base/err.h"
#include "config/config.h"
#include "io/sock.h"

/* Into o, which keeps c and host, the name of the host's own. */
void congestion_choose(const struct config *c, char host[SOCK_CONGESTION_TEXT], struct sock_options *o);

/* Whether we may have what the configuration names. Behind rights_drop(): with fewer rights the kernel refuses more. */
int congestion_check(const struct config *c, struct err *e) MUST_CHECK;
