/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sidecar - the proxy's own connections go on, and so does loopback; what else has a port of the lists goes to the
 * proxy.
 *
 * The proxy is known by its user, who must be nobody else's: not by a group, which applications may share.
 */
#include "capture/sidecar.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "capture/rules_internal.h"

#define SSH_PORT 22

/* ---- Options ---- */

static bool port_parse(const char *text, size_t len, uint16_t *port)
{
	unsigned value = 0;

	if (len == 0 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = 10 * value + (unsigned)(text[i] - '0');
	}
	*port = (uint16_t)value;
	return value > 0 && value <= UINT16_MAX;
}

int sidecar_port(const char *text, const char *option, uint16_t *port, struct err *e)
{
	if (!port_parse(text, strlen(text), port))
		return err_set(e, ERR_CONFIG, "%s: expected 1 to 65535, found \"%.60s\"", option, text);
	return 0;
}

static int add_port(struct port_list *list, const char *text, size_t len, const char *option, struct err *e)
{
	uint16_t port;

	if (!port_parse(text, len, &port))
		return err_set(e, ERR_CONFIG, "%s: expected ports from 1 to 65535, found \"%.*s\"", option,
			       (int)MIN(len, (size_t)60), text);
	if (list->count == PORT_LIST_MAX)
		return err_set(e, ERR_LIMIT, "%s: more than %d ports", option, PORT_LIST_MAX);
	list->ports = mem_resize(list->ports, (list->count + 1) * sizeof(*list->ports));
	list->ports[list->count++] = port;
	return 0;
}

int port_list_parse(const char *text, const char *option, bool star, struct port_list *list, struct err *e)
{
	port_list_release(list);
	if (star && strcmp(text, "*") == 0) {
		list->all = true;
		return 0;
	}
	while (*text != '\0') {
		size_t len = strcspn(text, ",");

		if (len > 0 && add_port(list, text, len, option, e) < 0)
			return -1;
		text += len + (text[len] == ',');
	}
	return 0;
}

void port_list_release(struct port_list *list)
{
	free(list->ports);
	*list = (struct port_list){ 0 };
}

/* ---- Rules ---- */

static struct chain *hook(struct ruleset *r, enum rule_table table, enum rule_hook at, const char *name)
{
	struct chain *c = ruleset_chain(r, table, AF_UNSPEC, name);

	c->hook = at;
	return c;
}

static struct match dport(uint16_t port)
{
	return (struct match){ .kind = MATCH_DPORT, .first = port, .last = port };
}

static void return_ports(struct chain *c, const struct port_list *ports)
{
	struct rule back = { .tcp = true, .verdict = VERDICT_RETURN };

	for (size_t i = 0; i < ports->count; i++)
		chain_add(c, rule_with(back, dport(ports->ports[i])));
}

static void add_ports(struct chain *c, const struct port_list *ports, const struct port_list *excluded,
		      struct rule rule)
{
	if (ports->all)
		return_ports(c, excluded);
	if (ports->all)
		chain_add(c, rule);
	for (size_t i = 0; i < ports->count; i++)
		chain_add(c, rule_with(rule, dport(ports->ports[i])));
}

static void return_own_mark(struct ruleset *r, struct chain *c)
{
	chain_add(c, rule_with((struct rule){ .verdict = VERDICT_RETURN }, match_mark(r, SO_MARK_DEFAULT)));
}

static struct rule redirect_to(uint16_t port)
{
	return (struct rule){ .tcp = true, .verdict = VERDICT_REDIRECT, .port = port };
}

static void outbound_rules(struct ruleset *r, const struct sidecar *s)
{
	struct chain *out = hook(r, TABLE_NAT, HOOK_OUTPUT, "OUTPUT");
	struct chain *to = ruleset_chain(r, TABLE_NAT, AF_UNSPEC, "REDIRECT");
	struct rule back = { .verdict = VERDICT_RETURN };

	chain_add(to, redirect_to(s->proxy_port));
	return_own_mark(r, out);
	chain_add(out, rule_with(back, (struct match){ .kind = MATCH_UID, .value = s->uid }));
	back.family = AF_INET;
	chain_add(out, rule_with(back, (struct match){ .kind = MATCH_DST, .text = "127.0.0.0/8" }));
	back.family = AF_INET6;
	chain_add(out, rule_with(back, (struct match){ .kind = MATCH_DST, .text = "::1/128" }));
	add_ports(out, &s->outbound, &s->outbound_exclude,
		  (struct rule){ .tcp = true, .verdict = VERDICT_JUMP, .chain = to->name });
}

