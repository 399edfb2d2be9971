/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolve - a few threads, a queue of names, and a small cache.
 *
 * A name is an object while it is looked up or kept; the calls that wait hang on it. An answer travels to the
 * caller's loop as mail that is the call itself. A cancelled call stays until its mail has been delivered,
 * so a call is freed in one place only: deliver().
 */
#include "io/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/ref.h"

#define HELPERS 4
#define CACHE_NAMES 256

struct resolve_call {
	struct mail mail;
	struct list link; /* in name->calls */
	struct loop *reply_to;
	struct resolve_events *events; /* NULL: cancelled; only touched on reply_to's thread */
	bool found;
	struct resolve_result result;
	struct err why;
};

struct name {
	struct list link;  /* in resolver->names */
	struct list queue; /* in resolver->queue while it waits for a helper */
	struct list calls;
	char *host;
	bool pending;
	uint64_t expires_ms;
	struct resolve_result result;
};

struct resolver {
	unsigned cache_s;
	struct ref ref; /* the owner and each helper */
	unsigned helper_count;
	unsigned idle_helpers;
	bool stopping;
	pthread_mutex_t lock; /* guards everything above and below */
	pthread_cond_t work;
	struct list names;
	struct list queue;
	unsigned name_count;
};

struct resolver *resolver_new(unsigned cache_s)
{
	struct resolver *r = mem_new_of(struct resolver);

	ref_init(&r->ref);
	r->cache_s = cache_s;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->work, NULL);
	list_init(&r->names);
	list_init(&r->queue);
	return r;
}

static void name_free(struct resolver *r, struct name *n)
{
	list_remove(&n->link);
	list_remove(&n->queue);
	r->name_count--;
	free(n->host);
	free(n);
}

static void resolver_unref(struct resolver *r)
{
	if (!ref_put(&r->ref))
		return;
	pthread_cond_destroy(&r->work);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* The loops of cancelled calls may be gone soon, so their mail is dropped here. */
static void drop_calls(struct name *n)
{
	struct list *link;

	while ((link = list_pop(&n->calls)) != NULL)
		free(container_of(link, struct resolve_call, link));
}

void resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	r->stopping = true;
	LIST_EACH (link, &r->names) {
		struct name *n = container_of(link, struct name, link);

		drop_calls(n);
		if (!n->pending || !list_is_empty(&n->queue))
			name_free(r, n);
	}
	pthread_cond_broadcast(&r->work);
	pthread_mutex_unlock(&r->lock);
	resolver_unref(r);
}

/* RFC 8305 section 4: the families in turn, beginning with the one that the system prefers. */
static void interleave(const struct sock_addr *in, size_t count, struct resolve_result *out)
{
	sa_family_t first = in[0].any.sa_family;
	size_t a = 0;
	size_t b = 0;

	out->count = 0;
	while (out->count < count) {
		while (a < count && in[a].any.sa_family != first)
			a++;
		if (a < count)
			out->addrs[out->count++] = in[a++];
		while (b < count && in[b].any.sa_family == first)
			b++;
		if (b < count)
			out->addrs[out->count++] = in[b++];
	}
}

static int look_up(const char *host, struct resolve_result *out, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	struct sock_addr addrs[RESOLVE_MAX_ADDRS];
	size_t count = 0;
	int rc = getaddrinfo(host, NULL, &hints, &list);

	if (rc != 0)
		return err_set(e, ERR_SYSTEM, "resolve %s: %s", host, gai_strerror(rc));
	for (struct addrinfo *ai = list; ai != NULL && count < RESOLVE_MAX_ADDRS; ai = ai->ai_next) {
		if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6)
			continue;
		memset(&addrs[count], 0, sizeof(addrs[count]));
		memcpy(&addrs[count++], ai->ai_addr, MIN((size_t)ai->ai_addrlen, sizeof(addrs[0])));
	}
	freeaddrinfo(list);
	if (count == 0)
		return err_set(e, ERR_SYSTEM, "resolve %s: no IPv4 or IPv6 address", host);
	interleave(addrs, count, out);
	return 0;
}

static void deliver(struct mail *m)
{
	struct resolve_call *c = container_of(m, struct resolve_call, mail);

	if (c->events != NULL)
		c->events->resolved(c->events, c->found ? &c->result : NULL, &c->why);
	free(c);
}

