/* SPDX-License-Identifier: Apache-2.0 */
/* apply - a ruleset into the kernel and out of it. */
#include "capture/apply.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/ebtables.h"
#include "capture/instance.h"
#include "capture/iptables.h"
#include "capture/nft.h"
#include "capture/route.h"
#include "capture/saved.h"
#include "config/capture_numbers.h"

static const int families[] = { AF_INET, AF_INET6 };

struct applier {
	char *instance;
	bool owned;
	bool uses_nft;
	struct nft_session *nft;
	struct iptables iptables;
};

/* ---- choosing ---- */

/*
 * A table that is made and deleted in one transaction leaves nothing, but the kernel has had to know every word of it.
 */
static int try_nft(struct nft_session *s, bool owned, struct err *e)
{
	const char *text =
		owned ? "table inet tng_trial_of_owner { flags owner; }; delete table inet tng_trial_of_owner"
		      : "table inet tng_trial; delete table inet tng_trial";

	return nft_load(s, text, owned ? "try a table with an owner" : "try a table", e);
}

static int open_nft(struct applier *a, struct err *e)
{
	a->nft = nft_open(e);
	if (a->nft == NULL)
		return -1;
	if (try_nft(a->nft, a->owned, e) == 0) {
		a->uses_nft = true;
		return 0;
	}
	nft_close(a->nft);
	a->nft = NULL;
	return -1;
}

static int open_any(struct applier *a, bool need_iptables, struct err *e)
{
	struct err nft;

	if (!need_iptables && open_nft(a, &nft) == 0)
		return 0;
	if (iptables_find_working(&a->iptables, e) == 0) {
		if (!need_iptables)
			log_info("interception: %s is used: %s", iptables_flavour_name(a->iptables.flavour), nft.text);
		return 0;
	}
	return need_iptables ? -1 : err_wrap(e, "neither back end works: %s; %s", nft.text, "iptables");
}

struct applier *applier_new(enum interception_backend wanted, bool need_iptables, bool owned, const char *instance,
			    struct err *e)
{
	struct applier *a = mem_new_of(struct applier);
	int rc = -1;

	a->instance = mem_strdup(instance);
	a->owned = owned;
	switch (wanted) {
	case BACKEND_AUTO:
		rc = open_any(a, need_iptables, e);
		break;
	case BACKEND_NFT:
		rc = need_iptables ? err_set(e, ERR_CONFIG, "interception.backend is nft, but an ipset needs iptables")
				   : open_nft(a, e);
		break;
	case BACKEND_IPTABLES:
		rc = iptables_find_working(&a->iptables, e);
		break;
	case BACKEND_NONE:
		rc = err_set(e, ERR_CONFIG, "interception.backend is none: there is nothing to apply");
		break;
	}
	if (rc == 0)
		return a;
	applier_free(a);
	return NULL;
}

void applier_free(struct applier *a)
{
	if (a == NULL)
		return;
	nft_close(a->nft);
	iptables_release(&a->iptables);
	free(a->instance);
	free(a);
}

enum journal_backend applier_backend(const struct applier *a)
{
	if (a->uses_nft)
		return JOURNAL_NFT;
	return a->iptables.flavour == IPTABLES_NFT ? JOURNAL_IPTABLES_NFT : JOURNAL_IPTABLES_LEGACY;
}

const char *applier_name(const struct applier *a)
{
	return a->uses_nft ? "nft" : iptables_flavour_name(a->iptables.flavour);
}

/* ---- nftables ---- */

static const char *const nft_families[] = { "inet", "bridge" };

/* "<command> table ..." for each table of the instance that there is, a line each. */
static int print_nft_commands(struct nft_session *nft, const char *command, const char *instance, struct buf *out,
			      struct err *e)
{
	char *name = rules_table_name(instance);
	struct buf tables = { 0 };
	int rc = nft_ask(nft, "list tables", &tables, e);

	for (size_t i = 0; i < ARRAY_SIZE(nft_families) && rc == 0; i++) {
		char *line = mem_format("table %s %s\n", nft_families[i], name);
		const char *at = strstr(buf_str(&tables), line);

		if (at != NULL && (at == buf_str(&tables) || at[-1] == '\n'))
			buf_format(out, "%s %s", command, line);
		free(line);
	}
	buf_release(&tables);
	free(name);
	return rc;
}

