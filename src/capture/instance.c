/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance - locks and files of a name.
 *
 * A lock's file is unlinked by its last holder while it holds the lock; who has locked a file that is no longer at
 * its name begins anew. A lock outlives the gateway as long as its guard takes to clear up: a new gateway waits for
 * that.
 */
#include "capture/instance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define RUN_FOLDER "/run/tng"
#define LOCK_SUFFIX ".lock"
#define JOURNAL_SUFFIX ".undo"
#define WAIT_MS 6000  /* what a guard needs after its gateway's death, and a little more */
#define LIVING_MS 500 /* a process that is being killed still lives for a moment */
#define STEP_MS 50

struct instance {
	char *name;
	char *folder_path;
	char *lock_name;
	char *journal_name;
	int folder; /* -1: none */
	int lock;
	int address;
};

/* ---- the folder ---- */

/* Ours, and closed to others. */
static int open_folder(const char *path)
{
	struct stat st;
	int fd;

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 022) == 0 &&
	    faccessat(fd, ".", W_OK, 0) == 0)
		return fd;
	close(fd);
	return -1;
}

static int find_folder(char **path)
{
	const char *own = getenv("XDG_RUNTIME_DIR");
	int fd;

	*path = mem_strdup(RUN_FOLDER);
	fd = open_folder(*path);
	if (fd >= 0 || own == NULL || own[0] != '/')
		goto out;
	free(*path);
	*path = mem_format("%s/tng", own);
	fd = open_folder(*path);
out:
	if (fd < 0) {
		free(*path);
		*path = NULL;
	}
	return fd;
}

static char *file_name(const char *name, const char *suffix)
{
	return mem_format("%" PRIu64 ".%s%s", journal_netns(), name, suffix);
}

/* ---- the address ---- */

static socklen_t make_address(struct sockaddr_un *a, const char *name)
{
	int len;

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	len = snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "tng-instance/%s", name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

/* Whom we cannot look at may have them. */
static bool has_rights(const struct ucred *who)
{
	cap_flag_value_t value = CAP_SET;
	cap_t caps;

	if (who->uid == 0 || who->uid == geteuid() || who->pid == 0)
		return true;
	caps = cap_get_pid(who->pid);
	if (caps != NULL && cap_get_flag(caps, CAP_NET_ADMIN, CAP_PERMITTED, &value) != 0)
		value = CAP_SET;
	cap_free(caps);
	return value == CAP_SET;
}

/*
 * Who listens there. false: nobody, or somebody without rights. A full queue says nothing of who it is: has_lock tells
 * that no gateway of ours can be.
 */
static bool address_is_held(const char *name, bool has_lock, pid_t *pid)
{
	struct sockaddr_un a;
	socklen_t len = make_address(&a, name);
	struct ucred who;
	socklen_t who_len = sizeof(who);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool held = false;

	if (fd < 0)
		return false;
	if (connect(fd, (struct sockaddr *)&a, len) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &who_len) == 0) {
		held = has_rights(&who);
		*pid = held ? who.pid : 0;
		if (!held)
			log_warn("interception: process %d of user %u has bound @tng-instance/%s without rights; "
				 "ignored",
				 (int)who.pid, who.uid, name);
	} else if (errno == EAGAIN) {
		held = !has_lock;
		if (has_lock)
			log_warn("interception: somebody who does not answer has bound @tng-instance/%s; ignored",
				 name);
	}
	close(fd);
	return held;
}

/* -1: taken, or not to be had. */
static int bind_address(const char *name)
{
	struct sockaddr_un a;
	socklen_t len = make_address(&a, name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, 16) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- the locked file ---- */

enum lock_result { LOCK_TAKEN, LOCK_HELD, LOCK_FAILED };

static bool is_at_its_name(int folder, const char *name, int fd)
{
	struct stat here, there;

	return fstat(fd, &here) == 0 && fstatat(folder, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

static enum lock_result lock_file(int folder, const char *name, int flags, int *fd)
{
	for (;;) {
		*fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
		if (*fd < 0)
			return LOCK_FAILED;
		if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
			break;
		if (is_at_its_name(folder, name, *fd))
			return LOCK_TAKEN;
		close(*fd);
	}
	return errno == EWOULDBLOCK ? LOCK_HELD : LOCK_FAILED;
}

/* "PID START" of the gateway. */
static bool read_owner(int fd, struct journal_owner *owner)
{
	char text[64] = "";
	int pid;

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0 || sscanf(text, "%d %" SCNu64, &pid, &owner->start) != 2)
		return false;
	owner->pid = pid;
	return true;
}

static void write_owner(int fd)
{
	struct journal_owner me = { .pid = getpid() };
	char text[64];
	int len;

	(void)journal_owner_of(getpid(), &me);
	len = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)me.pid, me.start);
	/* Only for telling who it is; the lock is what counts. */
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len)
		log_warn("interception: cannot write the lock file: %s", strerror(errno));
}

