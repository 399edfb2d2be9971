/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve - the service behind the gateways: takes what comes up, sends what shall come down.
 *
 * Threads: one.
 */
#pragma once

#include <stdint.h>

/* Serves on 127.0.0.1 for so many seconds, then returns 0; 1 when it cannot listen. Prints "ready".
 */
int serve(uint16_t port, unsigned seconds);
