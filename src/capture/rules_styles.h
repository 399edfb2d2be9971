/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_styles - rules in the words of other programs: to compare with, or to move from them to us. Never applied.
 *
 * Threads: any.
 */
#pragma once

#include "capture/rules.h"
#include "capture/sidecar.h"

/* As apisix-mesh-agent prints it; captures nothing where it is told to capture nothing. */
void mesh_print(const struct sidecar *s, struct buf *out);
void mesh_print_removal(const char *prefix, struct buf *out);

/* As TNG 1.0 and TNG 2.8 would run it; removal: what they run before and behind. Refused: what they do not know. */
int tng1_print(const struct captured_entry *entries, size_t count, bool removal, struct buf *out,
	       struct err *e) MUST_CHECK;
int tng2_print(const struct captured_entry *entries, size_t count, bool removal, struct buf *out,
	       struct err *e) MUST_CHECK;
