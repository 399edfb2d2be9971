/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate - first packets that wait for their tunnel.
 *
 * A knock is found in two ways: by its addresses when the packet is sent again, by its serial when a worker tells. The
 * worker learns no pointer and gets none back, so each side forgets when it likes.
 */
#include "gateway/gate.h"

#include <stdlib.h>

#include "base/log.h"
#include "capture/syn_queue.h"
#include "config/capture_numbers.h"
#include "gateway/gateway_internal.h"
#include "gateway/knock.h"
#include "gateway/worker.h"

#define BUCKETS 1024
#define QUEUE_SLACK 1024 /* packets that are sent again, until we have dropped them */

enum knock_state { KNOCK_WAITING, KNOCK_LET_IN };

struct knock {
	struct list by_age; /* in its entry */
	struct list by_addresses;
	struct list by_serial;
	struct gate_entry *entry;
	struct lane *lane; /* of the worker that makes the tunnel */
	enum knock_state state;
	uint64_t serial;
	struct queued packet;
	struct syn syn;
};

struct gate_entry {
	const struct entry_conf *conf;
	size_t index; /* in the gateway's entries */
	uint16_t queue;
	struct list knocks; /* the oldest first */
	size_t count;
	struct log_limit full;
};

struct gate {
	struct gateway *gateway;
	struct syn_queue *queue;
	struct syn_queue_events events;
	struct gate_entry *entries;
	size_t entry_count;
	size_t share; /* knocks that an entry may have */
	uint64_t last_serial;
	struct log_limit no_room;
	struct list by_addresses[BUCKETS];
	struct list by_serial[BUCKETS];
};

bool gate_is_before(const struct entry_conf *conf)
{
	return conf->kind == ENTRY_INGRESS && conf->netfilter != NULL &&
	       conf->netfilter->open_ports == OPEN_PORTS_CONNECT_FIRST;
}

/* ---- finding ---- */

static struct list *bucket_of_serial(struct gate *t, uint64_t serial)
{
	return &t->by_serial[serial % BUCKETS];
}

static struct list *bucket_of_addresses(struct gate *t, const struct syn *syn)
{
	return &t->by_addresses[knock_hash(&syn->client, &syn->server) % BUCKETS];
}

static struct knock *find_by_serial(struct gate *t, uint64_t serial)
{
	LIST_EACH (link, bucket_of_serial(t, serial)) {
		struct knock *k = container_of(link, struct knock, by_serial);

		if (k->serial == serial)
			return k;
	}
	return NULL;
}

static struct knock *find_by_addresses(struct gate *t, const struct gate_entry *en, const struct syn *syn)
{
	LIST_EACH (link, bucket_of_addresses(t, syn)) {
		struct knock *k = container_of(link, struct knock, by_addresses);

		if (k->entry == en && sock_addr_equal(&k->syn.client, &syn->client) &&
		    sock_addr_equal(&k->syn.server, &syn->server))
			return k;
	}
	return NULL;
}

static struct gate_entry *find_entry(struct gate *t, uint16_t queue)
{
	for (size_t i = 0; i < t->entry_count; i++) {
		if (t->entries[i].queue == queue)
			return &t->entries[i];
	}
	return NULL;
}

/* ---- verdicts ---- */

/* Bits of the mark that are not ours stay. */
static void send_back(struct gate *t, const struct queued *q, uint32_t mark)
{
	uint32_t mask = t->gateway->config->interception.mark_mask;

	syn_queue_repeat(t->queue, q, (q->mark & ~mask) | mark);
}

static void let_in(struct gate *t, const struct gate_entry *en, const struct queued *q)
{
	send_back(t, q, capture_mark_accepted(&t->gateway->config->interception, en->conf->index));
}

static void refuse(struct gate *t, const struct gate_entry *en, const struct queued *q)
{
	send_back(t, q, capture_mark_refused(&t->gateway->config->interception, en->conf->index));
}

/* ---- knocks ---- */

static void forget(struct knock *k)
{
	k->entry->count--;
	list_remove(&k->by_age);
	list_remove(&k->by_addresses);
	list_remove(&k->by_serial);
	free(k);
}

static void make_room(struct gate *t, struct gate_entry *en)
{
	struct knock *oldest = container_of(en->knocks.next, struct knock, by_age);
	unsigned skipped;

	if (en->count < t->share)
		return;
	if (log_limit_pass(&en->full, 1, loop_now_ms(t->gateway->main_loop), &skipped))
		log_warn(
			"%s.netfilter: %zu clients wait for their tunnels (limits.pending_syns): the one that waited longest "
			"gives way",
			en->conf->path, en->count);
	if (oldest->state == KNOCK_WAITING)
		syn_queue_drop(t->queue, &oldest->packet);
	knock_withdraw(oldest->lane, oldest->serial, &oldest->syn);
	forget(oldest);
}

/* The place for the flow is counted here, where it can be denied. */
static bool has_place(struct gate *t, const struct gate_entry *en)
{
	unsigned skipped;

	if (gateway_reserve(t->gateway))
		return true;
	if (log_limit_pass(&t->no_room, 1, loop_now_ms(t->gateway->main_loop), &skipped))
		log_warn("%s: first packets are dropped: limits.connections or the descriptor limit is reached",
			 en->conf->path);
	return false;
}

