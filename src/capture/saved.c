/* SPDX-License-Identifier: Apache-2.0 */
/* saved - what iptables-save printed, and which of it is ours. */
#include "capture/saved.h"

#include <stdlib.h>
#include <string.h>

#define CHAIN_PREFIX "TNG_"

/* ---- reading ---- */

static void *grow(void *items, size_t count, size_t size)
{
	return (count & (count - 1)) == 0 ? mem_resize(items, (count == 0 ? 1 : count * 2) * size) : items;
}

/*
 * The next word of a rule; quotes and backslashes as iptables-save writes them. NULL at the end. The caller frees it.
 */
static char *next_word(const char **at)
{
	struct buf word = { 0 };
	const char *p = *at + strspn(*at, " ");
	bool quoted = false;
	bool any = *p != '\0';

	for (; *p != '\0' && (quoted || *p != ' '); p++) {
		if (*p == '"') {
			quoted = !quoted;
			continue;
		}
		if (*p == '\\' && quoted && p[1] != '\0')
			p++;
		buf_append(&word, p, 1);
	}
	*at = p;
	if (any)
		return buf_take_str(&word);
	buf_release(&word);
	return NULL;
}

static void read_words(struct saved_rule *r)
{
	const char *at = r->text;
	char *last = NULL;

	for (char *word = next_word(&at); word != NULL; word = next_word(&at)) {
		if (last == NULL) {
			r->chain = mem_strdup(word);
		} else if (r->target == NULL && (strcmp(last, "-j") == 0 || strcmp(last, "-g") == 0)) {
			r->target = mem_strdup(word);
		} else if (r->instance == NULL && strcmp(last, "--comment") == 0 &&
			   strncmp(word, SAVED_COMMENT, strlen(SAVED_COMMENT)) == 0) {
			r->instance = mem_strdup(word + strlen(SAVED_COMMENT));
		}
		free(last);
		last = word;
	}
	free(last);
}

static int add_rule(struct saved *s, const char *table, const char *text, struct err *e)
{
	struct saved_rule *r;

	s->rules = grow(s->rules, s->rule_count, sizeof(*s->rules));
	r = &s->rules[s->rule_count++];
	*r = (struct saved_rule){ .text = mem_strdup(text), .table = mem_strdup(table) };
	read_words(r);
	return r->chain != NULL ? 0 : err_set(e, ERR_SYSTEM, "a rule without a chain");
}

/* ":PREROUTING ACCEPT [0:0]"; own chains have "-" instead of a policy. */
static int add_chain(struct saved *s, const char *table, const char *text, struct err *e)
{
	size_t len = strcspn(text, " ");
	struct saved_chain *c;

	if (len == 0 || text[len] != ' ' || text[len + 1] == '\0')
		return err_set(e, ERR_SYSTEM, "a chain without a policy");
	s->chains = grow(s->chains, s->chain_count, sizeof(*s->chains));
	c = &s->chains[s->chain_count++];
	*c = (struct saved_chain){ .table = mem_strdup(table), .name = mem_strndup(text, len) };
	c->is_built_in = text[len + 1] != '-';
	return 0;
}

static int take_line(struct saved *s, char **table, const char *line, struct err *e)
{
	if (line[0] == '\0' || line[0] == '#')
		return 0;
	if (line[0] == '*' && *table == NULL && line[1] != '\0') {
		*table = mem_strdup(line + 1);
		return 0;
	}
	if (strcmp(line, "COMMIT") == 0 && *table != NULL) {
		free(*table);
		*table = NULL;
		return 0;
	}
	if (line[0] == ':' && *table != NULL)
		return add_chain(s, *table, line + 1, e);
	if (strncmp(line, "-A ", 3) == 0 && *table != NULL)
		return add_rule(s, *table, line + 3, e);
	return err_set(e, ERR_SYSTEM, "not understood");
}

