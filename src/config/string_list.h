/* SPDX-License-Identifier: Apache-2.0 */
/*
 * string_list - struct string_list, which grows.
 *
 * Threads: one.
 */
#pragma once

#include "config/config.h"

/* takes text. */
void string_list_add(struct string_list *list, char *text);

/* Leaves it empty and ready for use. */
void string_list_release(struct string_list *list);
