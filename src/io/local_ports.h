/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local_ports - ports that the kernel gives to connections of this host, as net.ipv4.ip_local_port_range and
 * ip_local_reserved_ports say; they hold for IPv6 as well.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* false also where it cannot be known. */
bool local_ports_include(uint16_t port);

/* The same of the two settings' texts: "32768\t60999", and "8080,30000-30010" or "". */
bool local_ports_match(const char *range, const char *reserved, uint16_t port);

/* When e says that port is in use: who may have it, and what to do. */
void local_ports_explain(uint16_t port, struct err *e);
