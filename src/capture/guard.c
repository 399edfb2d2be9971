/* SPDX-License-Identifier: Apache-2.0 */
/* guard - the gateway's side. */
#include "capture/guard.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/cleanup.h"
#include "capture/guard_internal.h"
#include "capture/upstream.h"

/* Every tool that the guard runs has a time-out of its own; this is for a guard that hangs. */
#define ANSWER_MS 120000

struct guard {
	char *instance;
	pid_t pid; /* 0: reaped */
	int socket;
	bool stopped; /* has said farewell */
	bool drop_on_exit;
};

/* Takes caps. */
static bool has_right(cap_t caps, cap_value_t right)
{
	cap_flag_value_t value = CAP_CLEAR;

	if (caps != NULL)
		cap_get_flag(caps, right, CAP_EFFECTIVE, &value);
	cap_free(caps);
	return value == CAP_SET;
}

static int check_rights(struct err *e)
{
	if (has_right(cap_get_proc(), CAP_NET_ADMIN))
		return 0;
	return err_set(e, ERR_CONFIG,
		       "capture needs CAP_NET_ADMIN: start as root, with AmbientCapabilities= (systemd) or --cap-add "
		       "NET_ADMIN, in a "
		       "user namespace (unshare -Urn, pasta), or use mapping, or interception.backend none");
}

/* How it ended, for the log. */
static void reap(struct guard *g)
{
	int status = 0;
	pid_t rc;

	if (g->pid == 0)
		return;
	do {
		rc = waitpid(g->pid, &status, 0);
	} while (rc < 0 && errno == EINTR);
	if (rc > 0 && WIFSIGNALED(status))
		log_error("interception: the guard (process %d) was ended by signal %d", (int)g->pid, WTERMSIG(status));
	g->pid = 0;
}

static int lost(struct guard *g, struct err *e)
{
	return err_set(e, ERR_SYSTEM, "the guard of the rules (process %d) has gone", (int)g->pid);
}

static int wait_answer(struct guard *g, struct err *e)
{
	uint64_t deadline = clock_ms() + ANSWER_MS;
	struct guard_answer answer;

	for (;;) {
		struct pollfd p = { .fd = g->socket, .events = POLLIN };
		uint64_t now = clock_ms();
		ssize_t n;

		if (now >= deadline)
			return err_set(e, ERR_TIMEOUT, "the guard of the rules (process %d) does not answer",
				       (int)g->pid);
		if (poll(&p, 1, (int)(deadline - now)) <= 0)
			continue;
		n = recv(g->socket, &answer, sizeof(answer), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)sizeof(answer))
			return lost(g, e);
		if (answer.rc != 0)
			*e = answer.e;
		return answer.rc;
	}
}

static int ask(struct guard *g, enum guard_wish wish, struct err *e)
{
	uint8_t byte = (uint8_t)wish;

	if (send(g->socket, &byte, 1, MSG_NOSIGNAL) != 1)
		return lost(g, e);
	return wait_answer(g, e);
}

static struct guard *fork_guard(struct guard_child *child, int ours, struct err *e)
{
	struct guard *g = mem_new_of(struct guard);

	g->instance = mem_strdup(instance_name(child->instance));
	g->socket = ours;
	g->drop_on_exit = child->conf->drop_on_exit;
	child->gateway = getpid();
	g->pid = fork();
	if (g->pid == 0)
		_exit(guard_child_run(child));
	if (g->pid > 0)
		return g;
	err_errno(e, ERR_SYSTEM, "fork");
	free(g->instance);
	free(g);
	return NULL;
}

struct guard *guard_start(const struct interception_conf *conf, const struct ruleset *rules, struct err *e)
{
	struct guard_child child = { .conf = conf, .rules = rules };
	struct guard *g = NULL;
	int fds[2] = { -1, -1 };

	if (check_rights(e) != 0 || upstream_check(e) != 0)
		return NULL;
	child.instance = instance_open(conf->instance, e);
	if (child.instance == NULL)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
		err_errno(e, ERR_SYSTEM, "socketpair");
		goto out;
	}
	child.socket = fds[1];
	g = fork_guard(&child, fds[0], e);
	if (g == NULL) {
		close(fds[0]);
		goto out;
	}
	close(fds[1]);
	fds[1] = -1;
	if (wait_answer(g, e) != 0) {
		g->stopped = true; /* nothing has been changed */
		guard_free(g);
		g = NULL;
	}
out:
	if (fds[1] >= 0)
		close(fds[1]);
	instance_close(child.instance);
	return g;
}

int guard_apply(struct guard *g, struct err *e)
{
	return ask(g, GUARD_APPLY, e);
}

/* It has dropped what it does not need before its first answer. */
bool guard_needs_raw(const struct guard *g)
{
	return has_right(cap_get_pid(g->pid), CAP_NET_RAW);
}

int guard_descriptor(const struct guard *g)
{
	return g->socket;
}

int guard_stop(struct guard *g, struct err *e)
{
	int rc = ask(g, GUARD_STOP, e);

	if (rc == 0) {
		g->stopped = true;
		reap(g);
	}
	return rc;
}

void guard_refused(struct guard *g, unsigned ingress, const struct sock_addr *dst)
{
	struct guard_refusal r;

	memset(&r, 0, sizeof(r));
	r.wish = GUARD_REFUSED;
	r.ingress = ingress;
	r.dst = *dst;
	(void)!send(g->socket, &r, sizeof(r), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Its end of the socket pair is closed before it can be waited for. */
static bool has_gone(struct guard *g)
{
	char byte;

	return recv(g->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Somebody has killed it: what it would have taken away falls to us. */
static void clean_up_behind(struct guard *g)
{
	struct cleanup_options options = { .instance = g->instance };
	struct cleanup *c;
	struct err e;

	if (g->drop_on_exit) {
		log_warn("interception: the guard has gone; rules of instance \"%s\" that lead nowhere are left, and "
			 "block what was "
			 "captured (interception.on_exit)",
			 g->instance);
		return;
	}
	log_warn("interception: the guard has gone; removing what is left of instance \"%s\"", g->instance);
	c = cleanup_find(&options, &e);
	if (c == NULL || cleanup_run(c, &e) != 0)
		log_error("interception: %s; run tng cleanup-iptables", e.text);
	cleanup_free(c);
}

void guard_free(struct guard *g)
{
	if (g == NULL)
		return;
	if (g->stopped || has_gone(g))
		reap(g);
	if (!g->stopped && g->pid == 0)
		clean_up_behind(g);
	close(g->socket);
	free(g->instance);
	free(g);
}
