/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iptables - the tools of iptables, of both flavours and both families.
 *
 * The flavours (over nftables, and legacy) keep their rules apart in the kernel, which evaluates both; each tool sees
 * only its own.
 *
 * Threads: any without a loop; it blocks.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

enum iptables_flavour { IPTABLES_NFT, IPTABLES_LEGACY };
#define IPTABLES_FLAVOURS 2

/* Paths; NULL where the tool is not installed. */
struct iptables_family {
	char *command;
	char *restore;
	char *save;
};

struct iptables {
	enum iptables_flavour flavour;
	struct iptables_family v4;
	struct iptables_family v6;
};

const char *iptables_flavour_name(enum iptables_flavour flavour); /* "iptables-nft", "iptables-legacy" */

/* The tools of a flavour; false when the one for IPv4 is not installed or cannot be of that flavour. */
bool iptables_find(enum iptables_flavour flavour, struct iptables *t);

/*
 * Those that the system's "iptables" stands for, if they work here (the tables can be listed), else the other
 * flavour's. Loads the kernel's modules on the way, which takes rights that may be dropped behind it.
 */
int iptables_find_working(struct iptables *t, struct err *e) MUST_CHECK;
void iptables_release(struct iptables *t);

const struct iptables_family *iptables_family(const struct iptables *t, int family);

/* One transaction for each table in text. */
int iptables_restore(const struct iptables *t, int family, struct bytes text, struct err *e) MUST_CHECK;

/* Appends all tables as iptables-save prints them. Loads no module: a legacy table that is not in use is not there. */
int iptables_save(const struct iptables *t, int family, struct buf *out, struct err *e) MUST_CHECK;