/*
 * In one transaction. The deletion goes ahead although text begins with one of its own: that one needs the table
 * to exist, and adding it is refused when one is there whose owner flag is another.
 */
static int exchange_nft(struct nft_session *nft, const char *instance, const char *text, const char *what,
			struct err *e)
{
	struct buf all = { 0 };
	int rc = print_nft_commands(nft, "delete", instance, &all, e);

	buf_append_str(&all, text);
	if (rc == 0 && all.len > 0)
		rc = nft_load(nft, buf_str(&all), what, e);
	buf_release(&all);
	return rc;
}

/* ---- iptables ---- */

/* Every ":CHAIN ..." of text, which has just been filled. */
static void spare_filled(struct saved *s, const char *text)
{
	char *copy = mem_strdup(text);
	char *table = NULL;
	char *rest = copy;

	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		if (line[0] == '*')
			table = line + 1;
		if (line[0] != ':' || table == NULL)
			continue;
		line[strcspn(line, " ")] = '\0';
		saved_spare(s, table, line + 1);
	}
	free(copy);
}

/* What stands of this instance, but what text has just filled, gives way to the jumps. */
static int exchange_jumps(struct applier *a, int family, const char *filled, const char *jumps, struct err *e)
{
	struct saved_query own = { .instance = a->instance };
	struct buf now = { 0 };
	struct buf change = { 0 };
	struct saved s = { 0 };
	int rc = -1;

	if (iptables_save(&a->iptables, family, &now, e) != 0 || saved_parse(buf_bytes(&now), &s, e) != 0)
		goto out;
	saved_doom(&s, &own);
	spare_filled(&s, filled);
	saved_print_restore(&s, jumps, &change);
	rc = iptables_restore(&a->iptables, family, buf_bytes(&change), e);
out:
	saved_release(&s);
	buf_release(&change);
	buf_release(&now);
	return rc;
}

static bool has_family(const struct applier *a, int family)
{
	return iptables_family(&a->iptables, family)->save != NULL;
}

static int apply_iptables(struct applier *a, const struct ruleset *r, int family, struct err *e)
{
	struct buf text = { 0 };
	struct buf jumps = { 0 };
	int rc = 0;

	rules_print_iptables(r, family, &text);
	rules_print_iptables_jumps(r, family, &jumps);
	if (text.len > 0 || has_family(a, family))
		rc = iptables_restore(&a->iptables, family, buf_bytes(&text), e);
	if (rc == 0 && has_family(a, family))
		rc = exchange_jumps(a, family, buf_str(&text), buf_str(&jumps), e);
	buf_release(&jumps);
	buf_release(&text);
	return rc;
}

/* The block stands in the chains of the rules, to which the jumps lead already. */
static int block_iptables(struct applier *a, const struct ruleset *r, int family, struct err *e)
{
	struct buf text = { 0 };
	int rc;

	rules_print_iptables_block(r, family, &text);
	rc = iptables_restore(&a->iptables, family, buf_bytes(&text), e);
	buf_release(&text);
	return rc;
}

static int apply_ebtables(struct applier *a, const struct ruleset *r, struct err *e)
{
	struct buf text = { 0 };
	int rc;

	rules_print_ebtables(r, &text);
	rc = text.len == 0 ? ebtables_remove(a->instance, e) : ebtables_apply(a->instance, buf_bytes(&text), e);
	buf_release(&text);
	return rc;
}

static int remove_iptables(struct applier *a, struct err *e)
{
	struct err later;
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (has_family(a, families[i]) && exchange_jumps(a, families[i], "", NULL, rc == 0 ? e : &later) != 0)
			rc = -1;
	}
	return rc;
}

/* ---- both ---- */

static int apply_rules(struct applier *a, const struct ruleset *r, struct err *e)
{
	struct buf text = { 0 };
	int rc = 0;

	if (a->uses_nft) {
		rules_print_nft(r, a->owned, &text);
		rc = exchange_nft(a->nft, a->instance, buf_str(&text), "load the rules", e);
		buf_release(&text);
		return rc;
	}
	for (size_t i = 0; i < ARRAY_SIZE(families) && rc == 0; i++)
		rc = apply_iptables(a, r, families[i], e);
	return rc == 0 ? apply_ebtables(a, r, e) : -1;
}

/* Both are tried. */
static int remove_tables(struct applier *a, struct err *e)
{
	struct err later;
	int rc = ebtables_remove(a->instance, e);

	return remove_iptables(a, rc == 0 ? e : &later) == 0 ? rc : -1;
}

