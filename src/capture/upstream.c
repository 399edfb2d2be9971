/* SPDX-License-Identifier: Apache-2.0 */
/* upstream - who has "@tng". */
#include "capture/upstream.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define NAME " @tng\n"

/* The last column is the name, the one before it the inode. 0: not bound. */
static uint64_t bound_inode(void)
{
	FILE *f = fopen("/proc/net/unix", "re");
	char line[512];
	uint64_t inode = 0;

	while (f != NULL && inode == 0 && fgets(line, sizeof(line), f) != NULL) {
		size_t len = strlen(line);
		char *at;

		if (len < strlen(NAME) || strcmp(line + len - strlen(NAME), NAME) != 0)
			continue;
		line[len - strlen(NAME)] = '\0';
		at = strrchr(line, ' ');
		if (at != NULL)
			inode = strtoull(at + 1, NULL, 10);
	}
	if (f != NULL)
		fclose(f);
	return inode;
}

static bool has_socket(const char *pid, const char *wanted)
{
	char path[320];
	char target[64];
	DIR *fds;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	fds = opendir(path);
	while (fds != NULL && !found) {
		struct dirent *d = readdir(fds);
		ssize_t n;

		if (d == NULL)
			break;
		n = readlinkat(dirfd(fds), d->d_name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		found = strcmp(target, wanted) == 0;
	}
	if (fds != NULL)
		closedir(fds);
	return found;
}

static pid_t find_owner(uint64_t inode)
{
	char wanted[64];
	DIR *proc = opendir("/proc");
	pid_t pid = 0;

	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", inode);
	while (proc != NULL && pid == 0) {
		struct dirent *d = readdir(proc);

		if (d == NULL)
			break;
		if (strspn(d->d_name, "0123456789") == strlen(d->d_name) && has_socket(d->d_name, wanted))
			pid = (pid_t)strtol(d->d_name, NULL, 10);
	}
	if (proc != NULL)
		closedir(proc);
	return pid;
}

bool upstream_runs(pid_t *pid)
{
	uint64_t inode = bound_inode();
	char path[64];
	struct stat st;

	*pid = 0;
	if (inode == 0)
		return false;
	*pid = find_owner(inode);
	if (*pid == 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d", (int)*pid);
	return stat(path, &st) != 0 || st.st_uid == 0 || st.st_uid == geteuid();
}

int upstream_check(struct err *e)
{
	pid_t pid;

	if (upstream_runs(&pid))
		return err_set(e, ERR_CONFIG,
			       "an upstream TNG runs in this network namespace (process %d has bound @tng): its rules "
			       "and ours would "
			       "undo each other; stop it, or run this gateway in another network namespace",
			       (int)pid);
	if (pid != 0)
		log_warn("interception: process %d, which has no rights, has bound @tng, the name by which upstream's "
			 "TNG is known; "
			 "ignored",
			 (int)pid);
	return 0;
}
