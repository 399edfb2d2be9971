/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard_child - the process that holds the rules.
 *
 *   READY --apply--> STANDING --stop--> rules removed (or blocked, with on_exit "drop") --> end
 *                        |
 *                        +---the gateway has gone---> BLOCKED --a moment later--> rules removed --> end
 *
 * It has no loop but this: wait for a wish or for the end of the gateway, and see to it that the rules stand. The
 * gateway has ended when the socket pair has, and its sockets are closed when its pidfd says so: then every application
 * that was connected has had its reset (SO_LINGER), and what it sends all the same meets the block, which stands for as
 * long as a lost reset takes to be repeated.
 *
 * The journal is ahead of the kernel: written before a change, removed behind the last one.
 */
#include "capture/guard_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/apply.h"
#include "capture/capabilities.h"
#include "capture/route.h"
#include "capture/source_check.h"
#include "capture/upkeep.h"

/* A process that has been killed closes its sockets at once; one that dumps core later. */
#define SOCKETS_CLOSE_MS 1000
#define BLOCK_MS 1000	  /* the first retransmissions of TCP are after 0.2, 0.4 and 0.8 s */
#define LOCAL_BLOCK_MS 50 /* nobody is far away */
#define REMOVE_TRIES 3
#define REFUSALS_AT_ONCE 64

struct holder {
	const struct guard_child *c;
	struct applier *applier;
	struct upkeep *upkeep;
	int gateway;  /* pidfd; -1: the kernel has none */
	bool touched; /* something of ours may be in the kernel */
	struct buf refusals;
	unsigned refusal_count;
	bool src_valid_mark; /* has been switched off by us, or by the run whose journal we replay */
};

/* ---- becoming a process of its own ---- */

static void ignore_signals(void)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM };
	sigset_t none;

	/* Who stops a service signals all of its processes: the gateway is the one to tell us when. */
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* All but ours and standard error. A listener held by us would be open after the gateway's end. */
static void close_others(const struct guard_child *c)
{
	int keep[INSTANCE_DESCRIPTORS + 1];
	size_t count = instance_descriptors(c->instance, keep);
	unsigned from = STDERR_FILENO + 1;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	keep[count++] = c->socket;
	qsort(keep, count, sizeof(keep[0]), compare);
	for (size_t i = 0; i < count; i++) {
		if ((unsigned)keep[i] > from)
			syscall(SYS_close_range, from, (unsigned)keep[i] - 1, 0);
		from = (unsigned)keep[i] + 1;
	}
	syscall(SYS_close_range, from, ~0u, 0);
}

static void leave_gateway(const struct guard_child *c)
{
	log_close(); /* its descriptors go; from here on to standard error */
	ignore_signals();
	setsid();
	prctl(PR_SET_NAME, "tng-guard");
	close_others(c);
	(void)!chdir("/");
}

