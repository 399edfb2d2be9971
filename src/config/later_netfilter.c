/* SPDX-License-Identifier: Apache-2.0 */
/* later_netfilter - capture of UDP by the kernel, and WCCP: their keys, checked. */
#include "config/sections.h"

#include "config/text_forms.h"

/* clang-format off */
static const struct field capture_dst_fields[] = {
	{ CHECKED(FIELD_TEXT, "host"), .check_text = check_cidr },
	{ CHECKED(FIELD_TEXT, "ipset"), .check_text = check_not_empty },
	{ CHECKED(FIELD_INTEGER, "port"), PORT_RANGE },
	{ CHECKED(FIELD_INTEGER, "port_end"), PORT_RANGE },
};
/* clang-format on */

static void check_capture_dst(struct reading *r, const struct place *at, void *conf)
{
	(void)conf;
	if (!place_has(at, "host") && !place_has(at, "ipset") && !place_has(at, "port"))
		place_error(r, at, "write at least one of host, ipset and port");
	if (place_has(at, "host") && place_has(at, "ipset"))
		place_error(r, at, "write host or ipset, not both");
	check_port_range(r, at, "port", "port_end");
}

static const struct section section_capture_dst = { SECTION_FIELDS(capture_dst_fields), .check = check_capture_dst };

/* clang-format off */
#define CAPTURE_FIELDS \
	{ CHECKED(FIELD_LIST, "capture_dst"), .section = &section_capture_dst, .or_single = true }, \
	{ CHECKED(FIELD_TEXTS, "capture_cgroup"), .check_text = check_not_empty }, \
	{ CHECKED(FIELD_TEXTS, "nocapture_cgroup"), .check_text = check_not_empty }, \
	{ CHECKED(FIELD_INTEGER, "listen_port"), PORT_RANGE }, \
	{ CHECKED(FIELD_INTEGER, "so_mark"), UINT32_RANGE }

/* An empty object captures all UDP. */
static const struct field ingress_netfilter_udp_fields[] = {
	CAPTURE_FIELDS,
	{ CHECKED(FIELD_INTEGER, "idle_timeout_secs"), UINT32_RANGE },
};

static const struct field egress_netfilter_udp_fields[] = {
	CAPTURE_FIELDS,
	{ CHECKED(FIELD_BOOL, "capture_local_traffic") },
	{ CHECKED(FIELD_INTEGER, "idle_timeout_secs"), UINT32_RANGE },
};
/* clang-format on */

/* The two spellings of the systems that these keys come from. */
static const struct choice wccp_types[] = {
	{ .name = "STANDARD" }, { .name = "DYNAMIC" }, { .name = "standard" }, { .name = "dynamic" }, { 0 }
};
static const struct choice wccp_port_types[] = { { .name = "src" }, { .name = "dst" }, { 0 } };
static const struct choice wccp_assignments[] = { { .name = "hash" }, { .name = "mask" }, { 0 } };
static const struct choice wccp_forwards[] = {
	{ .name = "gre" }, { .name = "l2" }, { .name = "GRE" }, { .name = "L2" }, { 0 }
};
static const struct choice wccp_security[] = { { .name = "none" }, { .name = "md5" }, { .name = "MD5" }, { 0 } };

/* clang-format off */
static const struct field wccp_security_fields[] = {
	{ CHECKED(FIELD_CHOICE, "option"), .choices = wccp_security, .required = true },
	{ CHECKED(FIELD_TEXT, "key"), .secret = true },
};

static const struct section section_wccp_security = { SECTION_FIELDS(wccp_security_fields) };

/* Scalars or lists in several places: what a list may hold is for the issue that builds it. */
static const struct field wccp_service_fields[] = {
	{ CHECKED(FIELD_TEXT, "name") },
	{ CHECKED(FIELD_TEXT, "description") },
	{ CHECKED(FIELD_INTEGER, "id"), .min = 0, .max = 255, .required = true },
	{ CHECKED(FIELD_CHOICE, "type"), .choices = wccp_types },
	{ CHECKED(FIELD_INTEGER, "priority"), .min = 0, .max = 255 },
	{ CHECKED(FIELD_INTEGER, "protocol"), .min = 0, .max = 255 },
	{ CHECKED(FIELD_ANY, "primary-hash") },
	{ CHECKED(FIELD_ANY, "alt-hash") },
	{ CHECKED(FIELD_ANY, "ports") },
	{ CHECKED(FIELD_CHOICE, "port-type"), .choices = wccp_port_types },
	{ CHECKED(FIELD_CHOICE, "assignment"), .choices = wccp_assignments },
	{ CHECKED(FIELD_CHOICE, "forward"), .choices = wccp_forwards },
	{ CHECKED(FIELD_CHOICE, "return"), .choices = wccp_forwards },
	{ CHECKED(FIELD_ANY, "routers") },
	{ CHECKED(FIELD_TEXT, "proc-name") },
	{ CHECKED(FIELD_OBJECT, "security"), .section = &section_wccp_security },
};

static const struct section section_wccp_service = { SECTION_FIELDS(wccp_service_fields) };

static const struct field wccp_fields[] = {
	{ CHECKED(FIELD_TEXT, "addr"), .check_text = check_host },
	{ CHECKED(FIELD_LIST, "services"), .section = &section_wccp_service, .or_single = true },
	{ CHECKED(FIELD_OBJECT, "security"), .section = &section_wccp_security },
};
/* clang-format on */

const struct section section_ingress_netfilter_udp = { SECTION_FIELDS(ingress_netfilter_udp_fields) };
const struct section section_egress_netfilter_udp = { SECTION_FIELDS(egress_netfilter_udp_fields) };
const struct section section_wccp = { SECTION_FIELDS(wccp_fields) };
