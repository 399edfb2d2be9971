/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cidr - a range of addresses, "10.0.0.0/8" or "fd00::/8".
 *
 * Threads: any.
 */
#pragma once

#include "base/bytes.h"
#include "io/sock.h"

struct cidr {
	struct sock_addr addr;
	unsigned prefix; /* bits */
};

/* An address without a prefix is itself alone. false: neither of them; bits behind the prefix are not looked at. */
bool cidr_parse(const char *text, struct cidr *out);
bool cidr_has(const struct cidr *c, const struct sock_addr *a);
