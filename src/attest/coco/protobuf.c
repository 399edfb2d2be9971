/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf - what decoding may cost. */
#include "attest/coco/protobuf.h"

#include <stdlib.h>

/* The fields that we know are copied once; the rest is room for the structs around them. */
#define BUDGET_FACTOR 3
#define BUDGET_BASE (64 * 1024)

static void *take(void *allocator_data, size_t size)
{
	struct protobuf_budget *b = allocator_data;

	if (size > b->left)
		return NULL;
	b->left -= size;
	return malloc(size);
}

static void give_back(void *allocator_data, void *p)
{
	(void)allocator_data;
	free(p);
}

void protobuf_budget_init(struct protobuf_budget *b, size_t message_len)
{
	*b = (struct protobuf_budget){
		.allocator = { .alloc = take, .free = give_back, .allocator_data = b },
		.left = BUDGET_BASE + BUDGET_FACTOR * message_len,
	};
}
