/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_wire - a line of tcpdump for each side of each capture, to copy. */
#include "capture/doctor_internal.h"

#include <stdlib.h>
#include <string.h>

#define WIRE "to look at the wire"

#define ITEMS_MAX 8 /* a longer filter is of no use to who reads it */

/* "host A and port P", of what an item says. */
static void add_item(const struct dst_conf *d, struct buf *out)
{
	const char *and = "";

	buf_append_str(out, "(");
	if (d->host != NULL) {
		buf_format(out, "net %s", d->host);
		and = " and ";
	}
	if (d->port != 0 && d->port == d->port_end)
		buf_format(out, "%sport %u", and, d->port);
	else if (d->port != 0)
		buf_format(out, "%sportrange %u-%u", and, d->port, d->port_end);
	buf_append_str(out, ")");
}

/* "tcp", and what is captured as far as a filter can say it: an ipset and a control group it
 * cannot. */
static char *filter_of(const struct netfilter_conf *n)
{
	struct buf out = { 0 };
	bool all = n->capture_dst_count == 0 || n->capture_dst_count > ITEMS_MAX;
	char *text;

	for (size_t i = 0; i < n->capture_dst_count && !all; i++)
		all = n->capture_dst[i].host == NULL && n->capture_dst[i].port == 0;
	buf_append_str(&out, "tcp");
	for (size_t i = 0; i < n->capture_dst_count && !all; i++) {
		buf_append_str(&out, i == 0 ? " and (" : " or ");
		add_item(&n->capture_dst[i], &out);
	}
	if (!all)
		buf_append_str(&out, ")");
	text = mem_strdup(buf_str(&out));
	buf_release(&out);
	return text;
}

static void add_side(const struct entry_conf *entry, const char *side, const char *interface, const char *filter,
		     struct doctor_report *r)
{
	char *name = mem_format("%s, %s", entry->path, side);

	doctor_add(r, WIRE, name, DOCTOR_NOTE, true, NULL, "tcpdump -ni %s '%s'", interface, filter);
	free(name);
}

static void add_entry(const struct entry_conf *entry, struct doctor_report *r)
{
	const struct netfilter_conf *n = entry->netfilter;
	bool is_ingress = entry->kind == ENTRY_INGRESS;
	const char *named = n->in_ifname.count == 1 ? n->in_ifname.items[0] : "any";
	char *filter = filter_of(n);

	/* What this host sends comes in again through loopback; an egress reaches its service
	 * there. */
	if (is_ingress)
		add_side(entry, "client's side", n->scope == SCOPE_LOCAL ? "lo" : named, filter, r);
	else
		add_side(entry, "peer's side", named, filter, r);
	add_side(entry, is_ingress ? "peer's side" : "service's side", is_ingress ? "any" : "lo", filter, r);
	free(filter);
}

void doctor_add_wire(const struct config *c, struct doctor_report *r)
{
	for (size_t i = 0; i < c->entry_count; i++) {
		if (c->entries[i].netfilter != NULL)
			add_entry(&c->entries[i], r);
	}
}
