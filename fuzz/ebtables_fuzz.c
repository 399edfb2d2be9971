/* SPDX-License-Identifier: Apache-2.0 */
/* What "ebtables -L" prints: names of chains are never empty, and tell an instance or none. */
#include <stdlib.h>
#include <string.h>

#include "capture/ebtables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ebtables_listing l;
	struct err e;

	if (ebtables_listing_parse(bytes_of(data, size), &l, &e) == 0) {
		for (size_t i = 0; i < l.count; i++) {
			char *instance = ebtables_instance_of(l.chains[i].name);

			if (l.chains[i].name[0] == '\0' || (instance != NULL && instance[0] == '\0'))
				abort();
			free(instance);
		}
	}
	ebtables_listing_release(&l);
	return 0;
}
