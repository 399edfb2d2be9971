/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_rules - the rules that stand, compared with those that the configuration makes, line by
 * line.
 *
 * Both are compared as the kernel prints them: those of the configuration are loaded in a network
 * namespace of their own, by the code that the gateway loads them with, and listed by the code that
 * lists those that stand. So nothing here knows what a rule looks like; ports, marks, tables and
 * the order are all in the text.
 *
 * A port that the configuration leaves open is not known here: then ports of listeners are compared
 * by look_at_entry() of doctor_running.c alone. Chains of ebtables are looked at by
 * doctor_bridge.c.
 */
#include "capture/doctor_internal.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/apply.h"
#include "capture/bridges.h"
#include "capture/host.h"
#include "capture/iptables.h"
#include "capture/nft.h"
#include "capture/rules.h"
#include "capture/saved.h"
#include "capture/tool.h"

#define STANDING "rules"
#define HITS "hit counters"
#define NAME "as configured"
#define PORT_UNKNOWN 1 /* in place of a port that is found at start */
#define EXPECTED_MAX TOOL_OUTPUT_MAX
#define FOUND_RULE_MAX 200

/* ---- what the configuration makes ---- */

static bool takes_part(const struct entry_conf *entry)
{
	return entry->netfilter != NULL || entry->transparency.in || entry->transparency.out;
}

static bool has_open_port(const struct config *c)
{
	for (size_t i = 0; i < c->entry_count; i++) {
		if (c->entries[i].netfilter != NULL && c->entries[i].netfilter->listen_port == 0)
			return true;
	}
	return false;
}

static bool names_cgroups(const struct config *c)
{
	for (size_t i = 0; i < c->entry_count; i++) {
		const struct netfilter_conf *n = c->entries[i].netfilter;

		if (n != NULL && n->capture_cgroup.count + n->nocapture_cgroup.count > 0)
			return true;
	}
	return false;
}

static struct ruleset *build_on(const struct config *c, const struct bridge_list *bridges, struct err *e)
{
	struct captured_entry *entries = mem_new_array(c->entry_count + 1, sizeof(*entries));
	struct ruleset *rules;
	size_t count = 0;

	for (size_t i = 0; i < c->entry_count; i++) {
		const struct netfilter_conf *n = c->entries[i].netfilter;
		uint16_t port = n != NULL && n->listen_port != 0 ? n->listen_port : PORT_UNKNOWN;

		if (takes_part(&c->entries[i]))
			entries[count++] = (struct captured_entry){ &c->entries[i], port };
	}
	rules = rules_build_bridged(&c->interception, entries, count, host_has_ipv6(), bridges, e);
	free(entries);
	return rules;
}

/* As the gateway makes them, on the host as it is now. */
static struct ruleset *build(const struct config *c, struct err *e)
{
	struct bridge_list bridges;
	struct ruleset *rules = NULL;
	char *below = NULL;

	if (bridges_find(&bridges, e) == 0)
		rules = build_on(c, &bridges, e);
	bridge_list_release(&bridges);
	if (rules == NULL || !names_cgroups(c))
		return rules;
	below = host_cgroup_mount(e);
	if (below != NULL) {
		rules_set_cgroup_mount(rules, below);
	} else {
		rules_free(rules);
		rules = NULL;
	}
	free(below);
	return rules;
}

/* ---- listing ---- */

/* Chain by chain, "inet i0_out: rule"; what a set holds that we fill ourselves is left out. */
static void add_nft_lines(const char *family, char *text, struct buf *out)
{
	char *rest = text;
	const char *block = "";
	bool skip = false;

	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		line += strspn(line, "\t ");
		if (strncmp(line, "chain ", 6) == 0 || strncmp(line, "set ", 4) == 0) {
			line[strcspn(line, "{")] = '\0';
			block = line;
			skip = strstr(line, "_refused") != NULL;
		} else if (strcmp(line, "}") == 0) {
			block = "";
			skip = false;
		} else if (*line != '\0' && *block != '\0' && !skip) {
			buf_format(out, "%s %s: %s\n", family, block, line);
		}
	}
}