/* ---- both ---- */

static int refuse_held(const char *name, pid_t pid, struct err *e)
{
	if (pid == 0)
		return err_set(e, ERR_CONFIG,
			       "interception.instance \"%s\" is in use by another gateway of this network "
			       "namespace: stop it, or give this one another name",
			       name);
	return err_set(e, ERR_CONFIG,
		       "interception.instance \"%s\" is in use by process %d: stop it, or give this "
		       "gateway another name",
		       name, (int)pid);
}

/* true: it is held by a living gateway, not by a guard that clears up behind a dead one. */
static bool holder_lives(int fd, pid_t *pid)
{
	struct journal_owner owner;

	if (!read_owner(fd, &owner))
		return false;
	*pid = owner.pid;
	return journal_owner_lives(&owner);
}

static enum lock_result try_lock(struct instance *i, bool *living, pid_t *pid)
{
	enum lock_result rc = LOCK_TAKEN;
	int fd = -1;

	*living = false;
	if (i->folder >= 0) {
		rc = lock_file(i->folder, i->lock_name, O_CREAT, &fd);
		if (rc == LOCK_HELD) {
			*living = holder_lives(fd, pid);
			close(fd);
			return rc;
		}
		if (rc == LOCK_FAILED)
			return rc;
	}
	i->address = bind_address(i->name);
	if (i->address < 0 && address_is_held(i->name, fd >= 0, pid)) {
		if (fd >= 0)
			close(fd);
		return LOCK_HELD;
	}
	i->lock = fd;
	return LOCK_TAKEN;
}

static int take_locks(struct instance *i, struct err *e)
{
	uint64_t begin = clock_ms();
	pid_t pid = 0;
	bool living;

	for (;;) {
		switch (try_lock(i, &living, &pid)) {
		case LOCK_TAKEN:
			if (i->lock >= 0)
				write_owner(i->lock);
			return 0;
		case LOCK_FAILED:
			return err_errno(e, ERR_SYSTEM, "lock %s/%s", i->folder_path, i->lock_name);
		case LOCK_HELD:
			if (clock_ms() >= begin + (living ? LIVING_MS : WAIT_MS))
				return refuse_held(i->name, pid, e);
			poll(NULL, 0, STEP_MS);
		}
	}
}

struct instance *instance_open(const char *name, struct err *e)
{
	struct instance *i = mem_new_of(struct instance);

	i->name = mem_strdup(name);
	i->lock_name = file_name(name, LOCK_SUFFIX);
	i->journal_name = file_name(name, JOURNAL_SUFFIX);
	i->lock = i->address = -1;
	i->folder = find_folder(&i->folder_path);
	if (i->folder < 0)
		log_warn("interception: neither " RUN_FOLDER
			 " nor $XDG_RUNTIME_DIR/tng can be written to by us alone: no undo journal; "
			 "after a SIGKILL of gateway and guard run tng cleanup-iptables");
	if (take_locks(i, e) == 0)
		return i;
	instance_close(i);
	return NULL;
}

void instance_close(struct instance *i)
{
	if (i == NULL)
		return;
	if (i->lock >= 0)
		close(i->lock);
	if (i->address >= 0)
		close(i->address);
	if (i->folder >= 0)
		close(i->folder);
	free(i->name);
	free(i->lock_name);
	free(i->journal_name);
	free(i->folder_path);
	free(i);
}

void instance_end(struct instance *i)
{
	if (i != NULL && i->lock >= 0)
		(void)unlinkat(i->folder, i->lock_name, 0);
	instance_close(i);
}

const char *instance_name(const struct instance *i)
{
	return i->name;
}

