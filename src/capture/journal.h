/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal - what has to be undone after us, on disk for the case that nobody is left to do it.
 *
 * Data, not commands: the names of our objects follow from the instance, and what is read back is held against what we
 * could have written. A file that is torn, foreign or tampered with is refused by its name and never acted upon. It
 * belongs to one network namespace of one boot; in another it is not looked at.
 *
 * Written whole into a temporary file, synced and renamed, before the change that it describes.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "capture/rules.h"

#define JOURNAL_SIZE_MAX 65536
#define JOURNAL_ROUTES_MAX 512

/* By whom it was made; start: in clock ticks since boot, as a pid alone comes again. */
struct journal_owner {
	pid_t pid;
	uint64_t start;
};

enum journal_backend { JOURNAL_NFT, JOURNAL_IPTABLES_NFT, JOURNAL_IPTABLES_LEGACY };

struct journal {
	char *instance;
	uint64_t netns; /* journal_netns() */
	char *boot;	/* /proc/sys/kernel/random/boot_id */
	struct journal_owner gateway;
	struct journal_owner guard;
	enum journal_backend backend;
	bool blocked;	     /* what stands is the block that on_exit "drop" leaves */
	bool src_valid_mark; /* was on, and has been switched off (source_check.h) */
	struct policy_route *routes;
	size_t route_count;
};

/* Bytes to value and back; source names the text in errors. journal_release(). */
int journal_parse(struct bytes text, const char *source, struct journal *j, struct err *e) MUST_CHECK;
void journal_format(const struct journal *j, struct buf *out);
void journal_release(struct journal *j);

/*
 * 1: read; 0: there is none, or it belongs to another namespace or an earlier boot; -1: refused. folder: an open
 * directory.
 */
int journal_read(int folder, const char *name, struct journal *j, struct err *e) MUST_CHECK;
int journal_write(int folder, const char *name, const struct journal *j, struct err *e) MUST_CHECK;

/* What is not there is success. */
int journal_remove(int folder, const char *name, struct err *e) MUST_CHECK;

/* Of this process. false: /proc is not there. */
bool journal_owner_of(pid_t pid, struct journal_owner *owner);
bool journal_owner_lives(const struct journal_owner *owner);

/* A number of this network namespace; 0: cannot be told. */
uint64_t journal_netns(void);
/* gives a string, "" when it cannot be told. */
char *journal_boot(void);
