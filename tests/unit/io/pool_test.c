/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "io/pool.h"

#define LIMIT (1u << 20)

struct fixture {
	struct pool_budget budget;
	struct pool *pool;
};

static int set_up(void **state)
{
	struct fixture *x = mem_new_of(struct fixture);

	x->budget.limit = LIMIT;
	x->pool = pool_new(&x->budget);
	*state = x;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(x->budget.used, 0);
	pool_free(x->pool);
	free(x);
	return 0;
}

static void buffers_have_the_room_that_was_asked_for_and_little_more(void **state)
{
	static const size_t asked[] = { 1,     100,	     POOL_PIECE_SIZE, POOL_PIECE_SIZE + 1, POOL_RECORD_SIZE,
					50000, POOL_BUF_SIZE };
	struct fixture *x = *state;

	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		struct pool_buf *b = pool_take(x->pool, asked[i]);

		assert_true(b->size >= asked[i]);
		assert_true(b->size <= POOL_PIECE_SIZE || b->size < 4 * asked[i]);
		assert_int_equal(b->start, 0);
		assert_int_equal(b->end, 0);
		b->data[b->size - 1] = 1;
		pool_give(x->pool, b);
	}
}

static void reads_become_small_when_half_of_the_budget_is_used(void **state)
{
	struct fixture *x = *state;
	struct pool_buf *held[64];
	size_t count = 0;

	assert_int_equal(pool_read_size(x->pool, 1000, 100), 1000);
	while (pool_has_room(x->pool))
		held[count++] = pool_take(x->pool, POOL_BUF_SIZE);
	assert_true(count > 5);
	assert_int_equal(pool_read_size(x->pool, 1000, 100), 100);
	pool_give(x->pool, held[--count]);
	assert_int_equal(pool_read_size(x->pool, 1000, 100), 1000);
	while (count > 0)
		pool_give(x->pool, held[--count]);
}

static void what_a_reader_leaves_is_kept_until_it_is_used(void **state)
{
	static const uint8_t shown[] = "0123456789";
	struct fixture *x = *state;
	struct bytes view = bytes_of(shown, 10);
	struct pool_buf *kept = NULL;

	pool_keep_rest(x->pool, &kept, &view, 10);
	assert_null(kept);
	assert_int_equal(view.len, 0);
	view = bytes_of(shown, 10);
	pool_keep_rest(x->pool, &kept, &view, 4);
	assert_non_null(kept);
	assert_int_equal(view.len, 0);
	assert_int_equal(kept->end - kept->start, 6);
	assert_memory_equal(kept->data + kept->start, "456789", 6);
	pool_keep_rest(x->pool, &kept, &view, 5);
	assert_memory_equal(kept->data + kept->start, "9", 1);
	pool_keep_rest(x->pool, &kept, &view, 1);
	assert_null(kept);
	assert_int_equal(atomic_load(&x->budget.used), 0);
}

#define pool_test(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		pool_test(buffers_have_the_room_that_was_asked_for_and_little_more),
		pool_test(what_a_reader_leaves_is_kept_until_it_is_used),
		pool_test(reads_become_small_when_half_of_the_budget_is_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
