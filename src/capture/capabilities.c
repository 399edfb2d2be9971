/* SPDX-License-Identifier: Apache-2.0 */
/* capabilities - the bounding set, our own sets, and what passes to programs. */
#include "capture/capabilities.h"

#include <stdbool.h>
#include <sys/prctl.h>

static bool has(const cap_value_t *values, int count, cap_value_t value)
{
	for (int i = 0; i < count; i++) {
		if (values[i] == value)
			return true;
	}
	return false;
}

/* Nobody gets back by exec() what has gone: root would get all that is in the bounding set. */
static void drop_bounds(const cap_value_t *keep, int count)
{
	for (cap_value_t v = 0; cap_get_bound(v) >= 0; v++) {
		if (!has(keep, count, v))
			(void)cap_drop_bound(v); /* takes CAP_SETPCAP; without that there is little to drop */
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int capabilities_keep(const cap_value_t *keep, int count, int effective, struct err *e)
{
	cap_t caps = cap_init();
	int rc;

	if (caps == NULL)
		return err_errno(e, ERR_SYSTEM, "drop capabilities");
	drop_bounds(keep, count);
	if (count > 0) {
		cap_set_flag(caps, CAP_PERMITTED, count, keep, CAP_SET);
		cap_set_flag(caps, CAP_INHERITABLE, count, keep, CAP_SET);
	}
	if (effective > 0)
		cap_set_flag(caps, CAP_EFFECTIVE, effective, keep, CAP_SET);
	rc = cap_set_proc(caps);
	if (rc != 0)
		err_errno(e, ERR_SYSTEM, "drop capabilities");
	cap_free(caps);
	for (int i = 0; rc == 0 && i < count; i++)
		(void)cap_set_ambient(keep[i], CAP_SET);
	return rc;
}
