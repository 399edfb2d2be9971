/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text_forms - what strings of the configuration must look like.
 *
 * Each check may shorten its text to the form that the rest of the program knows, and returns NULL, or
 * what is wrong with it.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* An IPv4 or IPv6 address or a host name; loses brackets. */
const char *check_host(char *text);

/* "http://host:port/path" or https; loses slashes at the end. */
const char *check_url(char *text);

/* "unix:///path" that fits a socket address. */
const char *check_unix_address(char *text);

const char *check_ipv4(char *text);

/* IPv4 or IPv6 with an optional "/prefix"; the bits behind the prefix are zero. */
const char *check_cidr(char *text);

/* '*' stands at the beginning, at the end, or alone. */
const char *check_domain_pattern(char *text);

/* "address:port" or "name:port". */
const char *check_host_port(char *text);

const char *check_not_empty(char *text);

/* An address as bytes: 4 or 16 in *len; false for a name. */
bool host_address(const char *host, uint8_t address[16], unsigned *len);
