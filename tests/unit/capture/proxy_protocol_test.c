/* SPDX-License-Identifier: Apache-2.0 */
/* Headers as load balancers send them, each beside one that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture/proxy_protocol.h"

#define V2_BEGIN "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(literal) bytes_of(literal, sizeof(literal) - 1)

static enum proxy_parse parse(struct bytes in, struct proxy_header *h)
{
	struct err e = { 0 };
	enum proxy_parse result = proxy_protocol_parse(in, h, &e);

	assert_int_equal(result == PROXY_BROKEN, e.text[0] != '\0');
	return result;
}

static void assert_addr(const struct sock_addr *a, const char *expected)
{
	char text[SOCK_ADDR_TEXT];

	assert_string_equal(sock_addr_format(a, text), expected);
}

static void assert_all_prefixes_want_more(struct bytes header)
{
	struct proxy_header h;

	for (size_t len = 0; len < header.len; len++)
		assert_int_equal(parse(bytes_of(header.data, len), &h), PROXY_MORE);
}

static void a_line_tells_the_addresses_and_leaves_what_follows(void **state)
{
	struct bytes line = BYTES("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
	struct bytes more = BYTES("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET / HTTP/1.1\r\n");
	struct proxy_header h;

	(void)state;
	assert_all_prefixes_want_more(line);
	assert_int_equal(parse(more, &h), PROXY_HEADER);
	assert_int_equal(h.len, line.len);
	assert_true(h.has_addrs);
	assert_addr(&h.client, "192.0.2.1:56324");
	assert_addr(&h.server, "198.51.100.7:443");

	assert_int_equal(parse(BYTES("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"), &h), PROXY_HEADER);
	assert_addr(&h.client, "[2001:db8::1]:1");
	assert_addr(&h.server, "[::1]:65535");
}

static void unknown_has_no_addresses_whatever_it_says(void **state)
{
	struct proxy_header h;

	(void)state;
	assert_int_equal(parse(BYTES("PROXY UNKNOWN\r\n"), &h), PROXY_HEADER);
	assert_false(h.has_addrs);
	assert_int_equal(parse(BYTES("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), &h), PROXY_HEADER);
	assert_false(h.has_addrs);
}

static void a_line_that_is_not_exact_is_refused(void **state)
{
	static const char *const lines[] = {
		"PROXY TCP5 1.2.3.4 1.2.3.5 1 2\r\n",
		"PROXY tcp4 1.2.3.4 1.2.3.5 1 2\r\n",
		"PROXY TCP4 1.2.3 1.2.3.5 1 2\r\n",
		"PROXY TCP4 1.2.3.256 1.2.3.5 1 2\r\n",
		"PROXY TCP4 01.2.3.4 1.2.3.5 1 2\r\n",
		"PROXY TCP4 ::1 ::2 1 2\r\n",
		"PROXY TCP6 1.2.3.4 1.2.3.5 1 2\r\n",
		"PROXY TCP4 1.2.3.4 1.2.3.5 1\r\n",
		"PROXY TCP4 1.2.3.4 1.2.3.5 1 2 \r\n",
		"PROXY TCP4 1.2.3.4 1.2.3.5 1 2 3\r\n",
		"PROXY TCP4  1.2.3.4 1.2.3.5 1 2\r\n",
		"PROXY TCP4 1.2.3.4 1.2.3.5 65536 2\r\n",
		"PROXY TCP4 1.2.3.4 1.2.3.5 01 2\r\n",
		"PROXY TCP4 1.2.3.4 1.2.3.5 1 02\r\n",
		"PROXY TCP4 1.2.3.4 1.2.3.5 -1 2\r\n",
		"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\n\r\n",
		"PROXY \r\n",
		"PROXY TCP4\r\n",
		"PROXY UNKNOWNS\r\n",
		"PROXY TCP4 1.2.3.4 1.2.3.5 1 \r\n",
	};
	struct proxy_header h;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_int_equal(parse(bytes_str(lines[i]), &h), PROXY_BROKEN);
	assert_int_equal(parse(BYTES("PROXY TCP4 1.2.3.4\0 1.2.3.5 1 2\r\n"), &h), PROXY_BROKEN);
}

static void a_line_may_have_107_bytes_and_no_more(void **state)
{
	char line[PROXY_V1_MAX + 1];
	struct proxy_header h;

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "PROXY UNKNOWN ", 14);
	memcpy(line + PROXY_V1_MAX - 2, "\r\n", 2);
	assert_int_equal(parse(bytes_of(line, PROXY_V1_MAX - 1), &h), PROXY_MORE);
	assert_int_equal(parse(bytes_of(line, PROXY_V1_MAX), &h), PROXY_HEADER);
	assert_int_equal(h.len, PROXY_V1_MAX);

	memcpy(line + PROXY_V1_MAX - 2, "x\r\n", 3);
	assert_int_equal(parse(bytes_of(line, PROXY_V1_MAX), &h), PROXY_BROKEN);
	assert_int_equal(parse(bytes_of(line, sizeof(line)), &h), PROXY_BROKEN);
}

static void version_2_tells_the_addresses_and_skips_what_it_does_not_know(void **state)
{
	struct bytes v4 = BYTES(V2_BEGIN "\x21\x11\0\x11"
					 "\xc0\0\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"
					 "\x04\0\x02xx");
	struct bytes v6 = BYTES(V2_BEGIN "\x21\x21\0\x24"
					 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
					 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\xff\xff");
	struct proxy_header h;

	(void)state;
	assert_all_prefixes_want_more(v4);
	assert_int_equal(parse(v4, &h), PROXY_HEADER);
	assert_int_equal(h.len, v4.len);
	assert_addr(&h.client, "192.0.2.1:56324");
	assert_addr(&h.server, "198.51.100.7:443");

	assert_all_prefixes_want_more(v6);
	assert_int_equal(parse(v6, &h), PROXY_HEADER);
	assert_addr(&h.client, "[2001:db8::1]:1");
	assert_addr(&h.server, "[::1]:65535");
}

static void version_2_without_addresses_of_ours_keeps_those_of_the_connection(void **state)
{
	struct proxy_header h;

	(void)state;
	assert_int_equal(parse(BYTES(V2_BEGIN "\x20\x00\0\0"), &h), PROXY_HEADER);
	assert_false(h.has_addrs);
	assert_int_equal(parse(BYTES(V2_BEGIN "\x20\x11\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\2"), &h), PROXY_HEADER);
	assert_false(h.has_addrs);
	assert_int_equal(h.len, PROXY_V2_HEAD + 12);
	assert_int_equal(parse(BYTES(V2_BEGIN "\x21\x00\0\x01z"), &h), PROXY_HEADER);
	assert_false(h.has_addrs);
	assert_int_equal(parse(BYTES(V2_BEGIN "\x21\x31\0\x01z"), &h), PROXY_HEADER);
	assert_false(h.has_addrs);
}

static void version_2_that_is_not_exact_is_refused(void **state)
{
	struct proxy_header h;

	(void)state;
	assert_int_equal(parse(BYTES(V2_BEGIN "\x11\x11\0\x0c"), &h), PROXY_BROKEN);
	assert_int_equal(parse(BYTES(V2_BEGIN "\x22"), &h), PROXY_BROKEN);
	assert_int_equal(parse(BYTES(V2_BEGIN "\x21\x11\0\x0b\1\2\3\4\5\6\7\x08\0\1\0"), &h), PROXY_BROKEN);
	assert_int_equal(parse(BYTES(V2_BEGIN "\x21\x12\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\2"), &h), PROXY_BROKEN);
	assert_int_equal(parse(BYTES(V2_BEGIN "\x21\x41\0\0"), &h), PROXY_BROKEN);
	assert_int_equal(parse(BYTES(V2_BEGIN "\x21\x11\x08\x01"), &h), PROXY_BROKEN); /* 2049 */
	assert_int_equal(parse(BYTES(V2_BEGIN "\x21\x11\x08\x00"), &h), PROXY_MORE);
}

