/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to listeners of the test on loopback, and names that every host knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/dial.h"
#include "io/worker.h"

struct fixture {
	struct worker worker;
	struct sock_options sock;
	struct dial_events events;
	int fd;
	struct sock_addr addr;
	bool failed;
	enum dial_failure failure;
	struct err why;
};

static void on_connected(struct dial_events *self, int fd, struct watch *watch, const struct sock_addr *addr)
{
	struct fixture *x = container_of(self, struct fixture, events);

	loop_unwatch(x->worker.loop, watch);
	x->fd = fd;
	x->addr = *addr;
	loop_stop(x->worker.loop);
}

static void on_failed(struct dial_events *self, enum dial_failure failure, const struct err *why)
{
	struct fixture *x = container_of(self, struct fixture, events);

	x->failed = true;
	x->failure = failure;
	x->why = *why;
	loop_stop(x->worker.loop);
}

static int set_up(void **state)
{
	struct fixture *x = mem_new_of(struct fixture);
	struct err e;

	x->fd = -1;
	x->worker.loop = loop_new(&e);
	x->worker.resolver = resolver_new(5);
	x->events.connected = on_connected;
	x->events.failed = on_failed;
	*state = x;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *x = *state;

	if (x->fd >= 0)
		close(x->fd);
	resolver_free(x->worker.resolver);
	loop_free(x->worker.loop);
	free(x);
	return 0;
}

static int listen_on(struct fixture *x, const char *host, uint16_t *port)
{
	struct sock_addr a;
	socklen_t len = sizeof(a);
	struct err e;
	int fd;

	assert_true(sock_addr_parse(host, 0, &a));
	fd = sock_listen(&a, &x->sock, &(struct sock_listen_options){ 0 }, &e);
	if (fd < 0)
		return -1;
	assert_int_equal(getsockname(fd, &a.any, &len), 0);
	*port = sock_addr_port(&a);
	return fd;
}

static struct dial *dial(struct fixture *x, const char *host, uint16_t port)
{
	return dial_start(&x->worker,
			  &(struct dial_options){ .to = endpoint_of(host, port),
						  .connect_ms = 2000,
						  .resolve_ms = 5000,
						  .sock = &x->sock },
			  &x->events);
}

static void a_listener_answers(void **state)
{
	struct fixture *x = *state;
	uint16_t port;
	int fd = listen_on(x, "127.0.0.1", &port);

	dial(x, "127.0.0.1", port);
	loop_run(x->worker.loop);
	assert_true(x->fd >= 0);
	assert_int_equal(sock_addr_port(&x->addr), port);
	close(fd);
}

static void nobody_listens(void **state)
{
	struct fixture *x = *state;
	uint16_t port;

	close(listen_on(x, "127.0.0.1", &port));
	dial(x, "127.0.0.1", port);
	assert_false(x->failed);
	loop_run(x->worker.loop);
	assert_true(x->failed);
	assert_int_equal(x->failure, DIAL_REFUSED);
	assert_non_null(strstr(x->why.text, "127.0.0.1"));
}

static void localhost_is_reached_whatever_family_listens(void **state)
{
	struct fixture *x = *state;
	uint16_t port;
	int fd = listen_on(x, "127.0.0.1", &port);

	dial(x, "localhost", port);
	loop_run(x->worker.loop);
	assert_true(x->fd >= 0);
	close(fd);
}

static void a_name_that_does_not_exist_is_told_as_such(void **state)
{
	struct fixture *x = *state;

	dial(x, "no.such.host.invalid", 80);
	loop_run(x->worker.loop);
	assert_true(x->failed);
	assert_int_equal(x->failure, DIAL_RESOLVE);
	assert_non_null(strstr(x->why.text, "no.such.host.invalid"));
}

static void a_cancelled_dial_says_nothing_more(void **state)
{
	struct fixture *x = *state;
	uint16_t port;
	int fd = listen_on(x, "127.0.0.1", &port);

	dial_cancel(dial(x, "127.0.0.1", port));
	dial_cancel(dial(x, "localhost", port));
	dial(x, "127.0.0.1", port);
	loop_run(x->worker.loop);
	assert_true(x->fd >= 0);
	assert_false(x->failed);
	close(fd);
}

static void ipv6_literals_are_taken_with_and_without_brackets(void **state)
{
	struct sock_addr a;
	char text[SOCK_ADDR_TEXT];

	(void)state;
	assert_true(sock_addr_parse("[::1]", 443, &a));
	assert_string_equal(sock_addr_format(&a, text), "[::1]:443");
	assert_true(sock_addr_is_loopback(&a));
	assert_true(sock_addr_parse("2001:db8::7", 1, &a));
	assert_false(sock_addr_is_loopback(&a));
	assert_false(sock_addr_parse("[127.0.0.1]", 1, &a));
	assert_false(sock_addr_parse("127.1", 1, &a));
	assert_false(sock_addr_parse("", 1, &a));
}

static void a_taken_port_is_an_error_that_names_it(void **state)
{
	struct fixture *x = *state;
	struct sock_addr a;
	uint16_t port;
	int fd = listen_on(x, "127.0.0.1", &port);
	struct err e;

	assert_true(sock_addr_parse("127.0.0.1", port, &a));
	assert_int_equal(sock_listen(&a, &x->sock, &(struct sock_listen_options){ 0 }, &e), -1);
	assert_non_null(strstr(e.text, "127.0.0.1:"));
	close(fd);
}

#define dial_test(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		dial_test(a_listener_answers),
		dial_test(nobody_listens),
		dial_test(localhost_is_reached_whatever_family_listens),
		dial_test(a_name_that_does_not_exist_is_told_as_such),
		dial_test(a_cancelled_dial_says_nothing_more),
		dial_test(ipv6_literals_are_taken_with_and_without_brackets),
		dial_test(a_taken_port_is_an_error_that_names_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
