/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance - one gateway of a name in a network namespace, and where it keeps its journal.
 *
 * Two locks. A locked file in a folder that only we can write to (/run/tng, else $XDG_RUNTIME_DIR/tng), named after
 * network namespace and instance; and an abstract unix address, which is seen from every container that shares the
 * network namespace. Anybody can bind such an address, so it counts only when root or our own user has it. Both are
 * held by the guard, until the rules are gone.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "capture/journal.h"

struct instance;

/*
 * Waits a few seconds for the guard of a gateway that has just ended. Refused when the name is in use, with the
 * pid. gives an instance.
 */
struct instance *instance_open(const char *name, struct err *e);

/*
 * Lets go; the files stay while the journal is there. Safe in either of two processes after fork(): the last one
 * counts.
 */
void instance_close(struct instance *i);

/* Gives the lock's files up for good. */
void instance_end(struct instance *i);

const char *instance_name(const struct instance *i);

/*
 * As journal_read(), journal_write(), journal_remove(); without a folder there is nothing to read, and writing is done
 * at once.
 */
int instance_journal_read(struct instance *i, struct journal *j, struct err *e) MUST_CHECK;
int instance_journal_write(struct instance *i, const struct journal *j, struct err *e) MUST_CHECK;
int instance_journal_remove(struct instance *i, struct err *e) MUST_CHECK;

/* The descriptors that have to stay open in the guard; returns how many, at most 3. */
#define INSTANCE_DESCRIPTORS 3
size_t instance_descriptors(const struct instance *i, int fds[INSTANCE_DESCRIPTORS]);

/* Instances of this network namespace that have left a file, and those that run. */
struct instance_seen {
	char *name;
	bool lives;
	pid_t pid; /* 0: not known */
	bool has_journal;
	struct err refused; /* ERR_NONE, or why the journal is refused */
	struct journal journal;
};

struct instance_list {
	struct instance_seen *items;
	size_t count;
};

void instance_find(struct instance_list *list);
void instance_list_release(struct instance_list *list);

/* Whether an instance of this name runs, by whatever can be seen. pid: 0 when not known. */
bool instance_lives(const char *name, pid_t *pid);
