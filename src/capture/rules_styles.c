/* SPDX-License-Identifier: Apache-2.0 */
/* rules_styles - listings of apisix-mesh-agent, TNG 1.0 and TNG 2.8: interception.md 2.2, 1.3, 1.4, 1.5. */
#include "capture/rules_styles.h"

#include <stdlib.h>
#include <string.h>

#include "capture/rules_internal.h"

#define NAT "iptables -t nat "
#define MANGLE "iptables -t mangle "

/* ---- apisix-mesh-agent ---- */

static bool captures(const struct port_list *ports)
{
	return ports->all || ports->count > 0;
}

static void mesh_inbound(const struct sidecar *s, struct buf *out)
{
	const char *p = s->prefix;

	buf_format(out, NAT "-A PREROUTING -p tcp -j %s_INBOUND\n", p);
	if (s->inbound.all)
		buf_format(out, NAT "-A %s_INBOUND -p tcp --dport 22 -j RETURN\n", p);
	for (size_t i = 0; s->inbound.all && i < s->inbound_exclude.count; i++)
		buf_format(out, NAT "-A %s_INBOUND -p tcp --dport %u -j RETURN\n", p, s->inbound_exclude.ports[i]);
	if (s->inbound.all)
		buf_format(out, NAT "-A %s_INBOUND -p tcp -j %s_REDIRECT\n", p, p);
	for (size_t i = 0; i < s->inbound.count; i++)
		buf_format(out, NAT "-A %s_INBOUND -p tcp --dport %u -j %s_REDIRECT\n", p, s->inbound.ports[i], p);
}

static void mesh_outbound(const struct sidecar *s, struct buf *out)
{
	for (size_t i = 0; s->outbound.all && i < s->outbound_exclude.count; i++)
		buf_format(out, NAT "-A OUTPUT -p tcp --dport %u -j RETURN\n", s->outbound_exclude.ports[i]);
	if (s->outbound.all)
		buf_format(out, NAT "-A OUTPUT -p tcp -j %s_REDIRECT\n", s->prefix);
	for (size_t i = 0; i < s->outbound.count; i++)
		buf_format(out, NAT "-A OUTPUT -p tcp --dport %u -j %s_REDIRECT\n", s->outbound.ports[i], s->prefix);
}

void mesh_print(const struct sidecar *s, struct buf *out)
{
	buf_format(out, NAT "-N %s_REDIRECT\n", s->prefix);
	if (captures(&s->inbound))
		buf_format(out, NAT "-N %s_INBOUND\n", s->prefix);
	buf_format(out, NAT "-A %s_REDIRECT -p tcp -j REDIRECT --to-ports %u\n", s->prefix, s->proxy_port);
	buf_format(out, NAT "-A OUTPUT -o lo ! -d 127.0.0.1/32 -m owner --uid-owner %u -j RETURN\n", s->uid);
	buf_format(out, NAT "-A OUTPUT -m owner --gid-owner %u -j RETURN\n", s->gid);
	if (captures(&s->inbound))
		mesh_inbound(s, out);
	mesh_outbound(s, out);
}

/* It takes the built-in OUTPUT for a chain of its own: printed, never run. */
void mesh_print_removal(const char *prefix, struct buf *out)
{
	buf_format(out, NAT "-D PREROUTING -p tcp -j %s_INBOUND\n", prefix);
	buf_append_str(out, NAT "-D OUTPUT -p tcp -j OUTPUT\n");
	buf_format(out, NAT "-F %s_INBOUND\n" NAT "-X %s_INBOUND\n", prefix, prefix);
	buf_append_str(out, NAT "-F OUTPUT\n" NAT "-X OUTPUT\n");
	buf_format(out, NAT "-F %s_REDIRECT\n" NAT "-X %s_REDIRECT\n", prefix, prefix);
}

/* ---- Both releases of TNG ---- */

