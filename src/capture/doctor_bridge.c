/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_bridge - what passes through bridges: whether the configuration captures there, and whether the rules that
 * stand are for the bridges as they are now. Ports come and go, and rules were made for those of the start.
 */
#include "capture/doctor_internal.h"

#include <stdlib.h>
#include <string.h>

#include "capture/bridges.h"
#include "capture/nft.h"
#include "capture/rules.h"
#include "capture/tool.h"

#define STANDING "rules"

/* As the gateway would make them; NULL when it could not. */
static struct ruleset *rules_for(const struct config *c, const struct bridge_list *bridges)
{
	struct captured_entry *entries = mem_new_array(c->entry_count + 1, sizeof(*entries));
	size_t count = 0;
	struct ruleset *r;
	struct err e;

	for (size_t i = 0; i < c->entry_count; i++) {
		if (c->entries[i].netfilter != NULL)
			entries[count++] = (struct captured_entry){ &c->entries[i], 1 };
	}
	r = rules_build_bridged(&c->interception, entries, count, false, bridges, &e);
	free(entries);
	return r;
}

bool doctor_needs_bridge(const struct config *c)
{
	struct bridge_list bridges;
	struct ruleset *r = NULL;
	struct err e;
	bool needed;

	if (bridges_find(&bridges, &e) == 0)
		r = rules_for(c, &bridges);
	needed = r != NULL && rules_take_bridged(r);
	rules_free(r);
	bridge_list_release(&bridges);
	return needed;
}

static void list_nft(const char *table, struct buf *out)
{
	char *ask = mem_format("list table bridge %s", table);
	struct err e;
	struct nft_session *nft = nft_open(&e);

	/* What is not there is told port by port. */
	if (nft != NULL)
		(void)!nft_ask(nft, ask, out, &e);
	nft_close(nft);
	free(ask);
}

static void list_ebtables(struct buf *out)
{
	char *tool = tool_find("ebtables");
	struct err e;

	if (tool != NULL)
		(void)!tool_run_ok(&(struct tool_run){ .argv = (const char *const[]){ tool, "-t", "nat", "-L", NULL },
						       .output = out },
				   &e);
	free(tool);
}

static void look_at_port(const struct bridge_list *bridges, const char *port, bool nft, struct buf *standing,
			 struct doctor_report *r)
{
	const struct bridge *b = bridge_of_port(bridges, port);
	char *jump = nft ? mem_format("iifname \"%s\" jump ", port) : mem_format("-i %s -j TNG_", port);
	bool stands = strstr(buf_str(standing), jump) != NULL;
	bool is_current = b == NULL || !nft || strstr(buf_str(standing), b->address) != NULL;

	doctor_add(r, STANDING, port,
		   !stands	? DOCTOR_FAIL
		   : is_current ? DOCTOR_OK
				: DOCTOR_WARN,
		   true, "the bridge has changed since the gateway has started: restart it", "port of %s: %s",
		   b == NULL ? "no bridge" : b->name,
		   !stands	 ? "what comes in there is not captured"
		   : !is_current ? "the address of the bridge is not the one in the rules"
				 : "what passes is captured");
	free(jump);
}

/* Each port that a line of the ruleset names, once. */
static void look_at_ports(const struct ruleset *rules, const struct bridge_list *bridges, bool nft,
			  struct buf *standing, struct doctor_report *r)
{
	struct buf lines = { 0 };

	rules_print_ebtables(rules, &lines);
	for (size_t i = 0; i < bridges->count; i++) {
		for (size_t k = 0; k < bridges->items[i].port_count; k++) {
			const char *port = bridges->items[i].ports[k].name;
			char *named = mem_format("_BRIDGE_PRE -i %s -j ", port);

			if (strstr(buf_str(&lines), named) != NULL)
				look_at_port(bridges, port, nft, standing, r);
			free(named);
		}
	}
	buf_release(&lines);
}

void doctor_look_at_bridge_rules(const struct config *c, const char *table, bool nft, struct doctor_report *r)
{
	struct bridge_list bridges;
	struct ruleset *rules = NULL;
	struct buf standing = { 0 };
	struct err e;

	if (bridges_find(&bridges, &e) != 0)
		doctor_add(r, STANDING, "bridges", DOCTOR_UNKNOWN, true, NULL, "%s", e.text);
	else
		rules = rules_for(c, &bridges);
	if (rules != NULL && rules_take_bridged(rules)) {
		if (nft)
			list_nft(table, &standing);
		else
			list_ebtables(&standing);
		look_at_ports(rules, &bridges, nft, &standing, r);
	}
	buf_release(&standing);
	rules_free(rules);
	bridge_list_release(&bridges);
}
