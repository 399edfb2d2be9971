/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "NAME=value" each; the last is NULL. */
static const char *const *environment;

static char *look_up(const char *name)
{
	size_t len = strlen(name);

	for (const char *const *v = environment; *v != NULL; v++) {
		if (strncmp(*v, name, len) == 0 && (*v)[len] == '=')
			return (char *)(uintptr_t)*v + len + 1;
	}
	return NULL;
}

static struct log_options resolve(struct log_request request, const char *const *variables, struct log_notes *notes)
{
	struct log_options options;
	struct err e;

	environment = variables;
	if (log_options_resolve(&request, look_up, &options, notes, &e) != 0)
		fail_msg("%s", e.text);
	return options;
}

#define ENV(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static void without_options_and_variables_there_are_defaults(void **state)
{
	struct log_notes notes;
	struct log_options o = resolve((struct log_request){ 0 }, ENV(), &notes);

	(void)state;
	assert_int_equal(o.level, LOG_INFO);
	assert_int_equal(o.format, LOG_TEXT);
	assert_null(o.file);
	assert_null(o.error_file);
	assert_false(o.rolling);
	assert_int_equal(o.max_size, 67108864);
	assert_int_equal(o.max_backups, 5);
	assert_int_equal(notes.count, 0);
}

static void options_are_taken(void **state)
{
	struct log_notes notes;
	struct log_options o = resolve(
		(struct log_request){ "/nonexistent/a", "json", "/nonexistent/b", true, "1KB", "0" }, ENV(), &notes);

	(void)state;
	assert_int_equal(o.format, LOG_JSON);
	assert_string_equal(o.file, "/nonexistent/a");
	assert_string_equal(o.error_file, "/nonexistent/b");
	assert_true(o.rolling);
	assert_int_equal(o.max_size, 1024);
	assert_int_equal(o.max_backups, 0);
	assert_int_equal(notes.count, 0);
}

static void variables_win_over_options(void **state)
{
	struct log_notes notes;
	struct log_options o =
		resolve((struct log_request){ "/nonexistent/a", "json", "/nonexistent/b", true, "1KB", "7" },
			ENV("TNG_LOG_FORMAT=TEXT", "TNG_LOG_ERROR_FILE=/nonexistent/c", "TNG_LOG_ROLLING=TRUE",
			    "TNG_LOG_MAX_SIZE=2KB", "TNG_LOG_MAX_BACKUPS=8"),
			&notes);

	(void)state;
	assert_int_equal(o.format, LOG_TEXT);
	assert_string_equal(o.error_file, "/nonexistent/c");
	assert_int_equal(o.max_size, 2048);
	assert_int_equal(o.max_backups, 8);
	assert_int_equal(notes.count, 0);
	o = resolve((struct log_request){ .file = "/nonexistent/a", .rolling = true }, ENV("TNG_LOG_ROLLING=0"),
		    &notes);
	assert_false(o.rolling);
	o = resolve((struct log_request){ .format = "json" }, ENV("TNG_LOG_FORMAT="), &notes);
	assert_int_equal(o.format, LOG_JSON); /* empty is unset */
}

