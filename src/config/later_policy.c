/* SPDX-License-Identifier: Apache-2.0 */
/* later_policy - what the builtin service judges by: two policies now, the keys of the others checked. */
#include "config/sections.h"

#include "config/text_forms.h"

static const struct choice known_policies[] = {
	{ "hardware_only", POLICY_HARDWARE_ONLY, false },
	{ "default", POLICY_HARDWARE_ONLY, false },
	{ "trust_all", POLICY_TRUST_ALL, false },
	{ 0 },
};

/* clang-format off */
static const struct field known_fields[] = {
	{ STORED_AS("type", FIELD_CHOICE, struct verify_conf, builtin_policy), .choices = known_policies },
};

static const struct field plain_fields[] = {
	{ CHECKED(FIELD_TEXT, "type") },
};

static const struct field inline_fields[] = {
	{ CHECKED(FIELD_TEXT, "type") },
	{ CHECKED(FIELD_TEXT, "content"), .required = true },
};

static const struct field path_fields[] = {
	{ CHECKED(FIELD_TEXT, "type") },
	{ CHECKED(FIELD_TEXT, "path"), .required = true, .check_text = check_not_empty },
};

static const struct field log_service_fields[] = {
	{ CHECKED(FIELD_TEXT, "type"), .required = true },
	{ CHECKED(FIELD_TEXT, "logUrl"), .check_text = check_url },
	{ CHECKED(FIELD_TEXT, "rekorPublicKeyPem") },
	{ CHECKED(FIELD_TEXT, "publisherPublicKeyPem") },
	{ CHECKED(FIELD_ANY, "logServices") },
};

static const struct section section_log_service = { SECTION_FIELDS(log_service_fields) };

static const struct field log_fields[] = {
	{ CHECKED(FIELD_TEXT, "type") },
	{ CHECKED(FIELD_LIST, "services"), .section = &section_log_service, .required = true },
};

static const struct field measurements_fields[] = {
	{ CHECKED(FIELD_TEXT, "type") },
	{ CHECKED(FIELD_ANY, "measurements"), .required = true },
};
/* clang-format on */

static const struct section section_known = { SECTION_FIELDS(known_fields), .size = sizeof(struct verify_conf) };
static const struct section section_plain = { SECTION_FIELDS(plain_fields) };
static const struct section section_inline = { SECTION_FIELDS(inline_fields) };
static const struct section section_path = { SECTION_FIELDS(path_fields) };
static const struct section section_log = { SECTION_FIELDS(log_fields) };
static const struct section section_measurements = { SECTION_FIELDS(measurements_fields) };

static const struct variant policies[] = {
	{ "hardware_only", &section_known, false },
	{ "default", &section_known, false },
	{ "trust_all", &section_known, false },
	{ "hardware_with_reference_values", &section_plain, true },
	{ "hardware_strict_with_reference_values", &section_plain, true },
	{ "hardware_only_strict", &section_plain, true },
	{ "hardware_strict_with_measurements", &section_measurements, true },
	{ "transparency_log", &section_log, true },
	{ "inline", &section_inline, true },
	{ "path", &section_path, true },
};

/* clang-format off */
static const struct field inline_payload_fields[] = {
	{ CHECKED(FIELD_TEXT, "type") },
	{ CHECKED(FIELD_ANY, "content"), .required = true },
};
/* clang-format on */

static const struct section section_inline_payload = { SECTION_FIELDS(inline_payload_fields) };

static const struct variant payloads[] = {
	{ "inline", &section_inline_payload, false },
	{ "path", &section_path, false },
};

static const struct section section_payload = { .tag = "type", SECTION_VARIANTS(payloads) };

/* clang-format off */
static const struct field reference_value_fields[] = {
	{ CHECKED(FIELD_TEXT, "type") },
	{ CHECKED(FIELD_OBJECT, "payload"), .section = &section_payload, .required = true },
};
/* clang-format on */

static const struct section section_reference_payload = { SECTION_FIELDS(reference_value_fields) };

static const struct variant reference_values[] = {
	{ "sample", &section_reference_payload, false },
	{ "slsa", &section_reference_payload, false },
	{ "release_manifest", &section_reference_payload, false },
};

const struct section section_attestation_policy = { .tag = "type", SECTION_VARIANTS(policies) };
const struct section section_reference_value = { .tag = "type", SECTION_VARIANTS(reference_values) };
