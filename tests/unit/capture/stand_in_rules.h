/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stand_in_rules - a ruleset that needs no configuration, in place of src/capture/rules*.c.
 *
 * Linked instead of those: it defines what the guard calls of rules.h.
 */
#pragma once

#include "capture/rules.h"

/* broken: the kernel refuses it, behind a part that it accepts. rules_free(). */
struct ruleset *stand_in_rules(const char *instance, uint32_t mark, bool broken);
