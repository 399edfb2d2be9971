/* SPDX-License-Identifier: Apache-2.0 */
/* ebtables - the tool of bridges. */
#include "capture/ebtables.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "capture/nft.h"
#include "capture/tool.h"

#define WORDS_MAX 32
#define PREFIX "TNG_"

#define ENTRIES_MAX 1000000 /* of a chain; more than the tool could list in its time */

/* The system's choice of flavour, else the one that comes with iptables. gives a string, or NULL. */
static char *find_tool(void)
{
	char *tool = tool_find("ebtables");

	return tool != NULL ? tool : tool_find("ebtables-nft");
}

/* ---- one command ---- */

/* text: words behind "ebtables -t nat", with single blanks. */
static int run(const char *tool, const char *text, struct buf *output, struct err *e)
{
	const char *argv[WORDS_MAX + 5] = { tool, "--concurrent", "-t", "nat" };
	char *copy = mem_strdup(text);
	char *rest = copy;
	size_t count = 4;
	int rc = 0;

	for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
		if (*word == '\0')
			continue;
		if (count == WORDS_MAX + 4) {
			rc = err_set(e, ERR_LIMIT, "ebtables: more than %d words: %.80s", WORDS_MAX, text);
			goto out;
		}
		argv[count++] = word;
	}
	rc = tool_run_ok(&(struct tool_run){ .argv = argv, .output = output }, e) == 0 ? 0 : -1;
out:
	free(copy);
	return rc;
}

static int run_format(const char *tool, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int run_format(const char *tool, struct err *e, const char *fmt, ...)
{
	va_list args;
	char *text;
	int rc;

	va_start(args, fmt);
	text = mem_vformat(fmt, args);
	va_end(args);
	rc = run(tool, text, NULL, e);
	free(text);
	return rc;
}

/* ---- what stands ---- */

/* To ask ebtables-nft would make its table. */
static bool has_table(void)
{
	struct buf tables = { 0 };
	struct err ignored;
	struct nft_session *nft = nft_open(&ignored);
	bool found = nft != NULL && nft_ask(nft, "list tables", &tables, &ignored) == 0 &&
		     strstr(buf_str(&tables), "table bridge nat\n") != NULL;

	nft_close(nft);
	buf_release(&tables);
	return found;
}

/* "Bridge chain: NAME, entries: 2, policy: RETURN" */
static int take_chain(struct ebtables_listing *l, const char *line, struct err *e)
{
	static const char start[] = "Bridge chain: ";
	static const char entries[] = ", entries: ";
	const char *name = line + sizeof(start) - 1;
	const char *at;
	char *end;
	unsigned long count;

	if (strncmp(line, start, sizeof(start) - 1) != 0)
		return 0;
	at = strstr(name, entries);
	if (at == NULL || at == name)
		return err_set(e, ERR_SYSTEM, "ebtables: not the line of a chain: %.80s", line);
	count = strtoul(at + sizeof(entries) - 1, &end, 10);
	if (strncmp(end, ", policy: ", 10) != 0 || count > ENTRIES_MAX)
		return err_set(e, ERR_SYSTEM, "ebtables: not the line of a chain: %.80s", line);
	if (l->count == EBTABLES_CHAINS_MAX)
		return err_set(e, ERR_LIMIT, "ebtables: more than %d chains", EBTABLES_CHAINS_MAX);
	if ((l->count & (l->count - 1)) == 0)
		l->chains = mem_resize(l->chains, MAX(l->count * 2, (size_t)1) * sizeof(*l->chains));
	l->chains[l->count++] = (struct ebtables_chain){
		.name = mem_strndup(name, (size_t)(at - name)),
		.rules = (unsigned)count,
	};
	return 0;
}

static void take_jump(struct ebtables_listing *l, const char *line)
{
	const char *jump = strstr(line, "-j ");

	if (l->count > 0 && strcmp(l->chains[l->count - 1].name, "PREROUTING") == 0 && jump != NULL)
		buf_format(&l->jumps, "%.*s\n", (int)strcspn(jump + 3, " "), jump + 3);
}

int ebtables_listing_parse(struct bytes text, struct ebtables_listing *l, struct err *e)
{
	char *copy = mem_strndup((const char *)text.data, text.len);
	char *rest = copy;
	int rc = 0;

	*l = (struct ebtables_listing){ 0 };
	for (char *line = strsep(&rest, "\n"); line != NULL && rc == 0; line = strsep(&rest, "\n")) {
		rc = take_chain(l, line, e);
		take_jump(l, line);
	}
	free(copy);
	return rc;
}

static int list(const char *tool, struct ebtables_listing *l, struct err *e)
{
	struct buf text = { 0 };
	int rc;

	*l = (struct ebtables_listing){ 0 };
	rc = run(tool, "-L", &text, e);
	if (rc == 0)
		rc = ebtables_listing_parse(buf_bytes(&text), l, e);
	buf_release(&text);
	return rc;
}

void ebtables_listing_release(struct ebtables_listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->chains[i].name);
	free(l->chains);
	buf_release(&l->jumps);
	*l = (struct ebtables_listing){ 0 };
}