int saved_parse(struct bytes text, struct saved *s, struct err *e)
{
	char *copy = mem_strndup(text.len > 0 ? (const char *)text.data : "", text.len);
	char *table = NULL;
	char *rest = copy;
	size_t number = 0;
	int rc = 0;

	*s = (struct saved){ 0 };
	if (strlen(copy) != text.len)
		rc = err_set(e, ERR_SYSTEM, "a NUL byte");
	while (rc == 0 && rest != NULL) {
		char *line = strsep(&rest, "\n");

		if (++number > SAVED_LINES_MAX)
			rc = err_set(e, ERR_LIMIT, "more than %d lines", SAVED_LINES_MAX);
		else
			rc = take_line(s, &table, line, e);
	}
	if (rc == 0 && table != NULL)
		rc = err_set(e, ERR_SYSTEM, "cut short in table %s", table);
	if (rc != 0) {
		err_wrap(e, "output of iptables-save, line %zu", number);
		saved_release(s);
	}
	free(table);
	free(copy);
	return rc;
}

void saved_release(struct saved *s)
{
	for (size_t i = 0; i < s->chain_count; i++) {
		free(s->chains[i].table);
		free(s->chains[i].name);
		free(s->chains[i].instance);
	}
	for (size_t i = 0; i < s->rule_count; i++) {
		free(s->rules[i].chain);
		free(s->rules[i].text);
		free(s->rules[i].target);
		free(s->rules[i].instance);
		free(s->rules[i].table);
	}
	free(s->chains);
	free(s->rules);
	*s = (struct saved){ 0 };
}

/* ---- whose it is ---- */

static const char *skip_number(const char *s)
{
	size_t len = strspn(s, "0123456789");

	return len > 0 ? s + len : NULL;
}

static bool is_upstream_chain(const char *name)
{
	static const char *const egress[] = { "", "_CGROUP" };
	static const char *const ingress[] = { "_PREROUTING", "_OUTPUT_STAGE_1", "_OUTPUT_STAGE_2" };
	const char *rest;

	if (strcmp(name, "TNG_ENGRESS") == 0)
		return true;
	if (strncmp(name, "TNG_EGRESS_", 11) == 0) {
		rest = skip_number(name + 11);
		for (size_t i = 0; rest != NULL && i < ARRAY_SIZE(egress); i++) {
			if (strcmp(rest, egress[i]) == 0)
				return true;
		}
	}
	if (strncmp(name, "TNG_INGRESS_", 12) == 0) {
		rest = skip_number(name + 12);
		for (size_t i = 0; rest != NULL && i < ARRAY_SIZE(ingress); i++) {
			if (strcmp(rest, ingress[i]) == 0)
				return true;
		}
	}
	return false;
}

static bool is_sidecar_chain(const char *name, const char *prefix)
{
	static const char *const suffixes[] = { "_REDIRECT", "_INBOUND", "_INBOUND_REDIRECT", "_OUTPUT" };
	size_t len = prefix != NULL ? strlen(prefix) : 0;

	for (size_t i = 0; len > 0 && strncmp(name, prefix, len) == 0 && i < ARRAY_SIZE(suffixes); i++) {
		if (strcmp(name + len, suffixes[i]) == 0)
			return true;
	}
	return false;
}

static bool is_wanted(const char *instance, const struct saved_query *q)
{
	if (q->instance != NULL && strcmp(q->instance, instance) != 0)
		return false;
	for (size_t i = 0; q->spare != NULL && q->spare[i] != NULL; i++) {
		if (strcmp(q->spare[i], instance) == 0)
			return false;
	}
	return true;
}

/* A chain belongs to the instance of a rule in it, or of a jump to it. */
static const char *instance_of_chain(const struct saved *s, const struct saved_chain *c)
{
	for (size_t i = 0; i < s->rule_count; i++) {
		const struct saved_rule *r = &s->rules[i];

		if (r->instance == NULL || strcmp(r->table, c->table) != 0)
			continue;
		if (strcmp(r->chain, c->name) == 0 || (r->target != NULL && strcmp(r->target, c->name) == 0))
			return r->instance;
	}
	return NULL;
}

static bool is_doomed_chain(const struct saved *s, struct saved_chain *c, const struct saved_query *q)
{
	const char *instance;

	if (c->is_built_in)
		return false;
	if (is_upstream_chain(c->name)) {
		c->upstream = true;
		return q->upstream;
	}
	if (is_sidecar_chain(c->name, q->prefix))
		return true;
	if (strncmp(c->name, CHAIN_PREFIX, strlen(CHAIN_PREFIX)) != 0)
		return false;
	instance = instance_of_chain(s, c);
	return instance != NULL && is_wanted(instance, q);
}