static int list_nft(const char *table, struct buf *out, struct err *e)
{
	static const char *const table_families[] = { "inet", "bridge" };
	struct nft_session *nft = nft_open(e);
	int rc = nft != NULL ? 0 : -1;

	for (size_t i = 0; i < ARRAY_SIZE(table_families) && nft != NULL; i++) {
		char *ask = mem_format("list table %s %s", table_families[i], table);
		struct buf text = { 0 };
		struct err absent;

		/* A table that is not there is one whose lines are all missing. */
		if (nft_ask(nft, ask, &text, &absent) == 0 && text.len > 0) {
			char *copy = mem_strdup(buf_str(&text));

			add_nft_lines(table_families[i], copy, out);
			free(copy);
		}
		buf_release(&text);
		free(ask);
	}
	nft_close(nft);
	return rc;
}

static bool is_of(const struct saved_rule *rule, const char *instance)
{
	return rule->instance != NULL && strcmp(rule->instance, instance) == 0;
}

static int list_saved(const struct iptables *t, int family, const char *instance, struct buf *out, struct err *e)
{
	struct buf text = { 0 };
	struct saved s = { 0 };
	int rc = -1;

	if (iptables_family(t, family)->save == NULL) {
		rc = 0;
	} else if (iptables_save(t, family, &text, e) == 0 && saved_parse(buf_bytes(&text), &s, e) == 0) {
		for (size_t i = 0; i < s.rule_count; i++) {
			if (is_of(&s.rules[i], instance))
				buf_format(out, "%s %s: %s\n", family == AF_INET ? "IPv4" : "IPv6", s.rules[i].table,
					   s.rules[i].text);
		}
		rc = 0;
	}
	saved_release(&s);
	buf_release(&text);
	return rc;
}

/* Both flavours: rules that are left in the other one are evaluated as well. */
static int list_iptables(const char *instance, struct buf *out, struct err *e)
{
	int rc = 0;

	for (int flavour = 0; flavour < IPTABLES_FLAVOURS && rc == 0; flavour++) {
		struct iptables t;

		if (iptables_find((enum iptables_flavour)flavour, &t))
			rc = list_saved(&t, AF_INET, instance, out, e) == 0 ? list_saved(&t, AF_INET6, instance, out, e)
									    : -1;
		iptables_release(&t);
	}
	return rc;
}

static int list(const struct config *c, const char *table, bool nft, struct buf *out, struct err *e)
{
	return nft ? list_nft(table, out, e) : list_iptables(c->interception.instance, out, e);
}

/* ---- in a namespace of its own ---- */

static void make_sets(const struct dst_conf *items, size_t count)
{
	char *tool = tool_find("ipset");
	struct err e;

	for (size_t i = 0; i < count && tool != NULL; i++) {
		/* By its name alone it is known to a rule: its type does not show. */
		if (items[i].ipset != NULL)
			(void)!tool_run_ok(
				&(struct tool_run){ .argv = (const char *const[]){ tool, "-exist", "create",
										   items[i].ipset, "hash:net", NULL } },
				&e);
	}
	free(tool);
}

static int load(const struct config *c, const struct ruleset *rules, bool nft, struct err *e)
{
	struct applier *a = NULL;
	int rc = -1;

	for (size_t i = 0; i < c->entry_count && !nft; i++) {
		const struct netfilter_conf *n = c->entries[i].netfilter;

		if (n == NULL)
			continue;
		make_sets(n->capture_dst, n->capture_dst_count);
		make_sets(n->exclude_dst, n->exclude_dst_count);
	}
	a = applier_new(nft ? BACKEND_NFT : BACKEND_IPTABLES, false, false, c->interception.instance, e);
	if (a != NULL)
		rc = applier_apply(a, rules, e);
	applier_free(a);
	return rc;
}

static void write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n <= 0)
			_exit(1);
		text += n;
		len -= (size_t)n;
	}
}

