/* SPDX-License-Identifier: Apache-2.0 */
/* interception - how the process changes the kernel's rules, and what it marks them with. */
#include "config/sections.h"

#include <string.h>

#include "config/capture_numbers.h"

/* Above those that the kernel and the administrator use: RTPROT_STATIC is 4. */
#define PROTOCOL_MIN 5
#define DAY_MS 86400000
#define CHECK_DEFAULT_MS 10000

static const struct choice backends[] = {
	{ .name = "auto", .value = BACKEND_AUTO },
	{ .name = "nft", .value = BACKEND_NFT },
	{ .name = "iptables", .value = BACKEND_IPTABLES },
	{ .name = "none", .value = BACKEND_NONE },
	{ 0 },
};

static const struct choice on_exit_choices[] = {
	{ .name = "open", .value = false },
	{ .name = "drop", .value = true },
	{ 0 },
};

/* It is part of the names of chains, which iptables limits to 28 characters. */
static const char *check_instance(char *text)
{
	return is_instance_name(text) ? NULL : "expected 1 to 12 of the characters A-Z, a-z, 0-9, _ and -";
}

/* clang-format off */
static const struct field interception_fields[] = {
	{ STORED(FIELD_CHOICE, struct interception_conf, backend), .choices = backends, .fallback = BACKEND_AUTO },
	{ STORED(FIELD_TEXT, struct interception_conf, instance), .fallback_text = INSTANCE_DEFAULT, .check_text = check_instance },
	{ STORED(FIELD_MASK, struct interception_conf, mark_mask), .fallback = MARK_MASK_DEFAULT },
	{ STORED(FIELD_INTEGER, struct interception_conf, protocol), .min = PROTOCOL_MIN, .max = UINT8_MAX, .fallback = PROTOCOL_DEFAULT },
	{ STORED_AS("on_exit", FIELD_CHOICE, struct interception_conf, drop_on_exit), .choices = on_exit_choices, .fallback = false },
	{ STORED_AS("check_interval", FIELD_SECONDS, struct interception_conf, check_ms), .min = 0, .max = DAY_MS, .fallback = CHECK_DEFAULT_MS },
};
/* clang-format on */

const struct section section_interception = { SECTION_FIELDS(interception_fields),
					      .size = sizeof(struct interception_conf) };