static int remove_rules(struct applier *a, struct err *e)
{
	return a->uses_nft ? exchange_nft(a->nft, a->instance, "", "delete the rules", e) : remove_tables(a, e);
}

static int remove_routes(const struct ruleset *r, struct err *e)
{
	size_t count;
	const struct policy_route *routes = rules_routes(r, &count);

	return route_remove(routes, count, e);
}

/* Told by its name: of a transaction that fails, nftables names some line, and "No such file or directory". */
static int check_queue(struct applier *a, const struct ruleset *r, struct err *e)
{
	static const char trial[] = "add table inet tng_trial_of_queue; add chain inet tng_trial_of_queue c; "
				    "add rule inet tng_trial_of_queue c queue num 1; "
				    "delete table inet tng_trial_of_queue";
	struct err why;

	if (!a->uses_nft || !rules_use_queue(r) || nft_load(a->nft, trial, "try a queue", &why) == 0)
		return 0;
	return err_set(e, ERR_CONFIG,
		       "open_ports \"connect_first\": this kernel has no queue of nftables (nft_queue): set "
		       "interception.backend to \"auto\" or \"iptables\"");
}

int applier_apply(struct applier *a, const struct ruleset *r, struct err *e)
{
	size_t count;
	const struct policy_route *routes = rules_routes(r, &count);

	if (check_queue(a, r, e) != 0)
		return -1;
	if (route_add(routes, count, e) != 0)
		return -1;
	return apply_rules(a, r, e);
}

void applier_print_refused(const struct applier *a, unsigned ingress, const struct sock_addr *dst, struct buf *out)
{
	char address[INET6_ADDRSTRLEN];
	bool v4 = dst->any.sa_family == AF_INET;
	const void *bytes = v4 ? (const void *)&dst->v4.sin_addr : (const void *)&dst->v6.sin6_addr;
	char *table;

	if (!a->uses_nft || inet_ntop(v4 ? AF_INET : AF_INET6, bytes, address, sizeof(address)) == NULL)
		return;
	table = rules_table_name(a->instance);
	buf_format(out, "add element inet %s i%u_refused%c { %s . %u }\n", table, ingress, v4 ? '4' : '6', address,
		   sock_addr_port(dst));
	free(table);
}

int applier_load(struct applier *a, struct buf *text, struct err *e)
{
	return text->len == 0 ? 0 : nft_load(a->nft, buf_str(text), "add what was refused", e);
}

int applier_block(struct applier *a, const struct ruleset *r, bool stays, struct err *e)
{
	struct buf text = { 0 };
	int rc = 0;

	if (a->uses_nft) {
		rules_print_nft_block(r, a->owned && !stays, &text);
		rc = exchange_nft(a->nft, a->instance, buf_str(&text), "load the block", e);
		buf_release(&text);
	} else {
		for (size_t i = 0; i < ARRAY_SIZE(families) && rc == 0; i++)
			rc = block_iptables(a, r, families[i], e);
	}
	if (rc == 0)
		rc = remove_routes(r, e);
	return rc;
}

/* Of an instance that does not run: with "drop" a block without an owner. */
static int remove_table_of(const char *instance, struct err *e)
{
	struct nft_session *nft = nft_open(e);
	int rc = nft != NULL ? exchange_nft(nft, instance, "", "delete the table of an earlier run", e) : -1;

	nft_close(nft);
	return rc;
}

static int remove_flavour_of(enum iptables_flavour flavour, const char *instance, struct err *e)
{
	struct applier other = { .instance = (char *)instance };
	int rc = 0;

	if (iptables_find(flavour, &other.iptables))
		rc = remove_iptables(&other, e);
	iptables_release(&other.iptables);
	return rc;
}

int applier_remove_leftovers(struct applier *a, enum journal_backend had, struct err *e)
{
	static const enum journal_backend all[] = { JOURNAL_NFT, JOURNAL_IPTABLES_NFT, JOURNAL_IPTABLES_LEGACY };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		int rc;

		if (all[i] == applier_backend(a))
			continue;
		if (all[i] == JOURNAL_NFT)
			rc = remove_table_of(a->instance, e);
		else
			rc = remove_flavour_of(all[i] == JOURNAL_IPTABLES_NFT ? IPTABLES_NFT : IPTABLES_LEGACY,
					       a->instance, e);
		if (rc != 0 && all[i] == had)
			return -1;
	}
	if (a->uses_nft && ebtables_remove(a->instance, e) != 0)
		return had == JOURNAL_NFT ? 0 : -1;
	return 0;
}

