/* SPDX-License-Identifier: Apache-2.0 */
/* later_modes - ways in which connections come in that are still to be built: their keys, checked. */
#include "config/sections.h"

#include <stdlib.h>

#include "config/text_forms.h"

/* clang-format off */
static const struct field listen_fields[] = {
	{ CHECKED(FIELD_TEXT, "host"), .check_text = check_host },
	{ CHECKED(FIELD_INTEGER, "port"), PORT_RANGE, .required = true },
};
/* clang-format on */

static void check_listen(struct reading *r, const struct place *at, void *conf)
{
	const char *host = json_string(json_member(at->json, "host"));
	struct place place = place_member(at, "port");
	int64_t port;

	(void)conf;
	if (place_integer(at, "port", &port))
		claim_listen(r, &place, host == NULL ? "0.0.0.0" : host, (uint16_t)port, (uint16_t)port);
}

static const struct section section_listen = { SECTION_FIELDS(listen_fields), .check = check_listen };

/* clang-format off */
static const struct field filter_fields[] = {
	{ CHECKED(FIELD_TEXT, "domain"), .check_text = check_domain_pattern },
	{ CHECKED(FIELD_TEXT, "domain_regex") },
	{ CHECKED(FIELD_TEXT, "ip"), .check_text = check_ipv4 },
	{ CHECKED(FIELD_TEXT, "ip_cidr"), .check_text = check_cidr },
	{ CHECKED(FIELD_INTEGER, "port"), PORT_RANGE },
	{ CHECKED(FIELD_INTEGER, "port_end"), PORT_RANGE },
};
/* clang-format on */

static void check_ports(struct reading *r, const struct place *at, void *conf)
{
	(void)conf;
	check_port_range(r, at, "port", "port_end");
}

static const struct section section_filter = { SECTION_FIELDS(filter_fields), .check = check_ports };

/* clang-format off */
static const struct field http_proxy_fields[] = {
	{ CHECKED(FIELD_OBJECT, "proxy_listen"), .section = &section_listen, .required = true },
	{ CHECKED(FIELD_LIST, "dst_filters"), .section = &section_filter, .or_single = true },
	FIELDS_OF_EVERY_LATER_MODE,
};

static const struct field socks5_auth_fields[] = {
	{ CHECKED(FIELD_TEXT, "username"), .required = true, .check_text = check_not_empty },
	{ CHECKED(FIELD_TEXT, "password"), .required = true, .check_text = check_not_empty, .secret = true },
};

static const struct section section_socks5_auth = { SECTION_FIELDS(socks5_auth_fields) };

static const struct field socks5_fields[] = {
	{ CHECKED(FIELD_OBJECT, "proxy_listen"), .section = &section_listen, .required = true },
	{ CHECKED(FIELD_LIST, "dst_filters"), .section = &section_filter },
	{ CHECKED(FIELD_OBJECT, "auth"), .section = &section_socks5_auth },
	FIELDS_OF_EVERY_LATER_MODE,
};

static const struct field hook_dst_fields[] = {
	{ CHECKED(FIELD_TEXT, "host"), .check_text = check_cidr },
	{ CHECKED(FIELD_INTEGER, "port"), PORT_RANGE, .required = true },
	{ CHECKED(FIELD_INTEGER, "port_end"), PORT_RANGE },
};

static const struct section section_hook_dst = { SECTION_FIELDS(hook_dst_fields), .check = check_ports };

static const struct field ingress_hook_fields[] = {
	{ CHECKED(FIELD_LIST, "capture_dst"), .section = &section_hook_dst, .required = true },
	{ CHECKED(FIELD_INTEGER, "proxy_port"), PORT_RANGE },
	{ CHECKED(FIELD_TEXT, "proxy_listen"), .check_text = check_host },
	{ CHECKED(FIELD_BOOL, "capture_local_traffic") },
};

static const struct field hook_listen_fields[] = {
	{ CHECKED(FIELD_TEXT, "host"), .check_text = check_ipv4 },
	{ CHECKED(FIELD_TEXT, "ifname"), .check_text = check_not_empty },
	{ CHECKED(FIELD_INTEGER, "port"), PORT_RANGE, .required = true },
	{ CHECKED(FIELD_INTEGER, "port_end"), PORT_RANGE },
	{ CHECKED(FIELD_INTEGER, "redirect_to_port"), PORT_RANGE },
	{ CHECKED(FIELD_INTEGER, "redirect_to_port_end"), PORT_RANGE },
};
/* clang-format on */

static void check_hook_listen(struct reading *r, const struct place *at, void *conf)
{
	int64_t port;
	int64_t end;
	int64_t to;
	int64_t to_end;

	(void)conf;
	check_port_range(r, at, "port", "port_end");
	check_port_range(r, at, "redirect_to_port", "redirect_to_port_end");
	if (place_has(at, "port_end") != place_has(at, "redirect_to_port_end")) {
		place_error(r, at, "port_end and redirect_to_port_end belong together");
		return;
	}
	if (place_integer(at, "port", &port) && place_integer(at, "port_end", &end) &&
	    place_integer(at, "redirect_to_port", &to) && place_integer(at, "redirect_to_port_end", &to_end) &&
	    end - port != to_end - to)
		place_error(r, at, "the two port ranges differ in length");
}

static const struct section section_hook_listen = { SECTION_FIELDS(hook_listen_fields), .check = check_hook_listen };

/* clang-format off */
static const struct field egress_hook_fields[] = {
	{ CHECKED(FIELD_LIST, "capture_listen"), .section = &section_hook_listen, .required = true },
	{ CHECKED(FIELD_BOOL, "capture_local_traffic") },
};

/* UDP ports: they do not meet the TCP ports of other entries. */
static const struct field udp_in_fields[] = {
	{ CHECKED(FIELD_TEXT, "host"), .check_text = check_host },
	{ CHECKED(FIELD_INTEGER, "port"), PORT_RANGE, .required = true },
};

static const struct field udp_out_fields[] = {
	{ CHECKED(FIELD_TEXT, "host"), .required = true, .check_text = check_host },
	{ CHECKED(FIELD_INTEGER, "port"), PORT_RANGE, .required = true },
};

static const struct section section_udp_in = { SECTION_FIELDS(udp_in_fields) };
static const struct section section_udp_out = { SECTION_FIELDS(udp_out_fields) };

static const struct field mapping_udp_fields[] = {
	{ CHECKED(FIELD_OBJECT, "in"), .section = &section_udp_in, .required = true },
	{ CHECKED(FIELD_OBJECT, "out"), .section = &section_udp_out, .required = true },
	{ CHECKED(FIELD_INTEGER, "idle_timeout_secs"), UINT32_RANGE },
};

static const struct field quic_fields[] = {
	{ CHECKED(FIELD_INTEGER, "max_datagram_size"), .min = 1, .max = UINT16_MAX },
};

static const struct field direct_forward_fields[] = {
	{ CHECKED(FIELD_TEXT, "http_path"), .required = true },
};
/* clang-format on */

const struct section section_http_proxy = { SECTION_FIELDS(http_proxy_fields) };
const struct section section_socks5 = { SECTION_FIELDS(socks5_fields) };
const struct section section_ingress_hook = { SECTION_FIELDS(ingress_hook_fields) };
const struct section section_egress_hook = { SECTION_FIELDS(egress_hook_fields) };
const struct section section_mapping_udp = { SECTION_FIELDS(mapping_udp_fields) };
const struct section section_quic = { SECTION_FIELDS(quic_fields) };
const struct section section_direct_forward = { SECTION_FIELDS(direct_forward_fields) };
