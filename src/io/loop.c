/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - epoll, a heap of timers, and a mailbox.
 *
 * One round: wait for events until the next timer is due; call the watches; deliver mail; expire timers;
 * run the tasks that were scheduled so far. Tasks run last so that what several events ask for is done
 * once.
 *
 * The kernel is not given a watch but its place in a table and the place's generation, which changes with every watch
 * that leaves it. So an event that was fetched before its watch went reaches nobody; nor does one of a file that
 * somebody else still holds after we have closed it (a child before its exec(), a look into /proc), which epoll goes on
 * watching.
 */
#include "io/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

#define ROUND_EVENTS 256

/* A place in the table of watches. */
struct place {
	struct watch *watch; /* NULL: free */
	uint32_t generation;
	uint32_t events; /* as the kernel was told; of a free one: the next free one */
};

struct loop {
	int epoll_fd;
	int mail_fd;
	bool stopping;
	uint64_t now_ms;

	struct epoll_event events[ROUND_EVENTS];

	struct place *places; /* places[0] is not used */
	uint32_t place_count; /* that were ever used, the first included */
	uint32_t place_size;
	uint32_t place_free; /* 0: none */

	struct timer **heap; /* heap[1] is due first; heap[0] is not used */
	size_t heap_len;
	size_t heap_size;

	struct list tasks;
	struct watch mail_watch;

	pthread_mutex_t mail_lock; /* guards the two below */
	struct mail *mail_first;
	struct mail **mail_last;
};

static void on_mail(struct watch *w, uint32_t events)
{
	uint64_t count;
	ssize_t ignored = read(w->fd, &count, sizeof(count));

	(void)ignored;
	(void)events;
}

struct loop *loop_new(struct err *e)
{
	struct loop *l = mem_new_of(struct loop);

	list_init(&l->tasks);
	pthread_mutex_init(&l->mail_lock, NULL);
	l->mail_last = &l->mail_first;
	l->now_ms = clock_ms();
	l->place_count = 1;
	l->mail_fd = -1;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		err_errno(e, ERR_SYSTEM, "epoll_create1");
		goto fail;
	}
	l->mail_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->mail_fd < 0) {
		err_errno(e, ERR_SYSTEM, "eventfd");
		goto fail;
	}
	l->mail_watch.fd = l->mail_fd;
	l->mail_watch.ready = on_mail;
	if (loop_watch(l, &l->mail_watch, EPOLLIN, e) < 0)
		goto fail;
	return l;
fail:
	loop_free(l);
	return NULL;
}

static bool deliver_mail(struct loop *l)
{
	struct mail *m;
	bool any = false;

	pthread_mutex_lock(&l->mail_lock);
	m = l->mail_first;
	l->mail_first = NULL;
	l->mail_last = &l->mail_first;
	pthread_mutex_unlock(&l->mail_lock);

	while (m != NULL) {
		struct mail *next = m->next;

		m->deliver(m);
		m = next;
		any = true;
	}
	return any;
}

void loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	while (deliver_mail(l))
		;
	if (l->mail_fd >= 0)
		close(l->mail_fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	pthread_mutex_destroy(&l->mail_lock);
	free(l->places);
	free(l->heap);
	free(l);
}

uint64_t loop_now_ms(const struct loop *l)
{
	return l->now_ms;
}

static uint32_t place_take(struct loop *l, struct watch *w)
{
	uint32_t place = l->place_free;

	if (place != 0) {
		l->place_free = l->places[place].events;
	} else {
		if (l->place_count >= l->place_size) {
			l->place_size = MAX(l->place_size * 2, (uint32_t)64);
			l->places = mem_resize(l->places, l->place_size * sizeof(struct place));
		}
		place = l->place_count++;
		l->places[place].generation = 0;
	}
	l->places[place].watch = w;
	return place;
}

static void place_give(struct loop *l, uint32_t place)
{
	struct place *p = &l->places[place];

	p->watch = NULL;
	p->generation++;
	p->events = l->place_free;
	l->place_free = place;
}

static int control(struct loop *l, int operation, const struct watch *w, uint32_t place, uint32_t events, struct err *e)
{
	struct epoll_event ev = { .events = events };

	ev.data.u64 = (uint64_t)l->places[place].generation << 32 | place;
	if (epoll_ctl(l->epoll_fd, operation, w->fd, &ev) < 0)
		return err_errno(e, ERR_SYSTEM, "watch descriptor %d", w->fd);
	l->places[place].events = events;
	return 0;
}

/* Whose event it is; NULL: of nobody who is still there. */
static struct watch *find_watch(const struct loop *l, const struct epoll_event *ev)
{
	const struct place *p = &l->places[(uint32_t)ev->data.u64];

	return p->generation == (uint32_t)(ev->data.u64 >> 32) ? p->watch : NULL;
}

int loop_watch(struct loop *l, struct watch *w, uint32_t events, struct err *e)
{
	uint32_t place = place_take(l, w);

	if (control(l, EPOLL_CTL_ADD, w, place, events, e) < 0) {
		place_give(l, place);
		return -1;
	}
	w->place = place;
	return 0;
}

int loop_rewatch(struct loop *l, struct watch *w, uint32_t events, struct err *e)
{
	return control(l, EPOLL_CTL_MOD, w, w->place, events, e);
}

