/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dynlib.h"

#include <dlfcn.h>
#include <string.h>

int dynlib_load(const char *file, const struct dynlib_function *functions, size_t count, struct err *e)
{
	void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);

	if (handle == NULL)
		return err_set(e, ERR_SYSTEM, "%s", dlerror());
	for (size_t i = 0; i < count; i++) {
		void *function = dlsym(handle, functions[i].name);

		if (function == NULL)
			return err_set(e, ERR_SYSTEM, "%s", dlerror());
		memcpy(functions[i].to, &function, sizeof(function));
	}
	return 0;
}