static int check_known(const struct entry_conf *conf, const char *release, struct err *e)
{
	const struct netfilter_conf *n = conf->netfilter;

	if (n == NULL || conf->transparency.in || conf->transparency.out || n->exclude_dst_count > 0 ||
	    n->in_ifname.count > 0 || n->scope != SCOPE_LOCAL || n->method != METHOD_TPROXY ||
	    n->open_ports != OPEN_PORTS_ACCEPT || n->ipv6 == IPV6_CAPTURE || n->ipv6 == IPV6_REJECT)
		return err_set(e, ERR_CONFIG, "%s: has keys that TNG %s does not know", conf->path, release);
	for (size_t i = 0; i < n->capture_dst_count; i++) {
		if (n->capture_dst[i].host != NULL && strchr(n->capture_dst[i].host, ':') != NULL)
			return err_set(e, ERR_CONFIG, "%s: TNG %s does not know IPv6", conf->path, release);
	}
	return 0;
}

static void print_ports(const struct dst_conf *dst, struct buf *out)
{
	if (dst->port != 0 && dst->port_end == dst->port)
		buf_format(out, "--dport %u ", dst->port);
	else if (dst->port != 0)
		buf_format(out, "--dport %u:%u ", dst->port, dst->port_end);
}

static void print_dst(const struct dst_conf *dst, struct buf *out)
{
	if (dst->host != NULL)
		buf_format(out, "--dst %s ", dst->host);
	print_ports(dst, out);
	if (dst->ipset != NULL)
		buf_format(out, "-m set --match-set %s dst ", dst->ipset);
}

static void print_cgroup(const char *path, struct buf *out)
{
	char *absolute = mem_format("%s%s", path[0] == '/' ? "" : "/", path);

	shell_word(absolute, out);
	free(absolute);
}

/* ---- TNG 1.0 ---- */

static int tng1_check(const struct captured_entry *entry, struct err *e)
{
	const struct netfilter_conf *n = entry->conf->netfilter;

	if (entry->conf->kind == ENTRY_INGRESS)
		return err_set(e, ERR_CONFIG, "%s: TNG 1.0 captures for an egress only", entry->conf->path);
	if (check_known(entry->conf, "1.0", e) < 0)
		return -1;
	if (n->capture_dst_count != 1 || n->capture_cgroup.count > 0 || n->nocapture_cgroup.count > 0 ||
	    n->capture_dst[0].ipset != NULL || n->capture_dst[0].port == 0 ||
	    n->capture_dst[0].port != n->capture_dst[0].port_end)
		return err_set(e, ERR_CONFIG, "%s: TNG 1.0 knows one capture_dst with one port", entry->conf->path);
	return 0;
}

static bool is_first_with_mark(const struct captured_entry *entries, size_t i)
{
	for (size_t j = 0; j < i; j++) {
		if (entries[j].conf->netfilter->so_mark == entries[i].conf->netfilter->so_mark)
			return false;
	}
	return true;
}

static void tng1_redirect(const struct captured_entry *entry, struct buf *out)
{
	const struct netfilter_conf *n = entry->conf->netfilter;
	const struct dst_conf *dst = &n->capture_dst[0];

	buf_append_str(out, NAT "-A TNG_ENGRESS -p tcp ");
	if (dst->host == NULL || !n->capture_local_traffic)
		buf_append_str(out, "-m addrtype ");
	if (!n->capture_local_traffic)
		buf_append_str(out, "! --src-type LOCAL ");
	if (dst->host == NULL)
		buf_append_str(out, "--dst-type LOCAL ");
	print_dst(dst, out);
	buf_format(out, "-j REDIRECT --to-ports %u\n", entry->listen_port);
}

static void remove_chain(const char *tables, const char *chain, struct buf *out)
{
	buf_format(out, "%s-F %s\n%s-X %s\n", tables, chain, tables, chain);
}

int tng1_print(const struct captured_entry *entries, size_t count, bool removal, struct buf *out, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		if (tng1_check(&entries[i], e) < 0)
			return -1;
	}
	if (removal) {
		buf_append_str(out,
			       NAT "-D PREROUTING -p tcp -j TNG_ENGRESS\n" NAT "-D OUTPUT -p tcp -j TNG_ENGRESS\n");
		remove_chain(NAT, "TNG_ENGRESS", out);
		return 0;
	}
	buf_append_str(out, NAT "-N TNG_ENGRESS\n");
	for (size_t i = 0; i < count; i++) {
		if (is_first_with_mark(entries, i))
			buf_format(out, NAT "-A TNG_ENGRESS -p tcp -m mark --mark %u -j RETURN\n",
				   entries[i].conf->netfilter->so_mark);
	}
	for (size_t i = 0; i < count; i++)
		tng1_redirect(&entries[i], out);
	buf_append_str(out, NAT "-A PREROUTING -p tcp -j TNG_ENGRESS\n" NAT "-A OUTPUT -p tcp -j TNG_ENGRESS\n");
	return 0;
}

