/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of ports, and what /proc says about cgroups. */
#include "capture/sidecar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture/host.h"

static void port_lists_are_read_or_refused(void **state)
{
	static const struct {
		const char *text;
		bool good;
		size_t count;
	} cases[] = {
		{ "80", true, 1 },  { "80,443", true, 2 },  { ",80,,443,", true, 2 }, { "", true, 0 },
		{ "*", true, 0 },   { "65535", true, 1 },   { "65536", false, 0 },    { "0", false, 0 },
		{ "080", true, 1 }, { "000080", false, 0 }, { "80, 81", false, 0 },   { "*,80", false, 0 },
		{ "-1", false, 0 }, { "8x", false, 0 },	    { "80-90", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct port_list list = { 0 };
		struct err e;
		int rc = port_list_parse(cases[i].text, "--ports", true, &list, &e);

		if ((rc == 0) != cases[i].good || (rc == 0 && list.count != cases[i].count))
			fail_msg("%s", cases[i].text);
		port_list_release(&list);
	}
}

static void a_star_is_only_where_it_may_be(void **state)
{
	struct port_list list = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(port_list_parse("*", "--ports", true, &list, &e), 0);
	assert_true(list.all);
	assert_int_equal(port_list_parse("*", "--ports", false, &list, &e), -1);
	assert_string_equal(e.text, "--ports: expected ports from 1 to 65535, found \"*\"");
	port_list_release(&list);
}

static void port_lists_have_a_limit(void **state)
{
	struct buf text = { 0 };
	struct port_list list = { 0 };
	struct err e;

	(void)state;
	for (unsigned i = 1; i <= PORT_LIST_MAX; i++)
		buf_format(&text, "%u,", i);
	assert_int_equal(port_list_parse(buf_str(&text), "--ports", false, &list, &e), 0);
	assert_int_equal(list.count, PORT_LIST_MAX);
	buf_append_str(&text, "9");
	assert_int_equal(port_list_parse(buf_str(&text), "--ports", false, &list, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	port_list_release(&list);
	buf_release(&text);
}

#define OTHER "22 1 0:5 / /proc rw - proc proc rw\n"

static void cgroup2_is_found_wherever_it_is_mounted(void **state)
{
	static const struct {
		const char *mountinfo;
		const char *expected; /* NULL: refused */
	} cases[] = {
		{ OTHER "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n", "" },
		{ "30 22 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" OTHER, "unified/" },
		{ "30 22 0:26 / /mnt/x rw - cgroup2 none rw\n31 22 0:26 / /sys/fs/cgroup rw - cgroup2 none rw\n", "" },
		{ "30 22 0:26 / /mnt/x rw - cgroup2 none rw\n", NULL },
		{ "30 22 0:26 / /sys/fs/cgroup2 rw - cgroup2 none rw\n", NULL },
		{ "30 22 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw\n", NULL },
		{ "30 22 0:26 - cgroup2 none rw\n", NULL },
		{ " - cgroup2 ", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e;
		char *found = cgroup_mount_of(cases[i].mountinfo, &e);

		if ((found == NULL) != (cases[i].expected == NULL) ||
		    (found != NULL && strcmp(found, cases[i].expected) != 0))
			fail_msg("%s: %s", cases[i].mountinfo, found == NULL ? e.text : found);
		free(found);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(port_lists_are_read_or_refused),
		cmocka_unit_test(a_star_is_only_where_it_may_be),
		cmocka_unit_test(port_lists_have_a_limit),
		cmocka_unit_test(cgroup2_is_found_wherever_it_is_mounted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
