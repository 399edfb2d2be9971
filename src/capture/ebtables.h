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

/* Appends the instance's chains with the number of their rules, and the jumps to them; likewise. */
int ebtables_print_standing(const char *instance, struct buf *out, struct err *e) MUST_CHECK;

/* What stands: chains of table nat, and where PREROUTING leads, a line for each jump. */
#define EBTABLES_CHAINS_MAX 65536

struct ebtables_chain {
	char *name;
	unsigned rules;
	bool wanted;
};

struct ebtables_listing {
	struct ebtables_chain *chains;
	size_t count;
	struct buf jumps;
};

/* The text of "ebtables -L". ebtables_listing_release(), also after a failure. */
int ebtables_listing_parse(struct bytes text, struct ebtables_listing *l, struct err *e) MUST_CHECK;
void ebtables_listing_release(struct ebtables_listing *l);

/* "TNG_0_BRIDGE_PRE" is of instance "0". gives a string; NULL: not ours. */
char *ebtables_instance_of(const char *chain);
