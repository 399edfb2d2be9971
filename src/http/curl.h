/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl - the functions of libcurl that we use, loaded when the first of them is wanted.
 *
 * libcurl brings some 25 libraries along (LDAP, Kerberos, SSH), which cost half of the start and 3 MiB: only gateways
 * that ask an attestation service by HTTP pay for them.
 *
 * Threads: any, once curl_load() has succeeded.
 */
#pragma once

#include <curl/curl.h>

#include "base/err.h"
#include "base/mem.h"

/* Named as in libcurl, without "curl_". The compiler checks no types of values behind an option: use client.c's. */
extern struct curl_functions {
	__typeof__(curl_global_init) *global_init;
	__typeof__(curl_version_info) *version_info;
	__typeof__(curl_slist_append) *slist_append;
	__typeof__(curl_slist_free_all) *slist_free_all;
	__typeof__(curl_easy_init) *easy_init;
	__typeof__(curl_easy_cleanup) *easy_cleanup;
	__typeof__(curl_easy_setopt) *easy_setopt;
	__typeof__(curl_easy_getinfo) *easy_getinfo;
	__typeof__(curl_easy_strerror) *easy_strerror;
	__typeof__(curl_multi_init) *multi_init;
	__typeof__(curl_multi_cleanup) *multi_cleanup;
	__typeof__(curl_multi_setopt) *multi_setopt;
	__typeof__(curl_multi_add_handle) *multi_add_handle;
	__typeof__(curl_multi_remove_handle) *multi_remove_handle;
	__typeof__(curl_multi_assign) *multi_assign;
	__typeof__(curl_multi_socket_action) *multi_socket_action;
	__typeof__(curl_multi_info_read) *multi_info_read;
} curl;

/* Loads and initializes libcurl, once for the process; more calls only tell how that went. */
int curl_load(struct err *e) MUST_CHECK;