static struct ebtables_chain *find_chain(const struct ebtables_listing *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++) {
		if (strcmp(l->chains[i].name, name) == 0)
			return &l->chains[i];
	}
	return NULL;
}

char *ebtables_instance_of(const char *chain)
{
	const char *end;

	if (strncmp(chain, PREFIX, sizeof(PREFIX) - 1) != 0)
		return NULL;
	chain += sizeof(PREFIX) - 1;
	/* An instance may have any number of "_" in its name; what is behind it has one: "BRIDGE_PRE", "I0_BR0". */
	end = strrchr(chain, '_');
	if (end != NULL)
		end = memrchr(chain, '_', (size_t)(end - chain));
	return end == NULL || end == chain ? NULL : mem_strndup(chain, (size_t)(end - chain));
}

static bool is_of(const char *chain, const char *instance)
{
	char *name = ebtables_instance_of(chain);
	bool same = name != NULL && strcmp(name, instance) == 0;

	free(name);
	return same;
}

/* ---- the change ---- */

/* A jump that stands twice is taken twice. */
static int remove_jumps(const char *tool, const struct ebtables_listing *l, const char *instance, struct err *e)
{
	char *copy = mem_strdup(buf_str((struct buf *)(uintptr_t)&l->jumps));
	char *rest = copy;
	int rc = 0;

	for (char *to = strsep(&rest, "\n"); to != NULL && rc == 0; to = strsep(&rest, "\n")) {
		const struct ebtables_chain *c = find_chain(l, to);

		if (c != NULL && !c->wanted && is_of(to, instance))
			rc = run_format(tool, e, "-D PREROUTING -j %s", to);
	}
	free(copy);
	return rc;
}

static int remove_unwanted(const char *tool, const struct ebtables_listing *l, const char *instance, struct err *e)
{
	int rc = remove_jumps(tool, l, instance, e);

	for (size_t i = 0; i < l->count && rc == 0; i++) {
		if (!l->chains[i].wanted && is_of(l->chains[i].name, instance))
			rc = run_format(tool, e, "-F %s", l->chains[i].name);
	}
	for (size_t i = 0; i < l->count && rc == 0; i++) {
		if (!l->chains[i].wanted && is_of(l->chains[i].name, instance))
			rc = run_format(tool, e, "-X %s", l->chains[i].name);
	}
	return rc;
}

static int apply_line(const char *tool, const struct ebtables_listing *l, const char *line, struct err *e)
{
	struct ebtables_chain *c;

	if (line[0] == '-')
		return run(tool, line, NULL, e);
	if (line[0] != ':')
		return 0;
	c = find_chain(l, line + 1);
	if (c == NULL)
		return run_format(tool, e, "-N %s -P RETURN", line + 1);
	c->wanted = true;
	return 0;
}

