/* SPDX-License-Identifier: Apache-2.0 */
/* First packets as the kernel shows them, each beside those that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture/syn.h"

/* 10.77.0.1:51234 -> 10.77.0.2:8080, SYN with an option, 24 bytes of TCP */
static const uint8_t v4[] = {
	0x45, 0x00, 0x00, 0x2c, 0x12, 0x34, 0x40, 0x00, 0x40, 0x06, 0x00, 0x00, 10, 77,	  0,
	1,    10,   77,	  0,	2,    0xc8, 0x22, 0x1f, 0x90, 1,    2,	  3,	4,  0,	  0,
	0,    0,    0x60, 0x02, 0xfa, 0xf0, 0,	  0,	0,    0,    2,	  4,	5,  0xb4,
};

/* [fd77::1]:51234 -> [fd77::2]:8080, behind hop-by-hop options and destination options */
static const uint8_t v6[] = {
	0x60, 0x00, 0x00, 0x00, 0x00, 0x24, 0x00, 0x40, 0xfd, 0x77, 0, 0,    0,	   0,	 0,    0, 0, 0, 0,
	0,    0,    0,	  0,	1,    0xfd, 0x77, 0,	0,    0,    0, 0,    0,	   0,	 0,    0, 0, 0, 0,
	0,    2,    60,	  0,	1,    4,    0,	  0,	0,    0,    6, 0,    1,	   4,	 0,    0, 0, 0, 0xc8,
	0x22, 0x1f, 0x90, 1,	2,    3,    4,	  0,	0,    0,    0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0,
};

static void assert_addr(const struct sock_addr *a, const char *expected)
{
	char text[SOCK_ADDR_TEXT];

	assert_string_equal(sock_addr_format(a, text), expected);
}

/* One that is refused leaves what was there. */
static enum syn_parse parse(struct bytes packet)
{
	struct syn before = { .client.any.sa_family = 77, .server.any.sa_family = 78 };
	struct syn syn = before;
	enum syn_parse result = syn_parse(packet, &syn);

	if (result != SYN_GOOD)
		assert_memory_equal(&syn, &before, sizeof(syn));
	return result;
}

struct change {
	size_t at;
	uint8_t value;
	enum syn_parse expected;
};

static void assert_changes(const uint8_t *packet, size_t len, const struct change *changes, size_t count)
{
	uint8_t copy[128];

	for (size_t i = 0; i < count; i++) {
		memcpy(copy, packet, len);
		copy[changes[i].at] = changes[i].value;
		if (parse(bytes_of(copy, len)) != changes[i].expected)
			fail_msg("byte %zu = 0x%02x: %s", changes[i].at, changes[i].value,
				 syn_parse_text(parse(bytes_of(copy, len))));
	}
}

static void a_packet_of_ipv4_tells_both_ends(void **state)
{
	struct syn syn;

	(void)state;
	assert_int_equal(syn_parse(bytes_of(v4, sizeof(v4)), &syn), SYN_GOOD);
	assert_addr(&syn.client, "10.77.0.1:51234");
	assert_addr(&syn.server, "10.77.0.2:8080");
}

static void a_packet_of_ipv6_tells_both_ends_behind_its_extensions(void **state)
{
	struct syn syn;

	(void)state;
	assert_int_equal(syn_parse(bytes_of(v6, sizeof(v6)), &syn), SYN_GOOD);
	assert_addr(&syn.client, "[fd77::1]:51234");
	assert_addr(&syn.server, "[fd77::2]:8080");
	assert_int_equal(syn.server.v6.sin6_scope_id, 0);
}

static void one_that_is_cut_short_is_refused_wherever_the_cut_is(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(v4); len++)
		assert_int_equal(parse(bytes_of(v4, len)), SYN_CUT);
	for (size_t len = 0; len < sizeof(v6); len++)
		assert_int_equal(parse(bytes_of(v6, len)), SYN_CUT);
}

static void what_is_behind_the_header_does_not_matter(void **state)
{
	uint8_t longer[sizeof(v4) + 5] = { 0 };

	(void)state;
	memcpy(longer, v4, sizeof(v4));
	assert_int_equal(parse(bytes_of(longer, sizeof(longer))), SYN_GOOD);
	longer[3] = 0x28; /* the packet says that it ends within the options of TCP */
	assert_int_equal(parse(bytes_of(longer, sizeof(longer))), SYN_CUT);
}