static bool leads_to_doomed(const struct saved *s, const struct saved_rule *r)
{
	for (size_t i = 0; r->target != NULL && i < s->chain_count; i++) {
		const struct saved_chain *c = &s->chains[i];

		if (c->doomed && strcmp(c->table, r->table) == 0 && strcmp(c->name, r->target) == 0)
			return true;
	}
	return false;
}

static bool is_in_doomed(const struct saved *s, const struct saved_rule *r)
{
	for (size_t i = 0; i < s->chain_count; i++) {
		const struct saved_chain *c = &s->chains[i];

		if (c->doomed && strcmp(c->table, r->table) == 0 && strcmp(c->name, r->chain) == 0)
			return true;
	}
	return false;
}

size_t saved_doom(struct saved *s, const struct saved_query *q)
{
	size_t count = 0;

	for (size_t i = 0; i < s->chain_count; i++) {
		struct saved_chain *c = &s->chains[i];

		c->doomed = c->doomed || is_doomed_chain(s, c, q);
		count += c->doomed;
	}
	for (size_t i = 0; i < s->rule_count; i++) {
		struct saved_rule *r = &s->rules[i];
		bool is_own = (r->instance != NULL && is_wanted(r->instance, q)) || leads_to_doomed(s, r);

		r->doomed = is_own && !is_in_doomed(s, r); /* those go with their chain */
		count += r->doomed;
	}
	return count;
}

void saved_spare(struct saved *s, const char *table, const char *chain)
{
	for (size_t i = 0; i < s->chain_count; i++) {
		struct saved_chain *c = &s->chains[i];

		if (strcmp(c->table, table) == 0 && strcmp(c->name, chain) == 0)
			c->doomed = false;
	}
	/* Rules in it are the new ones. Those of ours elsewhere are jumps of before. */
	for (size_t i = 0; i < s->rule_count; i++) {
		struct saved_rule *r = &s->rules[i];

		if (strcmp(r->table, table) == 0 && strcmp(r->chain, chain) == 0)
			r->doomed = false;
	}
}

/* ---- printing ---- */

static void print_table(const struct saved *s, const char *table, struct buf *out)
{
	for (size_t i = 0; i < s->rule_count; i++) {
		if (s->rules[i].doomed && strcmp(s->rules[i].table, table) == 0)
			buf_format(out, "-D %s\n", s->rules[i].text);
	}
	for (size_t i = 0; i < s->chain_count; i++) {
		if (s->chains[i].doomed && strcmp(s->chains[i].table, table) == 0)
			buf_format(out, "-F %s\n", s->chains[i].name);
	}
	for (size_t i = 0; i < s->chain_count; i++) {
		if (s->chains[i].doomed && strcmp(s->chains[i].table, table) == 0)
			buf_format(out, "-X %s\n", s->chains[i].name);
	}
}

/* Lines "TABLE CHAIN [NUMBER] RULE" of this table as "-I CHAIN [NUMBER] RULE". */
static void print_jumps(const char *jumps, const char *table, struct buf *out)
{
	size_t len = strlen(table);

	while (jumps != NULL && *jumps != '\0') {
		size_t line = strcspn(jumps, "\n");

		if (line > len && strncmp(jumps, table, len) == 0 && jumps[len] == ' ')
			buf_format(out, "-I %.*s\n", (int)(line - len - 1), jumps + len + 1);
		jumps += line + (jumps[line] == '\n' ? 1 : 0);
	}
}

static const char *const tables[] = { "raw", "mangle", "nat", "filter", "security" };

void saved_print_restore(const struct saved *s, const char *jumps, struct buf *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		struct buf body = { 0 };

		print_table(s, tables[i], &body);
		print_jumps(jumps, tables[i], &body);
		if (body.len > 0)
			buf_format(out, "*%s\n%sCOMMIT\n", tables[i], buf_str(&body));
		buf_release(&body);
	}
}

void saved_print_commands(const struct saved *s, const char *tool, struct buf *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		struct buf body = { 0 };
		char *rest;

		print_table(s, tables[i], &body);
		rest = (char *)buf_str(&body);
		for (char *line = strsep(&rest, "\n"); line != NULL && *line != '\0'; line = strsep(&rest, "\n"))
			buf_format(out, "%s -w -t %s %s\n", tool, tables[i], line);
		buf_release(&body);
	}
}
