/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd.h"
#include "cmd_line.h"

#define GOOD "{\"add_egress\":[{\"mapping\":{\"in\":{\"port\":1},\"out\":{\"host\":\"a\",\"port\":2}},\"no_ra\":true}]}"
#define BAD "{\"add_egress\":[{\"mapping\":{\"in\":{\"port\":0},\"out\":{\"host\":\"a\",\"port\":2}},\"no_ra\":1}]}"

struct outcome {
	int status;
	char *out;
	char *err;
};

static char *read_all(int fd)
{
	struct buf text = { 0 };
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	do {
		n = read(fd, buf_reserve(&text, 4096), 4096);
		text.len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	close(fd);
	return buf_take_str(&text);
}

static int scratch_file(void)
{
	char path[] = "/tmp/tng-cmd-check-test-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	return fd;
}

/* In a process of its own, for the sake of its standard output and error. */
static struct outcome check(const char *content)
{
	struct outcome o;
	int out = scratch_file();
	int err = scratch_file();
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		struct cmd_line line = { .command = COMMAND_CHECK, .config_content = content };
		int rc;

		dup2(out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		rc = cmd_check(&line);
		fflush(NULL);
		_exit(rc);
	}
	waitpid(child, &o.status, 0);
	o.status = WEXITSTATUS(o.status);
	o.out = read_all(out);
	o.err = read_all(err);
	return o;
}

static void release(struct outcome *o)
{
	free(o->out);
	free(o->err);
}

static void a_good_configuration_is_printed_in_full_with_its_warnings_aside(void **state)
{
	struct outcome o = check(GOOD);
	struct config_report report;
	struct config *c = config_load(bytes_str(o.out), "printed", &report);

	(void)state;
	assert_int_equal(o.status, 0);
	assert_non_null(c);
	assert_non_null(strstr(o.out, "\"drain_timeout\": 5,"));
	assert_memory_equal(o.err, "warning: --config-content:1:", 28);
	assert_non_null(strstr(o.err, "NO REMOTE ATTESTATION"));
	config_free(c);
	config_report_release(&report);
	release(&o);
}

static void every_mistake_of_a_bad_one_is_told_and_nothing_printed(void **state)
{
	struct outcome o = check(BAD);

	(void)state;
	assert_int_equal(o.status, 1);
	assert_string_equal(o.out, "");
	assert_string_equal(o.err,
			    "--config-content:1:41: add_egress[0].mapping.in.port: expected 1 to 65535, found 0\n"
			    "--config-content:1:81: add_egress[0].no_ra: expected true or false, found 1\n"
			    "tng check: 2 mistakes in the configuration\n");
	release(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_configuration_is_printed_in_full_with_its_warnings_aside),
		cmocka_unit_test(every_mistake_of_a_bad_one_is_told_and_nothing_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
