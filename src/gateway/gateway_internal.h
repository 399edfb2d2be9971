/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway_internal - what the files of this folder share.
 *
 *   gateway      all threads, all entries
 *   entry        one of add_ingress or add_egress: what its workers share
 *   lane         an entry on one worker: its listeners, its TLS side, its sessions
 *   flow         one client's connection on a lane (flow.h)
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "capture/listener.h"
#include "config/config.h"
#include "gateway/gateway.h"
#include "io/cidr.h"
#include "io/loop.h"
#include "io/pool.h"
#include "io/worker.h"
#include "metrics/counters.h"
#include "tunnel/rats_tls/secure_side.h"

struct attester;
struct flow;
struct gate;
struct guard;
struct identity;
struct session_pool;
struct slab;
struct verifier;

struct entry {
	const struct entry_conf *conf;
	struct attester *attester; /* NULL: not configured */
	struct verifier *verifier;
	struct identity *dummy;
	uint16_t listen_port;	  /* netfilter: found by the first worker */
	struct cidr *accept_from; /* proxy_protocol */
	size_t accept_from_count;
};

#define KNOCK_BUCKETS 256

struct lane {
	struct entry *entry;
	struct gateway_worker *gw;
	struct secure_side side;
	struct sock_options sock; /* for what the entry dials */
	struct listeners *listeners;
	struct capture_events capture_events;
	struct session_pool *pool; /* ingress with multiplex */
	struct list sessions;	   /* egress: struct egress_session */
	struct list *knocks;	   /* NULL, or KNOCK_BUCKETS lists of flows without a client (knock.h) */
};

struct gateway_worker {
	struct worker base;
	struct gateway *gateway;
	pthread_t thread;
	bool started;
	struct lane *lanes; /* one for each entry */
	struct slab *flow_slab;
	struct slab *tls_slab;
	struct list flows;
	size_t flow_count;
	atomic_uint load; /* flows, sessions, and clients on their way here, for the others to see */
	bool draining;
	bool has_drained;
	struct timer drain_deadline;
	struct mail drain_mail;
	struct mail close_mail;
	struct mail stop_mail;
	struct mail drained_mail; /* to the main loop */
	struct mail closed_mail;  /* likewise */
	struct log_limit failure_limits[REASON_COUNT];
	struct counters counters;
};

struct gateway {
	const struct config *config;
	struct sock_options sock;
	char host_congestion[SOCK_CONGESTION_TEXT];
	struct pool_budget budget;
	struct verdict_cache *verdicts;
	struct resolver *resolver;
	struct identity *dummy;
	struct entry *entries;
	size_t entry_count;
	struct gateway_worker *workers;
	unsigned worker_count;
	atomic_size_t descriptors; /* that flows use */
	size_t descriptor_limit;
	atomic_size_t flow_total;
	size_t flow_limit;

	struct loop *attest_loop;
	pthread_t attest_thread;
	bool attest_started;
	struct mail attest_stop_mail;

	struct loop *main_loop;
	struct watch signal_watch;
	struct guard *guard; /* NULL: nothing is captured, or not by rules of ours */
	struct watch guard_watch;
	bool guard_is_lost;
	struct log_limit refused_limit; /* what the guard is told; the main thread */
	struct gate *gate;		/* NULL: nobody asks first */
	struct timer trim;		/* gives the heap's leftovers of connections back to the system */
	uint64_t trim_seen;		/* changes at the last look */
	uint64_t trim_done;		/* and at the last trim */
	unsigned drained;		/* workers */
	unsigned closed;		/* workers */
	int signals;
	bool running; /* the main loop */
	int exit_code;
};

/*
 * A place for one more flow and its two descriptors, so that limits hold whatever the workers do at the same time.
 * false: there is none. Given back when the flow counts itself. Any thread.
 */
bool gateway_reserve(struct gateway *g);
void gateway_unreserve(struct gateway *g);

/* Begin and end to count it. */
void gateway_count_flow(struct gateway *g, size_t descriptors);
void gateway_uncount_flow(struct gateway *g, size_t descriptors);

/* The end of the flows of a worker that is draining; called when a flow has gone. */
void gateway_worker_flow_gone(struct gateway_worker *gw);

/* A listening socket cannot be used any more: the process stops and exits with 1. Any thread. */
void gateway_lost_listener(struct gateway *g);
