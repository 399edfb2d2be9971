/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ebtables - takes frames out of bridges where the rules are of iptables.
 *
 * ebtables has no comments and no transactions: ours are the chains of table nat that are called "TNG_<instance>_...",
 * and the jump to one of them. What stands is exchanged in steps between which nothing is open: new rules are appended
 * before the old ones go.
 *
 * Threads: any without a loop; it blocks.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

/*
 * rules: as rules_print_ebtables() prints them for this instance. Chains of the instance that are not among them go.
 */
int ebtables_apply(const char *instance, struct bytes rules, struct err *e) MUST_CHECK;

/* Everything of the instance. Does not ask ebtables where it has not been in use, as that would make its table. */
int ebtables_remove(const char *instance, struct err *e) MUST_CHECK;

/*
 * Appends the chains of ours that there are, one name on each line; likewise.
 */
void ebtables_find(struct buf *names);

/* "TNG_0_BRIDGE_PRE" is of instance "0". gives a string; NULL: not ours. */
char *ebtables_instance_of(const char *chain);