static void other_bytes_are_no_header(void **state)
{
	static const char *const others[] = { "GET / HTTP/1.1\r\n", "proxy TCP4", "P\r\n",
					      "PROXYTCP4",	    "\r\nQUIT",	  "\x16\x03\x01" };
	struct proxy_header h;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(parse(bytes_str(others[i]), &h), PROXY_NOT);
	assert_int_equal(parse(BYTES("\r\n\r\n\0\r\nQUIT\r"), &h), PROXY_NOT);
}

static void check_written(const char *client, const char *server, const char *v1)
{
	struct sock_addr from, to;
	uint8_t out[PROXY_WRITTEN_MAX];
	char text[SOCK_ADDR_TEXT];
	struct proxy_header h;
	size_t len;

	assert_true(sock_addr_parse(client, 65535, &from));
	assert_true(sock_addr_parse(server, 80, &to));
	len = proxy_protocol_format(PROXY_PROTOCOL_V1, &from, &to, out);
	assert_true(bytes_equal_str(bytes_of(out, len), v1));

	len = proxy_protocol_format(PROXY_PROTOCOL_V2, &from, &to, out);
	assert_int_equal(parse(bytes_of(out, len), &h), PROXY_HEADER);
	assert_int_equal(h.len, len);
	assert_int_equal(h.has_addrs, from.any.sa_family == to.any.sa_family);
	if (h.has_addrs) {
		assert_addr(&h.client, sock_addr_format(&from, text));
		assert_addr(&h.server, sock_addr_format(&to, text));
	}
}

