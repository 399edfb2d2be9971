/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protobuf - an allocator that bounds what decoding one foreign message may cost.
 *
 * libprotobuf-c keeps every field that it does not know in an allocation of its own, so a message of
 * nothing but tiny fields takes some thirty times its size. With a budget decoding fails instead.
 *
 * Threads: any; a budget belongs to one message.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

struct protobuf_budget {
	ProtobufCAllocator allocator; /* for *__unpack() and *__free_unpacked() */
	size_t left;
};

/* keeps b: the allocator in it points back at it. message_len: of the encoded message. */
void protobuf_budget_init(struct protobuf_budget *b, size_t message_len);
