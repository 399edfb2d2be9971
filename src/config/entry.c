/* SPDX-License-Identifier: Apache-2.0 */
/* entry - one ingress or egress: a mode, a tunnel, and whom to trust. */
#include "config/sections.h"

#include <string.h>

static const struct choice bindings[] = {
	{ "current", BINDING_CURRENT, false },
	{ "legacy", BINDING_LEGACY, false },
	{ "both", BINDING_BOTH, false },
	{ 0 },
};

/* clang-format off */
static const struct field ingress_rats_tls_fields[] = {
	{ STORED(FIELD_TRISTATE, struct entry_conf, multiplex), .fallback = TRI_FALSE },
	{ STORED_AS("multiplex_max_streams_per_connection", FIELD_INTEGER, struct entry_conf, multiplex_max_streams), .min = 1, .max = UINT32_MAX, .zero_is_unset = true },
	{ STORED(FIELD_INTEGER, struct entry_conf, multiplex_max_connections), .min = 1, .max = UINT32_MAX, .zero_is_unset = true },
	{ STORED(FIELD_CHOICE, struct entry_conf, binding), .choices = bindings, .fallback = BINDING_CURRENT },
};

/* An egress takes what comes; how many sessions there are is for the ingress to say. */
static const struct field egress_rats_tls_fields[] = {
	{ STORED(FIELD_TRISTATE, struct entry_conf, multiplex) },
	{ STORED(FIELD_CHOICE, struct entry_conf, binding), .choices = bindings, .fallback = BINDING_CURRENT },
};
/* clang-format on */

static void check_multiplex(struct reading *r, const struct place *at, void *conf)
{
	static const char *const names[] = { "multiplex_max_streams_per_connection", "multiplex_max_connections" };
	const struct entry_conf *entry = conf;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct place member = place_member(at, names[i]);

		if (entry->multiplex != TRI_TRUE && place_has(at, names[i]))
			place_error(r, &member, "only with multiplex: true");
	}
}

static const struct section section_ingress_rats_tls = { SECTION_FIELDS(ingress_rats_tls_fields),
							 .size = sizeof(struct entry_conf), .check = check_multiplex };
static const struct section section_egress_rats_tls = { SECTION_FIELDS(egress_rats_tls_fields),
							.size = sizeof(struct entry_conf) };

/* clang-format off */
#define FIELDS_OF_TRUST \
	{ STORED(FIELD_BOOL, struct entry_conf, no_ra) }, \
	{ STORED(FIELD_OBJECT, struct entry_conf, attest), .section = &section_attest, .allocated = true, .apart = true }, \
	{ STORED(FIELD_OBJECT, struct entry_conf, verify), .section = &section_verify, .allocated = true, .apart = true }

#define FIELD_OF_MAPPING \
	{ FLAT("mapping", &section_mapping), .read = mapping_read, .write = mapping_write, .apart = true }

#define FIELD_OF_NETFILTER(read_) \
	{ FLAT("netfilter", &section_netfilter), .read = (read_), .write = netfilter_write, .apart = true }

#define LATER_MODE(name_, section_) \
	{ CHECKED(FIELD_OBJECT, name_), .section = (section_), .later = true, .apart = true }
/* clang-format on */

/* clang-format off */
static const struct field ingress_fields[] = {
	FIELD_OF_MAPPING,
	LATER_MODE("http_proxy", &section_http_proxy),
	LATER_MODE("socks5", &section_socks5),
	FIELD_OF_NETFILTER(ingress_netfilter_read),
	LATER_MODE("netfilter_udp", &section_ingress_netfilter_udp),
	LATER_MODE("hook", &section_ingress_hook),
	LATER_MODE("mapping_udp", &section_mapping_udp),
	FIELDS_OF_TRUST,
	{ FLAT("rats_tls", &section_ingress_rats_tls), .apart = true },
	{ CHECKED(FIELD_OBJECT, "ohttp"), .section = &section_ingress_ohttp, .later = true, .apart = true },
	{ CHECKED(FIELD_OBJECT, "quic"), .section = &section_quic, .later = true, .apart = true },
	{ CHECKED(FIELD_BOOL, "web_page_inject"), .later = true, .apart = true },
};

static const struct field egress_fields[] = {
	FIELD_OF_MAPPING,
	FIELD_OF_NETFILTER(egress_netfilter_read),
	LATER_MODE("netfilter_udp", &section_egress_netfilter_udp),
	LATER_MODE("hook", &section_egress_hook),
	LATER_MODE("mapping_udp", &section_mapping_udp),
	FIELDS_OF_TRUST,
	{ FLAT("rats_tls", &section_egress_rats_tls), .apart = true },
	{ CHECKED(FIELD_OBJECT, "ohttp"), .section = &section_egress_ohttp, .later = true, .apart = true },
	{ CHECKED(FIELD_OBJECT, "quic"), .section = &section_quic, .later = true, .apart = true },
	{ CHECKED(FIELD_LIST, "direct_forward"), .section = &section_direct_forward, .later = true, .apart = true },
};
/* clang-format on */

