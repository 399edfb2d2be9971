/* SPDX-License-Identifier: Apache-2.0 */
/* Whole documents: those of TNG's releases, and those of our manual. */
#include "config/config.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/sections.h"
#include "metrics/reason.h"

#define MANUAL TEST_VECTORS "/../../docs/configuration.md"

static struct buf read_file(const char *path)
{
	struct buf text = { 0 };
	FILE *file = fopen(path, "r");
	size_t n;

	if (file == NULL)
		fail_msg("cannot open %s", path);
	do {
		n = fread(buf_reserve(&text, 65536), 1, 65536, file);
		text.len += n;
	} while (n > 0);
	fclose(file);
	return text;
}

/* Without "FILE:LINE:COLUMN: ". */
static char *errors_of(const struct config_report *report)
{
	struct buf text = { 0 };

	for (size_t i = 0; i < report->errors.count; i++)
		buf_format(&text, "%s%s", i == 0 ? "" : "\n", strstr(report->errors.items[i], ": ") + 2);
	return buf_take_str(&text);
}

static void documents_of_released_versions_load_or_ask_for_what_comes_later(void **state)
{
	static const struct {
		const char *name;
		const char *expected;
	} cases[] = {
		{ "v1-ingress-mapping", "" },
		{ "v1-ingress-http-proxy", "not supported yet: add_ingress[0].http_proxy" },
		{ "v1-egress-mapping", "" },
		{ "v1-egress-netfilter", "" },
		{ "v1-ingress-encap", "not supported yet: add_ingress[0].ohttp" },
		{ "v1-egress-decap-clear-paths", "not supported yet: add_egress[0].ohttp\n"
						 "not supported yet: add_egress[0].direct_forward" },
		{ "v1-one-way", "" },
		{ "v1-reverse", "" },
		{ "v1-mutual", "" },
		{ "v1-egress-netfilter-one-way", "" },
		{ "v1-no-ra", "" },
		{ "v1-encap-and-decap", "not supported yet: add_ingress[0].ohttp\n"
					"not supported yet: add_egress[0].ohttp" },
		{ "v1-encap-and-netfilter", "not supported yet: add_ingress[0].ohttp\n"
					    "not supported yet: add_egress[0].ohttp" },
		{ "v1-encap-and-clear-paths", "not supported yet: add_ingress[0].ohttp\n"
					      "not supported yet: add_egress[0].ohttp\n"
					      "not supported yet: add_egress[0].direct_forward" },
		{ "v1-http-proxy-encap", "not supported yet: add_ingress[0].http_proxy\n"
					 "not supported yet: add_ingress[0].ohttp\n"
					 "not supported yet: add_egress[0].ohttp" },
		{ "v1-http-proxy-mutual", "not supported yet: add_ingress[0].http_proxy" },
		{ "v1-admin-bind", "not supported yet: admin_bind\n"
				   "not supported yet: add_ingress[0].http_proxy\n"
				   "not supported yet: add_ingress[0].ohttp" },
		{ "v2-ingress-netfilter", "" },
		{ "v2-egress-netfilter", "" },
		{ "v2-ingress-modes", "not supported yet: add_ingress[0].http_proxy\n"
				      "not supported yet: add_ingress[1].socks5\n"
				      "not supported yet: add_ingress[3].netfilter_udp\n"
				      "not supported yet: add_ingress[4].hook\n"
				      "not supported yet: add_ingress[5].mapping_udp\n"
				      "not supported yet: add_ingress[5].quic" },
		{ "v2-egress-modes", "not supported yet: add_egress[1].netfilter_udp\n"
				     "not supported yet: add_egress[2].hook\n"
				     "not supported yet: add_egress[3].mapping_udp" },
		{ "v2-ohttp", "not supported yet: add_ingress[0].ohttp\n"
			      "not supported yet: add_egress[0].ohttp\n"
			      "not supported yet: add_egress[0].direct_forward\n"
			      "not supported yet: add_egress[1].ohttp\n"
			      "not supported yet: add_egress[2].ohttp" },
		{ "v2-observe", "not supported yet: control_interface\n"
				"not supported yet: metric.exporters\n"
				"not supported yet: trace.exporters" },
		{ "v2-trust", "" },
		{ "v2-trust-later",
		  "not supported yet: add_ingress[0].verify.as_provider \"ita\"\n"
		  "not supported yet: add_ingress[1].verify.attestation_policy.type \"inline\"\n"
		  "not supported yet: add_ingress[1].verify.reference_values\n"
		  "not supported yet: add_ingress[2].verify.attestation_policy.type \"transparency_log\"\n"
		  "not supported yet: add_ingress[3].verify.verify_signer_transparency\n"
		  "not supported yet: add_egress[0].attest.aa_provider \"ita\"\n"
		  "not supported yet: add_egress[0].attest.as_provider \"ita\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *path = mem_format("%s/config/%s.json", TEST_VECTORS, cases[i].name);
		struct buf text = read_file(path);
		struct config_report report;
		struct config *c = config_load(buf_bytes(&text), path, &report);
		char *errors = errors_of(&report);

		if (strcmp(errors, cases[i].expected) != 0)
			fail_msg("%s: %s", path, errors);
		assert_int_equal(c == NULL, errors[0] != '\0');
		config_free(c);
		config_report_release(&report);
		buf_release(&text);
		free(errors);
		free(path);
	}
}

static void every_example_of_the_manual_loads(void **state)
{
	struct buf manual = read_file(MANUAL);
	const char *at = buf_str(&manual);
	size_t count = 0;

	(void)state;
	for (at = strstr(at, "```json\n"); at != NULL; at = strstr(at, "```json\n")) {
		const char *example = at + strlen("```json\n");
		size_t len = (size_t)(strstr(example, "```") - example);
		struct config_report report;
		struct config *c = config_load(bytes_of(example, len), "example", &report);

		if (c == NULL)
			fail_msg("%.*s\n%s", (int)len, example, report.errors.items[0]);
		config_free(c);
		config_report_release(&report);
		count++;
		at = example + len + 3;
	}
	assert_true(count >= 8);
	buf_release(&manual);
}

static bool has_word(const char *text, const char *word)
{
	char *quoted = mem_format("`%s`", word);
	bool found = strstr(text, quoted) != NULL;

	if (!found) { /* "in.port" tells of port */
		free(quoted);
		quoted = mem_format(".%s`", word);
		found = strstr(text, quoted) != NULL;
	}
	free(quoted);
	return found;
}

/* The row "| `name` | type and range | default | ..." that has this default. */
static bool has_row(const char *manual, const char *name, const char *fallback)
{
	char *begin = mem_format("\n| `%s` |", name);
	char *cell = mem_format("| %s |", fallback);
	bool found = false;

	for (const char *row = strstr(manual, begin); row != NULL && !found; row = strstr(row + 1, begin)) {
		size_t len = strcspn(row + 1, "\n");

		found = memmem(row + 1, len, cell, strlen(cell)) != NULL;
	}
	free(begin);
	free(cell);
	return found;
}

/* gives the default as the manual writes it; NULL where a row need not be of that form. */
static char *written_default(const struct field *f)
{
	struct buf text = { 0 };

	if (f->offset == NOT_STORED || f->required || f->zero_is_unset)
		return NULL;
	switch (f->type) {
	case FIELD_BOOL:
		return mem_strdup(f->fallback != 0 ? "true" : "false");
	case FIELD_SECONDS:
		return mem_format("%g", (double)f->fallback / 1000);
	case FIELD_INTEGER:
		return f->fallback == 0 && f->min > 0 ? NULL : mem_format("%lld", (long long)f->fallback);
	case FIELD_SIZE:
		buf_format(&text, "%lldMiB", (long long)f->fallback >> 20);
		return buf_take_str(&text);
	case FIELD_CHOICE:
		for (const struct choice *c = f->choices; c->name != NULL; c++) {
			if (c->value == f->fallback)
				return mem_format("`\"%s\"`", c->name);
		}
		return NULL;
	case FIELD_TEXT:
		return f->fallback_text == NULL ? NULL : mem_format("`\"%s\"`", f->fallback_text);
	default:
		return NULL;
	}
}

static void assert_documented(const struct section *section, const char *manual, bool inside_mapping)
{
	for (size_t i = 0; i < section->variant_count; i++)
		assert_documented(section->variants[i].section, manual, inside_mapping);
	for (size_t i = 0; i < section->field_count; i++) {
		const struct field *f = &section->fields[i];
		char *fallback = written_default(f);

		if (!has_word(manual, f->name))
			fail_msg("docs/configuration.md does not know %s", f->name);
		/* The keys of mapping are written with their path, the type of a policy in a sentence. */
		if (fallback != NULL && !inside_mapping && strcmp(f->name, "type") != 0 &&
		    !has_row(manual, f->name, fallback))
			fail_msg("docs/configuration.md has another default for %s than %s", f->name, fallback);
		free(fallback);
		if (f->section != NULL)
			assert_documented(f->section, manual, inside_mapping || f->section == &section_mapping);
	}
}

static void the_manual_has_every_key_with_its_default(void **state)
{
	struct buf manual = read_file(MANUAL);

	(void)state;
	assert_documented(&section_document, buf_str(&manual), false);
	buf_release(&manual);
}

static void the_manual_has_every_reason(void **state)
{
	struct buf manual = read_file(MANUAL);

	(void)state;
	for (int r = 0; r < REASON_COUNT; r++) {
		char *row = mem_format("\n| `%s` | %s |\n", reason_word(r), reason_text(r));

		if (strstr(buf_str(&manual), row) == NULL)
			fail_msg("docs/configuration.md lacks the row%s", row);
		free(row);
	}
	buf_release(&manual);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_of_released_versions_load_or_ask_for_what_comes_later),
		cmocka_unit_test(every_example_of_the_manual_loads),
		cmocka_unit_test(the_manual_has_every_key_with_its_default),
		cmocka_unit_test(the_manual_has_every_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
