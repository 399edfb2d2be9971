/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen_claims - no two entries listen on the same port of the same address.
 *
 * Listeners share their ports among workers, so the kernel would let two entries share one as well, and
 * hand each connection to either of them. An address inside another entry's wildcard is worth a warning.
 *
 * Threads: one.
 */
#pragma once

#include "config/place.h"

void check_listen_claims(struct reading *r);
