/* SPDX-License-Identifier: Apache-2.0 */
/*
 * payload - the bytes of a connection, calculated from where they stand, so that nobody has to
 * store them.
 *
 * What the client sends begins with the name of the connection: by it the service finds its
 * schedule. All that follows, and all that the service sends, is noise that depends on the name,
 * the direction and the offset: a byte that is lost, doubled, moved or taken from another
 * connection does not match.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_NAME_SIZE 8

/* The connection of that number in a run with that seed. */
uint64_t payload_name(uint64_t seed, uint32_t number);

/* False when head is not the name of a connection of this run. */
bool payload_read_name(const uint8_t head[PAYLOAD_NAME_SIZE], uint64_t seed, uint32_t *number);

/* len bytes from offset on. upwards: what the client sends. */
void payload_fill(uint8_t *out, size_t len, uint64_t name, bool upwards, uint64_t offset);

/* How many bytes of data are as they should be; len when all. */
size_t payload_compare(const uint8_t *data, size_t len, uint64_t name, bool upwards, uint64_t offset);

/* A good mix of its argument's bits. */
uint64_t payload_mix(uint64_t x);