int instance_journal_read(struct instance *i, struct journal *j, struct err *e)
{
	int rc;

	*j = (struct journal){ 0 };
	if (i->folder < 0)
		return 0;
	rc = journal_read(i->folder, i->journal_name, j, e);
	if (rc == 1 && strcmp(j->instance, i->name) != 0) {
		journal_release(j);
		return err_set(e, ERR_CONFIG,
			       "%s/%s: the journal of another instance; nothing was done with it: remove it",
			       i->folder_path, i->journal_name);
	}
	return rc < 0 ? err_wrap(e, "%s", i->folder_path) : rc;
}

int instance_journal_write(struct instance *i, const struct journal *j, struct err *e)
{
	if (i->folder < 0)
		return 0;
	if (journal_write(i->folder, i->journal_name, j, e) != 0)
		return err_wrap(e, "%s", i->folder_path);
	return 0;
}

int instance_journal_remove(struct instance *i, struct err *e)
{
	return i->folder < 0 ? 0 : journal_remove(i->folder, i->journal_name, e);
}

size_t instance_descriptors(const struct instance *i, int fds[INSTANCE_DESCRIPTORS])
{
	size_t n = 0;

	if (i->folder >= 0)
		fds[n++] = i->folder;
	if (i->lock >= 0)
		fds[n++] = i->lock;
	if (i->address >= 0)
		fds[n++] = i->address;
	return n;
}

/* ---- those that are there ---- */

static bool file_is_held(int folder, const char *name, pid_t *pid)
{
	char *lock_name = file_name(name, LOCK_SUFFIX);
	struct journal_owner owner = { 0 };
	int fd = openat(folder, lock_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool held = false;

	if (fd >= 0) {
		held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
		if (held && read_owner(fd, &owner))
			*pid = owner.pid;
		close(fd);
	}
	free(lock_name);
	return held;
}

static bool lives(int folder, const char *name, pid_t *pid)
{
	*pid = 0;
	return (folder >= 0 && file_is_held(folder, name, pid)) || address_is_held(name, false, pid);
}

bool instance_lives(const char *name, pid_t *pid)
{
	char *path;
	int folder = find_folder(&path);
	bool answer = lives(folder, name, pid);

	if (folder >= 0)
		close(folder);
	free(path);
	return answer;
}

/* "<netns>.<name>.lock" or ".undo" of this namespace; gives the name, or NULL. */
static char *name_of_file(const char *file)
{
	char *prefix = mem_format("%" PRIu64 ".", journal_netns());
	size_t skip = strlen(prefix);
	size_t len = strlen(file);
	const char *suffix = len > 5 ? file + len - 5 : "";
	char *name = NULL;

	if (strncmp(file, prefix, skip) == 0 && len > skip + 5 &&
	    (strcmp(suffix, LOCK_SUFFIX) == 0 || strcmp(suffix, JOURNAL_SUFFIX) == 0))
		name = mem_strndup(file + skip, len - skip - 5);
	free(prefix);
	return name;
}

static bool list_has(const struct instance_list *list, const char *name)
{
	for (size_t k = 0; k < list->count; k++) {
		if (strcmp(list->items[k].name, name) == 0)
			return true;
	}
	return false;
}

static void list_add(struct instance_list *list, int folder, const char *path, char *name)
{
	struct instance_seen seen = { .name = name };
	char *journal_name = file_name(name, JOURNAL_SUFFIX);
	int rc = journal_read(folder, journal_name, &seen.journal, &seen.refused);

	if (rc < 0)
		err_wrap(&seen.refused, "%s", path);
	seen.has_journal = rc == 1;
	seen.lives = lives(folder, name, &seen.pid);
	list->items = mem_resize(list->items, (list->count + 1) * sizeof(*list->items));
	list->items[list->count++] = seen;
	free(journal_name);
}

void instance_find(struct instance_list *list)
{
	char *path;
	int folder = find_folder(&path);
	int copy = folder >= 0 ? dup(folder) : -1;
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	*list = (struct instance_list){ 0 };
	for (entry = d != NULL ? readdir(d) : NULL; entry != NULL; entry = readdir(d)) {
		char *name = name_of_file(entry->d_name);

		if (name != NULL && !list_has(list, name))
			list_add(list, folder, path, name);
		else
			free(name);
	}
	if (d != NULL)
		closedir(d);
	if (folder >= 0)
		close(folder);
	free(path);
}

void instance_list_release(struct instance_list *list)
{
	for (size_t k = 0; k < list->count; k++) {
		free(list->items[k].name);
		journal_release(&list->items[k].journal);
	}
	free(list->items);
	*list = (struct instance_list){ 0 };
}
