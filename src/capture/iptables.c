/* SPDX-License-Identifier: Apache-2.0 */
/* iptables - the tools of iptables. */
#include "capture/iptables.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "capture/tool.h"

static const char *const flavour_names[] = { "iptables-nft", "iptables-legacy" };

const char *iptables_flavour_name(enum iptables_flavour flavour)
{
	return flavour_names[flavour];
}

/* "iptables v1.8.9 (nf_tables)"; before 1.8.0 there was only legacy, and nothing in parentheses. */
static bool is_of_flavour(const char *path, enum iptables_flavour flavour)
{
	struct buf out = { 0 };
	struct err ignored;
	bool is_nft;
	bool ok;

	ok = tool_run(&(struct tool_run){ .argv = (const char *const[]){ path, "-V", NULL }, .output = &out },
		      &ignored) == 0;
	is_nft = ok && strstr(buf_str(&out), "nf_tables") != NULL;
	buf_release(&out);
	return ok && is_nft == (flavour == IPTABLES_NFT);
}

static char *find_one(const char *prefix, const char *suffix)
{
	char *name = mem_format("%s%s", prefix, suffix);
	char *path = tool_find(name);

	free(name);
	return path;
}

static void find_family(const char *prefix, struct iptables_family *f)
{
	f->command = find_one(prefix, "");
	f->restore = find_one(prefix, "-restore");
	f->save = find_one(prefix, "-save");
}

static void release_family(struct iptables_family *f)
{
	free(f->command);
	free(f->restore);
	free(f->save);
	*f = (struct iptables_family){ 0 };
}

static bool is_complete(const struct iptables_family *f)
{
	return f->command != NULL && f->restore != NULL && f->save != NULL;
}

/* By the flavour's own names, else by the plain ones where they are of this flavour. */
static void find_any(enum iptables_flavour flavour, bool v6, struct iptables_family *f)
{
	static const char *const names[][IPTABLES_FLAVOURS] = { { "iptables-nft", "iptables-legacy" },
								{ "ip6tables-nft", "ip6tables-legacy" } };

	find_family(names[v6 ? 1 : 0][flavour], f);
	if (is_complete(f))
		return;
	release_family(f);
	find_family(v6 ? "ip6tables" : "iptables", f);
	if (!is_complete(f) || !is_of_flavour(f->command, flavour))
		release_family(f);
}

bool iptables_find(enum iptables_flavour flavour, struct iptables *t)
{
	*t = (struct iptables){ .flavour = flavour };
	find_any(flavour, false, &t->v4);
	find_any(flavour, true, &t->v6);
	return is_complete(&t->v4);
}

void iptables_release(struct iptables *t)
{
	release_family(&t->v4);
	release_family(&t->v6);
}

const struct iptables_family *iptables_family(const struct iptables *t, int family)
{
	return family == AF_INET ? &t->v4 : &t->v6;
}

static int works(const struct iptables *t, struct err *e)
{
	static const char *const tables[] = { "nat", "mangle" };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tables) && rc == 0; i++)
		rc = tool_run_ok(&(struct tool_run){ .argv = (const char *const[]){ t->v4.command, "-w", "-t",
										    tables[i], "-S", NULL } },
				 e);
	return rc == 0 ? 0 : -1;
}

static enum iptables_flavour default_flavour(void)
{
	char *path = tool_find("iptables");
	enum iptables_flavour flavour = IPTABLES_NFT;

	if (path != NULL && is_of_flavour(path, IPTABLES_LEGACY))
		flavour = IPTABLES_LEGACY;
	free(path);
	return flavour;
}

int iptables_find_working(struct iptables *t, struct err *e)
{
	enum iptables_flavour first = default_flavour();
	enum iptables_flavour second = first == IPTABLES_NFT ? IPTABLES_LEGACY : IPTABLES_NFT;
	struct err later;
	bool found;

	found = iptables_find(first, t);
	if (found && works(t, e) == 0)
		return 0;
	iptables_release(t);
	if (iptables_find(second, t) && works(t, found ? &later : e) == 0)
		return 0;
	if (!found && t->v4.command == NULL)
		err_set(e, ERR_CONFIG, "iptables is not installed (apt-get install iptables)");
	iptables_release(t);
	return -1;
}

static int need(const struct iptables *t, int family, const char *path, struct err *e)
{
	if (path != NULL)
		return 0;
	return err_set(e, ERR_CONFIG, "%s is not installed for %s", iptables_flavour_name(t->flavour),
		       family == AF_INET ? "IPv4" : "IPv6");
}

int iptables_restore(const struct iptables *t, int family, struct bytes text, struct err *e)
{
	const char *path = iptables_family(t, family)->restore;
	int rc;

	if (text.len == 0)
		return 0;
	if (need(t, family, path, e) != 0)
		return -1;
	rc = tool_run_ok(
		&(struct tool_run){ .argv = (const char *const[]){ path, "--noflush", "-w", NULL }, .input = text }, e);
	return rc == 0 ? 0 : -1;
}

int iptables_save(const struct iptables *t, int family, struct buf *out, struct err *e)
{
	const char *path = iptables_family(t, family)->save;

	if (need(t, family, path, e) != 0)
		return -1;
	return tool_run_ok(&(struct tool_run){ .argv = (const char *const[]){ path, NULL }, .output = out }, e) == 0
		       ? 0
		       : -1;
}
