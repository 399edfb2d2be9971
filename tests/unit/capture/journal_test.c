/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/journal.h"

#include "../vectors.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char good[] =
	"{\n"
	"  \"tng_undo\": 1,\n"
	"  \"instance\": \"0\",\n"
	"  \"netns\": 4026531840,\n"
	"  \"boot\": \"8f1c\",\n"
	"  \"gateway\": {\"pid\": 41, \"start\": 1234},\n"
	"  \"guard\": {\"pid\": 42, \"start\": 1235},\n"
	"  \"backend\": \"iptables-legacy\",\n"
	"  \"blocked\": true,\n"
	"  \"src_valid_mark\": true,\n"
	"  \"routes\": [\n"
	"    {\"family\": 4, \"mark\": 566, \"mask\": 16777215, \"table\": 239, \"protocol\": 235},\n"
	"    {\"family\": 6, \"mark\": 567, \"mask\": 16777215, \"table\": 240, \"protocol\": 235}]\n"
	"}\n";

static void a_journal_is_read_as_it_was_written(void **state)
{
	struct buf out = { 0 };
	struct journal j;
	struct err e;

	(void)state;
	assert_int_equal(journal_parse(bytes_str(good), "x", &j, &e), 0);
	assert_string_equal(j.instance, "0");
	assert_int_equal(j.netns, 4026531840);
	assert_int_equal(j.gateway.pid, 41);
	assert_int_equal(j.guard.start, 1235);
	assert_int_equal(j.backend, JOURNAL_IPTABLES_LEGACY);
	assert_true(j.blocked);
	assert_true(j.src_valid_mark);
	assert_int_equal(j.route_count, 2);
	assert_int_equal(j.routes[1].family, AF_INET6);
	assert_int_equal(j.routes[1].table, 240);
	journal_format(&j, &out);
	assert_string_equal(buf_str(&out), good);
	buf_release(&out);
	journal_release(&j);
}

static int parse(struct bytes text)
{
	struct journal j;
	struct err e = { 0 };
	int rc = journal_parse(text, "/run/tng/1.0.undo", &j, &e);

	if (rc == 0) {
		journal_release(&j);
		return 0;
	}
	assert_non_null(strstr(e.text, "/run/tng/1.0.undo"));
	assert_null(j.instance);
	assert_null(j.routes);
	return -1;
}

static void a_journal_that_was_cut_anywhere_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(good) - 2; len++) {
		if (parse(bytes_of(good, len)) == 0)
			fail_msg("accepted the first %zu bytes", len);
	}
}

static int parse_with(const char *old, const char *new)
{
	const char *at = strstr(good, old);
	char *text;
	int rc;

	assert_non_null(at);
	text = mem_format("%.*s%s%s", (int)(at - good), good, new, at + strlen(old));
	rc = parse(bytes_str(text));
	free(text);
	return rc;
}

