/* SPDX-License-Identifier: Apache-2.0 */
/* later_ohttp - the tunnel inside HTTP, message by message: its keys, checked. */
#include "config/sections.h"

#include <string.h>

#include "config/text_forms.h"

static const struct choice word_all[] = { { .name = "all" }, { 0 } };
static const struct choice path_defaults[] = { { .name = "root" }, { .name = "original" }, { 0 } };

/* clang-format off */
static const struct field path_rewrite_fields[] = {
	{ CHECKED(FIELD_TEXT, "match_regex"), .required = true },
	{ CHECKED(FIELD_TEXT, "substitution"), .required = true },
};

static const struct section section_path_rewrite = { SECTION_FIELDS(path_rewrite_fields) };

static const struct field header_passthrough_fields[] = {
	{ CHECKED(FIELD_TEXTS, "request_headers"), .choices = word_all, .check_text = check_not_empty },
	{ CHECKED(FIELD_TEXTS, "response_headers"), .choices = word_all, .check_text = check_not_empty },
};

static const struct section section_header_passthrough = { SECTION_FIELDS(header_passthrough_fields) };

static const struct field ingress_ohttp_fields[] = {
	{ CHECKED(FIELD_LIST, "path_rewrites"), .section = &section_path_rewrite },
	{ CHECKED(FIELD_CHOICE, "path_default"), .choices = path_defaults },
	{ CHECKED(FIELD_OBJECT, "header_passthrough"), .section = &section_header_passthrough },
	{ CHECKED(FIELD_BOOL, "tls") },
	{ CHECKED(FIELD_TEXTS, "tls_ca_certs"), .check_text = check_not_empty },
};

static const struct field cors_fields[] = {
	{ CHECKED(FIELD_TEXTS, "allow_origins"), .check_text = check_not_empty },
	{ CHECKED(FIELD_TEXTS, "allow_methods"), .check_text = check_not_empty },
	{ CHECKED(FIELD_TEXTS, "allow_headers"), .check_text = check_not_empty },
	{ CHECKED(FIELD_TEXTS, "expose_headers"), .check_text = check_not_empty },
	{ CHECKED(FIELD_BOOL, "allow_credentials") },
};
/* clang-format on */

static bool has_star(const struct json *list)
{
	for (size_t i = 0; list != NULL && i < list->count; i++) {
		if (strcmp(json_string(list->items[i]), "*") == 0)
			return true;
	}
	return false;
}

static void check_cors(struct reading *r, const struct place *at, void *conf)
{
	static const char *const lists[] = { "allow_origins", "allow_methods", "allow_headers", "expose_headers" };
	const struct json *credentials = json_member(at->json, "allow_credentials");

	(void)conf;
	if (credentials == NULL || !credentials->boolean)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct place list = place_member(at, lists[i]);

		if (has_star(list.json))
			place_error(r, &list, "\"*\" is not possible together with allow_credentials: true");
	}
}

static const struct section section_cors = { SECTION_FIELDS(cors_fields), .check = check_cors };

/* clang-format off */
static const struct field self_generated_fields[] = {
	{ CHECKED(FIELD_TEXT, "source") },
	{ CHECKED(FIELD_INTEGER, "rotation_interval"), .min = 1, .max = UINT32_MAX },
};

static const struct field file_fields[] = {
	{ CHECKED(FIELD_TEXT, "source") },
	{ CHECKED(FIELD_TEXT, "path"), .required = true, .check_text = check_not_empty },
};

/* The channel between the sharers has peers and trust of its own. */
static const struct field peer_shared_fields[] = {
	{ CHECKED(FIELD_TEXT, "source") },
	{ CHECKED(FIELD_INTEGER, "rotation_interval"), .min = 1, .max = UINT32_MAX },
	{ CHECKED(FIELD_TEXT, "host"), .check_text = check_host },
	{ CHECKED(FIELD_INTEGER, "port"), PORT_RANGE },
	{ CHECKED(FIELD_TEXTS, "peers"), .check_text = check_host_port },
	{ CHECKED(FIELD_TEXT, "peers_file"), .check_text = check_not_empty },
	{ CHECKED(FIELD_BOOL, "no_ra") },
	{ CHECKED(FIELD_OBJECT, "attest"), .section = &section_attest, .apart = true },
	{ CHECKED(FIELD_OBJECT, "verify"), .section = &section_verify, .apart = true },
};
/* clang-format on */

static void check_peer_trust(struct reading *r, const struct place *at, void *conf)
{
	const struct json *no_ra = json_member(at->json, "no_ra");
	bool off = no_ra != NULL && no_ra->boolean;
	bool on = place_has(at, "attest") || place_has(at, "verify");

	(void)conf;
	if (off && on)
		place_error(r, at, "no_ra: true is not possible together with attest or verify");
	if (!off && !on)
		place_error(r, at, "write attest, verify, both, or no_ra: true");
}

static const struct section section_self_generated = { SECTION_FIELDS(self_generated_fields) };
static const struct section section_file = { SECTION_FIELDS(file_fields) };
static const struct section section_peer_shared = { SECTION_FIELDS(peer_shared_fields), .check = check_peer_trust };

static const struct variant key_sources[] = {
	{ "self_generated", &section_self_generated, false },
	{ "peer_shared", &section_peer_shared, false },
	{ "file", &section_file, false },
};

static const struct section section_key = { .tag = "source", SECTION_VARIANTS(key_sources) };

/* clang-format off */
static const struct field egress_ohttp_fields[] = {
	{ CHECKED(FIELD_OBJECT, "cors"), .section = &section_cors },
	{ CHECKED(FIELD_OBJECT, "key"), .section = &section_key },
	{ CHECKED(FIELD_OBJECT, "header_passthrough"), .section = &section_header_passthrough },
	{ CHECKED(FIELD_BOOL, "forward_client_ip") },
};
/* clang-format on */

const struct section section_ingress_ohttp = { SECTION_FIELDS(ingress_ohttp_fields) };
const struct section section_egress_ohttp = { SECTION_FIELDS(egress_ohttp_fields) };