/* Those that stood before the new ones. */
static int remove_old_rules(const char *tool, const struct ebtables_listing *l, struct err *e)
{
	for (size_t i = 0; i < l->count; i++) {
		for (unsigned k = 0; l->chains[i].wanted && k < l->chains[i].rules; k++) {
			if (run_format(tool, e, "-D %s 1", l->chains[i].name) != 0)
				return -1;
		}
	}
	return 0;
}

/* Each line ends with a newline. */
static bool has_line(struct buf *lines, const char *line, size_t len)
{
	for (const char *at = buf_str(lines); *at != '\0'; at += strcspn(at, "\n") + 1) {
		if (strcspn(at, "\n") == len && strncmp(at, line, len) == 0)
			return true;
	}
	return false;
}

static int fill(const char *tool, struct ebtables_listing *l, const char *rules, struct err *e)
{
	char *copy = mem_strdup(rules);
	char *rest = copy;
	size_t hook = strcspn(rules, "\n") - 1;
	int rc = 0;

	for (char *line = strsep(&rest, "\n"); line != NULL && rc == 0; line = strsep(&rest, "\n"))
		rc = apply_line(tool, l, line, e);
	free(copy);
	if (rc == 0)
		rc = remove_old_rules(tool, l, e);
	if (rc == 0 && !has_line(&l->jumps, rules + 1, hook))
		rc = run_format(tool, e, "-I PREROUTING 1 -j %.*s", (int)hook, rules + 1);
	return rc;
}

int ebtables_apply(const char *instance, struct bytes rules, struct err *e)
{
	char *tool = find_tool();
	char *text = mem_strndup((const char *)rules.data, rules.len);
	struct ebtables_listing l = { 0 };
	int rc = 0;

	if (tool == NULL) {
		rc = err_set(e, ERR_CONFIG,
			     "ebtables is not installed, which takes out of a bridge what is captured (apt-get install "
			     "ebtables, or interception.backend nft)");
		goto out;
	}
	rc = list(tool, &l, e);
	if (rc == 0 && rules.len > 0)
		rc = fill(tool, &l, text, e);
	if (rc == 0)
		rc = remove_unwanted(tool, &l, instance, e);
out:
	ebtables_listing_release(&l);
	free(text);
	free(tool);
	return rc;
}

int ebtables_remove(const char *instance, struct err *e)
{
	return has_table() ? ebtables_apply(instance, (struct bytes){ .data = (const uint8_t *)"", .len = 0 }, e) : 0;
}

void ebtables_find(struct buf *names)
{
	char *tool = has_table() ? find_tool() : NULL;
	struct ebtables_listing l = { 0 };
	struct err ignored;
	bool ok = tool != NULL && list(tool, &l, &ignored) == 0;

	for (size_t i = 0; ok && i < l.count; i++) {
		char *instance = ebtables_instance_of(l.chains[i].name);

		if (instance != NULL)
			buf_format(names, "%s\n", l.chains[i].name);
		free(instance);
	}
	ebtables_listing_release(&l);
	free(tool);
}

int ebtables_print_standing(const char *instance, struct buf *out, struct err *e)
{
	char *tool = has_table() ? find_tool() : NULL;
	struct ebtables_listing l = { 0 };
	int rc = tool != NULL ? list(tool, &l, e) : 0;

	for (size_t i = 0; rc == 0 && i < l.count; i++) {
		if (is_of(l.chains[i].name, instance))
			buf_format(out, "ebtables %s %u\n", l.chains[i].name, l.chains[i].rules);
	}
	if (rc == 0 && l.jumps.len > 0)
		buf_append_bytes(out, buf_bytes(&l.jumps));
	ebtables_listing_release(&l);
	free(tool);
	return rc;
}
