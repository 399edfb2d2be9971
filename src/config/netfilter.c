/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netfilter - what the kernel captures for an entry.
 *
 * The object holds what is stored in struct netfilter_conf, and beside it transparency and proxy_protocol, which are
 * the entry's: it is read into a struct of both, and taken apart.
 */
#include "config/sections.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "config/capture_numbers.h"
#include "config/text_forms.h"

#define DST_MAX 4096	   /* items of capture_dst, and of exclude_dst */
#define CGROUP_LEN_MAX 511 /* what xt_cgroup takes */
#define IPSET_LEN_MAX 31   /* what the kernel takes */
#define DAY_MS 86400000
#define NEGATIVE_CACHE_DEFAULT_MS 10000

/* What all entries capture together, to be compared pair by pair. */
#define COMPARED_MAX 4096

struct netfilter_object {
	struct netfilter_conf conf;
	struct transparency_conf transparency;
	struct proxy_protocol_conf proxy_protocol;
};

/* FLAT: the keys are read into struct netfilter_conf, with which the object begins. */
_Static_assert(offsetof(struct netfilter_object, conf) == 0, "the keys are read into netfilter_conf");

static bool has_only(const char *text, const char *others)
{
	for (; *text != '\0'; text++) {
		if (!isalnum((unsigned char)*text) && strchr(others, *text) == NULL)
			return false;
	}
	return true;
}

static const char *check_ipset(char *text)
{
	if (text[0] == '\0' || strlen(text) > IPSET_LEN_MAX || !has_only(text, "_-.:@") || text[0] == '-')
		return "expected the name of an ipset: 1 to 31 letters, digits and _-.:@";
	return NULL;
}

/* No patterns: nft and iptables understand different ones. */
static const char *check_ifname(char *text)
{
	if (text[0] == '\0' || strlen(text) >= IFNAMSIZ || !has_only(text, "_-.:@") || text[0] == '-')
		return "expected the name of an interface: 1 to 15 letters, digits and _-.:@";
	return NULL;
}

/* "/a/b/" becomes "a/b"; the root stays "/". Systemd's names have backslashes. */
static const char *check_cgroup(char *text)
{
	size_t skip = strspn(text, "/");
	size_t len = strlen(text);

	if (len == 0)
		return "an empty string";
	if (len > CGROUP_LEN_MAX)
		return "a path of more than 511 bytes";
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] <= 0x20 || text[i] == 0x7f || text[i] == '"' || text[i] == '\'')
			return "expected a path without blanks and quotes";
	}
	if (strstr(text, "//") != NULL || strstr(text, "/../") != NULL || strncmp(text, "../", 3) == 0)
		return "expected a path below the root of cgroup2, without // and ..";
	memmove(text, text + skip, len - skip + 1);
	len -= skip;
	if (len > 0 && text[len - 1] == '/')
		text[len - 1] = '\0';
	if (text[0] == '\0')
		strcpy(text, "/");
	return NULL;
}

/* clang-format off */
static const struct field dst_fields[] = {
	{ STORED(FIELD_TEXT, struct dst_conf, host) },
	{ STORED(FIELD_TEXT, struct dst_conf, ipset), .check_text = check_ipset },
	{ STORED(FIELD_INTEGER, struct dst_conf, port), PORT_RANGE, .zero_is_unset = true },
	{ STORED(FIELD_INTEGER, struct dst_conf, port_end), PORT_RANGE, .zero_is_unset = true },
};
/* clang-format on */

struct network {
	uint8_t address[16];
	unsigned len; /* of the address in bytes */
	unsigned prefix;
};

static bool network_parse(const char *text, struct network *n)
{
	const char *slash = strchr(text, '/');
	char *host = slash == NULL ? mem_strdup(text) : mem_strndup(text, (size_t)(slash - text));
	bool good = host_address(host, n->address, &n->len);

	free(host);
	n->prefix = 8 * n->len;
	if (!good || slash == NULL)
		return good;
	if (slash[1] == '\0' || strlen(slash + 1) > 3 || strspn(slash + 1, "0123456789") != strlen(slash + 1) ||
	    strtoul(slash + 1, NULL, 10) > n->prefix)
		return false;
	n->prefix = (unsigned)strtoul(slash + 1, NULL, 10);
	return true;
}

