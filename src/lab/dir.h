/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir - the lab's directory: made if it is missing, held by one lab at a time, left as it was found.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

struct lab_dir {
	char *path; /* absolute */
	int lock_fd;
	bool made; /* by us, or by a lab that was killed here */
};

/* ERR_CONFIG when another lab holds it. */
int lab_dir_open(struct lab_dir *d, const char *path, struct err *e) MUST_CHECK;

/* Removes the lock, and the directory if a lab made it and nothing else is in it. */
void lab_dir_close(struct lab_dir *d);

/* gives the path of a file in it. */
char *lab_dir_file(const struct lab_dir *d, const char *name);

/* Replaces a file. */
int lab_dir_write(const struct lab_dir *d, const char *name, struct bytes content, struct err *e) MUST_CHECK;
void lab_dir_remove(const struct lab_dir *d, const char *name);