/* The tools that we run get no more than we keep. */
static void drop_rights(bool need_raw)
{
	const cap_value_t keep[] = { CAP_NET_ADMIN, CAP_NET_RAW };
	int count = need_raw ? 2 : 1;
	struct err e;

	if (capabilities_keep(keep, count, count, &e) != 0)
		log_warn("guard: %s", e.text);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* ---- the journal ---- */

static bool has_route(const struct policy_route *routes, size_t count, const struct policy_route *r)
{
	for (size_t i = 0; i < count; i++) {
		if (route_is_same(&routes[i], r))
			return true;
	}
	return false;
}

/* Ours, and those of an earlier run (or NULL) as long as they are there. */
static int write_journal(struct holder *h, const struct journal *old, bool blocked, struct err *e)
{
	size_t count;
	const struct policy_route *routes = rules_routes(h->c->rules, &count);
	struct journal j = {
		.instance = h->c->conf->instance,
		.netns = journal_netns(),
		.boot = journal_boot(),
		.backend = applier_backend(h->applier),
		.blocked = blocked,
		.src_valid_mark = h->src_valid_mark,
		.gateway = { .pid = h->c->gateway },
		.guard = { .pid = getpid() },
	};
	int rc;

	(void)journal_owner_of(h->c->gateway, &j.gateway);
	(void)journal_owner_of(getpid(), &j.guard);
	j.routes = mem_new_array(count + (old != NULL ? old->route_count : 0) + 1, sizeof(*j.routes));
	for (size_t i = 0; i < count; i++)
		j.routes[j.route_count++] = routes[i];
	for (size_t i = 0; old != NULL && i < old->route_count; i++) {
		if (!has_route(routes, count, &old->routes[i]))
			j.routes[j.route_count++] = old->routes[i];
	}
	rc = instance_journal_write(h->c->instance, &j, e);
	free(j.routes);
	free(j.boot);
	return rc;
}

/* ---- the wishes ---- */

static int remove_old_routes(struct holder *h, const struct journal *old, struct err *e)
{
	size_t count;
	const struct policy_route *routes = rules_routes(h->c->rules, &count);

	for (size_t i = 0; i < old->route_count; i++) {
		if (!has_route(routes, count, &old->routes[i]) && route_remove(&old->routes[i], 1, e) != 0)
			return -1;
	}
	return 0;
}

/* Packets of others, marked, must pass the check of their source. */
static int relax_source_check(struct holder *h, struct err *e)
{
	if (!rules_take_forwarded(h->c->rules) || !source_check_uses_marks())
		return 0;
	if (source_check_set(false, e) != 0)
		return -1;
	log_info("guard: net.ipv4.conf.all.src_valid_mark is 0 as long as forwarded traffic is captured");
	return 0;
}

static int restore_source_check(struct holder *h, struct err *e)
{
	if (h->src_valid_mark && source_check_set(true, e) != 0)
		return -1;
	h->src_valid_mark = false;
	return 0;
}

/* The new rules stand before the old ones go, whatever those were. */
static int replace(struct holder *h, const struct journal *old, struct err *e)
{
	enum journal_backend had = old != NULL ? old->backend : applier_backend(h->applier);

	if (rules_take_forwarded(h->c->rules) && source_check_uses_marks())
		h->src_valid_mark = true;
	if (write_journal(h, old, false, e) != 0)
		return -1;
	h->touched = true;
	if (relax_source_check(h, e) != 0)
		return -1;
	if (applier_apply(h->applier, h->c->rules, e) != 0)
		return -1;
	if (applier_remove_leftovers(h->applier, had, e) != 0)
		return -1;
	if (!rules_take_forwarded(h->c->rules) && restore_source_check(h, e) != 0)
		return -1;
	if (old == NULL)
		return 0;
	return remove_old_routes(h, old, e) == 0 ? write_journal(h, NULL, false, e) : -1;
}

static int end_with_block(struct holder *h, struct err *e)
{
	if (applier_block(h->applier, h->c->rules, true, e) != 0 || restore_source_check(h, e) != 0)
		return -1;
	if (write_journal(h, NULL, true, e) != 0)
		return -1;
	log_info("guard: what was captured is blocked from now on (interception.on_exit)");
	return 0;
}

static int end_with_nothing(struct holder *h, struct err *e)
{
	if (applier_remove(h->applier, h->c->rules, e) != 0 || restore_source_check(h, e) != 0)
		return -1;
	return instance_journal_remove(h->c->instance, e);
}

static int take_back(struct holder *h, bool block, struct err *e)
{
	int rc = 0;

	if (h->touched)
		rc = block ? end_with_block(h, e) : end_with_nothing(h, e);
	if (rc == 0)
		h->touched = false;
	return rc;
}

static const struct policy_route *find_mark(const struct policy_route *routes, size_t count, const struct journal *j)
{
	for (size_t i = 0; i < j->route_count; i++) {
		for (size_t k = 0; k < count; k++) {
			if (routes[k].mark == j->routes[i].mark)
				return &routes[k];
		}
	}
	return NULL;
}

/*
 * A mark is what tells in prerouting whose listener a packet is for: with the same one, an instance would take what
 * another has marked, and route it into its own tunnel.
 */
static int check_marks(struct holder *h, struct err *e)
{
	struct instance_list list;
	size_t count;
	const struct policy_route *routes = rules_routes(h->c->rules, &count);
	int rc = 0;

	instance_find(&list);
	for (size_t i = 0; i < list.count && rc == 0; i++) {
		const struct instance_seen *s = &list.items[i];
		const struct policy_route *same = find_mark(routes, count, &s->journal);

		if (same != NULL && s->lives && strcmp(s->name, h->c->conf->instance) != 0)
			rc = err_set(e, ERR_CONFIG,
				     "instance \"%s\" (process %d) uses mark %u already, as its name leads to the same "
				     "numbers: give this "
				     "one another name",
				     s->name, (int)s->pid, same->mark);
	}
	instance_list_release(&list);
	return rc;
}

/*
 * All or nothing. When this start fails, the block of an earlier run comes back; with on_exit "drop" that may as well
 * be rules that lead nowhere, of a run whose end nobody could write down.
 */
static int apply(struct holder *h, struct err *e)
{
	struct journal old;
	struct err undo;
	int had = instance_journal_read(h->c->instance, &old, e);
	int rc;

	if (had < 0)
		return -1;
	if (check_marks(h, e) != 0) {
		journal_release(&old);
		return -1;
	}
	if (had == 1)
		log_info("guard: replaying the journal of process %d, which ended without clearing up",
			 (int)old.gateway.pid);
	h->src_valid_mark = had == 1 && old.src_valid_mark;
	rc = replace(h, had == 1 ? &old : NULL, e);
	if (rc != 0 && take_back(h, h->c->conf->drop_on_exit || (had == 1 && old.blocked), &undo) != 0)
		log_error("guard: %s; run tng cleanup-iptables", undo.text);
	journal_release(&old);
	if (rc == 0)
		log_info("guard: the rules of instance \"%s\" stand (%s)", h->c->conf->instance,
			 applier_name(h->applier));
	return rc;
}

/* ---- the gateway's death ---- */

static void wait_closed(struct holder *h)
{
	struct pollfd p = { .fd = h->gateway, .events = POLLIN };

	if (h->gateway >= 0 && poll(&p, 1, SOCKETS_CLOSE_MS) == 0)
		log_warn("guard: process %d has let go of the rules, but still runs", (int)h->c->gateway);
}

static int on_death(struct holder *h)
{
	struct err e;
	int rc = -1;

	if (!h->touched)
		return 0;
	log_warn("guard: the gateway (process %d) has ended without a farewell: blocking what was captured",
		 (int)h->c->gateway);
	wait_closed(h);
	if (!h->c->conf->drop_on_exit) {
		/* Without the block the rules still lead to closed sockets: nothing gets through either. */
		if (applier_block(h->applier, h->c->rules, false, &e) != 0)
			log_warn("guard: %s", e.text);
		poll(NULL, 0, BLOCK_MS);
	}
	for (unsigned i = 0; i < REMOVE_TRIES && rc != 0; i++)
		rc = take_back(h, h->c->conf->drop_on_exit, &e);
	if (rc != 0)
		log_error("guard: %s; run tng cleanup-iptables", e.text);
	else if (!h->c->conf->drop_on_exit)
		log_warn("guard: the rules of instance \"%s\" are gone: what was captured flows in clear from now on",
			 h->c->conf->instance);
	return rc == 0 ? 0 : 1;
}

/* ---- the farewell ---- */

/*
 * A connection that was captured a moment ago may have its handshake behind it here and not there, or wait to be
 * accepted and reset: what its application writes then must not find the rules gone.
 */
static void let_handshakes_end(struct holder *h)
{
	struct err e;

	if (!h->touched || h->c->conf->drop_on_exit)
		return;
	if (applier_block(h->applier, h->c->rules, false, &e) != 0)
		log_warn("guard: %s", e.text);
	else
		poll(NULL, 0, rules_take_forwarded(h->c->rules) ? BLOCK_MS : LOCAL_BLOCK_MS);
}

/* ---- the life ---- */

static void answer(struct holder *h, int rc, const struct err *e)
{
	struct guard_answer a = { .rc = rc };

	if (rc != 0)
		a.e = *e;
	/* When the gateway has gone meanwhile, the next recv() tells. */
	(void)!send(h->c->socket, &a, sizeof(a), MSG_NOSIGNAL);
}

/*
 * Refusals that are waiting go into one transaction. A set that is full takes no more: they are a help, not a promise.
 */
static void load_refusals(struct holder *h)
{
	struct err e;

	if (h->touched && applier_load(h->applier, &h->refusals, &e) != 0)
		log_debug("guard: %s", e.text);
	buf_clear(&h->refusals);
	h->refusal_count = 0;
}

static void take_refusal(struct holder *h, const struct guard_refusal *r)
{
	applier_print_refused(h->applier, r->ingress, &r->dst, &h->refusals);
	h->refusal_count++;
	if (h->refusal_count >= REFUSALS_AT_ONCE)
		load_refusals(h);
}

/* true: the end of the guard, with its exit status. */
static bool fulfil(struct holder *h, enum guard_wish wish, const struct guard_refusal *message, int *status)
{
	struct err e = { 0 };
	int rc = -1;

	switch (wish) {
	case GUARD_APPLY:
		rc = apply(h, &e);
		if (rc == 0)
			upkeep_begin(h->upkeep);
		answer(h, rc, &e);
		break;
	case GUARD_STOP:
		upkeep_end(h->upkeep);
		let_handshakes_end(h);
		rc = take_back(h, h->c->conf->drop_on_exit, &e);
		answer(h, rc, &e);
		*status = 0;
		return rc == 0;
	case GUARD_REFUSED:
		take_refusal(h, message);
		break;
	}
	return false;
}

static void wait_for_work(struct holder *h)
{
	struct pollfd p[] = {
		{ .fd = h->c->socket, .events = POLLIN },
		{ .fd = upkeep_descriptor(h->upkeep), .events = POLLIN },
	};

	poll(p, ARRAY_SIZE(p), upkeep_wait_ms(h->upkeep, clock_ms()));
}

static int serve(struct holder *h)
{
	for (;;) {
		struct guard_refusal message;
		ssize_t n = recv(h->c->socket, &message, sizeof(message), MSG_DONTWAIT);
		int status;

		if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
			load_refusals(h);
			upkeep_run(h->upkeep, clock_ms());
			wait_for_work(h);
			continue;
		}
		if (n <= 0)
			return on_death(h);
		if (fulfil(h, (enum guard_wish)message.wish, &message, &status))
			return status;
	}
}

