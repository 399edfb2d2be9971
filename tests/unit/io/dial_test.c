/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to listeners of the test on loopback, and names that every host knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
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
	bool was_watched;
	struct sock_addr addr;
	bool failed;
	enum dial_failure failure;
	struct err why;
};

static void on_connected(struct dial_events *self, int fd, struct watch *watch, const struct sock_addr *addr)
{
	struct fixture *x = container_of(self, struct fixture, events);

	x->was_watched = watch_is_active(watch);
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
	return dial_start(
		&x->worker,
		&(struct dial_options){
			.to = endpoint_of(host, port), .connect_ms = 2000, .resolve_ms = 5000, .sock = &x->sock },
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

/* A listener whose queue is full: the kernel drops what comes, until it is asked again a second later. */
struct busy {
	struct timer timer;
	int fd;
	int first; /* fills the queue */
};

static void on_time_to_accept(struct timer *t)
{
	struct busy *b = container_of(t, struct busy, timer);

	close(accept(b->fd, NULL, NULL));
}

static void be_busy(struct fixture *x, struct busy *b, uint16_t *port)
{
	struct sock_addr a;
	struct err e;

	b->fd = listen_on(x, "127.0.0.1", port);
	assert_int_equal(listen(b->fd, 0), 0);
	assert_true(sock_addr_parse("127.0.0.1", *port, &a));
	b->first = sock_connect(&a, NULL, &x->sock, &e);
	assert_true(sock_is_connected(b->first));
	timer_init(&b->timer, on_time_to_accept);
}

static void busy_end(struct fixture *x, struct busy *b)
{
	timer_cancel(x->worker.loop, &b->timer);
	close(b->first);
	close(b->fd);
}

static void a_listener_that_answers_late_is_waited_for(void **state)
{
	struct fixture *x = *state;
	struct busy b;
	uint16_t port;

	be_busy(x, &b, &port);
	timer_start(x->worker.loop, &b.timer, 50);
	dial(x, "127.0.0.1", port);
	loop_run(x->worker.loop);
	assert_true(x->fd >= 0);
	assert_true(x->was_watched);
	assert_true(sock_is_connected(x->fd));
	busy_end(x, &b);
}

static void a_listener_that_does_not_answer_in_time_is_given_up(void **state)
{
	struct fixture *x = *state;
	struct busy b;
	uint16_t port;

	be_busy(x, &b, &port);
	dial_start(
		&x->worker,
		&(struct dial_options){
			.to = endpoint_of("127.0.0.1", port), .connect_ms = 50, .resolve_ms = 5000, .sock = &x->sock },
		&x->events);
	loop_run(x->worker.loop);
	assert_true(x->failed);
	assert_int_equal(x->failure, DIAL_TIMEOUT);
	busy_end(x, &b);
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

static void a_dial_that_is_cancelled_when_the_kernel_has_connected_is_a_reset(void **state)
{
	struct fixture *x = *state;
	uint16_t port;
	int fd = listen_on(x, "127.0.0.1", &port);
	struct dial *d = dial(x, "127.0.0.1", port);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;
	int there;

	assert_int_equal(poll(&p, 1, 5000), 1);
	there = accept(fd, NULL, NULL);
	assert_true(there >= 0);
	dial_cancel(d);
	assert_int_equal(recv(there, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(there);
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

static struct dial *dial_from(struct fixture *x, const char *from, uint16_t from_port, const char *host, uint16_t port)
{
	struct dial_options options = {
		.to = endpoint_of(host, port), .connect_ms = 2000, .resolve_ms = 5000, .sock = &x->sock
	};

	assert_true(sock_addr_parse(from, from_port, &options.from));
	return dial_start(&x->worker, &options, &x->events);
}

static void skip_without_rights(void)
{
	struct err e;

	if (sock_probe_rights(&e) < 0)
		skip();
}

static void the_address_to_dial_from_shows(void **state)
{
	struct fixture *x = *state;
	struct sock_addr client = { 0 };
	socklen_t len = sizeof(client);
	uint16_t port;
	int fd = listen_on(x, "127.0.0.1", &port);

	skip_without_rights();
	dial_from(x, "127.0.0.5", 0, "127.0.0.1", port);
	loop_run(x->worker.loop);
	assert_true(x->fd >= 0);
	assert_int_equal(getsockname(x->fd, &client.any, &len), 0);
	assert_int_equal(client.v4.sin_addr.s_addr, htonl(0x7f000005));
	assert_int_not_equal(sock_addr_port(&client), 0);
	close(fd);
}

/* Its port as well, and the same one towards another destination; the same destination twice is one too many. */
static void the_port_to_dial_from_shows_and_can_be_taken(void **state)
{
	struct fixture *x = *state;
	struct sock_addr client = { 0 };
	socklen_t len = sizeof(client);
	uint16_t ports[2];
	int fds[2] = { listen_on(x, "127.0.0.1", &ports[0]), listen_on(x, "127.0.0.1", &ports[1]) };
	int first;

	skip_without_rights();
	dial_from(x, "127.0.0.5", 0, "127.0.0.1", ports[0]);
	loop_run(x->worker.loop);
	assert_true(x->fd >= 0);
	first = x->fd;
	assert_int_equal(getsockname(first, &client.any, &len), 0);
	sock_set_abort(first);
	close(first);

	x->fd = -1;
	dial_from(x, "127.0.0.5", sock_addr_port(&client), "127.0.0.1", ports[1]);
	loop_run(x->worker.loop);
	assert_true(x->fd >= 0);
	first = x->fd;
	x->fd = -1;
	dial_from(x, "127.0.0.5", sock_addr_port(&client), "127.0.0.1", ports[1]);
	loop_run(x->worker.loop);
	assert_true(x->failed);
	assert_int_equal(x->failure, DIAL_SOURCE);
	assert_non_null(strstr(x->why.text, "127.0.0.5"));
	close(first);
	close(fds[0]);
	close(fds[1]);
}

static void a_name_is_reached_in_the_family_to_dial_from_only(void **state)
{
	struct fixture *x = *state;
	uint16_t port;
	int fd = listen_on(x, "127.0.0.1", &port);

	skip_without_rights();
	dial_from(x, "127.0.0.5", 0, "localhost", port);
	loop_run(x->worker.loop);
	assert_true(x->fd >= 0);
	close(x->fd);
	x->fd = -1;

	dial_from(x, "::1", 0, "127.0.0.1", port);
	loop_run(x->worker.loop);
	assert_true(x->failed);
	assert_int_equal(x->failure, DIAL_RESOLVE);
	assert_non_null(strstr(x->why.text, "IPv6"));
	close(fd);
}

static int listen_again(struct fixture *x, uint16_t port, bool sole)
{
	struct sock_listen_options how = { .shared = true, .sole = sole };
	struct sock_addr a;
	struct err e;

	assert_true(sock_addr_parse("127.0.0.1", port, &a));
	return sock_listen(&a, &x->sock, &how, &e);
}

static void a_sole_listener_lets_ours_in_and_fails_where_somebody_is(void **state)
{
	struct fixture *x = *state;
	struct sock_addr a = { 0 };
	socklen_t len = sizeof(a);
	int first = listen_again(x, 0, true);
	int second;

	assert_true(first >= 0);
	assert_int_equal(getsockname(first, &a.any, &len), 0);
	second = listen_again(x, sock_addr_port(&a), false);
	assert_true(second >= 0);
	assert_int_equal(listen_again(x, sock_addr_port(&a), true), -1);
	close(first);
	close(second);
}

#define dial_test(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		dial_test(a_listener_answers),
		dial_test(nobody_listens),
		dial_test(a_listener_that_answers_late_is_waited_for),
		dial_test(a_listener_that_does_not_answer_in_time_is_given_up),
		dial_test(localhost_is_reached_whatever_family_listens),
		dial_test(a_name_that_does_not_exist_is_told_as_such),
		dial_test(a_cancelled_dial_says_nothing_more),
		dial_test(a_dial_that_is_cancelled_when_the_kernel_has_connected_is_a_reset),
		dial_test(ipv6_literals_are_taken_with_and_without_brackets),
		dial_test(a_taken_port_is_an_error_that_names_it),
		dial_test(the_address_to_dial_from_shows),
		dial_test(the_port_to_dial_from_shows_and_can_be_taken),
		dial_test(a_name_is_reached_in_the_family_to_dial_from_only),
		dial_test(a_sole_listener_lets_ours_in_and_fails_where_somebody_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
