/* SPDX-License-Identifier: Apache-2.0 */
/* rights - capabilities after the start. */
#include "gateway/rights.h"

#include <errno.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "base/log.h"
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

static bool keeps(const struct kept *k, cap_value_t value)
{
	for (int i = 0; i < k->count; i++) {
		if (k->values[i] == value)
			return true;
	}
	return false;
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

/* Nobody gets back by exec() what has gone: root would get all that is in the bounding set. */
static void drop_bounds(const struct kept *k)
{
	for (cap_value_t v = 0; cap_get_bound(v) >= 0; v++) {
		if (!keeps(k, v))
			(void)cap_drop_bound(v); /* takes CAP_SETPCAP; without that there is little to drop */
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int set_own(const struct kept *k, struct err *e)
{
	cap_t caps = cap_init();
	int rc = -1;

	if (caps == NULL)
		return err_errno(e, ERR_SYSTEM, "drop capabilities");
	if (k->count > 0) {
		cap_set_flag(caps, CAP_PERMITTED, k->count, k->values, CAP_SET);
		cap_set_flag(caps, CAP_INHERITABLE, k->count, k->values, CAP_SET);
	}
	if (k->used > 0)
		cap_set_flag(caps, CAP_EFFECTIVE, k->used, k->values, CAP_SET);
	rc = cap_set_proc(caps);
	if (rc != 0)
		err_errno(e, ERR_SYSTEM, "drop capabilities");
	cap_free(caps);
	/* What a tool gets that somebody runs who is not root. */
	for (int i = 0; rc == 0 && i < k->count; i++)
		(void)cap_set_ambient(k->values[i], CAP_SET);
	return rc;
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
	drop_bounds(&k);
	if (set_own(&k, e) != 0)
		return -1;
	log_kept(&k);
	return 0;
}
