/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saved - what iptables-save printed, and which of it is ours.
 *
 * A rule is ours by its comment "tng:<instance>", a chain by such a rule in it or leading to it. Upstream's chains and
 * those of the sidecar styles carry no comment and are known by their names. A built-in chain is never ours, whatever
 * is in it. Removal uses the rules' own text as it was printed, so that nothing is lost in between.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

#define SAVED_COMMENT "tng:"
#define SAVED_LINES_MAX 200000

struct saved_chain {
	char *table;
	char *name;
	bool is_built_in;
	char *instance; /* of our comment; NULL: none */
	bool upstream;
	bool doomed;
};

struct saved_rule {
	char *chain;
	char *text;	/* behind "-A ", beginning with the chain */
	char *target;	/* of -j or -g; NULL: none */
	char *instance; /* of our comment; NULL: none */
	char *table;
	bool doomed;
};

struct saved {
	struct saved_chain *chains;
	size_t chain_count;
	struct saved_rule *rules;
	size_t rule_count;
};

/* What is no line of iptables-save is an error, as then more than that could be misunderstood. */
int saved_parse(struct bytes text, struct saved *s, struct err *e) MUST_CHECK;
void saved_release(struct saved *s);

/* What to take away. */
struct saved_query {
	const char *instance;	  /* NULL: all */
	const char *const *spare; /* instances to leave alone; ends with NULL; or NULL */
	const char *prefix;	  /* chains of the sidecar styles "<prefix>_REDIRECT"...; NULL: not these */
	bool upstream;		  /* upstream's remnants as well */
};

/* Marks as doomed; adds to what is marked already. Returns how many things are. */
size_t saved_doom(struct saved *s, const struct saved_query *q);

/* Spares a chain after all, as it has just been filled anew. Rules that lead to it stay doomed. */
void saved_spare(struct saved *s, const char *table, const char *chain);

/*
 * Input for iptables-restore --noflush: what is doomed goes, and jumps come (lines of rules_print_iptables_jumps(), or
 * NULL), in one transaction for each table. Empty when there is nothing to do.
 */
void saved_print_restore(const struct saved *s, const char *jumps, struct buf *out);

/* The same removal as commands, one for each line: "iptables-nft -w -t nat -D ...". */
void saved_print_commands(const struct saved *s, const char *tool, struct buf *out);