static void a_packet_of_ipv4_with_one_byte_off_is_refused(void **state)
{
	static const struct change changes[] = {
		{ 0, 0x55, SYN_NOT_IP },   /* version 5 */
		{ 0, 0x44, SYN_NOT_IP },   /* a header of 16 bytes */
		{ 0, 0x4f, SYN_NOT_IP },   /* of 60, beyond the packet's own length */
		{ 3, 0x13, SYN_NOT_IP },   /* 19 bytes in all */
		{ 3, 0x14, SYN_CUT },	   /* 20: none of TCP */
		{ 6, 0x20, SYN_FRAGMENT }, /* more fragments */
		{ 7, 0x01, SYN_FRAGMENT }, /* at an offset */
		{ 6, 0x1f, SYN_FRAGMENT }, { 9, 17, SYN_NOT_TCP },
		{ 32, 0x40, SYN_NOT_TCP },			      /* a header of TCP of 16 bytes */
		{ 32, 0x70, SYN_CUT },	   { 33, 0x12, SYN_NOT_SYN }, /* SYN and ACK */
		{ 33, 0x03, SYN_NOT_SYN }, { 33, 0x06, SYN_NOT_SYN },
		{ 33, 0x10, SYN_NOT_SYN }, { 33, 0x00, SYN_NOT_SYN },
		{ 33, 0xc2, SYN_GOOD }, /* with ECN */
		{ 6, 0x00, SYN_GOOD },	/* may be fragmented, but is not */
	};

	(void)state;
	assert_changes(v4, sizeof(v4), changes, ARRAY_SIZE(changes));
}

static void port_0_is_nobodys(void **state)
{
	uint8_t copy[sizeof(v4)];

	(void)state;
	for (size_t at = 20; at <= 22; at += 2) {
		memcpy(copy, v4, sizeof(v4));
		copy[at] = copy[at + 1] = 0;
		assert_int_equal(parse(bytes_of(copy, sizeof(copy))), SYN_NOT_SYN);
	}
}

static void a_packet_of_ipv6_with_one_byte_off_is_refused(void **state)
{
	static const struct change changes[] = {
		{ 0, 0x70, SYN_NOT_IP },  { 5, 0x23, SYN_CUT },	 /* one byte less than all headers */
		{ 6, 44, SYN_FRAGMENT },			 /* also one that says that it is the only one */
		{ 40, 44, SYN_FRAGMENT }, { 6, 43, SYN_ROUTED }, /* segments left */
		{ 6, 51, SYN_NOT_TCP },				 /* authenticated */
		{ 6, 50, SYN_NOT_TCP },	  { 6, 58, SYN_NOT_TCP },    { 40, 59, SYN_NOT_TCP }, /* no next header */
		{ 41, 1, SYN_CUT }, /* options of 16 bytes: TCP begins 8 bytes late, and ends behind the packet */
		{ 41, 255, SYN_CUT },	  { 69, 0x12, SYN_NOT_SYN },
	};

	(void)state;
	assert_changes(v6, sizeof(v6), changes, ARRAY_SIZE(changes));
}

static void a_route_that_was_gone_through_does_no_harm(void **state)
{
	uint8_t copy[sizeof(v6)];

	(void)state;
	memcpy(copy, v6, sizeof(v6));
	copy[6] = 43;
	copy[43] = 0; /* segments left */
	assert_int_equal(parse(bytes_of(copy, sizeof(copy))), SYN_GOOD);
}

static void only_so_many_extensions_are_stepped_over(void **state)
{
	uint8_t packet[40 + 8 * (SYN_EXTENSIONS_MAX + 1) + 20];

	(void)state;
	for (unsigned count = SYN_EXTENSIONS_MAX; count <= SYN_EXTENSIONS_MAX + 1; count++) {
		size_t len = 40 + 8 * count + 20;

		memcpy(packet, v6, 40);
		packet[5] = (uint8_t)(len - 40);
		packet[6] = 60;
		for (unsigned i = 0; i < count; i++)
			memcpy(packet + 40 + 8 * i, v6 + 40, 8);
		packet[40 + 8 * (count - 1)] = 6;
		memcpy(packet + len - 20, v6 + sizeof(v6) - 20, 20);
		assert_int_equal(parse(bytes_of(packet, len)), count == SYN_EXTENSIONS_MAX ? SYN_GOOD : SYN_NOT_TCP);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_of_ipv4_tells_both_ends),
		cmocka_unit_test(a_packet_of_ipv6_tells_both_ends_behind_its_extensions),
		cmocka_unit_test(one_that_is_cut_short_is_refused_wherever_the_cut_is),
		cmocka_unit_test(what_is_behind_the_header_does_not_matter),
		cmocka_unit_test(a_packet_of_ipv4_with_one_byte_off_is_refused),
		cmocka_unit_test(port_0_is_nobodys),
		cmocka_unit_test(a_packet_of_ipv6_with_one_byte_off_is_refused),
		cmocka_unit_test(a_route_that_was_gone_through_does_no_harm),
		cmocka_unit_test(only_so_many_extensions_are_stepped_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