int loop_watch_output(struct loop *l, struct watch *w)
{
	uint32_t events = l->places[w->place].events;
	struct err e;

	return (events & EPOLLOUT) != 0 ? 0 : loop_rewatch(l, w, events | EPOLLOUT, &e);
}

int loop_hand_over(struct loop *l, struct watch *from, struct watch *to, uint32_t events, struct err *e)
{
	if (!watch_is_active(from))
		return loop_watch(l, to, events, e);
	if (control(l, EPOLL_CTL_MOD, to, from->place, events, e) < 0)
		return -1;
	to->place = from->place;
	from->place = 0;
	l->places[to->place].watch = to;
	return 0;
}

void loop_unwatch(struct loop *l, struct watch *w)
{
	if (!watch_is_active(w))
		return;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	place_give(l, w->place);
	w->place = 0;
}

/* close() unwatches. Of a file that somebody else still holds a level would be told in every round, an edge seldom. */
void loop_close(struct loop *l, struct watch *w)
{
	if (watch_is_active(w) && (l->places[w->place].events & EPOLLET) != 0) {
		place_give(l, w->place);
		w->place = 0;
	}
	loop_unwatch(l, w);
	close(w->fd);
	w->fd = -1;
}

void timer_init(struct timer *t, void (*expired)(struct timer *self))
{
	*t = (struct timer){ .expired = expired };
}

static void heap_put(struct loop *l, size_t place, struct timer *t)
{
	l->heap[place] = t;
	t->place = place;
}

static void heap_up(struct loop *l, struct timer *t)
{
	size_t at = t->place;

	while (at > 1 && l->heap[at / 2]->due_ms > t->due_ms) {
		heap_put(l, at, l->heap[at / 2]);
		at /= 2;
	}
	heap_put(l, at, t);
}

static void heap_down(struct loop *l, struct timer *t)
{
	size_t at = t->place;

	for (;;) {
		size_t child = 2 * at;

		if (child > l->heap_len)
			break;
		if (child < l->heap_len && l->heap[child + 1]->due_ms < l->heap[child]->due_ms)
			child++;
		if (l->heap[child]->due_ms >= t->due_ms)
			break;
		heap_put(l, at, l->heap[child]);
		at = child;
	}
	heap_put(l, at, t);
}

void timer_start(struct loop *l, struct timer *t, uint64_t delay_ms)
{
	timer_cancel(l, t);
	if (l->heap_len + 2 > l->heap_size) {
		l->heap_size = MAX(l->heap_size * 2, (size_t)64);
		l->heap = mem_resize(l->heap, l->heap_size * sizeof(struct timer *));
	}
	t->due_ms = l->now_ms + delay_ms;
	heap_put(l, ++l->heap_len, t);
	heap_up(l, t);
}

void timer_cancel(struct loop *l, struct timer *t)
{
	struct timer *last;
	size_t place = t->place;

	if (place == 0)
		return;
	t->place = 0;
	last = l->heap[l->heap_len--];
	if (last == t)
		return;
	heap_put(l, place, last);
	heap_up(l, last);
	heap_down(l, last);
}

static void expire_timers(struct loop *l)
{
	while (l->heap_len > 0 && l->heap[1]->due_ms <= l->now_ms) {
		struct timer *t = l->heap[1];

		timer_cancel(l, t);
		t->expired(t);
	}
}

void task_init(struct task *t, void (*run)(struct task *self))
{
	list_init(&t->link);
	t->run = run;
}

void task_schedule(struct loop *l, struct task *t)
{
	if (list_is_empty(&t->link))
		list_append(&l->tasks, &t->link);
}

void task_cancel(struct task *t)
{
	list_remove(&t->link);
}

/* Only those scheduled before this began; what they schedule is for the next round. */
static void run_tasks(struct loop *l)
{
	struct list now;
	struct list *link;

	list_init(&now);
	list_splice(&now, &l->tasks);
	while ((link = list_pop(&now)) != NULL) {
		struct task *t = container_of(link, struct task, link);

		t->run(t);
	}
}

void loop_post(struct loop *l, struct mail *m)
{
	static const uint64_t one = 1;
	bool was_empty;

	m->next = NULL;
	pthread_mutex_lock(&l->mail_lock);
	was_empty = l->mail_first == NULL;
	*l->mail_last = m;
	l->mail_last = &m->next;
	pthread_mutex_unlock(&l->mail_lock);
	if (was_empty) {
		ssize_t ignored = write(l->mail_fd, &one, sizeof(one));

		(void)ignored;
	}
}

static int wait_ms(const struct loop *l)
{
	uint64_t now;

	if (!list_is_empty(&l->tasks))
		return 0;
	if (l->heap_len == 0)
		return -1;
	now = clock_ms();
	if (l->heap[1]->due_ms <= now)
		return 0;
	return (int)MIN(l->heap[1]->due_ms - now, (uint64_t)3600000);
}

void loop_run(struct loop *l)
{
	l->stopping = false;
	while (!l->stopping) {
		int count = epoll_wait(l->epoll_fd, l->events, ROUND_EVENTS, wait_ms(l));

		l->now_ms = clock_ms();
		for (int i = 0; i < count; i++) {
			struct watch *w = find_watch(l, &l->events[i]);

			if (w != NULL)
				w->ready(w, l->events[i].events);
		}
		deliver_mail(l);
		expire_timers(l);
		run_tasks(l);
	}
}

void loop_stop(struct loop *l)
{
	l->stopping = true;
}