static void what_is_written_can_be_read(void **state)
{
	(void)state;
	check_written("10.1.2.3", "10.9.8.7", "PROXY TCP4 10.1.2.3 10.9.8.7 65535 80\r\n");
	check_written("fd00::1", "fd00::2", "PROXY TCP6 fd00::1 fd00::2 65535 80\r\n");
	check_written("1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:9999",
		      "PROXY TCP6 1111:2222:3333:4444:5555:6666:7777:8888 1111:2222:3333:4444:5555:6666:7777:9999 "
		      "65535 80\r\n");
	check_written("10.1.2.3", "fd00::2", "PROXY UNKNOWN\r\n");
}

static void version_2_is_written_as_the_specification_says(void **state)
{
	struct bytes expected = BYTES(V2_BEGIN "\x21\x11\0\x0c\x0a\1\2\3\x0a\x09\x08\x07\xff\xff\0\x50");
	struct sock_addr from, to;
	uint8_t out[PROXY_WRITTEN_MAX];
	size_t len;

	(void)state;
	assert_true(sock_addr_parse("10.1.2.3", 65535, &from));
	assert_true(sock_addr_parse("10.9.8.7", 80, &to));
	len = proxy_protocol_format(PROXY_PROTOCOL_V2, &from, &to, out);
	assert_true(bytes_equal(bytes_of(out, len), expected));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_tells_the_addresses_and_leaves_what_follows),
		cmocka_unit_test(unknown_has_no_addresses_whatever_it_says),
		cmocka_unit_test(a_line_that_is_not_exact_is_refused),
		cmocka_unit_test(a_line_may_have_107_bytes_and_no_more),
		cmocka_unit_test(version_2_tells_the_addresses_and_skips_what_it_does_not_know),
		cmocka_unit_test(version_2_without_addresses_of_ours_keeps_those_of_the_connection),
		cmocka_unit_test(version_2_that_is_not_exact_is_refused),
		cmocka_unit_test(other_bytes_are_no_header),
		cmocka_unit_test(what_is_written_can_be_read),
		cmocka_unit_test(version_2_is_written_as_the_specification_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
