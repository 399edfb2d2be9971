/* SPDX-License-Identifier: Apache-2.0 */
/* mapping - ports that we listen on, and where each of them leads. */
#include "config/sections.h"

#include <stdlib.h>
#include <string.h>

#include "config/text_forms.h"

/* clang-format off */
static const struct field in_fields[] = {
	{ STORED_AS("host", FIELD_TEXT, struct mapping_rule_conf, in_host), .fallback_text = "0.0.0.0", .check_text = check_host },
	{ STORED_AS("port", FIELD_INTEGER, struct mapping_rule_conf, in_port), PORT_RANGE, .required = true },
	{ STORED_AS("port_end", FIELD_INTEGER, struct mapping_rule_conf, in_port_end), PORT_RANGE },
};

static const struct field out_fields[] = {
	{ STORED_AS("host", FIELD_TEXT, struct mapping_rule_conf, out_host), .required = true, .check_text = check_host },
	{ STORED_AS("port", FIELD_INTEGER, struct mapping_rule_conf, out_port), PORT_RANGE, .required = true },
	{ STORED_AS("port_end", FIELD_INTEGER, struct mapping_rule_conf, out_port_end), PORT_RANGE },
};
/* clang-format on */

/* Without an end the range is one port. */
static void check_in(struct reading *r, const struct place *at, void *conf)
{
	struct mapping_rule_conf *rule = conf;

	check_port_range(r, at, "port", "port_end");
	if (rule->in_port_end == 0)
		rule->in_port_end = rule->in_port;
}

static void check_out(struct reading *r, const struct place *at, void *conf)
{
	struct mapping_rule_conf *rule = conf;

	check_port_range(r, at, "port", "port_end");
	if (rule->out_port_end == 0)
		rule->out_port_end = rule->out_port;
}

static const struct section section_in = { SECTION_FIELDS(in_fields), .size = sizeof(struct mapping_rule_conf),
					   .check = check_in };
static const struct section section_out = { SECTION_FIELDS(out_fields), .size = sizeof(struct mapping_rule_conf),
					    .check = check_out };

static void check_rule(struct reading *r, const struct place *at, void *conf)
{
	const struct mapping_rule_conf *rule = conf;
	unsigned in_count = rule->in_port_end - rule->in_port + 1u;
	unsigned out_count = rule->out_port_end - rule->out_port + 1u;
	struct place in = place_member(at, "in");
	struct place port = place_member(&in, "port");

	if (in_count != out_count)
		place_error(r, at,
			    "in has %u port%s and out has %u: each port of in leads to the one at the same place "
			    "of out",
			    in_count, in_count == 1 ? "" : "s", out_count);
	claim_listen(r, &port, rule->in_host, rule->in_port, rule->in_port_end);
}

/* The short form: one rule, and what an entry has beside its rules. */
struct single {
	struct mapping_rule_conf rule;
	struct transparency_conf transparency;
	struct proxy_protocol_conf proxy_protocol;
};

/* FLAT: in and out are read into struct mapping_rule_conf, with which it begins. */
_Static_assert(offsetof(struct single, rule) == 0, "in and out are read into the rule");

/* clang-format off */
#define RULE_FIELDS \
	{ FLAT("in", &section_in), .required = true }, \
	{ FLAT("out", &section_out), .required = true }

static const struct field rule_fields[] = {
	RULE_FIELDS,
};

static const struct field single_fields[] = {
	RULE_FIELDS,
	FIELDS_OF_EVERY_MODE(struct single),
};
/* clang-format on */

static const struct section section_rule = { SECTION_FIELDS(rule_fields), .size = sizeof(struct mapping_rule_conf),
					     .check = check_rule };
static const struct section section_single = { SECTION_FIELDS(single_fields), .size = sizeof(struct single),
					       .check = check_rule };

/* clang-format off */
static const struct field mapping_fields[] = {
	{ STORED(FIELD_LIST, struct entry_conf, rules), .count_offset = offsetof(struct entry_conf, rule_count), .section = &section_rule, .required = true, .min = 1,
	  .missing = "missing: write in and out, or rules" },
	FIELDS_OF_EVERY_MODE(struct entry_conf),
};
/* clang-format on */

const struct section section_mapping = { SECTION_FIELDS(mapping_fields), .size = sizeof(struct entry_conf) };

static bool read_single(struct reading *r, const struct place *at, struct entry_conf *entry)
{
	struct single single = { 0 };
	bool good = section_read(r, &section_single, at, &single);

	entry->rules = mem_dup(&single.rule, sizeof(single.rule));
	entry->rule_count = 1;
	entry_take_transparency(entry, &single.transparency, &single.proxy_protocol);
	return good;
}

static void check_mapping_transparency(struct reading *r, const struct place *at, const struct transparency_conf *t)
{
	struct place transparency = place_member(at, "transparency");
	struct place in = place_member(&transparency, "in");

	if (t->in)
		place_error(r, &in, "only with netfilter: the clients of a mapping connect to our own address");
}

bool mapping_read(struct reading *r, const struct place *at, void *conf)
{
	struct entry_conf *entry = conf;
	bool single = place_has(at, "in") || place_has(at, "out");
	bool good;

	if (at->json->type != JSON_OBJECT) {
		place_error(r, at, "expected an object with in and out, or with rules");
		return false;
	}
	if (single && place_has(at, "rules")) {
		place_error(r, at, "has in and out as well as rules: write one or the other");
		return false;
	}
	good = single ? read_single(r, at, entry) : section_read(r, &section_mapping, at, entry);
	check_mapping_transparency(r, at, &entry->transparency);
	return good;
}

/* An entry of another mode has no rules. */
void mapping_write(const void *conf, unsigned indent, struct buf *out)
{
	const struct entry_conf *entry = conf;

	if (entry->rule_count > 0)
		section_write(&section_mapping, entry, indent, out);
}
