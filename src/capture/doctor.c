/* SPDX-License-Identifier: Apache-2.0 */
/* doctor - the report. */
#include "capture/doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "capture/doctor_internal.h"
#include "codec/json.h"

static const char *const result_names[] = { "ok", "note", "warn", "fail", "unknown" };

void doctor_add(struct doctor_report *r, const char *group, const char *name, enum doctor_result result, bool needed,
		const char *advice, const char *fmt, ...)
{
	struct doctor_check *c;
	va_list args;

	r->checks = mem_resize(r->checks, (r->count + 1) * sizeof(*r->checks));
	c = &r->checks[r->count++];
	*c = (struct doctor_check){ .group = group, .name = mem_strdup(name), .result = result, .needed = needed };
	if (!needed && (result == DOCTOR_FAIL || result == DOCTOR_WARN))
		c->result = DOCTOR_NOTE;
	va_start(args, fmt);
	c->found = mem_vformat(fmt, args);
	va_end(args);
	if (advice != NULL && *advice != '\0' && result != DOCTOR_OK)
		c->advice = mem_strdup(advice);
}

void doctor_report_release(struct doctor_report *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->checks[i].name);
		free(r->checks[i].found);
		free(r->checks[i].advice);
	}
	free(r->checks);
	*r = (struct doctor_report){ 0 };
}

bool doctor_report_fails(const struct doctor_report *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->checks[i].result == DOCTOR_FAIL)
			return true;
	}
	return false;
}

/* ---- what is needed ---- */

static bool names_ipset(const struct dst_conf *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (items[i].ipset != NULL)
			return true;
	}
	return false;
}

static void add_netfilter(struct doctor_needs *n, const struct entry_conf *entry)
{
	const struct netfilter_conf *c = entry->netfilter;
	bool is_ingress = entry->kind == ENTRY_INGRESS;

	n->capture = true;
	if (is_ingress && c->method == METHOD_TPROXY)
		n->tproxy = n->transparent = true;
	else
		n->redirect = true;
	n->ipv6 = n->ipv6 || c->ipv6 == IPV6_CAPTURE || c->ipv6 == IPV6_REJECT;
	n->ipset = n->ipset || names_ipset(c->capture_dst, c->capture_dst_count) ||
		   names_ipset(c->exclude_dst, c->exclude_dst_count);
	n->cgroup = n->cgroup || c->capture_cgroup.count > 0 || c->nocapture_cgroup.count > 0;
	n->queue = n->queue || (is_ingress && c->open_ports == OPEN_PORTS_CONNECT_FIRST);
	n->forward = n->forward || (is_ingress && c->scope != SCOPE_LOCAL);
}

static struct doctor_needs needs_of(const struct config *c)
{
	struct doctor_needs n = { .given = c != NULL };

	if (c == NULL) {
		n.capture = n.redirect = n.tproxy = n.transparent = n.any_backend = true;
		return n;
	}
	for (size_t i = 0; i < c->entry_count; i++) {
		const struct entry_conf *entry = &c->entries[i];

		if (entry->netfilter != NULL)
			add_netfilter(&n, entry);
		if (entry->transparency.in || entry->transparency.out)
			n.transparent = n.capture = true;
	}
	n.bridge = n.capture && doctor_needs_bridge(c);
	n.iptables = n.capture && (c->interception.backend == BACKEND_IPTABLES || n.ipset);
	n.nft = n.capture && c->interception.backend == BACKEND_NFT;
	n.any_backend = n.capture && !n.iptables && c->interception.backend == BACKEND_AUTO;
	return n;
}

void doctor_examine(const struct doctor_options *options, struct doctor_report *report)
{
	struct doctor_needs needs = needs_of(options->config);

	*report = (struct doctor_report){ 0 };
	if (needs.given && !needs.capture)
		doctor_add(report, "configuration", "capture", DOCTOR_NOTE, true, NULL,
			   "no entry captures by the kernel: what follows does not matter for this configuration");
	doctor_look_at_host(&needs, report);
	if (options->config != NULL)
		doctor_look_at_ports(options->config, report);
	doctor_try_kernel(&needs, report);
	doctor_look_at_running(options, &needs, report);
	if (options->config != NULL && (options->probe || doctor_report_fails(report)))
		doctor_add_wire(options->config, report);
}

/* ---- printing ---- */

void doctor_report_print(const struct doctor_report *r, struct buf *out)
{
	const char *group = "";
	unsigned counts[ARRAY_SIZE(result_names)] = { 0 };

	for (size_t i = 0; i < r->count; i++) {
		const struct doctor_check *c = &r->checks[i];

		if (strcmp(group, c->group) != 0)
			buf_format(out, "%s%s\n", i == 0 ? "" : "\n", c->group);
		group = c->group;
		counts[c->result]++;
		buf_format(out, "  %-7s %s: %s%s\n", result_names[c->result], c->name, c->found,
			   c->needed ? "" : " (not needed)");
		if (c->advice != NULL)
			buf_format(out, "          -> %s\n", c->advice);
	}
	buf_format(out, "\n%u ok, %u failed, %u warnings, %u notes, %u could not be looked at\n", counts[DOCTOR_OK],
		   counts[DOCTOR_FAIL], counts[DOCTOR_WARN], counts[DOCTOR_NOTE], counts[DOCTOR_UNKNOWN]);
}

static void print_member(struct buf *out, const char *name, const char *value)
{
	buf_format(out, "\"%s\": ", name);
	if (value == NULL)
		buf_append_str(out, "null");
	else
		json_append_string(out, bytes_str(value));
}

void doctor_report_print_json(const struct doctor_report *r, struct buf *out)
{
	buf_format(out, "{\"ok\": %s, \"checks\": [", doctor_report_fails(r) ? "false" : "true");
	for (size_t i = 0; i < r->count; i++) {
		const struct doctor_check *c = &r->checks[i];

		buf_append_str(out, i == 0 ? "\n  {" : ",\n  {");
		print_member(out, "group", c->group);
		buf_append_str(out, ", ");
		print_member(out, "name", c->name);
		buf_append_str(out, ", ");
		print_member(out, "result", result_names[c->result]);
		buf_format(out, ", \"needed\": %s, ", c->needed ? "true" : "false");
		print_member(out, "found", c->found);
		buf_append_str(out, ", ");
		print_member(out, "advice", c->advice);
		buf_append_str(out, "}");
	}
	buf_append_str(out, "]}\n");
}
