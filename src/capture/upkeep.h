/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upkeep - puts the rules back when somebody else takes them away.
 *
 * "nft flush ruleset" (which is how Debian's nftables.service reloads), "iptables -F" or an iptables-restore take rules
 * of everybody, and what was captured would flow in clear from then on. A table of nftables with an owner is safe from
 * them; tables without one (on_exit "drop"), iptables, and policy routes are not. So what stands is remembered as text
 * and looked at again: at once when the kernel tells of a change (nf_tables, which is iptables-nft as well), else every
 * so often. Looks take no more than a twentieth of the time, however often others change theirs.
 *
 * Threads: the guard's; it blocks for as long as a look takes.
 */
#pragma once

#include "capture/apply.h"

struct upkeep;

/* keeps applier and rules. interval_ms 0: only when the kernel tells. */
struct upkeep *upkeep_new(struct applier *applier, const struct ruleset *rules, unsigned interval_ms);
void upkeep_free(struct upkeep *u);

/* The rules stand: what there is now is what is to be there. */
void upkeep_begin(struct upkeep *u);

/* The rules are about to be changed by us. */
void upkeep_end(struct upkeep *u);

/* Readable when there may be something to do; -1: there is none. */
int upkeep_descriptor(const struct upkeep *u);

/* For poll(): how long from now nothing is to be done; -1: for ever. */
int upkeep_wait_ms(const struct upkeep *u, uint64_t now_ms);

/* Looks, when it is time to. */
void upkeep_run(struct upkeep *u, uint64_t now_ms);