static void begin(struct gate *t, struct gate_entry *en, const struct queued *q, const struct syn *syn)
{
	struct gateway_worker *gw = worker_of_client(t->gateway, en->conf, &syn->client, &syn->server);
	struct knock *k;

	make_room(t, en);
	if (!has_place(t, en)) {
		syn_queue_drop(t->queue, q);
		return;
	}
	k = mem_new_of(struct knock);
	k->entry = en;
	k->lane = &gw->lanes[en->index];
	k->serial = ++t->last_serial;
	k->packet = *q;
	k->syn = *syn;
	list_init(&k->by_age);
	list_init(&k->by_addresses);
	list_init(&k->by_serial);
	list_append(&en->knocks, &k->by_age);
	list_append(bucket_of_addresses(t, syn), &k->by_addresses);
	list_append(bucket_of_serial(t, k->serial), &k->by_serial);
	en->count++;
	knock_open(k->lane, k->serial, syn);
}

static void on_came(struct syn_queue_events *self, const struct queued *q, const struct syn *syn)
{
	struct gate *t = container_of(self, struct gate, events);
	struct gate_entry *en = find_entry(t, q->queue);
	struct knock *k = en == NULL ? NULL : find_by_addresses(t, en, syn);

	if (en == NULL || (k != NULL && k->state == KNOCK_WAITING))
		syn_queue_drop(t->queue, q); /* it is being asked already */
	else if (k != NULL)
		let_in(t, en, q); /* our answer was lost */
	else
		begin(t, en, q, syn);
}

static void on_lost(struct syn_queue_events *self, const struct err *why)
{
	struct gate *t = container_of(self, struct gate, events);

	log_error("interception: no first packet can be read any more: %s", why->text);
	gateway_lost_listener(t->gateway);
}

/* ---- news from the workers ---- */

struct news_mail {
	struct mail mail;
	struct gateway *gateway;
	uint64_t serial;
	enum knock_news news;
};

static void on_news(struct mail *m)
{
	struct news_mail *n = container_of(m, struct news_mail, mail);
	struct gate *t = n->gateway->gate;
	struct knock *k = t == NULL ? NULL : find_by_serial(t, n->serial);

	/* One that gave way, or the gate has closed. */
	if (k == NULL)
		goto out;
	if (n->news == KNOCK_OPENED) {
		k->state = KNOCK_LET_IN;
		let_in(t, k->entry, &k->packet);
		goto out;
	}
	if (k->state == KNOCK_WAITING)
		refuse(t, k->entry, &k->packet);
	forget(k);
out:
	free(n);
}

void gate_tell(struct gateway *g, uint64_t serial, enum knock_news news)
{
	struct news_mail *n = mem_new_of(struct news_mail);

	n->mail.deliver = on_news;
	n->gateway = g;
	n->serial = serial;
	n->news = news;
	loop_post(g->main_loop, &n->mail);
}

/* ---- the life ---- */

static void add_entries(struct gate *t, struct gateway *g)
{
	t->entries = mem_new_array(g->entry_count, sizeof(*t->entries));
	for (size_t i = 0; i < g->entry_count; i++) {
		const struct entry_conf *conf = g->entries[i].conf;
		struct gate_entry *en = &t->entries[t->entry_count];

		if (!gate_is_before(conf))
			continue;
		en->conf = conf;
		en->index = i;
		en->queue = capture_queue(&g->config->interception, conf->index);
		list_init(&en->knocks);
		t->entry_count++;
	}
}

static int open_queues(struct gate *t, struct err *e)
{
	uint16_t *numbers = mem_new_array(t->entry_count, sizeof(*numbers));

	for (size_t i = 0; i < t->entry_count; i++)
		numbers[i] = t->entries[i].queue;
	t->queue = syn_queue_open(numbers, t->entry_count, (unsigned)t->share + QUEUE_SLACK, e);
	free(numbers);
	if (t->queue == NULL)
		return err_wrap(e, "open_ports \"connect_first\"");
	t->events.came = on_came;
	t->events.lost = on_lost;
	return syn_queue_start(t->queue, t->gateway->main_loop, &t->events, e);
}

int gate_open(struct gateway *g, struct err *e)
{
	struct gate *t = mem_new_of(struct gate);

	t->gateway = g;
	g->gate = t;
	add_entries(t, g);
	if (t->entry_count == 0) {
		gate_close(g);
		return 0;
	}
	t->share = MAX(g->config->limits.pending_syns / t->entry_count, (size_t)1);
	for (size_t i = 0; i < BUCKETS; i++) {
		list_init(&t->by_addresses[i]);
		list_init(&t->by_serial[i]);
	}
	return open_queues(t, e);
}

void gate_close(struct gateway *g)
{
	struct gate *t = g->gate;

	if (t == NULL)
		return;
	syn_queue_close(t->queue);
	for (size_t i = 0; i < t->entry_count; i++) {
		LIST_EACH (link, &t->entries[i].knocks)
			forget(container_of(link, struct knock, by_age));
	}
	free(t->entries);
	free(t);
	g->gate = NULL;
}
