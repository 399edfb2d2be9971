/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir - the lab's directory and its lock.
 *
 * The lock is a flock() on DIR/lock, so that it ends with its holder. The file's content says whether a lab
 * made the directory: after a kill, the next one cleans up for both.
 */
#include "lab/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME "lock"
#define MADE_NOTE "made by tng lab\n"

char *lab_dir_file(const struct lab_dir *d, const char *name)
{
	return mem_format("%s/%s", d->path, name);
}

/* The file that was locked may have been removed meanwhile by the lab that held it. */
static bool is_still_there(int fd, const char *path)
{
	struct stat held;
	struct stat named;

	return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
	       held.st_dev == named.st_dev;
}

static int lock(const char *path, struct err *e)
{
	for (int tries = 0; tries < 10; tries++) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0)
			return err_errno(e, ERR_CONFIG, "open %s", path);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			if (errno == EWOULDBLOCK)
				err_set(e, ERR_CONFIG, "%s: another lab is running here", path);
			else
				err_errno(e, ERR_SYSTEM, "lock %s", path);
			close(fd);
			return -1;
		}
		if (is_still_there(fd, path))
			return fd;
		close(fd);
	}
	return err_set(e, ERR_CONFIG, "%s: other labs come and go here", path);
}

static bool has_made_note(int fd)
{
	char note[sizeof(MADE_NOTE)];
	ssize_t len = pread(fd, note, sizeof(note), 0);

	return len == sizeof(MADE_NOTE) - 1 && memcmp(note, MADE_NOTE, (size_t)len) == 0;
}

int lab_dir_open(struct lab_dir *d, const char *path, struct err *e)
{
	char *lock_path = NULL;
	bool made = mkdir(path, 0700) == 0;

	*d = (struct lab_dir){ .lock_fd = -1 };
	if (!made && errno != EEXIST)
		return err_errno(e, ERR_CONFIG, "make directory %s", path);
	d->path = realpath(path, NULL);
	if (d->path == NULL) {
		err_errno(e, ERR_CONFIG, "%s", path);
		goto fail;
	}
	lock_path = lab_dir_file(d, LOCK_NAME);
	d->lock_fd = lock(lock_path, e);
	free(lock_path);
	if (d->lock_fd < 0)
		goto fail;
	d->made = made || has_made_note(d->lock_fd);
	if (made && pwrite(d->lock_fd, MADE_NOTE, sizeof(MADE_NOTE) - 1, 0) < 0) {
		err_errno(e, ERR_SYSTEM, "write %s/%s", path, LOCK_NAME);
		lab_dir_close(d);
		return -1;
	}
	return 0;
fail:
	free(d->path);
	d->path = NULL;
	if (made)
		rmdir(path);
	return -1;
}

void lab_dir_close(struct lab_dir *d)
{
	if (d->path == NULL)
		return;
	/* Removed while it is still locked: whoever waits for it then finds no file of this name. */
	lab_dir_remove(d, LOCK_NAME);
	close(d->lock_fd);
	if (d->made)
		rmdir(d->path);
	free(d->path);
	*d = (struct lab_dir){ .lock_fd = -1 };
}

static int write_all(int fd, struct bytes content)
{
	size_t done = 0;

	while (done < content.len) {
		ssize_t n = write(fd, content.data + done, content.len - done);

		if (n < 0 && errno != EINTR)
			return -1;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int lab_dir_write(const struct lab_dir *d, const char *name, struct bytes content, struct err *e)
{
	char *path = lab_dir_file(d, name);
	int rc = -1;
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0) {
		err_errno(e, ERR_CONFIG, "create %s", path);
		goto out;
	}
	rc = write_all(fd, content);
	if (rc < 0)
		err_errno(e, ERR_SYSTEM, "write %s", path);
	close(fd);
out:
	free(path);
	return rc;
}

void lab_dir_remove(const struct lab_dir *d, const char *name)
{
	char *path = lab_dir_file(d, name);

	unlink(path);
	free(path);
}
