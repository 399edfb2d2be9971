/* SPDX-License-Identifier: Apache-2.0 */
/* aead_ipsec_mb_none - stands in where CMake found no libipsec-mb: never selected. */
#include "crypto/aead_internal.h"

static int none_start(struct err *e)
{
	return err_set(e, ERR_CONFIG, "this build has no libipsec-mb");
}

const struct aead_ops aead_ipsec_mb = { .name = "ipsec-mb", .start = none_start };