static void answer(struct name *n, bool found, const struct err *why)
{
	struct list *link;

	while ((link = list_pop(&n->calls)) != NULL) {
		struct resolve_call *c = container_of(link, struct resolve_call, link);

		c->found = found;
		c->result = n->result;
		c->why = *why;
		c->mail.deliver = deliver;
		loop_post(c->reply_to, &c->mail);
	}
}

static void *help(void *arg)
{
	struct resolver *r = arg;

	pthread_mutex_lock(&r->lock);
	while (!r->stopping) {
		struct resolve_result result = { .count = 0 };
		struct err why = { 0 };
		struct list *link = list_pop(&r->queue);
		struct name *n;
		int rc;

		if (link == NULL) {
			r->idle_helpers++;
			pthread_cond_wait(&r->work, &r->lock);
			r->idle_helpers--;
			continue;
		}
		n = container_of(link, struct name, queue);
		pthread_mutex_unlock(&r->lock);
		rc = look_up(n->host, &result, &why);
		pthread_mutex_lock(&r->lock);
		n->result = result;
		n->pending = false;
		n->expires_ms = clock_ms() + 1000 * (uint64_t)r->cache_s;
		answer(n, rc == 0, &why);
		if (rc < 0 || r->cache_s == 0 || r->stopping)
			name_free(r, n);
	}
	pthread_mutex_unlock(&r->lock);
	resolver_unref(r);
	return NULL;
}

static void start_helper(struct resolver *r)
{
	pthread_attr_t detached;
	pthread_t thread;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	ref_get(&r->ref);
	if (pthread_create(&thread, &detached, help, r) == 0)
		r->helper_count++;
	else
		resolver_unref(r);
	pthread_attr_destroy(&detached);
}

static struct name *find(struct resolver *r, const char *host)
{
	uint64_t now = clock_ms();

	LIST_EACH (link, &r->names) {
		struct name *n = container_of(link, struct name, link);

		if (!n->pending && n->expires_ms <= now)
			name_free(r, n);
		else if (strcmp(n->host, host) == 0)
			return n;
	}
	return NULL;
}

bool resolver_cached(struct resolver *r, const char *host, struct resolve_result *out)
{
	struct name *n;
	bool hit;

	pthread_mutex_lock(&r->lock);
	n = find(r, host);
	hit = n != NULL && !n->pending;
	if (hit)
		*out = n->result;
	pthread_mutex_unlock(&r->lock);
	return hit;
}

/* Oldest first; names that are being looked up stay. */
static void make_place(struct resolver *r)
{
	LIST_EACH (link, &r->names) {
		struct name *n = container_of(link, struct name, link);

		if (r->name_count < CACHE_NAMES)
			return;
		if (!n->pending)
			name_free(r, n);
	}
}

static struct name *name_new(struct resolver *r, const char *host)
{
	struct name *n = mem_new_of(struct name);

	make_place(r);
	n->host = mem_strdup(host);
	n->pending = true;
	list_init(&n->calls);
	list_append(&r->names, &n->link);
	list_init(&n->queue);
	list_append(&r->queue, &n->queue);
	r->name_count++;
	if (r->idle_helpers == 0 && r->helper_count < HELPERS)
		start_helper(r);
	pthread_cond_signal(&r->work);
	return n;
}

struct resolve_call *resolver_start(struct resolver *r, struct loop *reply_to, const char *host,
				    struct resolve_events *events)
{
	struct resolve_call *c = mem_new_of(struct resolve_call);
	struct err none = { 0 };
	struct name *n;

	c->reply_to = reply_to;
	c->events = events;
	pthread_mutex_lock(&r->lock);
	n = find(r, host);
	if (n == NULL)
		n = name_new(r, host);
	list_init(&c->link);
	list_append(&n->calls, &c->link);
	if (!n->pending)
		answer(n, true, &none);
	else if (r->helper_count == 0)
		start_helper(r); /* that of an earlier call could not be started */
	pthread_mutex_unlock(&r->lock);
	return c;
}

void resolve_call_cancel(struct resolve_call *c)
{
	c->events = NULL;
}