/* Status 0: fd has got the lines; 1: the reason why not. */
static void expect_in_child(const struct config *c, const struct ruleset *rules, const char *table, bool nft, int fd)
{
	struct buf lines = { 0 };
	struct err e;

	doctor_silence();
	if (doctor_enter_scratch() != 0)
		err_set(&e, ERR_SYSTEM, "no network namespace to load the configuration's rules in");
	else if (load(c, rules, nft, &e) == 0 && list(c, table, nft, &lines, &e) == 0) {
		write_all(fd, buf_str(&lines), lines.len);
		_exit(0);
	}
	write_all(fd, e.text, strlen(e.text));
	_exit(1);
}

static void read_all(int fd, struct buf *out)
{
	char part[4096];
	ssize_t n;

	for (n = read(fd, part, sizeof(part)); n > 0 && out->len < EXPECTED_MAX; n = read(fd, part, sizeof(part)))
		buf_append(out, part, (size_t)n);
}

static int expect(const struct config *c, const char *table, bool nft, struct buf *out, struct err *e)
{
	struct ruleset *rules = build(c, e);
	int status = 1 << 8;
	int fds[2];
	pid_t pid;

	if (rules == NULL)
		return -1;
	if (pipe2(fds, O_CLOEXEC) != 0) {
		rules_free(rules);
		return err_errno(e, ERR_SYSTEM, "pipe");
	}
	pid = fork();
	if (pid == 0)
		expect_in_child(c, rules, table, nft, fds[1]);
	close(fds[1]);
	if (pid > 0)
		read_all(fds[0], out);
	close(fds[0]);
	rules_free(rules);
	if (pid < 0)
		return err_errno(e, ERR_SYSTEM, "fork");
	(void)waitpid(pid, &status, 0);
	if (status != 0)
		return err_set(e, ERR_SYSTEM, "%s", out->len > 0 ? buf_str(out) : "it ended without a word");
	return 0;
}

/* ---- comparing ---- */

/* "--on-port 41000" becomes "--on-port *", in place. */
static void hide_ports(char *text)
{
	static const char *const forms[] = { "redirect to :", "127.0.0.1:",  "[::1]:",
					     "tproxy to :",   "--to-ports ", "--on-port " };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		for (char *at = strstr(text, forms[i]); at != NULL; at = strstr(at, forms[i])) {
			size_t digits;

			at += strlen(forms[i]);
			digits = strspn(at, "0123456789");
			if (digits > 0) {
				*at = '*';
				memmove(at + 1, at + digits, strlen(at + digits) + 1);
			}
		}
	}
}

struct lines {
	char *text;
	char **items;
	size_t count;
};

static struct lines split(struct buf *text, bool hide)
{
	struct lines l = { .text = mem_strdup(buf_str(text)) };
	char *rest;

	if (hide)
		hide_ports(l.text);
	rest = l.text;
	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		if (*line == '\0')
			continue;
		l.items = mem_resize(l.items, (l.count + 1) * sizeof(*l.items));
		l.items[l.count++] = line;
	}
	return l;
}

static void lines_release(struct lines *l)
{
	free(l->items);
	free(l->text);
}

static size_t count_of(const struct lines *l, const char *line)
{
	size_t n = 0;

	for (size_t i = 0; i < l->count; i++)
		n += strcmp(l->items[i], line) == 0;
	return n;
}

/* How many of one are not in the other; the first of them, or NULL. */
static size_t count_others(const struct lines *one, const struct lines *other, const char **first)
{
	size_t n = 0;

	*first = NULL;
	for (size_t i = 0; i < one->count; i++) {
		if (count_of(other, one->items[i]) >= count_of(one, one->items[i]))
			continue;
		if (n++ == 0)
			*first = one->items[i];
	}
	return n;
}