/* Clears the bits behind the prefix. true: there were none. */
static bool network_trim(struct network *n)
{
	bool clean = true;

	for (unsigned bit = n->prefix; bit < 8 * n->len; bit++) {
		uint8_t mask = (uint8_t)(0x80 >> bit % 8);

		clean = clean && (n->address[bit / 8] & mask) == 0;
		n->address[bit / 8] &= (uint8_t)~mask;
	}
	return clean;
}

/* gives "10.0.0.0/8". */
static char *network_format(const struct network *n)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(n->len == 4 ? AF_INET : AF_INET6, n->address, text, sizeof(text));
	return mem_format("%s/%u", text, n->prefix);
}

static bool is_mapped(const struct network *n)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return n->len == 16 && n->prefix >= 96 && memcmp(n->address, prefix, sizeof(prefix)) == 0;
}

/* A network that is written in one way only. */
static void check_host_network(struct reading *r, const struct place *at, char **host)
{
	struct place place = place_member(at, "host");
	struct network n;
	char *text;

	if (!network_parse(*host, &n)) {
		place_error(r, &place,
			    "expected an IP address, or a network such as 10.0.0.0/8 or fd00::/8, found \"%.60s\"",
			    *host);
		return;
	}
	if (is_mapped(&n)) {
		place_error(r, &place,
			    "an IPv4 address in the form of IPv6, which is never on the wire: write it as IPv4");
		return;
	}
	if (!network_trim(&n)) {
		text = network_format(&n);
		place_error(r, &place, "the address has bits behind the prefix: the network is %s", text);
		free(text);
		return;
	}
	free(*host);
	*host = network_format(&n);
}

static void check_dst(struct reading *r, const struct place *at, void *conf)
{
	struct dst_conf *dst = conf;

	if (dst->host == NULL && dst->ipset == NULL && dst->port == 0)
		place_error(r, at, "write at least one of host, ipset and port");
	if (dst->host != NULL && dst->ipset != NULL)
		place_error(r, at, "write host or ipset, not both");
	check_port_range(r, at, "port", "port_end");
	if (dst->port_end == 0)
		dst->port_end = dst->port;
	if (dst->host != NULL)
		check_host_network(r, at, &dst->host);
}

static const struct section section_dst = { SECTION_FIELDS(dst_fields), .size = sizeof(struct dst_conf),
					    .check = check_dst };

static const struct choice scopes[] = {
	{ .name = "local", .value = SCOPE_LOCAL },
	{ .name = "forward", .value = SCOPE_FORWARD },
	{ .name = "both", .value = SCOPE_BOTH },
	{ 0 },
};

static const struct choice methods[] = {
	{ .name = "tproxy", .value = METHOD_TPROXY },
	{ .name = "redirect", .value = METHOD_REDIRECT },
	{ 0 },
};

static const struct choice ipv6_choices[] = {
	{ .name = "bypass", .value = IPV6_BYPASS },
	{ .name = "reject", .value = IPV6_REJECT },
	{ .name = "capture", .value = IPV6_CAPTURE },
	{ 0 },
};

static const struct choice open_ports[] = {
	{ .name = "accept", .value = OPEN_PORTS_ACCEPT },
	{ .name = "negative_cache", .value = OPEN_PORTS_NEGATIVE_CACHE },
	{ .name = "connect_first", .value = OPEN_PORTS_CONNECT_FIRST },
	{ 0 },
};

