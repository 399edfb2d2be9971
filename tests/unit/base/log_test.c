/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "codec/json.h"

/* A directory for each test, and in it the log. */
static char dir[64];
static char path[128];
static char error_path[128];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/tng-log-test-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(error_path, sizeof(error_path), "%s/errors", dir);
	return 0;
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "log", "log.1", "log.2", "log.3", "errors", "errors.1" };
	char name[128];

	(void)state;
	log_close();
	log_set_level(LOG_INFO);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "%s/%s", dir, names[i]);
		unlink(name);
	}
	return rmdir(dir);
}

static void open_log(struct log_options options)
{
	struct err e;

	if (log_open(&options, &e) != 0)
		fail_msg("%s", e.text);
}

static char *content(const char *name)
{
	struct buf text = { 0 };
	FILE *file = fopen(name, "r");
	int c;

	if (file == NULL)
		return NULL;
	while ((c = fgetc(file)) != EOF)
		buf_append(&text, &(char){ (char)c }, 1);
	fclose(file);
	return buf_take_str(&text);
}

/* Without the time, which every line begins with. */
static void assert_content(const char *name, const char *expected)
{
	char *text = content(name);
	struct buf without = { 0 };

	assert_non_null(text);
	for (char *line = text; *line != '\0';) {
		size_t len = strcspn(line, "\n") + 1;

		assert_true(len > 25);
		assert_int_equal(line[10], 'T');
		assert_int_equal(line[23], 'Z');
		buf_append(&without, line + 24, len - 24);
		line += len;
	}
	assert_string_equal(buf_str(&without), expected);
	buf_release(&without);
	free(text);
}

static void lines_are_appended_to_the_file(void **state)
{
	(void)state;
	open_log((struct log_options){ .level = LOG_INFO, .file = path });
	log_info("one %d", 1);
	log_close();
	open_log((struct log_options){ .level = LOG_INFO, .file = path });
	log_warn("two");
	log_error("three");
	assert_content(path, "  INFO one 1\n  WARN two\n ERROR three\n");
}

static void levels_that_are_off_write_nothing(void **state)
{
	(void)state;
	open_log((struct log_options){ .level = LOG_WARN, .file = path });
	log_info("no");
	log_debug("no");
	log_warn("yes");
	log_set_level(LOG_DEBUG);
	log_debug("now");
	log_set_level(LOG_OFF);
	log_error("never");
	assert_false(log_is_on(LOG_ERROR));
	assert_content(path, "  WARN yes\n DEBUG now\n");
}

static void errors_go_to_their_own_file_only(void **state)
{
	(void)state;
	open_log((struct log_options){ .level = LOG_INFO, .file = path, .error_file = error_path });
	log_info("fine");
	log_error("bad");
	assert_content(path, "  INFO fine\n");
	assert_content(error_path, " ERROR bad\n");
}

static void a_line_stays_one_line_whatever_is_in_it(void **state)
{
	(void)state;
	open_log((struct log_options){ .level = LOG_INFO, .file = path });
	log_info("%s", "a\nb\x1b[31m\x7f\xff\xc3\xa4\xc2\x9b");
	assert_content(path, "  INFO a\\x0ab\\x1b[31m\\x7f\\xff\xc3\xa4\\xc2\\x9b\n");
}

static void json_lines_hold_the_same(void **state)
{
	struct json *j;
	struct err e;
	char *text;

	(void)state;
	open_log((struct log_options){ .level = LOG_INFO, .format = LOG_JSON, .file = path });
	log_info("%s", "say \"a\\b\"\n\xff\xc3\xa4\x7f");
	text = content(path);
	assert_int_equal(text[strlen(text) - 1], '\n');
	j = json_parse(bytes_str(text), JSON_STRICT, &e);
	assert_non_null(j);
	assert_int_equal(j->count, 4);
	assert_string_equal(json_string(json_at(j, "level")), "INFO");
	assert_string_equal(json_string(json_at(j, "target")), "tng");
	assert_string_equal(json_string(json_at(j, "fields/message")), "say \"a\\b\"\n\\xff\xc3\xa4\x7f");
	assert_int_equal(strlen(json_string(json_at(j, "timestamp"))), 24);
	json_free(j);
	free(text);
}

static void a_line_that_is_too_long_is_cut_and_marked(void **state)
{
	char message[3 * PIPE_BUF];
	static const enum log_format formats[] = { LOG_TEXT, LOG_JSON };

	(void)state;
	for (size_t i = 0; i < sizeof(message) - 1; i++)
		message[i] = i % 2 == 0 ? 'a' : '\x01';
	message[sizeof(message) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		char *text;

		open_log((struct log_options){ .level = LOG_INFO, .format = formats[i], .file = path });
		log_info("%s", message);
		text = content(path);
		assert_true(strlen(text) <= PIPE_BUF);
		assert_non_null(strstr(text, formats[i] == LOG_TEXT ? "...\n" : "...\"},\"target\":\"tng\"}\n"));
		free(text);
		unlink(path);
	}
}

static void a_file_that_is_full_becomes_a_backup(void **state)
{
	char name[160];

	(void)state;
	open_log((struct log_options){
		.level = LOG_INFO, .file = path, .rolling = true, .max_size = 100, .max_backups = 2 });
	for (int i = 0; i < 8; i++)
		log_info("line %d of ten", i); /* 44 bytes: two in a file */
	assert_content(path, "  INFO line 6 of ten\n  INFO line 7 of ten\n");
	snprintf(name, sizeof(name), "%s.1", path);
	assert_content(name, "  INFO line 4 of ten\n  INFO line 5 of ten\n");
	snprintf(name, sizeof(name), "%s.2", path);
	assert_content(name, "  INFO line 2 of ten\n  INFO line 3 of ten\n");
	snprintf(name, sizeof(name), "%s.3", path);
	assert_int_equal(access(name, F_OK), -1);
}