/* ---- TNG 2.8 ---- */

static void tng2_egress_rules(const struct captured_entry *entry, const char *chain, struct buf *out)
{
	const struct netfilter_conf *n = entry->conf->netfilter;
	const char *source = n->capture_local_traffic ? "" : "-m addrtype ! --src-type LOCAL ";

	for (size_t i = 0; i < n->nocapture_cgroup.count; i++) {
		buf_format(out, NAT "-A %s -m cgroup --path ", chain);
		print_cgroup(n->nocapture_cgroup.items[i], out);
		buf_append_str(out, " -j RETURN\n");
	}
	for (size_t i = 0; i < n->capture_dst_count; i++) {
		buf_format(out, NAT "-A %s -p tcp %s", chain, source);
		print_dst(&n->capture_dst[i], out);
		buf_format(out, "-j REDIRECT --to-ports %u\n", entry->listen_port);
	}
	if (n->capture_dst_count == 0)
		buf_format(out, NAT "-A %s -p tcp %s-j REDIRECT --to-ports %u\n", chain, source, entry->listen_port);
}

/* The rules for cgroups are what upstream means to load: the kernel takes them in no chain that PREROUTING reaches. */
static void tng2_egress_cgroups(const struct captured_entry *entry, const char *chain, struct buf *out)
{
	const struct netfilter_conf *n = entry->conf->netfilter;
	char *inner = mem_format("%s_CGROUP", chain);

	buf_format(out, NAT "-N %s\n", inner);
	tng2_egress_rules(entry, inner, out);
	for (size_t i = 0; i < n->capture_cgroup.count; i++) {
		buf_format(out, NAT "-A %s -m cgroup --path ", chain);
		print_cgroup(n->capture_cgroup.items[i], out);
		buf_format(out, " -j %s\n", inner);
	}
	buf_format(out, NAT "-A %s -j RETURN\n", chain);
	free(inner);
}

static void tng2_egress(const struct captured_entry *entry, struct buf *out)
{
	const struct netfilter_conf *n = entry->conf->netfilter;
	char *chain = mem_format("TNG_EGRESS_%u", entry->conf->index);

	buf_format(out, NAT "-N %s\n" NAT "-A %s -p tcp -m mark --mark %u -j RETURN\n", chain, chain, n->so_mark);
	if (n->capture_cgroup.count > 0)
		tng2_egress_cgroups(entry, chain, out);
	else
		tng2_egress_rules(entry, chain, out);
	buf_format(out, NAT "-I PREROUTING 1 -p tcp -j %s\n" NAT "-I OUTPUT 1 -p tcp -j %s\n", chain, chain);
	free(chain);
}

static void tng2_egress_removal(const struct captured_entry *entry, struct buf *out)
{
	char *chain = mem_format("TNG_EGRESS_%u", entry->conf->index);

	buf_format(out, NAT "-D PREROUTING -p tcp -j %s\n" NAT "-D OUTPUT -p tcp -j %s\n", chain, chain);
	remove_chain(NAT, chain, out);
	free(chain);
}

