/* SPDX-License-Identifier: Apache-2.0 */
/* capture_numbers - see the header. */
#include "config/capture_numbers.h"

#include <string.h>

#define INSTANCE_STEP 4096u
#define INSTANCES 120u
#define KERNEL_TABLE_FIRST 253u
#define KERNEL_TABLES 3u

#define EGRESS_OFFSET CAPTURE_ENTRIES_MAX
#define ACCEPTED_OFFSET (2 * CAPTURE_ENTRIES_MAX)
#define REFUSED_OFFSET (3 * CAPTURE_ENTRIES_MAX)

_Static_assert(CAPTURE_MARK_FIRST + 4 * CAPTURE_ENTRIES_MAX <= INSTANCE_STEP, "an instance's marks are its own");
_Static_assert(CAPTURE_QUEUE_FIRST + (INSTANCES + 1) * CAPTURE_ENTRIES_MAX <= UINT16_MAX, "queues have 16 bits");

bool is_instance_name(const char *text)
{
	static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-";
	size_t len = strlen(text);

	return len > 0 && len <= INSTANCE_LEN_MAX && strspn(text, allowed) == len;
}

/* FNV-1a */
static unsigned instance_number(const char *name)
{
	uint32_t hash = 2166136261u;

	if (strcmp(name, INSTANCE_DEFAULT) == 0)
		return 0;
	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return 1 + hash % INSTANCES;
}

uint32_t capture_mark(const struct interception_conf *conf, enum entry_kind kind, unsigned index)
{
	return CAPTURE_MARK_FIRST + index + (kind == ENTRY_EGRESS ? EGRESS_OFFSET : 0) +
	       instance_number(conf->instance) * INSTANCE_STEP;
}

uint32_t capture_table(const struct interception_conf *conf, enum entry_kind kind, unsigned index)
{
	uint32_t table = CAPTURE_TABLE_FIRST + index + (kind == ENTRY_EGRESS ? EGRESS_OFFSET : 0);

	if (table >= KERNEL_TABLE_FIRST && table < KERNEL_TABLE_FIRST + KERNEL_TABLES)
		table += 2 * CAPTURE_ENTRIES_MAX;
	return table + instance_number(conf->instance) * INSTANCE_STEP;
}

uint32_t capture_mark_accepted(const struct interception_conf *conf, unsigned index)
{
	return capture_mark(conf, ENTRY_INGRESS, index) + ACCEPTED_OFFSET;
}

uint32_t capture_mark_refused(const struct interception_conf *conf, unsigned index)
{
	return capture_mark(conf, ENTRY_INGRESS, index) + REFUSED_OFFSET;
}

uint32_t capture_table_refused(const struct interception_conf *conf, unsigned index)
{
	return CAPTURE_TABLE_FIRST + index + REFUSED_OFFSET + instance_number(conf->instance) * INSTANCE_STEP;
}

uint16_t capture_queue(const struct interception_conf *conf, unsigned index)
{
	return (uint16_t)(CAPTURE_QUEUE_FIRST + index + instance_number(conf->instance) * CAPTURE_ENTRIES_MAX);
}
