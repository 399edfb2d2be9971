/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place - where in the document something stands, and what is said about it.
 *
 * Places live on the stack of the reader, each pointing to the one around it. What is found is collected
 * with its line and column and sorted at the end, so that the rules may run in any order.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/json.h"
#include "config/config.h"

struct place {
	const struct place *parent; /* NULL: the document */
	const char *name;	    /* of a member; NULL: an item */
	size_t index;		    /* of an item */
	const struct json *json;
	const struct json_key *key; /* of a member, where the document has one */
};

struct finding;

/* A TCP port range that an entry listens on. */
struct listen_claim {
	char *host;
	uint16_t port;
	uint16_t port_end;
	unsigned line;
	unsigned column;
	char *path;
};

struct reading {
	const char *source; /* kept */
	struct finding *findings;
	size_t finding_count;
	size_t error_count;
	struct listen_claim *claims;
	size_t claim_count;
	struct config_file *files;
	size_t file_count;
};

void reading_release(struct reading *r);

/* Moves the findings, in the order of the document, to the lists of report. */
void reading_report(struct reading *r, struct config_report *report);

/* gives "add_ingress[0].mapping.in". */
char *place_path(const struct place *at);

/* gives "file:3:17". */
char *place_position(const struct reading *r, const struct place *at);

/* "file:3:17: add_ingress[0].mapping: <text>", at the value. */
void place_error(struct reading *r, const struct place *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
void place_warn(struct reading *r, const struct place *at, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same at the member's name. */
void place_error_at_key(struct reading *r, const struct place *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
void place_warn_at_key(struct reading *r, const struct place *at, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* "file:3:17: not supported yet: add_ingress[0].socks5"; with value: ' "value"' behind it. */
void place_later(struct reading *r, const struct place *at, const char *value);

/* Where there is no struct place any more. */
void reading_error(struct reading *r, unsigned line, unsigned column, const char *text);
void reading_warn(struct reading *r, unsigned line, unsigned column, const char *text);

/* at's member as a place of its own; json is NULL when there is none. */
struct place place_member(const struct place *at, const char *name);

/* at has this member, and it is not null. */
bool place_has(const struct place *at, const char *name);

/* at's member is a number: *value. */
bool place_integer(const struct place *at, const char *name, int64_t *value);

/* at's member is a list, with or without items. */
bool place_has_items(const struct place *at, const char *name);
bool place_is_empty_list(const struct place *at, const char *name);
