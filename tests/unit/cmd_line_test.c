/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd_line.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Words separated by blanks, "tng" before them; the words live until the next call. */
static int parse(const char *words, struct cmd_line *line, struct err *e)
{
	static char text[512];
	static char *argv[32];
	char *rest = text;
	int argc = 0;

	snprintf(text, sizeof(text), "tng %s", words);
	for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
		if (word[0] != '\0')
			argv[argc++] = word;
	}
	argv[argc] = NULL;
	return cmd_line_parse(argc, argv, line, e);
}

static struct cmd_line parse_good(const char *words)
{
	struct cmd_line line;
	struct err e;

	if (parse(words, &line, &e) != 0)
		fail_msg("%s: %s", words, e.text);
	return line;
}

static void launch_takes_a_file_or_the_text_itself(void **state)
{
	(void)state;
	assert_int_equal(parse_good("launch -c a").command, COMMAND_LAUNCH);
	assert_string_equal(parse_good("launch -c a").config_file, "a");
	assert_string_equal(parse_good("launch -ca").config_file, "a");
	assert_string_equal(parse_good("launch --config-file a").config_file, "a");
	assert_string_equal(parse_good("launch --config-file=a").config_file, "a");
	assert_string_equal(parse_good("launch --config-content={}").config_content, "{}");
	assert_int_equal(parse_good("check -c a").command, COMMAND_CHECK);
}

static void log_options_stand_before_or_after_the_command(void **state)
{
	struct cmd_line line = parse_good("--log-file l --log-rolling launch --log-format json -c a --log-max-size 1 "
					  "--log-max-backups=2 --log-error-file e");

	(void)state;
	assert_string_equal(line.log.file, "l");
	assert_true(line.log.rolling);
	assert_string_equal(line.log.format, "json");
	assert_string_equal(line.log.max_size, "1");
	assert_string_equal(line.log.max_backups, "2");
	assert_string_equal(line.log.error_file, "e");
	assert_string_equal(line.config_file, "a");
}

static void lab_gets_its_own_arguments(void **state)
{
	struct cmd_line line = parse_good("--log-file l lab --dir d ctl --help");

	(void)state;
	assert_int_equal(line.command, COMMAND_LAB);
	assert_int_equal(line.rest_count, 5);
	assert_string_equal(line.rest[0], "lab");
	assert_string_equal(line.rest[1], "--dir");
	assert_string_equal(line.rest[4], "--help");
	assert_string_equal(line.log.file, "l");
}

static void help_and_version_are_asked_for_in_several_ways(void **state)
{
	static const struct {
		const char *words;
		enum command command;
		const char *topic;
	} cases[] = {
		{ "--help", COMMAND_HELP, NULL },
		{ "-h", COMMAND_HELP, NULL },
		{ "help", COMMAND_HELP, NULL },
		{ "help launch", COMMAND_HELP, "launch" },
		{ "help help", COMMAND_HELP, NULL },
		{ "help lab", COMMAND_HELP, "lab" },
		{ "launch --help", COMMAND_HELP, "launch" },
		{ "launch -c a -h", COMMAND_HELP, "launch" },
		{ "check -h", COMMAND_HELP, "check" },
		{ "--version", COMMAND_VERSION, NULL },
		{ "-V", COMMAND_VERSION, NULL },
		{ "launch --version", COMMAND_VERSION, "launch" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cmd_line line = parse_good(cases[i].words);

		assert_int_equal(line.command, cases[i].command);
		if (cases[i].topic == NULL)
			assert_null(line.topic);
		else
			assert_string_equal(line.topic, cases[i].topic);
	}
}

static void a_wrong_command_line_is_told_what_is_wrong(void **state)
{
	static const struct {
		const char *words;
		const char *expected;
	} cases[] = {
		{ "", "no command" },
		{ "--log-rolling", "no command" },
		{ "lunch -c a", "unknown command \"lunch\", did you mean \"launch\"?" },
		{ "destroy", "unknown command \"destroy\"" },
		{ "exec -- x", "not supported yet: tng exec" },
		{ "tools", "not supported yet: tng tools" },
		{ "help exec", "not supported yet: tng exec" },
		{ "help x", "unknown command \"x\"" },
		{ "help launch check", "unexpected argument \"check\"" },
		{ "launch", "tng launch needs --config-file FILE or --config-content JSON" },
		{ "launch a", "unexpected argument \"a\"" },
		{ "launch -c a b", "unexpected argument \"b\"" },
		{ "launch -c a --config-content b", "write --config-file or --config-content, not both" },
		{ "launch -c a -c b", "--config-file is there twice" },
		{ "launch -c", "-c needs a value" },
		{ "launch --config-file", "--config-file needs a value" },
		{ "launch --tokio-console", "unknown option --tokio-console" },
		{ "launch -x", "unknown option -x" },
		{ "launch --log-rolling=1 -c a", "--log-rolling=1 takes no value" },
		{ "-c a launch", "-c belongs behind the command: tng launch -c FILE" },
		{ "--config-content {} launch",
		  "--config-content belongs behind the command: tng launch --config-content ..." },
		{ "--log-file a launch -c b --log-file c", "--log-file is there twice" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cmd_line line;
		struct err e = { 0 };

		if (parse(cases[i].words, &line, &e) == 0)
			fail_msg("accepted: %s", cases[i].words);
		assert_string_equal(e.text, cases[i].expected);
	}
}

static const char document[] =
	"{\"add_egress\":[{\"mapping\":{\"in\":{\"port\":1},\"out\":{\"host\":\"a\",\"port\":2}},\"no_ra\":true}]}";

static void a_configuration_is_loaded_from_a_file_or_from_the_line(void **state)
{
	char path[] = "/tmp/tng-cmd-line-test-XXXXXX";
	struct config_report report;
	struct cmd_line line = { .config_content = document };
	struct err e;
	struct config *c = cmd_line_load(&line, &report, &e);
	int fd = mkstemp(path);

	(void)state;
	assert_non_null(c);
	config_free(c);
	config_report_release(&report);
	assert_int_equal(write(fd, document, sizeof(document) - 1), sizeof(document) - 1);
	close(fd);
	line = (struct cmd_line){ .config_file = path };
	c = cmd_line_load(&line, &report, &e);
	unlink(path);
	assert_non_null(c);
	config_free(c);
	config_report_release(&report);
}

static void a_configuration_that_cannot_be_had_is_an_error(void **state)
{
	static const struct {
		struct cmd_line line;
		const char *expected;
	} cases[] = {
		{ { .config_file = "/nonexistent/a" }, "open /nonexistent/a: No such file or directory" },
		{ { .config_file = "/" }, "read /: Is a directory" },
		{ { .config_file = "/dev/zero" }, "/dev/zero is longer than 16 MiB" },
		{ { .config_content = "" }, "1 mistake in the configuration" },
		{ { .config_content = "{\"a\":1}" }, "2 mistakes in the configuration" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_report report;
		struct err e = { 0 };

		assert_null(cmd_line_load(&cases[i].line, &report, &e));
		assert_string_equal(e.text, cases[i].expected);
		config_report_release(&report);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(launch_takes_a_file_or_the_text_itself),
		cmocka_unit_test(log_options_stand_before_or_after_the_command),
		cmocka_unit_test(lab_gets_its_own_arguments),
		cmocka_unit_test(help_and_version_are_asked_for_in_several_ways),
		cmocka_unit_test(a_wrong_command_line_is_told_what_is_wrong),
		cmocka_unit_test(a_configuration_is_loaded_from_a_file_or_from_the_line),
		cmocka_unit_test(a_configuration_that_cannot_be_had_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
