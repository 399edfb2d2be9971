/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/slab.h"

#define OBJECTS 5000

static void objects_are_zeroed_and_do_not_overlap(void **state)
{
	struct slab *s = slab_new(200);
	uint8_t **objects = mem_new_array(OBJECTS, sizeof(*objects));

	(void)state;
	for (int i = 0; i < OBJECTS; i++) {
		objects[i] = slab_take(s);
		for (int at = 0; at < 200; at++)
			assert_int_equal(objects[i][at], 0);
		memset(objects[i], i & 0xff, 200);
	}
	assert_int_equal(slab_count(s), OBJECTS);
	for (int i = 0; i < OBJECTS; i++) {
		for (int at = 0; at < 200; at++)
			assert_int_equal(objects[i][at], i & 0xff);
	}
	for (int i = 0; i < OBJECTS; i++)
		slab_give(s, objects[i]);
	assert_int_equal(slab_count(s), 0);
	free(objects);
	slab_free(s);
}

static void a_given_object_is_zeroed_when_it_is_taken_again(void **state)
{
	struct slab *s = slab_new(64);
	uint8_t *first = slab_take(s);
	uint8_t *again;

	(void)state;
	memset(first, 0xaa, 64);
	slab_give(s, first);
	again = slab_take(s);
	assert_ptr_equal(again, first);
	for (int at = 0; at < 64; at++)
		assert_int_equal(again[at], 0);
	slab_give(s, again);
	slab_free(s);
}

static void objects_come_and_go_in_any_order(void **state)
{
	struct slab *s = slab_new(48);
	uint32_t **objects = mem_new_array(OBJECTS, sizeof(*objects));
	uint32_t seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		int at;

		seed = seed * 1664525 + 1013904223;
		at = (int)(seed >> 8) % OBJECTS;
		if (objects[at] == NULL) {
			objects[at] = slab_take(s);
			*objects[at] = (uint32_t)at;
		} else {
			assert_int_equal(*objects[at], at);
			slab_give(s, objects[at]);
			objects[at] = NULL;
		}
	}
	for (int i = 0; i < OBJECTS; i++) {
		if (objects[i] != NULL)
			slab_give(s, objects[i]);
	}
	assert_int_equal(slab_count(s), 0);
	free(objects);
	slab_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_zeroed_and_do_not_overlap),
		cmocka_unit_test(a_given_object_is_zeroed_when_it_is_taken_again),
		cmocka_unit_test(objects_come_and_go_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
