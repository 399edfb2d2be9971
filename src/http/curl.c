/* SPDX-License-Identifier: Apache-2.0 */
#include "http/curl.h"

#include <pthread.h>

#include "base/dynlib.h"

#define LIBRARY "libcurl.so.4"

struct curl_functions curl;
static struct err load_error;

static int load(struct err *e)
{
	const struct dynlib_function functions[] = {
		{ "curl_global_init", &curl.global_init },
		{ "curl_version_info", &curl.version_info },
		{ "curl_slist_append", &curl.slist_append },
		{ "curl_slist_free_all", &curl.slist_free_all },
		{ "curl_easy_init", &curl.easy_init },
		{ "curl_easy_cleanup", &curl.easy_cleanup },
		{ "curl_easy_setopt", &curl.easy_setopt },
		{ "curl_easy_getinfo", &curl.easy_getinfo },
		{ "curl_easy_strerror", &curl.easy_strerror },
		{ "curl_multi_init", &curl.multi_init },
		{ "curl_multi_cleanup", &curl.multi_cleanup },
		{ "curl_multi_setopt", &curl.multi_setopt },
		{ "curl_multi_add_handle", &curl.multi_add_handle },
		{ "curl_multi_remove_handle", &curl.multi_remove_handle },
		{ "curl_multi_assign", &curl.multi_assign },
		{ "curl_multi_socket_action", &curl.multi_socket_action },
		{ "curl_multi_info_read", &curl.multi_info_read },
	};
	CURLcode code;

	if (dynlib_load(LIBRARY, functions, ARRAY_SIZE(functions), e) < 0)
		return err_wrap(e, "attestation services are asked by libcurl, which cannot be loaded "
				   "(Debian: apt-get install libcurl4)");
	code = curl.global_init(CURL_GLOBAL_DEFAULT);
	return code == CURLE_OK ? 0 : err_set(e, ERR_SYSTEM, "libcurl: %s", curl.easy_strerror(code));
}

static void load_once(void)
{
	(void)load(&load_error);
}

int curl_load(struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load_once);
	if (load_error.kind == ERR_NONE)
		return 0;
	*e = load_error;
	return -1;
}
