/* SPDX-License-Identifier: Apache-2.0 */
/* ossl - OpenSSL's errors as ours. */
#include "crypto/ossl.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

int err_openssl(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	/* The oldest entry is where it went wrong; what follows was added on the way up. */
	unsigned long code = ERR_peek_error();
	const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
	char text[512];
	char system[128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (code != 0 && ERR_SYSTEM_ERROR(code))
		reason = strerror_r(ERR_GET_REASON(code), system, sizeof(system));
	if (reason == NULL)
		err_set(e, kind, "%s", text);
	else
		err_set(e, kind, "%s: %s", text, reason);
	ERR_clear_error();
	return -1;
}

const char *ossl_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}
