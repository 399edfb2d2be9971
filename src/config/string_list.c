/* SPDX-License-Identifier: Apache-2.0 */
/* string_list - lists of strings. */
#include "config/string_list.h"

#include <stdlib.h>

/* Doubles at powers of two, so that a long list costs linear time. */
void string_list_add(struct string_list *list, char *text)
{
	if ((list->count & (list->count - 1)) == 0)
		list->items = mem_resize(list->items, MAX(list->count * 2, (size_t)1) * sizeof(*list->items));
	list->items[list->count] = text;
	list->count++;
}

void string_list_release(struct string_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct string_list){ 0 };
}