/* Only what is for this host: it may be a router as well. */
static void inbound_rules(struct chain *in, const struct sidecar *s, const struct chain *to)
{
	struct rule jump = { .tcp = true, .verdict = VERDICT_JUMP, .chain = to->name };
	struct rule ssh = { .tcp = true, .verdict = VERDICT_RETURN };

	if (s->inbound.all)
		chain_add(in, rule_with(ssh, dport(SSH_PORT)));
	add_ports(in, &s->inbound, &s->inbound_exclude,
		  rule_with(jump, (struct match){ .kind = MATCH_DST_TYPE, .value = ADDRESS_LOCAL }));
}

static void inbound_redirect(struct ruleset *r, const struct sidecar *s)
{
	struct chain *in = hook(r, TABLE_NAT, HOOK_PREROUTING, "INBOUND");
	struct chain *to = ruleset_chain(r, TABLE_NAT, AF_UNSPEC, "INBOUND_REDIRECT");

	chain_add(to, redirect_to(s->capture_port));
	return_own_mark(r, in);
	inbound_rules(in, s, to);
}

static void inbound_tproxy(struct ruleset *r, const struct sidecar *s)
{
	struct interception_conf numbers = { .instance = (char[]){ SIDECAR_INSTANCE }, .mark_mask = r->mark_mask };
	uint32_t mark = capture_mark(&numbers, ENTRY_EGRESS, 0);
	uint32_t table = capture_table(&numbers, ENTRY_EGRESS, 0);
	struct chain *in = hook(r, TABLE_MANGLE, HOOK_PREROUTING, "INBOUND");
	struct chain *to = ruleset_chain(r, TABLE_MANGLE, AF_UNSPEC, "INBOUND_REDIRECT");
	struct rule tproxy = { .family = AF_INET,
			       .tcp = true,
			       .verdict = VERDICT_TPROXY,
			       .port = s->capture_port,
			       .value = mark,
			       .mask = r->mark_mask };
	struct rule divert = { .tcp = true, .verdict = VERDICT_SET_MARK, .value = mark, .mask = r->mark_mask };

	chain_add(to, tproxy);
	tproxy.family = AF_INET6;
	chain_add(to, tproxy);
	chain_add(to, (struct rule){ .verdict = VERDICT_DROP });
	return_own_mark(r, in);
	chain_add(in, rule_with((struct rule){ .verdict = VERDICT_RETURN },
				(struct match){ .kind = MATCH_IIF, .text = "lo" }));
	chain_add(in, rule_with(divert, (struct match){ .kind = MATCH_SOCKET_TRANSPARENT }));
	chain_add(in, rule_with((struct rule){ .verdict = VERDICT_RETURN }, match_mark(r, mark)));
	inbound_rules(in, s, to);
	ruleset_add_route(r, AF_INET, mark, table, PROTOCOL_DEFAULT);
	ruleset_add_route(r, AF_INET6, mark, table, PROTOCOL_DEFAULT);
}

static bool captures(const struct port_list *ports)
{
	return ports->all || ports->count > 0;
}

struct ruleset *sidecar_rules(const struct sidecar *s, struct err *e)
{
	struct ruleset *r;
	char *prefix;

	if (!captures(&s->inbound) && !captures(&s->outbound)) {
		err_set(e, ERR_CONFIG, "captures nothing: write --inbound-ports or --outbound-ports");
		return NULL;
	}
	if ((s->inbound_exclude.count > 0 && !s->inbound.all) || (s->outbound_exclude.count > 0 && !s->outbound.all)) {
		err_set(e, ERR_CONFIG,
			"ports are excluded from all: write --inbound-ports '*' or --outbound-ports '*' with them");
		return NULL;
	}
	prefix = mem_format("%s_", s->prefix);
	r = ruleset_new(prefix, SIDECAR_INSTANCE, MARK_MASK_DEFAULT);
	r->nft_prefix = "sidecar_"; /* "redirect" is a keyword */
	r->block = ruleset_new(prefix, SIDECAR_INSTANCE, MARK_MASK_DEFAULT);
	if (captures(&s->outbound))
		outbound_rules(r, s);
	if (captures(&s->inbound) && s->tproxy)
		inbound_tproxy(r, s);
	else if (captures(&s->inbound))
		inbound_redirect(r, s);
	free(prefix);
	return r;
}
