/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_internal - the model behind rules.h: chains of typed rules, and sets.
 *
 * A chain with a hook is where packets come in: a base chain of nftables, and for iptables a chain of ours into which
 * the built-in one jumps. It hands packets to the chains of the entries. Rules are for both families, or for one; a
 * chain of one family is never printed for the other.
 *
 * Threads: any; a ruleset is built by one thread and constant afterwards.
 */
#pragma once

#include "capture/bridges.h"
#include "capture/rules.h"

/* TABLE_BRIDGE: of frames that pass through a bridge; a table of its own in nftables, nat of ebtables. */
enum rule_table { TABLE_MANGLE, TABLE_NAT, TABLE_FILTER, TABLE_BRIDGE };

enum rule_hook {
	HOOK_NONE, /* jumped into */
	HOOK_PREROUTING,
	HOOK_INPUT,
	HOOK_FORWARD,
	HOOK_OUTPUT,
	HOOK_POSTROUTING,
};

enum match_kind {
	MATCH_MARK,    /* value under mask */
	MATCH_CT_MARK, /* value under mask */
	MATCH_CT_REPLY,
	MATCH_SRC_TYPE, /* value: enum address_type */
	MATCH_DST_TYPE,
	MATCH_DST,     /* text: a network */
	MATCH_DPORT,   /* first to last */
	MATCH_SRC,     /* TABLE_BRIDGE; text: a network */
	MATCH_SPORT,   /* TABLE_BRIDGE; first to last */
	MATCH_IPSET,   /* text: holds the destination */
	MATCH_SET,     /* text: a set of ours holds the destination */
	MATCH_REFUSED, /* text: a set of ours, which the gateway fills, holds it */
	MATCH_IIF,     /* text */
	MATCH_OIF,
	MATCH_CGROUP, /* text: a path without slash in front */
	MATCH_UID,    /* value */
	MATCH_GID,
	MATCH_SOCKET_TRANSPARENT,
	MATCH_SYN,
};

enum address_type { ADDRESS_LOCAL, ADDRESS_UNICAST };

struct match {
	enum match_kind kind;
	bool negated;
	uint32_t value;
	uint32_t mask;
	uint16_t first;
	uint16_t last;
	const char *text; /* in the ruleset's strings */
};

enum verdict {
	VERDICT_RETURN,
	VERDICT_DROP,
	VERDICT_REJECT,	     /* with a reset */
	VERDICT_REDIRECT,    /* to port */
	VERDICT_TPROXY,	     /* to port, and mark */
	VERDICT_SET_MARK,    /* goes on */
	VERDICT_SET_CT_MARK, /* goes on */
	VERDICT_JUMP,	     /* to chain */
	VERDICT_QUEUE,	     /* value: its number */
	VERDICT_PULL,	     /* TABLE_BRIDGE: the frame is for the bridge, whose address text is */
};

#define RULE_MATCHES_MAX 8

struct rule {
	int family; /* AF_UNSPEC: both */
	bool tcp;
	struct match matches[RULE_MATCHES_MAX];
	size_t match_count;
	enum verdict verdict;
	const char *chain; /* name */
	const char *text;  /* in the ruleset's strings */
	uint16_t port;
	bool loopback;	/* VERDICT_TPROXY: the listener is on 127.0.0.1 or ::1, else on any address */
	uint32_t value; /* of a mark, under mask */
	uint32_t mask;
};

struct chain {
	const char *name; /* upper case, without prefix */
	enum rule_table table;
	enum rule_hook hook;
	int family;
	bool block; /* HOOK_*: of the rules and of the block */
	struct rule *rules;
	size_t count;
};

enum set_kind { SET_PORTS, SET_IPV4, SET_IPV6, SET_REFUSED4, SET_REFUSED6 };

/* Destinations of one kind that do not overlap: nftables has them as a set, iptables as a rule each. */
struct set {
	const char *name;
	enum set_kind kind;
	struct dst_conf *items; /* strings in the ruleset's */
	size_t count;
	unsigned timeout_ms; /* SET_REFUSED4 and 6 */
};

struct ruleset {
	const char *prefix; /* of chains of iptables: "TNG_0_" */
	const char *instance;
	const char *table;	/* of nftables: "tng" */
	const char *nft_prefix; /* of chains there: "", or what keeps them apart from keywords */
	uint32_t mark_mask;
	bool needs_iptables;
	char *cgroup_below; /* where cgroup2 is mounted below /sys/fs/cgroup: "", or "unified/" */
	struct chain **chains;
	size_t chain_count;
	struct set **sets;
	size_t set_count;
	struct policy_route *routes;
	size_t route_count;
	char **strings;
	size_t string_count;
	struct ruleset *block; /* what stands in its place; NULL in the block itself */
};