/* clang-format off */
#define DST_LIST(member_) \
	{ STORED(FIELD_LIST, struct netfilter_conf, member_), .count_offset = offsetof(struct netfilter_conf, member_##_count), .section = &section_dst, .or_single = true }

#define CAPTURE_FIELDS \
	DST_LIST(capture_dst), \
	{ STORED(FIELD_TEXTS, struct netfilter_conf, capture_cgroup), .check_text = check_cgroup }, \
	{ STORED(FIELD_TEXTS, struct netfilter_conf, nocapture_cgroup), .check_text = check_cgroup }, \
	{ STORED(FIELD_INTEGER, struct netfilter_conf, listen_port), PORT_RANGE, .zero_is_unset = true }, \
	{ STORED(FIELD_INTEGER, struct netfilter_conf, so_mark), UINT32_RANGE, .fallback = SO_MARK_DEFAULT }, \
	{ STORED(FIELD_TEXTS, struct netfilter_conf, in_ifname), .check_text = check_ifname }, \
	{ STORED(FIELD_CHOICE, struct netfilter_conf, ipv6), .choices = ipv6_choices, .fallback = IPV6_UNSET, .zero_is_unset = true }, \
	DST_LIST(exclude_dst)

static const struct field ingress_fields[] = {
	CAPTURE_FIELDS,
	{ STORED(FIELD_CHOICE, struct netfilter_conf, scope), .choices = scopes, .fallback = SCOPE_LOCAL },
	{ STORED(FIELD_CHOICE, struct netfilter_conf, method), .choices = methods, .fallback = METHOD_TPROXY },
	{ STORED(FIELD_CHOICE, struct netfilter_conf, open_ports), .choices = open_ports, .fallback = OPEN_PORTS_ACCEPT },
	{ STORED_AS("negative_cache_timeout", FIELD_SECONDS, struct netfilter_conf, negative_cache_ms), .min = 1000, .max = DAY_MS,
	  .fallback = NEGATIVE_CACHE_DEFAULT_MS },
	FIELDS_OF_EVERY_MODE(struct netfilter_object),
};

static const struct field egress_fields[] = {
	CAPTURE_FIELDS,
	{ STORED(FIELD_BOOL, struct netfilter_conf, capture_local_traffic) },
	FIELDS_OF_EVERY_MODE(struct netfilter_object),
};

/* For releasing. */
static const struct field netfilter_fields[] = {
	CAPTURE_FIELDS,
};

static const struct section section_of_pointer = { SECTION_FIELDS(netfilter_fields), .size = sizeof(struct netfilter_conf) };

static const struct field entry_fields[] = {
	{ STORED(FIELD_OBJECT, struct entry_conf, netfilter), .section = &section_of_pointer, .allocated = true },
	{ STORED(FIELD_OBJECT, struct entry_conf, transparency), .section = &section_transparency },
	{ STORED(FIELD_OBJECT, struct entry_conf, proxy_protocol), .section = &section_proxy_protocol },
};
/* clang-format on */

const struct section section_netfilter = { SECTION_FIELDS(entry_fields), .size = sizeof(struct entry_conf) };

static void refuse(struct reading *r, const struct place *at, const char *name, const char *text)
{
	struct place member = place_member(at, name);

	place_error(r, &member, "%s", text);
}

static void check_captures_something(struct reading *r, const struct place *at, const struct netfilter_conf *n)
{
	if (n->capture_dst_count == 0 && n->capture_cgroup.count == 0)
		place_error(r, at, "captures nothing: write capture_dst or capture_cgroup");
	if (n->capture_dst_count > DST_MAX)
		refuse(r, at, "capture_dst", "more than 4096 items: use an ipset");
	if (n->exclude_dst_count > DST_MAX)
		refuse(r, at, "exclude_dst", "more than 4096 items: use an ipset");
}

static void check_ipv6(struct reading *r, const struct place *at, const struct netfilter_conf *n)
{
	for (size_t i = 0; i < n->capture_dst_count && n->ipv6 == IPV6_BYPASS; i++) {
		if (n->capture_dst[i].host != NULL && strchr(n->capture_dst[i].host, ':') != NULL) {
			refuse(r, at, "ipv6", "\"bypass\" would never look at the IPv6 networks of capture_dst");
			break;
		}
	}
}

static void check_so_mark(struct reading *r, const struct place *at, const struct netfilter_conf *n)
{
	if (n->so_mark == 0)
		refuse(r, at, "so_mark", "0 is what every packet has: our own connections would be captured again");
}

static void check_cgroups_of_ingress(struct reading *r, const struct place *at, const struct netfilter_conf *n)
{
	if (n->scope != SCOPE_LOCAL && n->capture_cgroup.count > 0)
		refuse(r, at, "capture_cgroup", "only with scope \"local\": what is forwarded belongs to no cgroup");
	if (n->scope == SCOPE_FORWARD && n->nocapture_cgroup.count > 0)
		refuse(r, at, "nocapture_cgroup", "not with scope \"forward\": what is forwarded belongs to no cgroup");
}

/* A tunnel that is made for a first packet knows its addresses, and nothing else of the client. */
static void check_connect_first(struct reading *r, const struct place *at, const struct netfilter_object *object)
{
	if (object->conf.open_ports != OPEN_PORTS_CONNECT_FIRST)
		return;
	if (object->transparency.client_port)
		refuse(r, at, "open_ports",
		       "\"connect_first\" not with transparency.client_port: for the kernel, which tracks "
		       "connections, ours would be the one whose first packet still waits");
	if (object->transparency.out && object->proxy_protocol.accept_from.count > 0)
		refuse(r, at, "open_ports",
		       "\"connect_first\" not with transparency.out and proxy_protocol.accept_from: who the "
		       "client is would be known too late to dial in its name");
}

static void check_open_ports(struct reading *r, const struct place *at, const struct netfilter_object *object)
{
	const struct netfilter_conf *n = &object->conf;

	if (n->method == METHOD_REDIRECT && n->open_ports != OPEN_PORTS_ACCEPT)
		refuse(r, at, "open_ports", "only with method \"tproxy\"");
	if (n->open_ports != OPEN_PORTS_NEGATIVE_CACHE && n->negative_cache_ms != NEGATIVE_CACHE_DEFAULT_MS)
		refuse(r, at, "negative_cache_timeout", "only with open_ports \"negative_cache\"");
	check_connect_first(r, at, object);
}

static void check_ingress_object(struct reading *r, const struct place *at, void *conf)
{
	const struct netfilter_object *object = conf;
	const struct netfilter_conf *n = &object->conf;
	struct place transparency = place_member(at, "transparency");
	bool any_address = n->method == METHOD_REDIRECT && n->scope != SCOPE_LOCAL;

	check_captures_something(r, at, n);
	check_ipv6(r, at, n);
	check_so_mark(r, at, n);
	check_cgroups_of_ingress(r, at, n);
	if (n->scope == SCOPE_LOCAL && n->in_ifname.count > 0)
		refuse(r, at, "in_ifname", "only with scope \"forward\" or \"both\"");
	if (object->transparency.client_port && object->transparency.out && n->scope == SCOPE_LOCAL)
		refuse(r, &transparency, "client_port",
		       "only with scope \"forward\" or \"both\": a program of this host keeps "
		       "its port to itself");
	check_open_ports(r, at, object);
	if (n->listen_port != 0)
		claim_listen(r, at, any_address ? "0.0.0.0" : "127.0.0.1", n->listen_port, n->listen_port);
}

static void check_egress_object(struct reading *r, const struct place *at, void *conf)
{
	const struct netfilter_object *object = conf;
	const struct netfilter_conf *n = &object->conf;
	struct place transparency = place_member(at, "transparency");
	size_t port = n->listen_port != 0 ? n->listen_port : EGRESS_PORT_FIRST + at->parent->index;

	check_captures_something(r, at, n);
	check_ipv6(r, at, n);
	check_so_mark(r, at, n);
	if (object->transparency.client_port && object->transparency.out)
		refuse(r, &transparency, "client_port",
		       "not on an egress with netfilter: its two connections would be one "
		       "for the kernel, which tracks them");
	if (object->transparency.in && n->capture_local_traffic)
		refuse(r, &transparency, "in",
		       "not with capture_local_traffic: TPROXY never sees connections of this host "
		       "to itself");
	if (port <= UINT16_MAX)
		claim_listen(r, at, "0.0.0.0", (uint16_t)port, (uint16_t)port);
}

static const struct section section_ingress_object = { SECTION_FIELDS(ingress_fields),
						       .size = sizeof(struct netfilter_object),
						       .check = check_ingress_object };
static const struct section section_egress_object = { SECTION_FIELDS(egress_fields),
						      .size = sizeof(struct netfilter_object),
						      .check = check_egress_object };

static bool read_object(struct reading *r, const struct section *section, const struct place *at,
			struct entry_conf *entry)
{
	struct netfilter_object object = { 0 };
	bool good;

	if (at->json->type != JSON_OBJECT) {
		place_error(r, at, "expected an object");
		return false;
	}
	good = section_read(r, section, at, &object);
	entry->netfilter = mem_dup(&object.conf, sizeof(object.conf));
	entry_take_transparency(entry, &object.transparency, &object.proxy_protocol);
	return good;
}

bool ingress_netfilter_read(struct reading *r, const struct place *at, void *conf)
{
	return read_object(r, &section_ingress_object, at, conf);
}

bool egress_netfilter_read(struct reading *r, const struct place *at, void *conf)
{
	return read_object(r, &section_egress_object, at, conf);
}

void netfilter_write(const void *conf, unsigned indent, struct buf *out)
{
	const struct entry_conf *entry = conf;
	struct netfilter_object object = { .transparency = entry->transparency,
					   .proxy_protocol = entry->proxy_protocol };

	if (entry->netfilter == NULL)
		return;
	object.conf = *entry->netfilter;
	section_write(entry->kind == ENTRY_INGRESS ? &section_ingress_object : &section_egress_object, &object, indent,
		      out);
}

/* ---- Between entries ---- */

static struct place place_of_entry(const struct place *list, size_t i)
{
	return (struct place){ .parent = list, .index = i, .json = list->json->items[i] };
}

static bool contains_network(const char *outer, const char *inner)
{
	struct network a;
	struct network b;

	if (outer == NULL)
		return true;
	if (inner == NULL || !network_parse(outer, &a) || !network_parse(inner, &b) || a.len != b.len ||
	    a.prefix > b.prefix)
		return false;
	b.prefix = a.prefix;
	network_trim(&b);
	return memcmp(a.address, b.address, a.len) == 0;
}

/* Whatever matches inner matches outer. */
static bool covers(const struct dst_conf *outer, const struct dst_conf *inner)
{
	if (outer->port != 0 && (inner->port < outer->port || inner->port_end > outer->port_end))
		return false;
	if (outer->ipset != NULL || inner->ipset != NULL)
		return outer->ipset != NULL && inner->ipset != NULL && strcmp(outer->ipset, inner->ipset) == 0;
	return contains_network(outer->host, inner->host);
}

/* It takes all that matches, from whomever and wherever. */
static bool takes_all(const struct netfilter_conf *n)
{
	return n->capture_cgroup.count == 0 && n->nocapture_cgroup.count == 0 && n->in_ifname.count == 0 &&
	       n->exclude_dst_count == 0;
}

static void warn_if_covered(struct reading *r, const struct place *list, const struct captures *c, enum entry_kind kind,
			    size_t earlier, size_t later)
{
	const struct netfilter_conf *a = c->entries[kind][earlier].netfilter;
	const struct netfilter_conf *b = c->entries[kind][later].netfilter;
	struct place entry = place_of_entry(list, later);
	struct place netfilter = place_member(&entry, "netfilter");
	struct place dst = place_member(&netfilter, "capture_dst");

	if (!takes_all(a) || (a->scope != SCOPE_BOTH && a->scope != b->scope))
		return;
	for (size_t i = 0; i < a->capture_dst_count; i++) {
		for (size_t j = 0; j < b->capture_dst_count; j++) {
			if (covers(&a->capture_dst[i], &b->capture_dst[j])) {
				place_warn(r, &dst, "item %zu is captured by %s[%zu] already, which comes first", j,
					   list->name, earlier);
				return;
			}
		}
	}
}

static void check_overlaps(struct reading *r, const struct place *list, const struct captures *c, enum entry_kind kind)
{
	size_t total = 0;

	for (size_t later = 0; later < c->counts[kind]; later++) {
		if (c->entries[kind][later].netfilter == NULL)
			continue;
		total += MAX(c->entries[kind][later].netfilter->capture_dst_count, (size_t)1);
		if (total > COMPARED_MAX)
			return;
		for (size_t earlier = 0; earlier < later; earlier++) {
			if (c->entries[kind][earlier].netfilter != NULL)
				warn_if_covered(r, list, c, kind, earlier, later);
		}
	}
}

static bool is_capture_mark(const struct captures *c, uint32_t mark)
{
	const struct interception_conf *conf = c->interception;

	for (size_t i = 0; i < c->counts[ENTRY_INGRESS]; i++) {
		if (mark == capture_mark(conf, ENTRY_INGRESS, (unsigned)i) ||
		    mark == capture_mark_accepted(conf, (unsigned)i) || mark == capture_mark_refused(conf, (unsigned)i))
			return true;
	}
	for (size_t i = 0; i < c->counts[ENTRY_EGRESS]; i++) {
		if (mark == capture_mark(conf, ENTRY_EGRESS, (unsigned)i))
			return true;
	}
	return false;
}

static void check_own_mark(struct reading *r, const struct place *netfilter, const struct captures *c, uint32_t so_mark)
{
	uint32_t mask = c->interception->mark_mask;
	struct place place = place_member(netfilter, "so_mark");

	if (place.json == NULL)
		place = *netfilter;
	if ((so_mark & mask) == 0)
		place_error(r, &place, "so_mark %u has no bit of interception.mark_mask 0x%08x", so_mark, mask);
	else if (is_capture_mark(c, so_mark & mask))
		place_error(r, &place,
			    "so_mark %u is the mark of captured packets: our own connections would be captured",
			    so_mark);
}

/* The highest of its marks tells for all. */
static void check_mark_fits(struct reading *r, const struct place *entry, const struct captures *c,
			    enum entry_kind kind, const struct entry_conf *conf)
{
	uint32_t mask = c->interception->mark_mask;
	unsigned index = (unsigned)entry->index;
	bool queued = conf->netfilter != NULL && conf->netfilter->open_ports == OPEN_PORTS_CONNECT_FIRST;
	uint32_t mark = capture_mark(c->interception, kind, index);

	if (index >= CAPTURE_ENTRIES_MAX) {
		place_error(r, entry, "only the first %d entries of the list can capture", CAPTURE_ENTRIES_MAX);
		return;
	}
	if (queued && (capture_mark_accepted(c->interception, index) & ~mask) != 0)
		mark = capture_mark_accepted(c->interception, index);
	else if (queued && (capture_mark_refused(c->interception, index) & ~mask) != 0)
		mark = capture_mark_refused(c->interception, index);
	if ((mark & ~mask) != 0)
		place_error(r, entry, "its mark %u (0x%x) does not fit into interception.mark_mask 0x%08x", mark, mark,
			    mask);
}

static void check_backend(struct reading *r, const struct place *netfilter, const struct captures *c,
			  enum entry_kind kind, const struct netfilter_conf *n)
{
	static const char needs_nft[] = "needs nftables: not with interception.backend \"iptables\"";

	if (c->interception->backend == BACKEND_NONE && n->open_ports == OPEN_PORTS_NEGATIVE_CACHE)
		refuse(r, netfilter, "open_ports",
		       "\"negative_cache\" fills a set of rules of ours: not with "
		       "interception.backend \"none\"");
	if (c->interception->backend != BACKEND_IPTABLES)
		return;
	if (kind == ENTRY_EGRESS && n->capture_cgroup.count > 0)
		refuse(r, netfilter, "capture_cgroup", needs_nft);
	if (kind == ENTRY_EGRESS && n->nocapture_cgroup.count > 0)
		refuse(r, netfilter, "nocapture_cgroup", needs_nft);
	if (n->open_ports == OPEN_PORTS_NEGATIVE_CACHE)
		refuse(r, netfilter, "open_ports", needs_nft);
}

static bool names_ipset(const struct dst_conf *dst, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (dst[i].ipset != NULL)
			return true;
	}
	return false;
}

static void check_ipsets(struct reading *r, const struct place *netfilter, const struct captures *c,
			 const struct netfilter_conf *n)
{
	if (c->interception->backend == BACKEND_NFT &&
	    (names_ipset(n->capture_dst, n->capture_dst_count) || names_ipset(n->exclude_dst, n->exclude_dst_count)))
		place_error(r, netfilter, "an ipset needs iptables: not with interception.backend \"nft\"");
}

void check_captures(struct reading *r, const struct place *root, const struct captures *c)
{
	static const char *const names[] = { [ENTRY_INGRESS] = "add_ingress", [ENTRY_EGRESS] = "add_egress" };

	for (enum entry_kind kind = ENTRY_INGRESS; kind <= ENTRY_EGRESS; kind++) {
		struct place list = place_member(root, names[kind]);

		for (size_t i = 0; i < c->counts[kind]; i++) {
			const struct entry_conf *entry = &c->entries[kind][i];
			struct place at = place_of_entry(&list, i);
			struct place netfilter = place_member(&at, "netfilter");

			if (entry->netfilter != NULL || entry->transparency.out)
				check_mark_fits(r, &at, c, kind, entry);
			if (entry->netfilter == NULL)
				continue;
			check_own_mark(r, &netfilter, c, entry->netfilter->so_mark);
			check_backend(r, &netfilter, c, kind, entry->netfilter);
			check_ipsets(r, &netfilter, c, entry->netfilter);
		}
		check_overlaps(r, &list, c, kind);
	}
}
