/* SPDX-License-Identifier: Apache-2.0 */
/* arena_test - objects do not overlap, memory is used again, the budget holds, and other threads
 * may free. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/arena.h"

#define COUNT 300
#define PAGE  4096
#define ALL   ((size_t)-1)

static atomic_size_t taken;
static atomic_size_t limit = ALL;

static bool take(size_t size)
{
	if (atomic_fetch_add(&taken, size) + size <= atomic_load(&limit))
		return true;
	atomic_fetch_sub(&taken, size);
	return false;
}

static void give(size_t size)
{
	atomic_fetch_sub(&taken, size);
}

static struct arena *open_arena(void)
{
	struct arena *a = arena_new();

	assert_non_null(a);
	arena_begin(a);
	return a;
}

static void close_arena(struct arena *a)
{
	arena_end(a);
	arena_release(a);
}

/* Nothing warm, nothing partial. */
static void empty_pool(void)
{
	arenas_trim();
	arenas_trim();
}

static size_t pages_of(void *p, size_t size)
{
	unsigned char map[64];
	uint8_t *start = (uint8_t *)((uintptr_t)p & ~(uintptr_t)(PAGE - 1));
	size_t count = 0, pages = MIN(size / PAGE, sizeof(map));

	assert_int_equal(mincore(start, pages * PAGE, map), 0);
	for (size_t i = 0; i < pages; i++)
		count += map[i] & 1;
	return count;
}

static void objects_are_aligned_and_apart(void **state)
{
	struct arena *a = open_arena();
	uint8_t *objects[COUNT];
	size_t sizes[COUNT], count = 0;
	uint32_t random = 1;

	(void)state;
	for (; count < COUNT; count++) {
		random = random * 1103515245u + 12345u;
		sizes[count] = count < 64 ? count : (random >> 16) % (count % 10 == 0 ? 6000 : 700);
		objects[count] = arena_alloc(a, sizes[count]);
		if (objects[count] == NULL)
			break;
		assert_int_equal((uintptr_t)objects[count] % 16, 0);
		assert_true(arena_has(objects[count]));
		assert_true(arena_object_size(objects[count]) >= sizes[count]);
		memset(objects[count], (int)count, arena_object_size(objects[count]));
		if (count % 3 == 2) { /* what comes next takes its place */
			arena_free(objects[count]);
			sizes[count] = 0;
			objects[count] = arena_alloc(a, 0);
		}
	}
	assert_true(count > 200);
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(objects[i][k], (uint8_t)i);
		arena_free(objects[i]);
	}
	close_arena(a);
	assert_int_equal(atomic_load(&taken), 0);
}

static void every_size_up_to_the_largest_has_room(void **state)
{
	(void)state;
	for (size_t size = 0; size <= ARENA_MOST_OBJECT; size += size < 2100 ? 1 : 61) {
		struct arena *a = open_arena();
		uint8_t *p = arena_alloc(a, size), *q = arena_alloc(a, size);

		assert_true(p != NULL && q != NULL);
		assert_true(arena_object_size(p) >= size);
		assert_true(arena_object_size(p) <= size + size / 8 + 32);
		assert_true(q >= p + arena_object_size(p));
		close_arena(a);
		arena_free(p);
		arena_free(q);
	}
	empty_pool();
}

static void what_is_larger_is_refused(void **state)
{
	struct arena *a = open_arena();

	(void)state;
	assert_null(arena_alloc(a, ARENA_MOST_OBJECT + 1));
	assert_null(arena_alloc(a, ALL));
	assert_null(arena_alloc(a, ALL - 16));
	close_arena(a);
}

static void a_freed_object_is_used_again(void **state)
{
	struct arena *a = open_arena();
	void *p = arena_alloc(a, 100), *q;

	(void)state;
	arena_free(p);
	q = arena_alloc(a, 97);
	assert_ptr_equal(p, q);
	arena_free(q);
	close_arena(a);
}

static void a_full_arena_refuses_and_recovers(void **state)
{
	struct arena *a = open_arena();
	void *objects[COUNT];
	size_t count = 0;

	(void)state;
	for (;;) {
		objects[count] = arena_alloc(a, 4000);
		if (objects[count] == NULL)
			break;
		count++;
	}
	assert_in_range(count, 40, 100);
	arena_free(objects[count - 1]);
	objects[count - 1] = arena_alloc(a, 4000);
	assert_non_null(objects[count - 1]);
	for (size_t i = 0; i < count; i++)
		arena_free(objects[i]);
	close_arena(a);
	assert_int_equal(atomic_load(&taken), 0);
	empty_pool();
}

static void the_budget_refuses_and_gets_all_back(void **state)
{
	struct arena *a = open_arena();
	void *first, *second;

	(void)state;
	atomic_store(&limit, 32768);
	first = arena_alloc(a, 20000);
	second = arena_alloc(a, 20000);
	assert_non_null(first);
	assert_null(second);
	assert_in_range(atomic_load(&taken), 20000, 32768);
	arena_free(first);
	close_arena(a);
	assert_int_equal(atomic_load(&taken), 0);
	atomic_store(&limit, ALL);
}