/* gives an empty one. prefix is that of the chains of iptables. */
struct ruleset *ruleset_new(const char *prefix, const char *instance, uint32_t mark_mask);

/* A string that lives as long as r. */
const char *ruleset_format(struct ruleset *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The chain of that name; a new one is added at the end. */
struct chain *ruleset_chain(struct ruleset *r, enum rule_table table, int family, const char *name);

/* The chain where packets come in. */
struct chain *ruleset_hook(struct ruleset *r, enum rule_table table, enum rule_hook hook);
struct set *ruleset_find_set(const struct ruleset *r, const char *name);
struct set *ruleset_add_set(struct ruleset *r, const char *name, enum set_kind kind);
void ruleset_add_route(struct ruleset *r, int family, uint32_t mark, uint32_t table, uint8_t protocol);

bool chain_has_family(const struct chain *c, int family);
bool rule_has_family(const struct rule *rule, int family);
bool ruleset_has_family(const struct ruleset *r, int family);

/* Adds a copy. */
void chain_add(struct chain *c, struct rule rule);

/* rule with one more match. */
struct rule rule_with(struct rule rule, struct match match);

/* rules_ingress.c, rules_egress.c; rules_entry.c has what both need. */
struct entry_rules {
	struct ruleset *r;
	const struct interception_conf *interception;
	const struct entry_conf *conf;
	const struct netfilter_conf *n; /* NULL: mapping */
	uint16_t listen_port;
	const char *name; /* "I0", "E0" */
	enum ipv6_policy ipv6;
	const uint32_t *own_marks; /* of all entries of its kind */
	size_t own_mark_count;
	uint32_t mark;
	const struct bridge_list *bridges; /* NULL: none */
};

void ingress_rules(const struct entry_rules *x);
void egress_rules(const struct entry_rules *x);

/* The chains of what is refused instead of diverted: family AF_UNSPEC for the block, AF_INET6 for a policy. */
void ingress_rejects(const struct entry_rules *x, int family);
void egress_rejects(const struct entry_rules *x, int family);

/* rules_bridge.c: frames that pass through a bridge come to the other rules. */
void bridge_rules(const struct entry_rules *x);

/* The interface from which the other rules see what comes in by name. */
const char *bridge_interface(const struct entry_rules *x, const char *name);

/* How the chain of an entry decides, in the order of interception.md 7.2. */
struct entry_chain {
	struct chain *chain;
	bool has_cgroups;     /* the hook knows them */
	bool foreign_sources; /* what comes from this host itself returns */
	bool local_sources;   /* what does not returns */
	bool others_only;     /* what is for this host, or for many, returns */
	bool ports_are_local; /* items without host and ipset are for this host */
	bool hosts_only;      /* only items with host or ipset */
	struct rule verdict;  /* without matches */
};

void entry_chain_fill(const struct entry_rules *x, const struct entry_chain *how);

/* The family of what is diverted. */
int entry_family(const struct entry_rules *x);

/* "tcp jump", from a hook: for each interface of in_ifname, or for all; without_loopback: all but lo. */
void entry_jump(const struct entry_rules *x, struct chain *from, const struct chain *to);
void entry_jump_in(const struct entry_rules *x, struct chain *from, const struct chain *to, bool without_loopback);

/* Packets of connections that our transparent sockets have are delivered here. */
void entry_divert_replies(const struct entry_rules *x);
void entry_routes(const struct entry_rules *x);
void entry_routes_to(const struct entry_rules *x, uint32_t mark, uint32_t table);

/* The chain that hands to the listener, and drops what finds none. */
struct chain *entry_tproxy(const struct entry_rules *x, bool loopback);

struct match match_mark(const struct ruleset *r, uint32_t mark);

/* rules_iptables.c: "-p tcp --dport 80 -j RETURN" of a rule, as words for a shell, for each item of a set. */
void iptables_print_rule(const struct ruleset *r, const struct rule *rule, int family, const char *before,
			 const char *after, struct buf *out);
const char *table_name(enum rule_table table);

/* rules_ebtables.c: as commands for a shell. */
void rules_print_ebtables_commands(const struct ruleset *r, struct buf *out);
void rules_print_ebtables_removal(const struct ruleset *r, struct buf *out);

/* A word as a shell reads it. */
void shell_word(const char *word, struct buf *out);
