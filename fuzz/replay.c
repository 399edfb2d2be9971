/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay - a fuzz target over its seeds, without libFuzzer: every seed as it is, cut short at so many places, and with
 * so many single bytes changed. The same inputs each time. It keeps the targets building and their seeds true; what
 * searches is the fuzz preset.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

#define PLACES 300 /* of each seed */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* From memory of just this size, so that the sanitizers see who reads on. */
static void try(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void try_variations(uint8_t *data, size_t size)
{
	static const uint8_t changes[] = { 0xff, 0x80, 0x01 };
	size_t places = MIN(size, (size_t)PLACES);

	try(data, size);
	for (size_t i = 0; i < places; i++) {
		size_t at = i * size / places;

		try(data, at);
		for (size_t c = 0; c < sizeof(changes); c++) {
			data[at] ^= changes[c];
			try(data, size);
			data[at] ^= changes[c];
		}
	}
}

static void try_file(const char *folder, const char *name)
{
	struct buf b = { 0 };
	char path[4096];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "rb");
	if (f == NULL) {
		perror(path);
		exit(2);
	}
	do {
		n = fread(buf_reserve(&b, 65536), 1, 65536, f);
		b.len += n;
	} while (n > 0);
	fclose(f);
	fprintf(stderr, "%s: %zu bytes\n", path, b.len);
	try_variations(b.data, b.len);
	buf_release(&b);
}

int main(int argc, char **argv)
{
	struct dirent **names;
	int count;
	int tried = 0;

	count = argc == 2 ? scandir(argv[1], &names, NULL, alphasort) : -1;
	if (count < 0) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	for (int i = 0; i < count; i++) {
		if (names[i]->d_name[0] != '.') {
			try_file(argv[1], names[i]->d_name);
			tried++;
		}
		free(names[i]);
	}
	free(names);
	return tried > 0 ? 0 : 2;
}