static bool same_order(const struct lines *a, const struct lines *b)
{
	for (size_t i = 0; i < a->count && i < b->count; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return a->count == b->count;
}

static void add_difference(const struct lines *expected, const struct lines *standing, struct doctor_report *r)
{
	static const char advice[] = "the rules were changed, or the configuration or a control group was since the "
				     "start: restart the gateway";
	const char *absent, *foreign;
	size_t absent_count = count_others(expected, standing, &absent);
	size_t foreign_count = count_others(standing, expected, &foreign);

	if (absent_count > 0)
		doctor_add(r, STANDING, NAME, DOCTOR_FAIL, true, advice, "%zu of %zu lines are missing: %.*s",
			   absent_count, expected->count, FOUND_RULE_MAX, absent);
	if (foreign_count > 0)
		doctor_add(r, STANDING, NAME, DOCTOR_FAIL, true, advice, "%zu lines are not of the configuration: %.*s",
			   foreign_count, FOUND_RULE_MAX, foreign);
	if (absent_count + foreign_count > 0)
		return;
	if (same_order(expected, standing))
		doctor_add(r, STANDING, NAME, DOCTOR_OK, true, NULL, "all %zu lines, in their order", expected->count);
	else
		doctor_add(r, STANDING, NAME, DOCTOR_FAIL, true, advice, "all lines, but in another order");
}

void doctor_compare_rules(const struct config *c, const char *table, bool nft, struct doctor_report *r)
{
	bool hide = has_open_port(c);
	struct buf expected = { 0 };
	struct buf standing = { 0 };
	struct err e;

	if (expect(c, table, nft, &expected, &e) == 0 && list(c, table, nft, &standing, &e) == 0) {
		struct lines a = split(&expected, hide);
		struct lines b = split(&standing, hide);

		add_difference(&a, &b, r);
		lines_release(&a);
		lines_release(&b);
	} else {
		doctor_add(r, STANDING, NAME, DOCTOR_UNKNOWN, true,
			   "run as root, or look at tng iptables --dry-run yourself", "%s", e.text);
	}
	buf_release(&standing);
	buf_release(&expected);
}

/* ---- hit counters ---- */

/* "[5:300] -A ..." becomes "-A ..." in out; the packets of each rule go to counts, in the order of
 * the lines. */
static size_t take_counters(char *text, struct buf *out, unsigned long long **counts)
{
	char *rest = text;
	size_t n = 0;

	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		char *rule = line[0] == '[' ? strstr(line, "] -A ") : NULL;

		if (rule != NULL) {
			*counts = mem_resize(*counts, (n + 1) * sizeof(**counts));
			(*counts)[n++] = strtoull(line + 1, NULL, 10);
			line = rule + 2;
		}
		buf_format(out, "%s\n", line);
	}
	return n;
}

static void add_hits(const struct iptables *t, int family, const char *instance, struct doctor_report *r)
{
	const char *path = iptables_family(t, family)->save;
	unsigned long long *counts = NULL;
	struct buf text = { 0 };
	struct buf plain = { 0 };
	struct saved s = { 0 };
	char *copy = NULL;
	struct err e;
	size_t count;

	if (path == NULL ||
	    tool_run_ok(&(struct tool_run){ .argv = (const char *const[]){ path, "-c", NULL }, .output = &text }, &e) !=
		    0)
		goto out;
	copy = mem_strdup(buf_str(&text));
	count = take_counters(copy, &plain, &counts);
	if (saved_parse(buf_bytes(&plain), &s, &e) != 0 || s.rule_count != count)
		goto out;
	for (size_t i = 0; i < s.rule_count; i++) {
		if (is_of(&s.rules[i], instance))
			doctor_add(r, HITS, s.rules[i].table, DOCTOR_OK, true, NULL, "%llu packets of %s: %s",
				   counts[i], family == AF_INET ? "IPv4" : "IPv6", s.rules[i].text);
	}
out:
	free(counts);
	free(copy);
	saved_release(&s);
	buf_release(&plain);
	buf_release(&text);
}

void doctor_look_at_hits(const struct config *c, bool nft, struct doctor_report *r)
{
	if (nft) {
		doctor_add(r, HITS, "nftables", DOCTOR_NOTE, true, NULL,
			   "there are none: counters would cost time with each packet");
		return;
	}
	for (int flavour = 0; flavour < IPTABLES_FLAVOURS; flavour++) {
		struct iptables t;

		if (iptables_find((enum iptables_flavour)flavour, &t)) {
			add_hits(&t, AF_INET, c->interception.instance, r);
			add_hits(&t, AF_INET6, c->interception.instance, r);
		}
		iptables_release(&t);
	}
}