static const char *const ingress_modes[] = { "mapping",	      "http_proxy", "socks5",	  "netfilter",
					     "netfilter_udp", "hook",	    "mapping_udp" };
static const char *const egress_modes[] = { "mapping", "netfilter", "netfilter_udp", "hook", "mapping_udp" };

static void check_one_mode(struct reading *r, const struct place *at, const char *const *modes, size_t count)
{
	const char *first = NULL;

	for (size_t i = 0; i < count; i++) {
		struct place mode = place_member(at, modes[i]);

		if (!place_has(at, modes[i]))
			continue;
		if (first != NULL)
			place_error_at_key(r, &mode, "the entry has the mode %s already: make it an entry of its own",
					   first);
		else
			first = modes[i];
	}
	if (first == NULL)
		place_error(r, at, "no mode: write how connections come in, such as \"mapping\"");
}

static void check_one_tunnel(struct reading *r, const struct place *at)
{
	struct place ohttp = place_member(at, "ohttp");

	if (place_has(at, "ohttp") && place_has(at, "rats_tls"))
		place_error_at_key(r, &ohttp, "not together with rats_tls");
}

static void check_trust(struct reading *r, const struct place *at, const struct entry_conf *entry)
{
	struct place no_ra = place_member(at, "no_ra");

	if (entry->no_ra && place_has(at, "attest"))
		place_error(r, &no_ra, "true is not possible together with attest");
	if (entry->no_ra && place_has(at, "verify"))
		place_error(r, &no_ra, "true is not possible together with verify");
	if (!entry->no_ra && !place_has(at, "attest") && !place_has(at, "verify"))
		place_error(r, at,
			    "write attest (we run in a TEE), verify (the peer does), both, or no_ra: true "
			    "(for tests: nobody is verified)");
}

static void check_binding(struct reading *r, const struct place *at, const struct entry_conf *entry)
{
	struct place rats_tls = place_member(at, "rats_tls");
	struct place binding = place_member(&rats_tls, "binding");

	if (entry->binding == BINDING_BOTH && place_has(at, "attest"))
		place_error(r, &binding,
			    "\"both\" is for entries that only verify: with attest, write the binding that the "
			    "peer checks, \"current\" (2.3.0 and later) or \"legacy\"");
}

static void warn_of_weak_trust(struct reading *r, const struct place *at, const struct entry_conf *entry)
{
	struct place no_ra = place_member(at, "no_ra");
	struct place attest = place_member(at, "attest");
	struct place verify = place_member(at, "verify");

	if (entry->no_ra)
		place_warn(r, &no_ra,
			   "NO REMOTE ATTESTATION: the tunnel is encrypted, but anybody may be at its other end; "
			   "for tests only");
	else if (entry->kind == ENTRY_INGRESS && entry->verify == NULL)
		place_warn_at_key(r, &attest,
				  "THE PEER IS NOT VERIFIED: anybody may answer in its place and read what the "
				  "applications send; add verify");
	else if (entry->kind == ENTRY_EGRESS && entry->attest == NULL)
		place_warn_at_key(r, &verify,
				  "the peers are verified, but cannot tell whom they talk to: anybody may answer "
				  "in our place; add attest");
}

static void check_entry(struct reading *r, const struct place *at, struct entry_conf *entry)
{
	size_t errors = r->error_count;

	if (entry->kind == ENTRY_INGRESS)
		check_one_mode(r, at, ingress_modes, ARRAY_SIZE(ingress_modes));
	else
		check_one_mode(r, at, egress_modes, ARRAY_SIZE(egress_modes));
	check_one_tunnel(r, at);
	check_trust(r, at, entry);
	check_binding(r, at, entry);
	if (r->error_count == errors)
		warn_of_weak_trust(r, at, entry);
}

static void check_ingress(struct reading *r, const struct place *at, void *conf)
{
	struct entry_conf *entry = conf;

	entry->kind = ENTRY_INGRESS;
	check_entry(r, at, entry);
}

static void check_egress(struct reading *r, const struct place *at, void *conf)
{
	struct entry_conf *entry = conf;

	entry->kind = ENTRY_EGRESS;
	check_entry(r, at, entry);
}

const struct section section_ingress = { SECTION_FIELDS(ingress_fields), .size = sizeof(struct entry_conf),
					 .check = check_ingress };
const struct section section_egress = { SECTION_FIELDS(egress_fields), .size = sizeof(struct entry_conf),
					.check = check_egress };
