/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err - why something failed, told from the outside inwards.
 *
 * Written where the failure happens, wrapped on the way up by whoever knows more, logged once where it
 * ends. The text then reads like a path: "ingress 0: dial 10.0.0.2:443: connection refused".
 *
 * Threads: any; an err belongs to its holder.
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"

enum err_kind {
	ERR_NONE,
	ERR_CONFIG,  /* the operator must change something */
	ERR_PEER,    /* the other side broke a protocol */
	ERR_TRUST,   /* attestation said no */
	ERR_SYSTEM,  /* the kernel or a library refused */
	ERR_TIMEOUT, /* it might work later */
	ERR_LIMIT,   /* one of our own limits was reached */
};

struct err {
	enum err_kind kind;
	int sys;	/* errno, or 0 */
	char text[256]; /* outermost first; no newline, no secret; cut with "..." where it is too long */
};

/* Fills e and returns -1. Bytes below 0x20 and above 0x7e in the text become '?'. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same with ": <strerror(errno)>" behind it. */
int err_errno(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "<fmt>: " in front of what e says. Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
