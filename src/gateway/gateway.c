/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway - threads, and starting and stopping in mirrored order.
 *
 * Threads: the caller's one waits for signals; one runs all calls to attestation agents and services; each worker
 * has its own loop, listeners, TLS configurations and buffers. Between them travels mail.
 *
 * Starting opens every listener before the first thread runs, so that a taken port fails the start as a whole. Then
 * come the rules that lead to those listeners, if any (interception.c), then the workers. Capabilities that nobody
 * needs any more go before the first thread (rights.c).
 * Stopping: the workers close their listeners and drain; when the last one reports, or at the deadline, they
 * reset what is left. Listeners that rules lead to go on, and reset what comes, until no captured connection is open
 * and the rules are gone: a packet that the kernel no longer diverted would be in clear. Then the workers' loops
 * end, the attestation loop ends, and all is released.
 */
#include "gateway/gateway_internal.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "attest/attester.h"
#include "attest/identity.h"
#include "attest/verdict_cache.h"
#include "attest/verifier.h"
#include "base/log.h"
#include "crypto/aead.h"
#include "gateway/congestion.h"
#include "gateway/gate.h"
#include "gateway/interception.h"
#include "gateway/rights.h"
#include "gateway/worker.h"
#include "io/resolve.h"

#define FLOW_DESCRIPTORS 2	/* at most: two sockets */
#define WORKER_DESCRIPTORS 16	/* what a worker may need besides flows */
#define RESERVED_DESCRIPTORS 16 /* for calls to agents and services, logs, names */
#define FIRST_EVIDENCE_MS 1000
#define TRIM_MS 2000
#define TRIM_QUIET 20 /* handshakes and flows in TRIM_MS */

/* ---- room ---- */

bool gateway_reserve(struct gateway *g)
{
	size_t descriptors = atomic_fetch_add_explicit(&g->descriptors, FLOW_DESCRIPTORS, memory_order_relaxed);
	size_t flows = atomic_fetch_add_explicit(&g->flow_total, 1, memory_order_relaxed);

	if (descriptors + FLOW_DESCRIPTORS <= g->descriptor_limit && flows < g->flow_limit)
		return true;
	gateway_unreserve(g);
	return false;
}

void gateway_unreserve(struct gateway *g)
{
	gateway_uncount_flow(g, FLOW_DESCRIPTORS);
}

void gateway_count_flow(struct gateway *g, size_t descriptors)
{
	atomic_fetch_add_explicit(&g->descriptors, descriptors, memory_order_relaxed);
	atomic_fetch_add_explicit(&g->flow_total, 1, memory_order_relaxed);
}

void gateway_uncount_flow(struct gateway *g, size_t descriptors)
{
	atomic_fetch_sub_explicit(&g->descriptors, descriptors, memory_order_relaxed);
	atomic_fetch_sub_explicit(&g->flow_total, 1, memory_order_relaxed);
}

static size_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t count = 0;

	if (dir == NULL)
		return 32;
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static size_t raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	return MIN((size_t)limit.rlim_cur, (size_t)1 << 24);
}

static void set_limits(struct gateway *g, size_t descriptors)
{
	size_t used = open_descriptors() + MIN((size_t)RESERVED_DESCRIPTORS, descriptors / 8);

	g->descriptor_limit = descriptors > used + 4 ? descriptors - used : 4;
	g->flow_limit = g->config->limits.connections > 0 ? g->config->limits.connections : SIZE_MAX;
}

