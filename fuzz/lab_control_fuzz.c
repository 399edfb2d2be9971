/* SPDX-License-Identifier: Apache-2.0 */
/* Faults as they come over the control socket; what is accepted can be dealt. */
#include <stdlib.h>

#include "lab/fault.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;
	struct json *j = json_parse(bytes_of(data, size), JSON_STRICT, &e);
	struct target t;
	struct fault f;
	uint32_t targets;

	if (j == NULL)
		return 0;
	target_init(&t, TARGET_AS_REST);
	if (fault_parse(j, &f, &targets, &e) == 0) {
		if (targets == 0)
			abort();
		fault_set(&t, &f);
		for (int call = 0; call < CALL_KINDS; call++)
			fault_deal(&t, (enum call_kind)call);
	}
	target_release(&t);
	json_free(j);
	return 0;
}