int applier_remove(struct applier *a, const struct ruleset *r, struct err *e)
{
	if (remove_rules(a, e) != 0) /* as long as packets are marked, they must find their way to us */
		return -1;
	return remove_routes(r, e);
}

/* ---- what stands ---- */

static int say_gone(struct err *e, const char *what)
{
	return err_set(e, ERR_CONFIG, "a %s of ours has gone", what);
}

static int print_standing_nft(struct applier *a, struct buf *out, struct err *e)
{
	struct buf commands = { 0 };
	int rc = print_nft_commands(a->nft, "list", a->instance, &commands, e);

	if (rc == 0 && commands.len == 0)
		rc = say_gone(e, "table");
	else if (rc == 0)
		rc = nft_list(a->nft, buf_str(&commands), out, e);
	buf_release(&commands);
	return rc;
}

/* Of iptables-save: chains and jumps of ours, and in which table. */
static int print_standing_iptables(struct applier *a, int family, struct buf *out, struct err *e)
{
	char *ours = rules_chain_prefix(a->instance);
	struct buf all = { 0 };
	int rc = iptables_save(&a->iptables, family, &all, e);
	char *copy = mem_strdup(buf_str(&all));
	char *rest = copy;

	for (char *line = strsep(&rest, "\n"); rc == 0 && line != NULL; line = strsep(&rest, "\n")) {
		if (line[0] == '*' || strstr(line, ours) != NULL)
			buf_format(out, "%s\n", line);
	}
	buf_release(&all);
	free(copy);
	free(ours);
	return rc;
}

static bool stands(const struct route_list *list, const struct policy_route *r)
{
	bool rule = false;
	bool route = false;

	for (size_t i = 0; i < list->count; i++) {
		const struct route_found *f = &list->items[i];

		if (f->at.family != r->family || f->at.table != r->table)
			continue;
		rule = rule || (f->has_rule && f->at.mark == r->mark && f->at.mask == r->mask);
		route = route || f->has_route;
	}
	return rule && route;
}

static int check_routes(const struct ruleset *r, struct err *e)
{
	size_t count;
	const struct policy_route *routes = rules_routes(r, &count);
	struct route_list list;
	int rc = 0;

	if (count == 0)
		return 0;
	if (route_find(routes[0].protocol, &list, e) != 0)
		return -1;
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = stands(&list, &routes[i]) ? 0 : say_gone(e, "policy route");
	route_list_release(&list);
	return rc;
}

int applier_print_standing(struct applier *a, const struct ruleset *r, struct buf *out, struct err *e)
{
	int rc = 0;

	if (a->uses_nft) {
		rc = print_standing_nft(a, out, e);
	} else {
		for (size_t i = 0; i < ARRAY_SIZE(families) && rc == 0; i++) {
			if (has_family(a, families[i]))
				rc = print_standing_iptables(a, families[i], out, e);
		}
		if (rc == 0 && strstr(buf_str(out), "-j TNG_") == NULL)
			rc = say_gone(e, "jump");
		if (rc == 0)
			rc = ebtables_print_standing(a->instance, out, e);
	}
	return rc == 0 ? check_routes(r, e) : -1;
}

bool applier_uses_table(const struct applier *a, const char *table)
{
	char *own;
	bool same;

	if (!a->uses_nft)
		return strcmp(table, "mangle") == 0 || strcmp(table, "nat") == 0 || strcmp(table, "filter") == 0;
	own = rules_table_name(a->instance);
	same = strcmp(table, own) == 0;
	free(own);
	return same;
}

/* ---- without a guard ---- */

int rules_apply(const struct ruleset *r, enum interception_backend backend, struct err *e)
{
	const char *name = rules_instance(r);
	struct instance *instance = instance_open(name, e);
	struct applier *a = NULL;
	struct err undo;
	int rc = -1;

	if (instance == NULL)
		return -1;
	a = applier_new(backend, rules_need_iptables(r), false, name, e);
	if (a == NULL)
		goto out;
	rc = applier_apply(a, r, e);
	if (rc != 0)
		(void)!applier_remove(a, r, &undo); /* the first failure is the one to tell */
out:
	applier_free(a);
	instance_end(instance);
	return rc;
}
