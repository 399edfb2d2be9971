/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules - what the kernel has to do so that traffic reaches our listeners, as a value.
 *
 * A ruleset is built from the configuration and the ports of the listeners; nothing here touches the kernel. It
 * consists of chains with rules, of sets, and of the policy routes that TPROXY needs. Two back ends print it:
 * nftables as one transaction (rules_nft.c), iptables as input of iptables-restore or as commands (rules_iptables.c).
 * The other styles of "tng iptables" (mesh, tng1, tng2) are rulesets as well, built elsewhere and printed by the same
 * code. Order of the rules: interception.md 7.2.
 *
 * Threads: any; a ruleset is constant once it is built.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "config/capture_numbers.h"
#include "config/config.h"

#define CAPTURE_RULE_PREFERENCE 5650 /* of our "ip rule", before the main table */

/* An entry whose listener is open. */
struct captured_entry {
	const struct entry_conf *conf;
	uint16_t listen_port;
};

/* One "ip rule" and one "ip route": packets with the mark are delivered locally. */
struct policy_route {
	int family; /* AF_INET, AF_INET6 */
	uint32_t mark;
	uint32_t mask;
	uint32_t table;
	uint8_t protocol;
};

struct bridge_list;
struct ruleset;

/*
 * gives a ruleset. keeps nothing: conf may go. Refused with the place in the configuration: what cannot be expressed,
 * such as an entry that captures nothing. ipv6_host: the host has an IPv6 address of scope global, which decides what
 * an unset "ipv6" means.
 */
struct ruleset *rules_build(const struct interception_conf *conf, const struct captured_entry *entries, size_t count,
			    bool ipv6_host, struct err *e);
/*
 * The same on a host with bridges: what passes through them is captured as what is forwarded. in_ifname may name a
 * port, or a bridge for all of its ports. Refused: an ipset in an entry that captures there.
 */
struct ruleset *rules_build_bridged(const struct interception_conf *conf, const struct captured_entry *entries,
				    size_t count, bool ipv6_host, const struct bridge_list *bridges, struct err *e);
void rules_free(struct ruleset *r);

/*
 * Where cgroup2 is mounted below /sys/fs/cgroup, for nftables: "" (the default), or "unified/". Before anything is
 * printed.
 */
void rules_set_cgroup_mount(struct ruleset *r, const char *below);

/* What an instance's table of nftables is called, and its chains of iptables begin with. Give strings. */
char *rules_table_name(const char *instance);
char *rules_chain_prefix(const char *instance);

/* The instance that it was built for. Points into r. */
const char *rules_instance(const struct ruleset *r);

/* true: what other hosts send is marked, and handed to a listener by TPROXY. */
bool rules_take_forwarded(const struct ruleset *r);

/* true: frames are taken out of a bridge. */
bool rules_take_bridged(const struct ruleset *r);

/* true: only iptables can do it (a named ipset). */
bool rules_need_iptables(const struct ruleset *r);

/* true: first packets go to a queue. */
bool rules_use_queue(const struct ruleset *r);

/* Points into r. */
const struct policy_route *rules_routes(const struct ruleset *r, size_t *count);

/*
 * nft: one batch that replaces our table and nothing else; loading it twice leaves one table. owned: with the owner
 * flag, so that the table goes with the socket that loaded it.
 */
void rules_print_nft(const struct ruleset *r, bool owned, struct buf *out);
void rules_print_nft_removal(const struct ruleset *r, struct buf *out);

/*
 * What stands in place of the rules when the process has ended and open connections must not be heard: nothing
 * captured gets through any more; packets of connections are answered with a reset where the hook allows it.
 */
void rules_print_nft_block(const struct ruleset *r, bool owned, struct buf *out);

/*
 * With open_ports "negative_cache" a ruleset of nftables has sets "i<place of the entry>_refused4" (keys ipv4_addr .
 * inet_service) and, where IPv6 is captured, "..._refused6", whose items go by themselves. Who owns the table adds what
 * a service has refused: guard_refused().
 */

/* true: only nftables can do it (a set whose items go by themselves). */
bool rules_need_nft(const struct ruleset *r);

/*
 * iptables: the input of one "iptables-restore --noflush -w" for a family (AF_INET, AF_INET6); makes or empties our
 * chains and does not touch anything else. The jumps into them stand in rules_print_iptables_jumps(), one
 * per line, as arguments behind "iptables -w -t TABLE -I" or "-D" or "-C": "mangle PREROUTING 1 -p tcp ... -j
 * TNG_0_PRE". out stays empty when the family has no rules.
 */
void rules_print_iptables(const struct ruleset *r, int family, struct buf *out);
void rules_print_iptables_jumps(const struct ruleset *r, int family, struct buf *out);
void rules_print_iptables_block(const struct ruleset *r, int family, struct buf *out);

/*
 * ebtables, beside iptables, for what passes through bridges: lines ":CHAIN" and "-A CHAIN ...", for table nat. The
 * first one is the chain that PREROUTING jumps to. Empty when there is nothing. ebtables_apply() makes them.
 */
void rules_print_ebtables(const struct ruleset *r, struct buf *out);

/* Commands for a shell, one per line, in the order in which they work: rules, routes, policy rules. */
void rules_print_commands(const struct ruleset *r, enum interception_backend backend, struct buf *out);
void rules_print_removal_commands(const struct ruleset *r, enum interception_backend backend, struct buf *out);
