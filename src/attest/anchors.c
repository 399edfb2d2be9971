/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anchors - fetches a service's certificates.
 *
 * `next` runs only while there are none and no fetch is under way. What is logged is the change: the first
 * failure, a failure for another reason, and that there are certificates.
 */
#include "attest/anchors.h"

#include "attest/coco/as.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/loop.h"

#include <stdlib.h>

#define PAUSE_MIN_MS 500

struct anchors {
	struct loop *loop;
	struct as_client *client;
	const char *name;
	struct anchors_events *events;

	struct as_call *call; /* NULL: no fetch under way */
	struct as_events answers;
	struct timer next;
	unsigned pause_ms;
	uint64_t failed_ms;    /* when the last fetch failed; 0: never */
	uint64_t refreshed_ms; /* when the last was asked for while there were some; 0: never */

	struct cert_list list;
	bool failing;
	enum reason reason;
	struct err why;
};

static void fetch(struct anchors *a)
{
	timer_cancel(a->loop, &a->next);
	a->call = as_fetch_certificates(a->client, &a->answers);
}

static void on_next(struct timer *t)
{
	fetch(container_of(t, struct anchors, next));
}

static void take_list(struct anchors *a, struct cert_list *list)
{
	if (a->failing || a->list.count == 0)
		log_info("%s: the attestation service told %zu certificates of its signer", a->name, list->count);
	cert_list_release(&a->list);
	a->list = *list;
	a->failing = false;
	a->pause_ms = PAUSE_MIN_MS;
}

static void take_failure(struct anchors *a, enum reason reason, const struct err *why)
{
	bool changed = !a->failing || a->reason != reason;

	a->failing = true;
	a->failed_ms = clock_ms();
	a->reason = reason;
	a->why = *why;
	if (changed)
		log_warn("%s: %s: %s; %s", a->name, reason_word(reason), why->text,
			 a->list.count > 0 ? "the certificates known so far stay in use" : "retrying");
	if (a->list.count > 0)
		return;
	timer_start(a->loop, &a->next, a->pause_ms);
	a->pause_ms = MIN(2 * a->pause_ms, (unsigned)ANCHORS_PAUSE_MAX_MS);
}

static void on_answer(struct as_events *self, const struct bytes *content, enum reason reason, const struct err *why)
{
	struct anchors *a = container_of(self, struct anchors, answers);
	struct cert_list list = { 0 };
	struct err e;

	a->call = NULL;
	if (content == NULL) {
		take_failure(a, reason, why);
	} else if (cert_list_add_pem(&list, *content, &e) < 0) {
		err_wrap(&e, "GET /certificate");
		cert_list_release(&list);
		take_failure(a, REASON_AS_MALFORMED, &e);
	} else {
		take_list(a, &list);
	}
	a->events->fetched(a->events);
}

struct anchors *anchors_new(struct loop *l, struct as_client *client, const char *name, struct anchors_events *events)
{
	struct anchors *a = mem_new_of(struct anchors);

	a->loop = l;
	a->client = client;
	a->name = name;
	a->events = events;
	a->answers.answered = on_answer;
	a->pause_ms = PAUSE_MIN_MS;
	timer_init(&a->next, on_next);
	return a;
}

void anchors_start(struct anchors *a)
{
	if (a->call == NULL)
		fetch(a);
}

void anchors_free(struct anchors *a)
{
	if (a == NULL)
		return;
	if (a->call != NULL)
		as_call_cancel(a->call);
	timer_cancel(a->loop, &a->next);
	cert_list_release(&a->list);
	free(a);
}

const struct cert_list *anchors_list(const struct anchors *a)
{
	return a->list.count > 0 ? &a->list : NULL;
}

bool anchors_ask(struct anchors *a)
{
	uint64_t now = clock_ms();

	if (a->call != NULL)
		return true;
	if (a->list.count > 0) {
		if (a->refreshed_ms != 0 && now - a->refreshed_ms < ANCHORS_REFRESH_PAUSE_MS)
			return false;
		a->refreshed_ms = now;
	} else if (a->failed_ms != 0 && now - a->failed_ms < ANCHORS_ASKED_PAUSE_MS) {
		return false;
	}
	fetch(a);
	return true;
}

const struct err *anchors_why(const struct anchors *a)
{
	return &a->why;
}
