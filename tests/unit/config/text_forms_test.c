/* SPDX-License-Identifier: Apache-2.0 */
#include "config/text_forms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

struct form_case {
	const char *text;
	const char *becomes; /* NULL: refused */
};

static void assert_form(const char *(*check)(char *), const struct form_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *text = mem_strdup(cases[i].text);
		const char *wrong = check(text);

		if ((wrong == NULL) != (cases[i].becomes != NULL))
			fail_msg("%s: %s", cases[i].text, wrong == NULL ? "accepted" : wrong);
		if (wrong == NULL)
			assert_string_equal(text, cases[i].becomes);
		free(text);
	}
}

static void hosts_are_addresses_or_names(void **state)
{
	static const struct form_case cases[] = {
		{ "127.0.0.1", "127.0.0.1" },
		{ "::1", "::1" },
		{ "[::1]", "::1" },
		{ "fe80::1%eth0", "fe80::1%eth0" },
		{ "localhost", "localhost" },
		{ "a-b.C_d.example.", "a-b.C_d.example." },
		{ "1.example", "1.example" },
		{ "", NULL },
		{ ".", NULL },
		{ "a..b", NULL },
		{ ".a", NULL },
		{ "-a", NULL },
		{ "a-", NULL },
		{ "a b", NULL },
		{ "a:1", NULL },
		{ "127.1", NULL },
		{ "256.0.0.1", NULL },
		{ "010.0.0.1", NULL },
		{ "1", NULL },
		{ "[127.0.0.1]", NULL },
		{ "[::1", NULL },
		{ "[", NULL },
		{ "[]", NULL },
		{ "::1%", NULL },
		{ "::1%aninterfacename16", NULL },
		{ "http://a", NULL },
		{ "\xc3\xa4.example", NULL },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b", NULL }, /* 64 letters */
	};

	(void)state;
	assert_form(check_host, cases, ARRAY_SIZE(cases));
}

static void a_name_of_253_bytes_is_the_longest(void **state)
{
	char name[256];

	(void)state;
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 2 == 0 ? 'a' : '.';
	name[253] = '\0';
	assert_null(check_host(name));
	name[253] = '.';
	name[254] = 'a';
	name[255] = '\0';
	assert_non_null(check_host(name));
}

static void urls_have_a_scheme_and_a_host(void **state)
{
	static const struct form_case cases[] = {
		{ "http://127.0.0.1:8080/", "http://127.0.0.1:8080" },
		{ "HTTPS://a.example", "HTTPS://a.example" },
		{ "http://[::1]:80/x/y//", "http://[::1]:80/x/y" },
		{ "http://a/b@c", "http://a/b@c" },
		{ "http://", NULL },
		{ "http:///", NULL },
		{ "http://:80", NULL },
		{ "http://a:", NULL },
		{ "http://a:0", NULL },
		{ "http://a:65536", NULL },
		{ "http://a:80x", NULL },
		{ "http://::1", NULL },
		{ "http://[::1", NULL },
		{ "http://[::1]x", NULL },
		{ "http://a b", NULL },
		{ "http://a/b c", NULL },
		{ "http://a/\x7f", NULL },
		{ "http://a?b", NULL },
		{ "http://a/#b", NULL },
		{ "http://u@a", NULL },
		{ "localhost:8081", NULL },
		{ "ftp://a", NULL },
		{ "//a", NULL },
		{ "", NULL },
	};

	(void)state;
	assert_form(check_url, cases, ARRAY_SIZE(cases));
}

static void what_may_be_a_password_is_blotted_out(void **state)
{
	char text[] = "http://user:secret@a/b";
	char bad[] = "htp://user:secret@a";
	char bare[] = "user:secret@a";

	(void)state;
	assert_non_null(check_url(text));
	assert_string_equal(text, "http://***********@a/b");
	assert_non_null(check_url(bad));
	assert_string_equal(bad, "htp://***********@a");
	assert_non_null(check_url(bare));
	assert_string_equal(bare, "***********@a");
}

static void socket_addresses_are_absolute_and_fit(void **state)
{
	char longest[8 + 107];
	static const struct form_case cases[] = {
		{ "unix:///a", "unix:///a" }, { "unix:///", NULL }, { "unix://a", NULL },
		{ "unix:/a", NULL },	      { "/a", NULL },	    { "", NULL },
	};
	char too_long[8 + 108];

	(void)state;
	assert_form(check_unix_address, cases, ARRAY_SIZE(cases));
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "unix:///", 8);
	longest[sizeof(longest) - 1] = '\0';
	assert_null(check_unix_address(longest)); /* a path of 107 bytes */
	memset(too_long, 'a', sizeof(too_long));
	memcpy(too_long, "unix:///", 8);
	too_long[sizeof(too_long) - 1] = '\0';
	assert_non_null(check_unix_address(too_long));
}

static void networks_end_at_their_prefix(void **state)
{
	static const struct form_case cases[] = {
		{ "10.0.0.0/8", "10.0.0.0/8" },
		{ "10.0.0.1", "10.0.0.1" },
		{ "10.0.0.1/32", "10.0.0.1/32" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "fd00::/8", "fd00::/8" },
		{ "::1/128", "::1/128" },
		{ "10.0.0.1/31", NULL },
		{ "128.0.0.0/0", NULL },
		{ "10.0.0.0/33", NULL },
		{ "::/129", NULL },
		{ "10.0.0.0/", NULL },
		{ "10.0.0.0/08x", NULL },
		{ "10.0.0.0/-1", NULL },
		{ "a/8", NULL },
		{ "", NULL },
	};

	(void)state;
	assert_form(check_cidr, cases, ARRAY_SIZE(cases));
}

static void domain_patterns_have_their_star_at_an_end(void **state)
{
	static const struct form_case cases[] = {
		{ "*", "*" }, { "*.a", "*.a" }, { "a.*", "a.*" }, { "a", "a" },
		{ "", NULL }, { "a*b", NULL },	{ "*a*", NULL },  { "**", NULL },
	};

	(void)state;
	assert_form(check_domain_pattern, cases, ARRAY_SIZE(cases));
}

static void peers_have_a_port(void **state)
{
	static const struct form_case cases[] = {
		{ "a:1", "a:1" },	  { "10.0.0.1:8301", "10.0.0.1:8301" },
		{ "[::1]:5", "[::1]:5" }, { "a", NULL },
		{ "a:", NULL },		  { "a:x", NULL },
		{ ":1", NULL },		  { "::1:5", NULL },
		{ "a:70000", NULL },
	};

	(void)state;
	assert_form(check_host_port, cases, ARRAY_SIZE(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_are_addresses_or_names),
		cmocka_unit_test(a_name_of_253_bytes_is_the_longest),
		cmocka_unit_test(urls_have_a_scheme_and_a_host),
		cmocka_unit_test(what_may_be_a_password_is_blotted_out),
		cmocka_unit_test(socket_addresses_are_absolute_and_fit),
		cmocka_unit_test(networks_end_at_their_prefix),
		cmocka_unit_test(domain_patterns_have_their_star_at_an_end),
		cmocka_unit_test(peers_have_a_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
