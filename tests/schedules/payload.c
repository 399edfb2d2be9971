/* SPDX-License-Identifier: Apache-2.0 */
/* payload - a word of noise for every eight bytes. */
#include "payload.h"

#include <string.h>

#include "base/mem.h"

#define WORD 8

/* The finisher of splitmix64. */
uint64_t payload_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* The upper half says that the number was not made up by an accident on the way. */
uint64_t payload_name(uint64_t seed, uint32_t number)
{
	return payload_mix(payload_mix(seed) + number) << 32 | number;
}

bool payload_read_name(const uint8_t head[PAYLOAD_NAME_SIZE], uint64_t seed, uint32_t *number)
{
	uint64_t name;

	memcpy(&name, head, sizeof(name));
	*number = (uint32_t)name;
	return name == payload_name(seed, *number);
}

static uint64_t word_at(uint64_t name, bool upwards, uint64_t offset)
{
	if (upwards && offset == 0)
		return name;
	return payload_mix(name + (offset + upwards) * 0x9e3779b97f4a7c15u);
}

void payload_fill(uint8_t *out, size_t len, uint64_t name, bool upwards, uint64_t offset)
{
	while (len > 0) {
		size_t skip = offset % WORD;
		size_t n = MIN(len, WORD - skip);
		uint64_t word = word_at(name, upwards, offset - skip);

		memcpy(out, (const uint8_t *)&word + skip, n);
		out += n;
		offset += n;
		len -= n;
	}
}

static size_t compare_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
	size_t same = 0;

	while (same < len && a[same] == b[same])
		same++;
	return same;
}

size_t payload_compare(const uint8_t *data, size_t len, uint64_t name, bool upwards, uint64_t offset)
{
	uint8_t wanted[4096];

	for (size_t done = 0; done < len;) {
		size_t n = MIN(len - done, sizeof(wanted));

		payload_fill(wanted, n, name, upwards, offset + done);
		if (memcmp(data + done, wanted, n) != 0)
			return done + compare_bytes(data + done, wanted, n);
		done += n;
	}
	return len;
}
