/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interception - from the entries that capture to a guarded set of rules.
 *
 * An entry takes part when it has the mode netfilter, or when it dials in the client's name: the answers then have to
 * be led back to us.
 */
#include "gateway/interception.h"

#include <stdlib.h>

#include "base/log.h"
#include "capture/bridges.h"
#include "capture/guard.h"
#include "capture/host.h"
#include "capture/rules.h"
#include "gateway/gateway_internal.h"

#define REFUSED_PER_SECOND 1000 /* that the guard is told */

static bool takes_part(const struct entry_conf *conf)
{
	return conf->netfilter != NULL || conf->transparency.in || conf->transparency.out;
}

static size_t list_entries(const struct gateway *g, struct captured_entry *out)
{
	size_t count = 0;

	for (size_t i = 0; i < g->entry_count; i++) {
		const struct entry *en = &g->entries[i];

		if (takes_part(en->conf))
			out[count++] = (struct captured_entry){ .conf = en->conf, .listen_port = en->listen_port };
	}
	return count;
}

static bool names_cgroups(const struct entry_conf *conf)
{
	return conf->netfilter != NULL &&
	       conf->netfilter->capture_cgroup.count + conf->netfilter->nocapture_cgroup.count > 0;
}

static int find_cgroups(const struct gateway *g, struct ruleset *rules, struct err *e)
{
	for (size_t i = 0; i < g->entry_count; i++) {
		const struct entry_conf *conf = g->entries[i].conf;
		char *below;

		if (!names_cgroups(conf))
			continue;
		below = host_cgroup_mount(e);
		if (below == NULL)
			return err_wrap(e, "%s.netfilter", conf->path);
		rules_set_cgroup_mount(rules, below);
		free(below);
		return 0;
	}
	return 0;
}

static void log_listeners(const struct gateway *g)
{
	for (size_t i = 0; i < g->entry_count; i++) {
		if (g->entries[i].conf->netfilter != NULL)
			log_info("%s.netfilter: listening on port %u", g->entries[i].conf->path,
				 g->entries[i].listen_port);
	}
}

static void on_guard(struct watch *w, uint32_t events)
{
	struct gateway *g = container_of(w, struct gateway, guard_watch);

	(void)events;
	loop_unwatch(g->main_loop, w);
	g->guard_is_lost = true;
	g->exit_code = 1;
	log_error("the process that guards the rules has ended, and they may be gone: resetting all connections");
	loop_stop(g->main_loop);
}

static int fork_guard(struct gateway *g, const struct ruleset *rules, struct err *e)
{
	g->guard = guard_start(&g->config->interception, rules, e);
	if (g->guard == NULL)
		return -1;
	g->guard_watch.fd = guard_descriptor(g->guard);
	g->guard_watch.ready = on_guard;
	return loop_watch(g->main_loop, &g->guard_watch, EPOLLIN, e);
}

static struct ruleset *build_rules(const struct gateway *g, const struct captured_entry *entries, size_t count,
				   struct err *e)
{
	struct bridge_list bridges;
	struct ruleset *rules = NULL;
	const char *calls;

	if (bridges_find(&bridges, e) == 0)
		rules = rules_build_bridged(&g->config->interception, entries, count, host_has_ipv6(), &bridges, e);
	calls = rules != NULL && rules_take_bridged(rules) ? bridges_call_iptables() : NULL;
	if (calls != NULL)
		log_warn(
			"interception: what passes through bridges is captured, but net.bridge.%s is 1, with which such "
			"connections time out: set it to 0",
			calls);
	bridge_list_release(&bridges);
	return rules;
}

int interception_start(struct gateway *g, struct err *e)
{
	const struct interception_conf *conf = &g->config->interception;
	struct captured_entry *entries = mem_new_array(g->entry_count, sizeof(*entries));
	size_t count = list_entries(g, entries);
	struct ruleset *rules = NULL;
	int result = 0;

	log_listeners(g);
	if (count == 0)
		goto out;
	if (conf->backend == BACKEND_NONE) {
		log_info("interception.backend is none: the rules are yours; see tng iptables --dry-run");
		goto out;
	}
	result = -1;
	rules = build_rules(g, entries, count, e);
	if (rules != NULL && find_cgroups(g, rules, e) == 0)
		result = fork_guard(g, rules, e);
out:
	rules_free(rules);
	free(entries);
	return result;
}

int interception_apply(struct gateway *g, struct err *e)
{
	if (g->guard == NULL)
		return 0;
	if (guard_apply(g->guard, e) < 0)
		return err_wrap(e, "interception");
	if (!g->config->interception.drop_on_exit)
		log_warn(
			"interception.on_exit is open: when the gateway ends, new connections of what is captured go on in "
			"clear; write drop to block them");
	return 0;
}

struct refused_mail {
	struct mail mail;
	struct gateway *gateway;
	unsigned index;
	struct sock_addr to;
};

static void on_refused(struct mail *m)
{
	struct refused_mail *r = container_of(m, struct refused_mail, mail);
	struct gateway *g = r->gateway;
	unsigned skipped;

	if (g->guard != NULL && !g->guard_is_lost && g->running &&
	    log_limit_pass(&g->refused_limit, REFUSED_PER_SECOND, loop_now_ms(g->main_loop), &skipped))
		guard_refused(g->guard, r->index, &r->to);
	free(r);
}

void interception_refused(struct gateway *g, const struct entry_conf *conf, const struct sock_addr *to)
{
	struct refused_mail *r;

	if (g->guard == NULL) /* set before the workers begin, cleared behind their end */
		return;
	r = mem_new_of(struct refused_mail);
	r->mail.deliver = on_refused;
	r->gateway = g;
	r->index = conf->index;
	r->to = *to;
	loop_post(g->main_loop, &r->mail);
}

void interception_stop(struct gateway *g)
{
	struct err e;

	if (g->guard == NULL || g->guard_is_lost)
		return;
	loop_unwatch(g->main_loop, &g->guard_watch);
	if (guard_stop(g->guard, &e) == 0)
		return;
	log_error("interception: the rules were not taken away: %s; run tng cleanup-iptables", e.text);
	g->exit_code = 1;
}

void interception_release(struct gateway *g)
{
	if (g->guard == NULL)
		return;
	loop_unwatch(g->main_loop, &g->guard_watch);
	guard_free(g->guard);
	g->guard = NULL;
}