static void the_level_is_found_among_directives(void **state)
{
	static const struct {
		const char *variable;
		enum log_level level;
		size_t notes;
	} cases[] = {
		{ "TNG_LOG=debug", LOG_DEBUG, 0 },
		{ "TNG_LOG=OFF", LOG_OFF, 0 },
		{ "TNG_LOG=Warn", LOG_WARN, 0 },
		{ "TNG_LOG=5", LOG_TRACE, 0 },
		{ "TNG_LOG=0", LOG_OFF, 0 },
		{ "TNG_LOG=tng=debug", LOG_DEBUG, 0 },
		{ "TNG_LOG=tng", LOG_TRACE, 0 },
		{ "TNG_LOG=warn,tng=trace", LOG_TRACE, 0 },
		{ "TNG_LOG=tng=error , trace", LOG_ERROR, 0 },
		{ "TNG_LOG=info,,", LOG_INFO, 0 },
		{ "RUST_LOG=trace", LOG_TRACE, 0 },
		{ "RUST_LOG=info,tokio_graceful=off,rats_cert=trace,tng=debug", LOG_DEBUG, 2 },
		{ "RUST_LOG=hyper=debug", LOG_INFO, 1 },
		{ "RUST_LOG=loud", LOG_INFO, 1 },
		{ "RUST_LOG=tng=loud", LOG_INFO, 1 },
		{ "RUST_LOG=tngx", LOG_INFO, 1 },
		{ "RUST_LOG=tng::tunnel=debug", LOG_INFO, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct log_notes notes;
		struct log_options o = resolve((struct log_request){ 0 }, ENV(cases[i].variable), &notes);

		if (o.level != cases[i].level || notes.count != cases[i].notes)
			fail_msg("%s: level %d, %zu notes", cases[i].variable, o.level, notes.count);
		log_notes_release(&notes);
	}
}

static void tng_log_wins_over_rust_log(void **state)
{
	struct log_notes notes;

	(void)state;
	assert_int_equal(resolve((struct log_request){ 0 }, ENV("RUST_LOG=trace", "TNG_LOG=error"), &notes).level,
			 LOG_ERROR);
	assert_int_equal(resolve((struct log_request){ 0 }, ENV("RUST_LOG=trace", "TNG_LOG="), &notes).level,
			 LOG_TRACE);
}

static void a_bad_option_is_an_error_and_a_bad_variable_a_note(void **state)
{
	struct log_options options;
	struct log_notes notes;
	struct err e;

	(void)state;
	environment = ENV();
	assert_int_equal(log_options_resolve(&(struct log_request){ .format = "xml" }, look_up, &options, &notes, &e),
			 -1);
	assert_string_equal(e.text, "--log-format: expected text or json, found \"xml\"");
	options = resolve((struct log_request){ 0 }, ENV("TNG_LOG_FORMAT=xml", "TNG_LOG_ROLLING=yes"), &notes);
	assert_int_equal(options.format, LOG_TEXT);
	assert_false(options.rolling);
	assert_int_equal(notes.count, 2);
	assert_string_equal(notes.items[0], "TNG_LOG_FORMAT: expected text or json, found \"xml\"; text is used");
	log_notes_release(&notes);
}

static void rolling_needs_a_file(void **state)
{
	static const struct {
		struct log_request request;
		bool rolling;
		const char *note;
	} cases[] = {
		{ { .rolling = true }, false, "--log-rolling has no effect without --log-file" },
		{ { .rolling = true, .file = "/dev/null" },
		  false,
		  "--log-rolling has no effect: /dev/null is not a file" },
		{ { .rolling = true, .file = "/nonexistent/a", .max_size = "lots" },
		  true,
		  "--log-max-size: expected a size such as 64MB, found \"lots\"; 64MB is used" },
		{ { .rolling = true, .file = "/nonexistent/a", .max_size = "0" },
		  true,
		  "--log-max-size: expected a size such as 64MB, found \"0\"; 64MB is used" },
		{ { .rolling = true, .file = "/nonexistent/a", .max_backups = "-1" },
		  true,
		  "--log-max-backups: expected 0 to 10000, found \"-1\"; 5 is used" },
		{ { .file = "/nonexistent/a", .max_size = "1MB" },
		  false,
		  "--log-max-size has no effect without --log-rolling" },
		{ { .file = "/nonexistent/a", .max_backups = "1" },
		  false,
		  "--log-max-backups has no effect without --log-rolling" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct log_notes notes;
		struct log_options o = resolve(cases[i].request, ENV(), &notes);

		assert_int_equal(o.rolling, cases[i].rolling);
		assert_int_equal(o.max_size, 67108864);
		assert_int_equal(o.max_backups, 5);
		assert_int_equal(notes.count, 1);
		assert_string_equal(notes.items[0], cases[i].note);
		log_notes_release(&notes);
	}
}

static void notes_have_an_end(void **state)
{
	struct log_notes notes;

	(void)state;
	resolve((struct log_request){ 0 }, ENV("RUST_LOG=a=1,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z"),
		&notes);
	assert_int_equal(notes.count, ARRAY_SIZE(notes.items));
	assert_string_equal(notes.items[notes.count - 1], "further directives are ignored too");
	log_notes_release(&notes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_options_and_variables_there_are_defaults),
		cmocka_unit_test(options_are_taken),
		cmocka_unit_test(variables_win_over_options),
		cmocka_unit_test(the_level_is_found_among_directives),
		cmocka_unit_test(tng_log_wins_over_rust_log),
		cmocka_unit_test(a_bad_option_is_an_error_and_a_bad_variable_a_note),
		cmocka_unit_test(rolling_needs_a_file),
		cmocka_unit_test(notes_have_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
