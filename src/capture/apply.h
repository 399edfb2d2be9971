/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply - brings a ruleset into the kernel and takes it out again.
 *
 * With nftables a change is one transaction. With iptables it is one for each table: the chains are filled first, and
 * a second transaction exchanges the jumps to them. Policy routes are there before the first packet is marked, and go
 * after the last. Whatever of the same instance was there before is replaced, never removed first, so that there is no
 * moment in between.
 *
 * Threads: the main thread; it blocks.
 */
#pragma once

#include "capture/journal.h"
#include "capture/rules.h"
#include "io/sock.h"

struct applier;

/*
 * Chooses the back end and makes sure that it works here: nftables where the kernel has it (owned: tables with an
 * owner), else iptables; the text of the error says what was tried. gives an applier; keeps nothing.
 */
struct applier *applier_new(enum interception_backend wanted, bool need_iptables, bool owned, const char *instance,
			    struct err *e);

/* An nftables table with an owner goes with it. */
void applier_free(struct applier *a);

enum journal_backend applier_backend(const struct applier *a);
const char *applier_name(const struct applier *a); /* "nft", "iptables-nft", "iptables-legacy" */

/* After a failure a part may stand: applier_remove() or applier_block() follows. */
int applier_apply(struct applier *a, const struct ruleset *r, struct err *e) MUST_CHECK;

/*
 * Appends the command that puts dst into the ingress's set of what has refused; nothing with iptables, which has no
 * such set.
 */
void applier_print_refused(const struct applier *a, unsigned ingress, const struct sock_addr *dst, struct buf *out);

/* Loads what was printed. */
int applier_load(struct applier *a, struct buf *text, struct err *e) MUST_CHECK;

/*
 * Appends what stands of the rules and routes, as text that is the same until somebody changes them; sets that fill by
 * themselves are not in it. ERR_CONFIG: no rules of ours are there at all, or a route is not.
 */
int applier_print_standing(struct applier *a, const struct ruleset *r, struct buf *out, struct err *e) MUST_CHECK;

/* Whether a table of nf_tables is one that has rules of ours (iptables-nft's count as well). */
bool applier_uses_table(const struct applier *a, const char *table);

/* The block in place of the rules. stays: it is not to go with this process. The routes go. */
int applier_block(struct applier *a, const struct ruleset *r, bool stays, struct err *e) MUST_CHECK;

/* Rules, then the routes. */
int applier_remove(struct applier *a, const struct ruleset *r, struct err *e) MUST_CHECK;

/*
 * What an earlier run of this instance left with another back end, to be called when the rules stand. Where that cannot
 * be looked at, it is assumed that there is nothing; had is what the journal says of it.
 */
int applier_remove_leftovers(struct applier *a, enum journal_backend had, struct err *e) MUST_CHECK;

/*
 * The same for tng iptables, in one call: what is applied stays. Under the lock of the instance: refused while a
 * gateway of this name keeps rules.
 */
int rules_apply(const struct ruleset *r, enum interception_backend backend, struct err *e) MUST_CHECK;