static void memory_that_is_not_needed_goes_back(void **state)
{
	struct arena *a;
	uint8_t *p;

	(void)state;
	empty_pool();
	a = open_arena();
	p = arena_alloc(a, 30000);
	memset(p, 1, 30000);
	arena_free(p);
	close_arena(a);
	assert_true(pages_of(p, 30000) >= 7);
	arenas_trim(); /* was needed since the last one */
	assert_true(pages_of(p, 30000) >= 7);
	arenas_trim();
	assert_int_equal(pages_of(p, 30000), 0);
	a = open_arena();
	p = arena_alloc(a, 10);
	assert_non_null(p);
	arena_free(p);
	close_arena(a);
}

static void an_object_outlives_its_handshake(void **state)
{
	struct arena *a, *b;
	char *left, *other;

	(void)state;
	empty_pool();
	a = open_arena();
	left = arena_alloc(a, 40);
	strcpy(left, "still here");
	close_arena(a);
	assert_int_equal(atomic_load(&taken), 0);
	empty_pool();
	assert_string_equal(left, "still here");
	b = open_arena(); /* the same, with the object in it */
	assert_ptr_equal(a, b);
	other = arena_alloc(b, 40);
	assert_ptr_not_equal(left, other);
	arena_free(left);
	arena_free(other);
	close_arena(b);
	empty_pool();
	assert_int_equal(pages_of(left, PAGE), 0);
}

static void what_is_freed_in_between_is_used_after_the_next_begin(void **state)
{
	struct arena *a = open_arena();
	void *p = arena_alloc(a, 500), *keep = arena_alloc(a, 500);

	(void)state;
	arena_end(a);
	arena_free(p);
	arena_begin(a);
	assert_ptr_equal(arena_alloc(a, 500), p);
	arena_free(p);
	arena_free(keep);
	close_arena(a);
}

static void *free_all(void *arg)
{
	void **objects = arg;

	for (size_t i = 0; i < COUNT; i++)
		arena_free(objects[i]);
	return NULL;
}

static void other_threads_may_free_meanwhile(void **state)
{
	void *objects[COUNT];
	pthread_t thread;
	struct arena *a = open_arena();

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		objects[i] = arena_alloc(a, 64);
	assert_int_equal(pthread_create(&thread, NULL, free_all, objects), 0);
	for (size_t i = 0; i < COUNT; i++) {
		void *p = arena_alloc(a, 64);

		assert_non_null(p);
		memset(p, 7, 64);
		arena_free(p);
		arena_end(a);
		arena_begin(a);
	}
	close_arena(a);
	pthread_join(thread, NULL);
	empty_pool();
	assert_int_equal(atomic_load(&taken), 0);
}

static void *work(void *arg)
{
	void *left[8] = {NULL}, *p;

	(void)arg;
	for (unsigned i = 0; i < 2000; i++) {
		struct arena *a = arena_new();

		if (a == NULL)
			return "none";
		arena_begin(a);
		p = arena_alloc(a, 1000);
		if (p != NULL) /* else it is full of what others left */
			arena_free(p);
		if (left[i % 8] != NULL)
			arena_free(left[i % 8]); /* of an arena that others have by now */
		left[i % 8] = arena_alloc(a, 8 + i % 1000);
		arena_end(a);
		arena_release(a);
		if (i % 100 == 0)
			arenas_trim();
	}
	for (unsigned i = 0; i < 8; i++) {
		if (left[i] != NULL)
			arena_free(left[i]);
	}
	return NULL;
}

static void threads_share_the_pool(void **state)
{
	pthread_t threads[4];
	void *failed;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, NULL), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		if (failed != NULL)
			fail_msg("%s", (char *)failed);
	}
	empty_pool();
	assert_int_equal(atomic_load(&taken), 0);
}

static void no_more_than_agreed_are_in_use(void **state)
{
	struct arena *all[COUNT];
	size_t count = 0;

	(void)state;
	while (count < COUNT) {
		all[count] = arena_new();
		if (all[count] == NULL)
			break;
		count++;
	}
	assert_int_equal(count, 200);
	for (size_t i = 0; i < count; i++)
		arena_release(all[i]);
	arena_release(NULL);
	assert_non_null(all[0] = arena_new());
	arena_release(all[0]);
}

static void freeing_twice_ends_the_process(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		struct arena *a = arena_new();
		void *p;

		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		arena_begin(a);
		p = arena_alloc(a, 8);
		arena_free(p);
		arena_free(p);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void what_malloc_gave_is_not_of_an_arena(void **state)
{
	char *p = malloc(10);

	(void)state;
	assert_false(arena_has(p));
	assert_false(arena_has(&p));
	assert_false(arena_has(NULL));
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_aligned_and_apart),
		cmocka_unit_test(every_size_up_to_the_largest_has_room),
		cmocka_unit_test(what_is_larger_is_refused),
		cmocka_unit_test(a_freed_object_is_used_again),
		cmocka_unit_test(a_full_arena_refuses_and_recovers),
		cmocka_unit_test(the_budget_refuses_and_gets_all_back),
		cmocka_unit_test(memory_that_is_not_needed_goes_back),
		cmocka_unit_test(an_object_outlives_its_handshake),
		cmocka_unit_test(what_is_freed_in_between_is_used_after_the_next_begin),
		cmocka_unit_test(other_threads_may_free_meanwhile),
		cmocka_unit_test(threads_share_the_pool),
		cmocka_unit_test(no_more_than_agreed_are_in_use),
		cmocka_unit_test(freeing_twice_ends_the_process),
		cmocka_unit_test(what_malloc_gave_is_not_of_an_arena),
	};

	if (arena_new() != NULL || !arenas_init(200, (struct arena_budget){take, give}))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
