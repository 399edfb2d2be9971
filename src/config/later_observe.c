/* SPDX-License-Identifier: Apache-2.0 */
/* later_observe - exporters and control interfaces: their keys, checked. */
#include "config/sections.h"

#include "config/text_forms.h"

static const struct choice protocols[] = {
	{ .name = "grpc" },
	{ .name = "http/protobuf" },
	{ .name = "http/json" },
	{ 0 },
};

/* clang-format off */
#define STEP_FIELD { CHECKED(FIELD_INTEGER, "step"), .min = 1, .max = UINT32_MAX }

#define OTLP_FIELDS \
	{ CHECKED(FIELD_TEXT, "type") }, \
	{ CHECKED(FIELD_CHOICE, "protocol"), .choices = protocols, .required = true }, \
	{ CHECKED(FIELD_TEXT, "endpoint"), .required = true, .check_text = check_url }, \
	{ CHECKED(FIELD_HEADERS, "headers") }

static const struct field stdout_metric_fields[] = {
	{ CHECKED(FIELD_TEXT, "type") },
	STEP_FIELD,
};

static const struct field falcon_fields[] = {
	{ CHECKED(FIELD_TEXT, "type") },
	{ CHECKED(FIELD_TEXT, "server_url"), .required = true, .check_text = check_url },
	{ CHECKED(FIELD_TEXT, "endpoint"), .required = true },
	{ CHECKED(FIELD_HEADERS, "tags"), .any_map = true },
	STEP_FIELD,
};

static const struct field otlp_metric_fields[] = {
	OTLP_FIELDS,
	STEP_FIELD,
};

static const struct field stdout_trace_fields[] = {
	{ CHECKED(FIELD_TEXT, "type") },
};

static const struct field otlp_trace_fields[] = {
	OTLP_FIELDS,
};
/* clang-format on */

static const struct section section_stdout_metric = { SECTION_FIELDS(stdout_metric_fields) };
static const struct section section_falcon = { SECTION_FIELDS(falcon_fields) };
static const struct section section_otlp_metric = { SECTION_FIELDS(otlp_metric_fields) };
static const struct section section_stdout_trace = { SECTION_FIELDS(stdout_trace_fields) };
static const struct section section_otlp_trace = { SECTION_FIELDS(otlp_trace_fields) };

/* The manuals write "otlp", released programs read "oltp". */
static const struct variant metric_exporters[] = {
	{ "otlp", &section_otlp_metric, false },
	{ "oltp", &section_otlp_metric, false },
	{ "falcon", &section_falcon, false },
	{ "stdout", &section_stdout_metric, false },
};

static const struct variant trace_exporters[] = {
	{ "otlp", &section_otlp_trace, false },
	{ "oltp", &section_otlp_trace, false },
	{ "stdout", &section_stdout_trace, false },
};

static const struct section section_metric_exporter = { .tag = "type", SECTION_VARIANTS(metric_exporters) };
static const struct section section_trace_exporter = { .tag = "type", SECTION_VARIANTS(trace_exporters) };

/* clang-format off */
static const struct field metric_fields[] = {
	{ CHECKED(FIELD_LIST, "exporters"), .section = &section_metric_exporter, .later = true },
};

static const struct field trace_fields[] = {
	{ CHECKED(FIELD_LIST, "exporters"), .section = &section_trace_exporter, .later = true },
};

static const struct field address_fields[] = {
	{ CHECKED(FIELD_TEXT, "host"), .check_text = check_host },
	{ CHECKED(FIELD_INTEGER, "port"), PORT_RANGE, .required = true },
};

static const struct section section_address = { SECTION_FIELDS(address_fields) };

static const struct field ttrpc_fields[] = {
	{ CHECKED(FIELD_TEXT, "path"), .required = true, .check_text = check_not_empty },
};

static const struct section section_ttrpc = { SECTION_FIELDS(ttrpc_fields) };

static const struct field control_interface_fields[] = {
	{ CHECKED(FIELD_OBJECT, "restful"), .section = &section_address },
	{ CHECKED(FIELD_OBJECT, "ttrpc"), .section = &section_ttrpc },
};
/* clang-format on */

static void check_one_exporter(struct reading *r, const struct place *at, void *conf)
{
	const struct json *list = json_member(at->json, "exporters");
	struct place exporters = place_member(at, "exporters");

	(void)conf;
	if (list != NULL && list->count > 1)
		place_error(r, &exporters, "only one exporter of metrics is possible");
}

static void check_some_interface(struct reading *r, const struct place *at, void *conf)
{
	(void)conf;
	if (!place_has(at, "restful") && !place_has(at, "ttrpc"))
		place_error(r, at, "no interface: write restful");
}

const struct section section_metric = { SECTION_FIELDS(metric_fields), .check = check_one_exporter };
const struct section section_trace = { SECTION_FIELDS(trace_fields) };
const struct section section_control_interface = { SECTION_FIELDS(control_interface_fields),
						   .check = check_some_interface };
const struct section section_admin_bind = { SECTION_FIELDS(address_fields) };