/* What remembers the instance stays with a block, or with what could not be removed. */
static void let_go(struct holder *h, int status)
{
	if (h->touched || h->c->conf->drop_on_exit || status != 0)
		instance_close(h->c->instance);
	else
		instance_end(h->c->instance);
}

int guard_child_run(struct guard_child *c)
{
	struct holder h = { .c = c, .gateway = -1 };
	struct err e;
	int status = 1;

	leave_gateway(c);
	h.gateway = (int)syscall(SYS_pidfd_open, c->gateway, 0);
	/* With "drop" the table has to outlive the guard as well: without us its rules lead nowhere, which blocks. */
	h.applier = applier_new(c->conf->backend, rules_need_iptables(c->rules), !c->conf->drop_on_exit,
				c->conf->instance, &e);
	if (h.applier != NULL && rules_need_nft(c->rules) && applier_backend(h.applier) != JOURNAL_NFT) {
		err_set(&e, ERR_CONFIG, "open_ports \"negative_cache\" needs nftables, and only %s works here",
			applier_name(h.applier));
		applier_free(h.applier);
		h.applier = NULL;
	}
	if (h.applier == NULL) {
		answer(&h, -1, &e);
		instance_end(c->instance);
		return 1;
	}
	/* For an ipset iptables asks through a raw socket. */
	drop_rights(applier_backend(h.applier) == JOURNAL_IPTABLES_LEGACY || rules_need_iptables(c->rules));
	h.upkeep = upkeep_new(h.applier, c->rules, c->conf->check_ms);
	answer(&h, 0, NULL);
	status = serve(&h);
	upkeep_free(h.upkeep);
	buf_release(&h.refusals);
	applier_free(h.applier); /* and a table with an owner, should it still be there */
	let_go(&h, status);
	return status;
}