static unsigned count_workers(const struct gateway *g, size_t descriptors)
{
	cpu_set_t cpus;
	unsigned count = g->config->workers;

	if (count == 0 && sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		count = (unsigned)CPU_COUNT(&cpus);
	/* A worker that can hold no flow is of no use. */
	return MAX(1u, (unsigned)MIN((size_t)count, descriptors / (2 * WORKER_DESCRIPTORS)));
}

/* ---- entries ---- */

/* Marks and foreign addresses need CAP_NET_ADMIN; without the mark our own connections would be captured again. */
static int check_rights(const struct entry_conf *conf, struct err *e)
{
	if ((conf->netfilter == NULL && !conf->transparency.out) || sock_probe_rights(e) == 0)
		return 0;
	return err_wrap(e,
			"%s: the capability CAP_NET_ADMIN is missing (run as root, AmbientCapabilities=CAP_NET_ADMIN, "
			"--cap-add NET_ADMIN, or all within a user namespace), or write mode mapping",
			conf->path);
}

static int read_ranges(struct entry *en, const struct string_list *ranges, struct err *e)
{
	en->accept_from = ranges->count == 0 ? NULL : mem_new_array(ranges->count, sizeof(struct cidr));
	for (size_t i = 0; i < ranges->count; i++) {
		if (!cidr_parse(ranges->items[i], &en->accept_from[i]))
			return err_set(e, ERR_CONFIG, "%s: proxy_protocol.accept_from: %s is not a range of addresses",
				       en->conf->path, ranges->items[i]);
		en->accept_from_count++;
	}
	return 0;
}

static int entry_init(struct gateway *g, struct entry *en, const struct entry_conf *conf, struct err *e)
{
	en->conf = conf;
	if (check_rights(conf, e) < 0 || read_ranges(en, &conf->proxy_protocol.accept_from, e) < 0)
		return -1;
	if (conf->kind == ENTRY_EGRESS && conf->attest == NULL)
		en->dummy = g->dummy;
	if (conf->attest != NULL) {
		en->attester = attester_new(g->attest_loop, conf->attest, conf->binding, conf->path, e);
		if (en->attester == NULL)
			return -1;
	}
	if (conf->verify != NULL) {
		en->verifier = verifier_new(g->attest_loop, conf->verify, conf->binding, g->verdicts, conf->path, e);
		if (en->verifier == NULL)
			return -1;
	}
	return 0;
}

static void entry_release(struct entry *en)
{
	free(en->accept_from);
	attester_free(en->attester);
	verifier_free(en->verifier);
}

/* ---- the attestation thread ---- */

static void *attest_main(void *arg)
{
	prctl(PR_SET_NAME, "tng attest");
	loop_run(((struct gateway *)arg)->attest_loop);
	return NULL;
}

static void on_attest_stop(struct mail *m)
{
	loop_stop(container_of(m, struct gateway, attest_stop_mail)->attest_loop);
}

/* ---- the main thread ---- */

static void on_worker_closed(struct mail *m)
{
	struct gateway_worker *gw = container_of(m, struct gateway_worker, closed_mail);
	struct gateway *g = gw->gateway;

	if (++g->closed == g->worker_count && g->running)
		loop_stop(g->main_loop);
}

static void on_worker_drained(struct mail *m)
{
	struct gateway_worker *gw = container_of(m, struct gateway_worker, drained_mail);
	struct gateway *g = gw->gateway;

	if (++g->drained < g->worker_count || !g->running)
		return;
	for (unsigned i = 0; i < g->worker_count; i++)
		worker_close(&g->workers[i]);
}

static void begin_drain(struct gateway *g)
{
	for (unsigned i = 0; i < g->worker_count; i++)
		worker_drain(&g->workers[i]);
}

static void log_counters(struct gateway *g)
{
	struct counters **blocks = mem_new_array(g->worker_count, sizeof(*blocks));
	struct buf line = { 0 };

	for (unsigned i = 0; i < g->worker_count; i++)
		blocks[i] = &g->workers[i].counters;
	counters_format(blocks, g->worker_count, &line);
	log_info("counters: %s", buf_str(&line));
	buf_release(&line);
	free(blocks);
}

/*
 * A burst of connections leaves the heap full of holes that nobody will need soon. When the burst is over, the
 * pages go back; a steady stream of connections would only ask for them again.
 */
static void on_trim(struct timer *t)
{
	struct gateway *g = container_of(t, struct gateway, trim);
	uint64_t changes = 0; /* handshakes, flows that began, flows that ended */

	for (unsigned i = 0; i < g->worker_count; i++) {
		struct counters *c = &g->workers[i].counters;

		changes += counter_read(&c->handshakes) + 2 * counter_read(&c->flows_total) -
			   counter_read(&c->flows_active);
	}
	if (changes - g->trim_seen < TRIM_QUIET && changes != g->trim_done) {
		malloc_trim(0);
		g->trim_done = changes;
	}
	g->trim_seen = changes;
	timer_start(g->main_loop, &g->trim, TRIM_MS);
}

static void on_signal(struct watch *w, uint32_t events)
{
	struct gateway *g = container_of(w, struct gateway, signal_watch);
	struct signalfd_siginfo info;

	(void)events;
	if (read(w->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1) {
		log_counters(g);
		return;
	}
	if (++g->signals > 1) {
		log_warn("second signal: ending at once");
		_exit(128 + (int)info.ssi_signo);
	}
	log_info("%s: no new connections, draining for at most %.1fs", info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM",
		 g->config->timeouts.drain_ms / 1000.0);
	begin_drain(g);
}

struct lost_mail {
	struct mail mail;
	struct gateway *gateway;
};

static void on_lost_mail(struct mail *m)
{
	struct lost_mail *lost = container_of(m, struct lost_mail, mail);
	struct gateway *g = lost->gateway;

	free(lost);
	if (g->exit_code == 1 || !g->running)
		return;
	g->exit_code = 1;
	log_error("a listening socket was lost: stopping");
	if (g->signals++ == 0)
		begin_drain(g);
}

void gateway_lost_listener(struct gateway *g)
{
	struct lost_mail *lost = mem_new_of(struct lost_mail);

	lost->mail.deliver = on_lost_mail;
	lost->gateway = g;
	loop_post(g->main_loop, &lost->mail);
}

static int block_signals(struct gateway *g, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	g->signal_watch.ready = on_signal;
	g->signal_watch.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (g->signal_watch.fd < 0)
		return err_errno(e, ERR_SYSTEM, "signalfd");
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return loop_watch(g->main_loop, &g->signal_watch, EPOLLIN, e);
}

/* ---- start ---- */

static int make_loops(struct gateway *g, struct err *e)
{
	g->signal_watch.fd = -1;
	g->main_loop = loop_new(e);
	if (g->main_loop == NULL || block_signals(g, e) < 0)
		return -1;
	g->attest_loop = loop_new(e);
	return g->attest_loop == NULL ? -1 : 0;
}

static int make_entries(struct gateway *g, struct err *e)
{
	g->dummy = identity_new_dummy(e);
	if (g->dummy == NULL)
		return -1;
	g->entries = mem_new_array(g->config->entry_count, sizeof(struct entry));
	for (size_t i = 0; i < g->config->entry_count; i++) {
		g->entry_count++;
		if (entry_init(g, &g->entries[i], &g->config->entries[i], e) < 0)
			return -1;
	}
	return 0;
}

static int make_workers(struct gateway *g, unsigned count, struct err *e)
{
	g->workers = mem_new_array(count, sizeof(struct gateway_worker));
	g->worker_count = count;
	for (unsigned i = 0; i < count; i++) {
		g->workers[i].drained_mail.deliver = on_worker_drained;
		g->workers[i].closed_mail.deliver = on_worker_closed;
		if (worker_init(&g->workers[i], g, i, e) < 0)
			return -1;
	}
	return 0;
}

struct gateway *gateway_new(const struct config *c, struct err *e)
{
	struct gateway *g = mem_new_of(struct gateway);
	size_t descriptors = raise_descriptor_limit();

	g->config = c;
	g->sock = (struct sock_options){ .keepalive = c->keepalive,
					 .keepalive_idle_s = (int)c->keepalive_idle_s,
					 .keepalive_interval_s = (int)c->keepalive_interval_s,
					 .keepalive_count = (int)c->keepalive_count };
	congestion_choose(c, g->host_congestion, &g->sock);
	g->budget.limit = c->limits.relay_memory;
	g->verdicts = verdict_cache_new(c->limits.verdict_cache);
	g->resolver = resolver_new(c->resolve_cache_s);
	if (make_loops(g, e) < 0 || make_entries(g, e) < 0 || make_workers(g, count_workers(g, descriptors), e) < 0) {
		gateway_free(g);
		return NULL;
	}
	set_limits(g, descriptors);
	if (interception_start(g, e) < 0 || rights_drop(g, e) < 0 || congestion_check(c, e) < 0) {
		gateway_free(g);
		return NULL;
	}
	return g;
}

static bool has_identity(const struct entry *en)
{
	struct identity *id;

	if (en->attester == NULL || attester_is_per_handshake(en->attester))
		return true;
	id = attester_current(en->attester);
	identity_unref(id);
	return id != NULL;
}

/*
 * The first evidence is there after some milliseconds where the agent is. Clients that come before wait in
 * the listeners' queues instead of being refused; an agent that is away holds nothing up for long.
 */
static void await_identities(struct gateway *g)
{
	for (unsigned waited = 0; waited < FIRST_EVIDENCE_MS; waited += 5) {
		size_t ready = 0;

		for (size_t i = 0; i < g->entry_count; i++)
			ready += has_identity(&g->entries[i]);
		if (ready == g->entry_count)
			return;
		usleep(5000);
	}
}

static int start_threads(struct gateway *g, struct err *e)
{
	for (size_t i = 0; i < g->entry_count; i++) {
		if (g->entries[i].attester != NULL)
			attester_start(g->entries[i].attester);
		if (g->entries[i].verifier != NULL)
			verifier_start(g->entries[i].verifier);
	}
	errno = pthread_create(&g->attest_thread, NULL, attest_main, g);
	if (errno != 0)
		return err_errno(e, ERR_SYSTEM, "start the attestation thread");
	g->attest_started = true;
	await_identities(g);
	if (gate_open(g, e) < 0 || interception_apply(g, e) < 0)
		return -1;
	for (unsigned i = 0; i < g->worker_count; i++) {
		if (worker_start(&g->workers[i], e) < 0)
			return -1;
	}
	return 0;
}

static void stop_threads(struct gateway *g)
{
	for (unsigned i = 0; i < g->worker_count; i++)
		worker_stop(&g->workers[i]);
	if (!g->attest_started)
		return;
	g->attest_stop_mail.deliver = on_attest_stop;
	loop_post(g->attest_loop, &g->attest_stop_mail);
	pthread_join(g->attest_thread, NULL);
	g->attest_started = false;
}

static void on_second_signal(int number)
{
	_exit(128 + number);
}

/* Nobody reads the descriptor of signals any more. */
static void end_at_next_signal(void)
{
	struct sigaction action = { .sa_handler = on_second_signal };
	sigset_t set;

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int gateway_run(struct gateway *g)
{
	struct err e;

	if (start_threads(g, &e) < 0) {
		log_error("%s", e.text);
		interception_stop(g);
		gate_close(g);
		stop_threads(g);
		return 1;
	}
	log_info("ready: %zu ingress and egress entries, %u workers, %s", g->entry_count, g->worker_count,
		 g->config->tls_records == TLS_RECORDS_LIBSSL ? "TLS records by libssl" : aead_description());
	timer_init(&g->trim, on_trim);
	timer_start(g->main_loop, &g->trim, TRIM_MS);
	g->running = true;
	loop_run(g->main_loop);
	g->running = false;
	end_at_next_signal();
	timer_cancel(g->main_loop, &g->trim);
	interception_stop(g);
	gate_close(g);
	stop_threads(g);
	log_counters(g);
	log_info("stopped");
	return g->exit_code;
}

void gateway_free(struct gateway *g)
{
	if (g == NULL)
		return;
	interception_release(g);
	gate_close(g);
	if (g->signal_watch.fd >= 0)
		close(g->signal_watch.fd);
	/* Before the loops that its answers would go to. */
	resolver_free(g->resolver);
	for (unsigned i = 0; i < g->worker_count; i++)
		worker_release(&g->workers[i]);
	loop_free(g->main_loop); /* behind those who write to it, before their memory goes */
	free(g->workers);
	for (size_t i = 0; i < g->entry_count; i++)
		entry_release(&g->entries[i]);
	free(g->entries);
	identity_unref(g->dummy);
	verdict_cache_free(g->verdicts);
	loop_free(g->attest_loop);
	free(g);
}