static void tng2_types(const char *chain, struct buf *out)
{
	static const char *const types[] = { "--dst-type LOCAL", "! --dst-type UNICAST", "! --src-type LOCAL" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		buf_format(out, MANGLE "-A %s -m addrtype %s -j RETURN\n", chain, types[i]);
}

static void tng2_marks(const struct netfilter_conf *n, const char *chain, unsigned mark, struct buf *out)
{
	for (size_t i = 0; i < n->nocapture_cgroup.count; i++) {
		buf_format(out, MANGLE "-A %s -m cgroup --path ", chain);
		print_cgroup(n->nocapture_cgroup.items[i], out);
		buf_append_str(out, " -j RETURN\n");
	}
	for (size_t i = 0; i < n->capture_dst_count; i++) {
		buf_format(out, MANGLE "-A %s -p tcp ", chain);
		print_dst(&n->capture_dst[i], out);
		buf_format(out, "-j MARK --set-mark %u/0xffffff\n", mark);
	}
	if (n->capture_dst_count == 0)
		buf_format(out, MANGLE "-A %s -p tcp -j MARK --set-mark %u/0xffffff\n", chain, mark);
}

static void tng2_to_second(const struct netfilter_conf *n, const char *first, const char *second, struct buf *out)
{
	for (size_t i = 0; i < n->capture_cgroup.count; i++) {
		buf_format(out, MANGLE "-A %s -m cgroup --path ", first);
		print_cgroup(n->capture_cgroup.items[i], out);
		buf_format(out, " -j %s\n", second);
	}
	if (n->capture_cgroup.count == 0)
		buf_format(out, MANGLE "-A %s -j %s\n", first, second);
}

struct tng2_names {
	char *pre;
	char *first;
	char *second;
	unsigned mark;
	unsigned table;
};

static struct tng2_names tng2_names_of(unsigned index)
{
	return (struct tng2_names){ mem_format("TNG_INGRESS_%u_PREROUTING", index),
				    mem_format("TNG_INGRESS_%u_OUTPUT_STAGE_1", index),
				    mem_format("TNG_INGRESS_%u_OUTPUT_STAGE_2", index), CAPTURE_MARK_FIRST + index,
				    CAPTURE_TABLE_FIRST + index };
}

static void tng2_names_release(struct tng2_names *x)
{
	free(x->pre);
	free(x->first);
	free(x->second);
}

static void tng2_ingress(const struct captured_entry *entry, struct buf *out)
{
	const struct netfilter_conf *n = entry->conf->netfilter;
	struct tng2_names x = tng2_names_of(entry->conf->index);

	buf_format(out, MANGLE "-N %s\n", x.pre);
	tng2_types(x.pre, out);
	buf_format(out, MANGLE "-A %s -p tcp -j TPROXY --on-ip 127.0.0.1 --on-port %u --tproxy-mark %u/0xffffff\n",
		   x.pre, entry->listen_port, x.mark);
	buf_format(out, MANGLE "-I PREROUTING 1 -p tcp -j %s\n", x.pre);
	buf_format(out, "ip route add local default dev lo table %u\n", x.table);
	buf_format(out, "ip rule add fwmark %u/0xffffff table %u\n", x.mark, x.table);
	buf_format(out, MANGLE "-N %s\n" MANGLE "-N %s\n", x.first, x.second);
	tng2_types(x.first, out);
	buf_format(out, MANGLE "-A %s -p tcp -m mark --mark %u -j RETURN\n", x.first, n->so_mark);
	tng2_to_second(n, x.first, x.second, out);
	tng2_marks(n, x.second, x.mark, out);
	buf_format(out, MANGLE "-I OUTPUT 1 -p tcp -j %s\n", x.first);
	tng2_names_release(&x);
}

static void tng2_ingress_removal(const struct captured_entry *entry, struct buf *out)
{
	struct tng2_names x = tng2_names_of(entry->conf->index);

	buf_format(out, MANGLE "-D PREROUTING -p tcp -j %s\n" MANGLE "-D OUTPUT -p tcp -j %s\n", x.pre, x.first);
	remove_chain(MANGLE, x.pre, out);
	remove_chain(MANGLE, x.first, out);
	remove_chain(MANGLE, x.second, out);
	buf_format(out, "ip route flush table %u\nip rule del table %u\n", x.table, x.table);
	tng2_names_release(&x);
}

int tng2_print(const struct captured_entry *entries, size_t count, bool removal, struct buf *out, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		if (check_known(entries[i].conf, "2.8", e) < 0)
			return -1;
	}
	for (size_t i = 0; i < count; i++) {
		if (entries[i].conf->kind == ENTRY_INGRESS)
			(removal ? tng2_ingress_removal : tng2_ingress)(&entries[i], out);
		else
			(removal ? tng2_egress_removal : tng2_egress)(&entries[i], out);
	}
	return 0;
}
