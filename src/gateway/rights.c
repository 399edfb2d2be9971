/* SPDX-License-Identifier: Apache-2.0 */
/* rights - capabilities after the start. */
#include "gateway/rights.h"

#include "base/log.h"
#include "capture/capabilities.h"
#include "capture/guard.h"
#include "gateway/gateway_internal.h"

#define KEPT_MAX 3

struct kept {
	cap_value_t values[KEPT_MAX];
	int count;
	int used; /* of these; the rest is for tools that we may have to run */
};

/* SO_MARK, IP_TRANSPARENT. */
static bool marks_or_borrows(const struct entry_conf *conf)
{
	return conf->netfilter != NULL || conf->transparency.out;
}

static bool any_entry(const struct gateway *g, bool (*holds)(const struct entry_conf *))
{
	for (size_t i = 0; i < g->entry_count; i++) {
		if (holds(g->entries[i].conf))
			return true;
	}
	return false;
}

/* A client's port may be one below 1024. */
static bool borrows_port(const struct entry_conf *conf)
{
	return conf->transparency.client_port;
}

static struct kept what_to_keep(const struct gateway *g)
{
	struct kept k = { .count = 0 };

	if (g->guard != NULL || any_entry(g, marks_or_borrows))
		k.values[k.count++] = CAP_NET_ADMIN;
	if (any_entry(g, borrows_port))
		k.values[k.count++] = CAP_NET_BIND_SERVICE;
	k.used = k.count;
	if (g->guard != NULL && guard_needs_raw(g->guard))
		k.values[k.count++] = CAP_NET_RAW;
	return k;
}

/* What is not there cannot be kept: an entry that had needed it has told so already. */
static void leave_out_missing(struct kept *k)
{
	cap_t now = cap_get_proc();
	struct kept there = { .count = 0 };

	for (int i = 0; i < k->count; i++) {
		cap_flag_value_t value = CAP_CLEAR;

		if (now == NULL || cap_get_flag(now, k->values[i], CAP_PERMITTED, &value) != 0 || value != CAP_SET)
			continue;
		there.values[there.count++] = k->values[i];
		there.used += i < k->used;
	}
	cap_free(now);
	*k = there;
}

static void log_kept(const struct kept *k)
{
	struct buf names = { 0 };

	for (int i = 0; i < k->count; i++) {
		char *name = cap_to_name(k->values[i]);

		if (name != NULL)
			buf_format(&names, "%s%s", i == 0 ? "" : ", ", name);
		cap_free(name);
	}
	log_info("rights: %s from now on", k->count == 0 ? "no capability" : buf_str(&names));
	buf_release(&names);
}

int rights_drop(const struct gateway *g, struct err *e)
{
	struct kept k = what_to_keep(g);

	leave_out_missing(&k);
	if (capabilities_keep(k.values, k.count, k.used, e) != 0)
		return -1;
	log_kept(&k);
	return 0;
}
