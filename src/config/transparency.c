/* SPDX-License-Identifier: Apache-2.0 */
/* transparency - whose address the two ends see, and the header that tells it instead (PROXY protocol). */
#include "config/sections.h"

#include "config/text_forms.h"

/* What is not for the tunnel is for tunnels that look inside: "direct" and "reject" come with HTTP. */
static const struct choice pass_through[] = {
	{ .name = "tunnel" },
	{ .name = "direct", .later = true },
	{ .name = "reject", .later = true },
	{ 0 },
};

/* clang-format off */
static const struct field transparency_fields[] = {
	{ STORED(FIELD_BOOL, struct transparency_conf, in) },
	{ STORED(FIELD_BOOL, struct transparency_conf, out) },
	{ STORED(FIELD_BOOL, struct transparency_conf, client_port) },
	{ CHECKED(FIELD_CHOICE, "pass_through"), .choices = pass_through },
};
/* clang-format on */

static void check_client_port(struct reading *r, const struct place *at, void *conf)
{
	const struct transparency_conf *t = conf;
	struct place place = place_member(at, "client_port");

	if (t->client_port && !t->out)
		place_error(r, &place, "only with out: true");
}

static const struct choice proxy_protocol_versions[] = {
	{ .name = "v1", .value = PROXY_PROTOCOL_V1 },
	{ .name = "v2", .value = PROXY_PROTOCOL_V2 },
	{ 0 },
};

/* clang-format off */
static const struct field proxy_protocol_fields[] = {
	{ STORED(FIELD_TEXTS, struct proxy_protocol_conf, accept_from), .check_text = check_cidr },
	{ STORED(FIELD_CHOICE, struct proxy_protocol_conf, send), .choices = proxy_protocol_versions, .fallback = PROXY_PROTOCOL_NONE, .zero_is_unset = true },
};
/* clang-format on */

const struct section section_transparency = { SECTION_FIELDS(transparency_fields),
					      .size = sizeof(struct transparency_conf), .check = check_client_port };
const struct section section_proxy_protocol = { SECTION_FIELDS(proxy_protocol_fields),
						.size = sizeof(struct proxy_protocol_conf) };

/* An entry that asks for nothing of it has no line. */
void transparency_write(const void *conf, unsigned indent, struct buf *out)
{
	const struct transparency_conf *t = conf;

	if (t->in || t->out || t->client_port)
		section_write(&section_transparency, t, indent, out);
}

void proxy_protocol_write(const void *conf, unsigned indent, struct buf *out)
{
	const struct proxy_protocol_conf *p = conf;

	if (p->accept_from.count > 0 || p->send != PROXY_PROTOCOL_NONE)
		section_write(&section_proxy_protocol, p, indent, out);
}

void entry_take_transparency(struct entry_conf *entry, struct transparency_conf *t, struct proxy_protocol_conf *p)
{
	section_release(&section_proxy_protocol, &entry->proxy_protocol); /* of a second mode, which is refused */
	entry->transparency = *t;
	entry->proxy_protocol = *p;
	*p = (struct proxy_protocol_conf){ 0 };
}