static void what_we_could_not_have_written_is_refused(void **state)
{
	static const char *const changes[][2] = {
		{ "\"tng_undo\": 1", "\"tng_undo\": 2" },
		{ "\"tng_undo\"", "\"undo\"" },
		{ "\"instance\": \"0\"", "\"instance\": \"\"" },
		{ "\"instance\": \"0\"", "\"instance\": \"../0\"" },
		{ "\"instance\": \"0\"", "\"instance\": \"a b\"" },
		{ "\"instance\": \"0\"", "\"instance\": \"0123456789abc\"" },
		{ "4026531840", "-1" },
		{ "\"pid\": 41", "\"pid\": 0" },
		{ "\"pid\": 41", "\"pid\": 4294967337" },
		{ "\"start\": 1234", "\"start\": 1234, \"command\": 1" },
		{ "iptables-legacy", "sh" },
		{ "\"blocked\": true", "\"blocked\": 1" },
		{ "\"src_valid_mark\": true", "\"src_valid_mark\": 2" },
		{ "\"src_valid_mark\": true", "\"rp_filter\": true" },
		{ "\"blocked\": true", "\"blocked\": true, \"commands\": []" },
		{ "\"family\": 4", "\"family\": 5" },
		{ "\"mark\": 566", "\"mark\": 0" },
		{ "\"mark\": 566", "\"mark\": 16777216" }, /* outside of its mask */
		{ "\"table\": 239", "\"table\": 254" },	   /* main */
		{ "\"table\": 239", "\"table\": 255" },
		{ "\"table\": 239", "\"table\": 238" },
		{ "\"protocol\": 235", "\"protocol\": 2" }, /* the kernel's own */
		{ "\"protocol\": 235", "\"protocol\": 256" },
		{ "\"protocol\": 235}", "\"protocol\": 235, \"via\": 1}" },
		{ "}]\n}\n", "}]\n}\n}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		if (parse_with(changes[i][0], changes[i][1]) == 0)
			fail_msg("accepted %s instead of %s", changes[i][1], changes[i][0]);
	}
	assert_int_equal(parse_with("\"table\": 239", "\"table\": 252"), 0);
	assert_int_equal(parse_with("\"table\": 239", "\"table\": 256"), 0);
}

static void more_routes_than_the_limit_are_refused(void **state)
{
	static const char route[] = "{\"family\": 4, \"mark\": 1, \"mask\": 1, \"table\": 239, \"protocol\": 9}";
	struct buf text = { 0 };

	(void)state;
	for (size_t count = JOURNAL_ROUTES_MAX - 400; count <= JOURNAL_ROUTES_MAX + 1; count += 401) {
		buf_clear(&text);
		buf_append(&text, good, (size_t)(strstr(good, "[") - good) + 1);
		for (size_t i = 0; i < count; i++)
			buf_format(&text, "%s%s", i == 0 ? "" : ",", route);
		buf_append_str(&text, "]}");
		assert_int_equal(parse(buf_bytes(&text)),
				 count <= JOURNAL_ROUTES_MAX && text.len <= JOURNAL_SIZE_MAX ? 0 : -1);
	}
	buf_release(&text);
}

/* ---- files ---- */

static int open_folder(char *path)
{
	assert_non_null(mkdtemp(path));
	return open(path, O_RDONLY | O_DIRECTORY);
}

static struct journal mine(void)
{
	return (struct journal){ .instance = (char *)"0",
				 .netns = journal_netns(),
				 .boot = journal_boot(),
				 .gateway = { 1, 1 },
				 .guard = { 2, 2 } };
}

static void a_file_of_another_boot_or_namespace_is_not_looked_at(void **state)
{
	char path[] = "/tmp/tng-journal-XXXXXX";
	int folder = open_folder(path);
	struct journal j = mine();
	struct journal back;
	struct err e;

	(void)state;
	assert_int_equal(journal_read(folder, "a", &back, &e), 0);
	assert_int_equal(journal_write(folder, "a", &j, &e), 0);
	assert_int_equal(journal_read(folder, "a", &back, &e), 1);
	journal_release(&back);
	j.netns++;
	assert_int_equal(journal_write(folder, "a", &j, &e), 0);
	assert_int_equal(journal_read(folder, "a", &back, &e), 0);
	j.netns--;
	free(j.boot);
	j.boot = mem_strdup("another");
	assert_int_equal(journal_write(folder, "a", &j, &e), 0);
	assert_int_equal(journal_read(folder, "a", &back, &e), 0);
	free(j.boot);
	assert_int_equal(journal_remove(folder, "a", &e), 0);
	assert_int_equal(journal_remove(folder, "a", &e), 0);
	close(folder);
	assert_int_equal(rmdir(path), 0);
}

static void a_file_that_others_can_write_to_is_refused(void **state)
{
	char path[] = "/tmp/tng-journal-XXXXXX";
	int folder = open_folder(path);
	struct journal j = mine();
	struct journal back;
	struct err e;

	(void)state;
	assert_int_equal(journal_write(folder, "a", &j, &e), 0);
	assert_int_equal(fchmodat(folder, "a", 0620, 0), 0);
	assert_int_equal(journal_read(folder, "a", &back, &e), -1);
	assert_int_equal(fchmodat(folder, "a", 0600, 0), 0);
	assert_int_equal(symlinkat("a", folder, "b"), 0);
	assert_int_equal(journal_read(folder, "b", &back, &e), -1);
	free(j.boot);
	assert_int_equal(unlinkat(folder, "b", 0), 0);
	assert_int_equal(unlinkat(folder, "a", 0), 0);
	close(folder);
	assert_int_equal(rmdir(path), 0);
}

static void a_process_is_known_by_pid_and_start(void **state)
{
	struct journal_owner me;

	(void)state;
	assert_true(journal_owner_of(getpid(), &me));
	assert_true(journal_owner_lives(&me));
	me.start++;
	assert_false(journal_owner_lives(&me));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_journal_is_read_as_it_was_written),
		cmocka_unit_test(a_journal_that_was_cut_anywhere_is_refused),
		cmocka_unit_test(what_we_could_not_have_written_is_refused),
		cmocka_unit_test(more_routes_than_the_limit_are_refused),
		cmocka_unit_test(a_file_of_another_boot_or_namespace_is_not_looked_at),
		cmocka_unit_test(a_file_that_others_can_write_to_is_refused),
		cmocka_unit_test(a_process_is_known_by_pid_and_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
