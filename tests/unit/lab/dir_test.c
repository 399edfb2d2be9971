/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/dir.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char *base;

static int make_base(void **state)
{
	char template[] = "/tmp/tng-dir-test-XXXXXX";

	(void)state;
	if (mkdtemp(template) == NULL)
		return -1;
	base = mem_strdup(template);
	return 0;
}

static int remove_base(void **state)
{
	int rc = rmdir(base); /* fails when a test left something */

	(void)state;
	free(base);
	return rc;
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void a_directory_that_was_missing_is_made_and_removed(void **state)
{
	char *path = mem_format("%s/made", base);
	struct lab_dir d;
	struct stat st;
	struct err e;

	(void)state;
	assert_int_equal(lab_dir_open(&d, path, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(lab_dir_write(&d, "file", bytes_str("x"), &e), 0);
	assert_int_equal(lab_dir_write(&d, "file", bytes_str("y"), &e), 0);
	lab_dir_remove(&d, "file");
	lab_dir_close(&d);
	assert_false(exists(path));
	free(path);
}

static void a_directory_that_was_there_stays(void **state)
{
	char *path = mem_format("%s/there", base);
	struct lab_dir d;
	struct err e;

	(void)state;
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(lab_dir_open(&d, path, &e), 0);
	lab_dir_close(&d);
	assert_true(exists(path));
	assert_int_equal(rmdir(path), 0); /* and is empty */
	free(path);
}

static void only_one_lab_holds_a_directory(void **state)
{
	char *path = mem_format("%s/one", base);
	struct lab_dir first;
	struct lab_dir second;
	struct err e;

	(void)state;
	assert_int_equal(lab_dir_open(&first, path, &e), 0);
	assert_int_equal(lab_dir_open(&second, path, &e), -1);
	assert_int_equal(e.kind, ERR_CONFIG);
	assert_non_null(strstr(e.text, "another lab is running here"));
	lab_dir_close(&first);
	assert_int_equal(lab_dir_open(&second, path, &e), 0);
	lab_dir_close(&second);
	assert_false(exists(path));
	free(path);
}

static void the_next_lab_cleans_up_behind_one_that_was_killed(void **state)
{
	char *path = mem_format("%s/killed", base);
	struct lab_dir d;
	struct err e;

	(void)state;
	assert_int_equal(lab_dir_open(&d, path, &e), 0);
	close(d.lock_fd); /* all that a kill does */
	free(d.path);
	assert_int_equal(lab_dir_open(&d, path, &e), 0);
	lab_dir_close(&d);
	assert_false(exists(path));
	free(path);
}

static void what_is_no_directory_is_refused(void **state)
{
	char *path = mem_format("%s/file", base);
	char *below = mem_format("%s/missing/dir", base);
	struct lab_dir d;
	struct err e;
	FILE *f = fopen(path, "w");

	(void)state;
	assert_non_null(f);
	fclose(f);
	assert_int_equal(lab_dir_open(&d, path, &e), -1);
	assert_int_equal(lab_dir_open(&d, below, &e), -1);
	assert_int_equal(unlink(path), 0);
	free(path);
	free(below);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_directory_that_was_missing_is_made_and_removed),
		cmocka_unit_test(a_directory_that_was_there_stays),
		cmocka_unit_test(only_one_lab_holds_a_directory),
		cmocka_unit_test(the_next_lab_cleans_up_behind_one_that_was_killed),
		cmocka_unit_test(what_is_no_directory_is_refused),
	};

	return cmocka_run_group_tests(tests, make_base, remove_base);
}
