/* SPDX-License-Identifier: Apache-2.0 */
/* announcement - pushes a header until it is taken as a whole. */
#include "gateway/announcement.h"

#include <stdlib.h>

#include "capture/proxy_protocol.h"
#include "io/loop.h"
#include "io/worker.h"

struct announcement {
	struct worker *worker; /* NULL: not started */
	struct stream *far;
	struct announcement_events *events;
	struct stream_events far_events;
	struct task task; /* tries, and is the only place that tells */
	struct timer deadline;
	bool late;
	size_t len;
	size_t sent;
	uint8_t bytes[PROXY_WRITTEN_MAX];
};

struct announcement *announcement_new(enum proxy_protocol_version version, const struct sock_addr *client,
				      const struct sock_addr *server)
{
	struct announcement *a = mem_new_of(struct announcement);

	a->len = proxy_protocol_format(version, client, server, a->bytes);
	return a;
}

struct announcement *announcement_copy(const struct announcement *a)
{
	return a == NULL ? NULL : mem_dup(a, sizeof(*a));
}

void announcement_free(struct announcement *a)
{
	if (a == NULL)
		return;
	if (a->worker != NULL) {
		task_cancel(&a->task);
		timer_cancel(a->worker->loop, &a->deadline);
	}
	free(a);
}

static void on_ready(struct stream_events *self, struct stream *s)
{
	struct announcement *a = container_of(self, struct announcement, far_events);

	(void)s;
	task_schedule(a->worker->loop, &a->task);
}

static void on_deadline(struct timer *t)
{
	struct announcement *a = container_of(t, struct announcement, deadline);

	a->late = true;
	task_schedule(a->worker->loop, &a->task);
}

static enum io_result push(struct announcement *a)
{
	enum io_result result = IO_OK;
	size_t taken = 0;

	if (a->far->aborted)
		return IO_RESET;
	if (a->far->writable)
		result = a->far->ops->push(a->far, bytes_of(a->bytes + a->sent, a->len - a->sent), &taken);
	a->sent += taken;
	return result;
}

static void on_task(struct task *t)
{
	struct announcement *a = container_of(t, struct announcement, task);
	enum io_result result = push(a);

	if (result != IO_OK)
		a->events->failed(a->events, result);
	else if (a->sent == a->len)
		a->events->announced(a->events);
	else if (a->late)
		a->events->failed(a->events, IO_AGAIN);
}

void announcement_start(struct announcement *a, struct worker *w, struct stream *far, unsigned limit_ms,
			struct announcement_events *events)
{
	a->worker = w;
	a->far = far;
	a->events = events;
	a->far_events.ready = on_ready;
	far->events = &a->far_events;
	task_init(&a->task, on_task);
	timer_init(&a->deadline, on_deadline);
	timer_start(w->loop, &a->deadline, limit_ms);
	task_schedule(w->loop, &a->task);
}