static void what_was_there_before_counts_towards_the_size(void **state)
{
	char name[160];

	(void)state;
	open_log((struct log_options){ .level = LOG_INFO, .file = path });
	log_info("first one here");
	log_close();
	open_log((struct log_options){
		.level = LOG_INFO, .file = path, .rolling = true, .max_size = 50, .max_backups = 0 });
	log_info("second");
	assert_content(path, "  INFO second\n"); /* no backups: it begins again */
	snprintf(name, sizeof(name), "%s.1", path);
	assert_int_equal(access(name, F_OK), -1);
}

static void a_file_that_cannot_be_opened_is_an_error_of_the_start(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(log_open(&(struct log_options){ .file = "/nonexistent/log" }, &e), -1);
	assert_string_equal(e.text, "open the log /nonexistent/log: No such file or directory");
	assert_int_equal(log_open(&(struct log_options){ .file = path, .error_file = dir }, &e), -1);
	assert_non_null(strstr(e.text, "Is a directory"));
}

static void a_device_that_is_full_loses_lines_and_nothing_else(void **state)
{
	(void)state;
	open_log((struct log_options){ .level = LOG_INFO, .file = "/dev/full" });
	for (int i = 0; i < 3; i++)
		log_info("gone");
}

/* The reader of a pipe that stops reading stops no worker, and learns what it has missed. */
static void a_stalled_reader_does_not_hold_the_writer_up(void **state)
{
	char fifo_line[] = "filling the pipe up to its brim, as often as it takes";
	char read_back[PIPE_BUF];
	char *last_words = NULL;
	int reader;
	int n;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	assert_true(reader >= 0);
	open_log((struct log_options){ .level = LOG_INFO, .file = path });
	for (int i = 0; i < 5000; i++) /* over 64 KiB */
		log_info("%s", fifo_line);
	while ((n = (int)read(reader, read_back, sizeof(read_back))) > 0)
		continue;
	log_info("back again");
	n = (int)read(reader, read_back, sizeof(read_back) - 1);
	assert_true(n > 0);
	read_back[n] = '\0';
	last_words = strstr(read_back, "WARN log: ");
	assert_non_null(last_words);
	assert_non_null(strstr(last_words, " lines were lost\n"));
	assert_non_null(strstr(last_words, "back again\n"));
	close(reader);
}

static void a_reader_that_has_gone_is_no_signal(void **state)
{
	int reader;

	(void)state;
	signal(SIGPIPE, SIG_IGN); /* as the program has it */
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	open_log((struct log_options){ .level = LOG_INFO, .file = path });
	close(reader);
	log_info("to nobody");
}

static void *write_many(void *name)
{
	for (int i = 0; i < 200; i++)
		log_info("%s %s %s", (char *)name, (char *)name, (char *)name);
	return NULL;
}

static void lines_of_many_threads_do_not_mix(void **state)
{
	static char names[4][40] = { "aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccc",
				     "dddddddddddddddddddd" };
	pthread_t threads[4];
	size_t lines = 0;
	char *text;

	(void)state;
	open_log((struct log_options){ .level = LOG_INFO, .file = path });
	for (size_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, write_many, names[i]);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	text = content(path);
	for (char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
		const char *message = line + 31;

		assert_int_equal(strcspn(line, "\n"), 31 + 62);
		assert_memory_equal(message, message + 21, 20);
		lines++;
	}
	assert_int_equal(lines, 800);
	free(text);
}

static void a_place_that_says_too_much_is_held_to_its_burst(void **state)
{
	struct log_limit limit = { 0 };
	unsigned skipped = 0;

	(void)state;
	assert_true(log_limit_pass(&limit, 2, 1000, &skipped));
	assert_true(log_limit_pass(&limit, 2, 1500, &skipped));
	assert_false(log_limit_pass(&limit, 2, 1999, &skipped));
	assert_false(log_limit_pass(&limit, 2, 1999, &skipped));
	assert_true(log_limit_pass(&limit, 2, 2000, &skipped));
	assert_int_equal(skipped, 2);
	assert_true(log_limit_pass(&limit, 2, 2001, &skipped));
	assert_int_equal(skipped, 0);
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIR(lines_are_appended_to_the_file),
		WITH_DIR(levels_that_are_off_write_nothing),
		WITH_DIR(errors_go_to_their_own_file_only),
		WITH_DIR(a_line_stays_one_line_whatever_is_in_it),
		WITH_DIR(json_lines_hold_the_same),
		WITH_DIR(a_line_that_is_too_long_is_cut_and_marked),
		WITH_DIR(a_file_that_is_full_becomes_a_backup),
		WITH_DIR(what_was_there_before_counts_towards_the_size),
		WITH_DIR(a_file_that_cannot_be_opened_is_an_error_of_the_start),
		WITH_DIR(a_device_that_is_full_loses_lines_and_nothing_else),
		WITH_DIR(a_stalled_reader_does_not_hold_the_writer_up),
		WITH_DIR(a_reader_that_has_gone_is_no_signal),
		WITH_DIR(lines_of_many_threads_do_not_mix),
		cmocka_unit_test(a_place_that_says_too_much_is_held_to_its_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
