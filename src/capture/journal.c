/* SPDX-License-Identifier: Apache-2.0 */
/* journal - the undo list on disk. */
#include "capture/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/json.h"
#include "config/capture_numbers.h"

#define VERSION 1

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define TEMPORARY ".new"

static const char *const backend_names[] = { "nft", "iptables-nft", "iptables-legacy" };

/* ---- the text ---- */

static void format_owner(struct buf *out, const char *name, const struct journal_owner *o)
{
	buf_format(out, "  \"%s\": {\"pid\": %d, \"start\": %" PRIu64 "},\n", name, (int)o->pid, o->start);
}

static void format_string(struct buf *out, const char *name, const char *value)
{
	buf_format(out, "  \"%s\": ", name);
	json_append_string(out, bytes_str(value));
	buf_append_str(out, ",\n");
}

static void format_route(struct buf *out, const struct policy_route *r)
{
	buf_format(out,
		   "{\"family\": %d, \"mark\": %" PRIu32 ", \"mask\": %" PRIu32 ", \"table\": %" PRIu32
		   ", \"protocol\": %u}",
		   r->family == AF_INET ? 4 : 6, r->mark, r->mask, r->table, r->protocol);
}

void journal_format(const struct journal *j, struct buf *out)
{
	buf_format(out, "{\n  \"tng_undo\": %d,\n", VERSION);
	format_string(out, "instance", j->instance);
	buf_format(out, "  \"netns\": %" PRIu64 ",\n", j->netns);
	format_string(out, "boot", j->boot);
	format_owner(out, "gateway", &j->gateway);
	format_owner(out, "guard", &j->guard);
	format_string(out, "backend", backend_names[j->backend]);
	buf_format(out, "  \"blocked\": %s,\n  \"src_valid_mark\": %s,\n  \"routes\": [", j->blocked ? "true" : "false",
		   j->src_valid_mark ? "true" : "false");
	for (size_t i = 0; i < j->route_count; i++) {
		buf_append_str(out, i == 0 ? "\n    " : ",\n    ");
		format_route(out, &j->routes[i]);
	}
	buf_append_str(out, "]\n}\n");
}

static int wrong(const char *source, const char *what, struct err *e)
{
	return err_set(e, ERR_CONFIG,
		       "%s: not an undo journal of this tng (%s); nothing was done with it: look at it and remove it, "
		       "then run tng cleanup-iptables",
		       source, what);
}

static bool take_integer(const struct json *from, const char *name, int64_t min, int64_t max, int64_t *value)
{
	return json_integer(json_member(from, name), min, max, value);
}

static bool take_owner(const struct json *from, struct journal_owner *o)
{
	int64_t pid, start;

	if (!take_integer(from, "pid", 1, INT_MAX, &pid) || !take_integer(from, "start", 0, INT64_MAX, &start))
		return false;
	*o = (struct journal_owner){ .pid = (pid_t)pid, .start = (uint64_t)start };
	return from->count == 2;
}

static bool take_backend(const char *name, enum journal_backend *backend)
{
	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(backend_names); i++) {
		if (strcmp(backend_names[i], name) != 0)
			continue;
		*backend = (enum journal_backend)i;
		return true;
	}
	return false;
}

/* Tables 253 to 255 are the kernel's own (default, main, local), and 0 is none. */
static bool is_own_table(int64_t table)
{
	return table >= CAPTURE_TABLE_FIRST && (table < 253 || table > 255);
}

static bool take_route(const struct json *from, struct policy_route *r)
{
	int64_t family, mark, mask, table, protocol;

	if (!take_integer(from, "family", 4, 6, &family) || family == 5 ||
	    !take_integer(from, "mark", 1, UINT32_MAX, &mark) || !take_integer(from, "mask", 1, UINT32_MAX, &mask) ||
	    !take_integer(from, "table", 1, UINT32_MAX, &table) || !is_own_table(table) ||
	    !take_integer(from, "protocol", 5, 255, &protocol)) /* up to 4: the kernel's and iproute2's own */
		return false;
	*r = (struct policy_route){
		.family = family == 4 ? AF_INET : AF_INET6,
		.mark = (uint32_t)mark,
		.mask = (uint32_t)mask,
		.table = (uint32_t)table,
		.protocol = (uint8_t)protocol,
	};
	return from->count == 5 && (mark & ~mask) == 0;
}

static bool take_routes(const struct json *from, struct journal *j)
{
	if (from == NULL || from->type != JSON_ARRAY || from->count > JOURNAL_ROUTES_MAX)
		return false;
	j->routes = mem_new_array(from->count + 1, sizeof(*j->routes));
	for (size_t i = 0; i < from->count; i++) {
		if (from->items[i]->type != JSON_OBJECT || !take_route(from->items[i], &j->routes[i]))
			return false;
	}
	j->route_count = from->count;
	return true;
}

static int take_all(const struct json *from, const char *source, struct journal *j, struct err *e)
{
	const char *instance = json_string(json_member(from, "instance"));
	const char *boot = json_string(json_member(from, "boot"));
	const struct json *blocked = json_member(from, "blocked");
	const struct json *src_valid_mark = json_member(from, "src_valid_mark");
	int64_t version, netns;

	if (!take_integer(from, "tng_undo", 1, INT_MAX, &version))
		return wrong(source, "it does not say so", e);
	if (version != VERSION)
		return wrong(source, "another version", e);
	if (from->count != 10)
		return wrong(source, "members too many or too few", e);
	if (instance == NULL || !is_instance_name(instance))
		return wrong(source, "instance", e);
	if (!take_integer(from, "netns", 0, INT64_MAX, &netns))
		return wrong(source, "netns", e);
	if (boot == NULL || strlen(boot) > 64)
		return wrong(source, "boot", e);
	if (!take_owner(json_member(from, "gateway"), &j->gateway) ||
	    !take_owner(json_member(from, "guard"), &j->guard))
		return wrong(source, "gateway or guard", e);
	if (!take_backend(json_string(json_member(from, "backend")), &j->backend))
		return wrong(source, "backend", e);
	if (blocked == NULL || blocked->type != JSON_BOOL)
		return wrong(source, "blocked", e);
	if (src_valid_mark == NULL || src_valid_mark->type != JSON_BOOL)
		return wrong(source, "src_valid_mark", e);
	if (!take_routes(json_member(from, "routes"), j))
		return wrong(source, "routes", e);
	j->instance = mem_strdup(instance);
	j->boot = mem_strdup(boot);
	j->netns = (uint64_t)netns;
	j->blocked = blocked->boolean;
	j->src_valid_mark = src_valid_mark->boolean;
	return 0;
}

int journal_parse(struct bytes text, const char *source, struct journal *j, struct err *e)
{
	struct err syntax;
	struct json *json = NULL;
	int rc;

	*j = (struct journal){ 0 };
	if (text.len > JOURNAL_SIZE_MAX)
		return wrong(source, "too long", e);
	json = json_parse(text, JSON_STRICT, &syntax);
	if (json == NULL)
		return wrong(source, syntax.text, e);
	rc = take_all(json, source, j, e);
	json_free(json);
	if (rc != 0)
		journal_release(j);
	return rc;
}

void journal_release(struct journal *j)
{
	free(j->instance);
	free(j->boot);
	free(j->routes);
	*j = (struct journal){ 0 };
}

/* ---- the file ---- */

/* Only what we alone could have written. */
static int check_file(int fd, const char *name, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_errno(e, ERR_SYSTEM, "%s", name);
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0)
		return wrong(name, "others can write to it", e);
	return 0;
}

static int read_all(int fd, const char *name, struct buf *text, struct err *e)
{
	ssize_t n;

	do {
		n = read(fd, buf_reserve(text, 4096), 4096);
		if (n > 0)
			text->len += (size_t)n;
		if (text->len > JOURNAL_SIZE_MAX)
			return wrong(name, "too long", e);
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n == 0 ? 0 : err_errno(e, ERR_SYSTEM, "read %s", name);
}

static bool is_of_here(const struct journal *j)
{
	char *boot = journal_boot();
	bool same = j->netns == journal_netns() && strcmp(j->boot, boot) == 0;

	free(boot);
	return same;
}

int journal_read(int folder, const char *name, struct journal *j, struct err *e)
{
	struct buf text = { 0 };
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int rc;

	*j = (struct journal){ 0 };
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_errno(e, ERR_SYSTEM, "open %s", name);
	rc = check_file(fd, name, e);
	if (rc == 0)
		rc = read_all(fd, name, &text, e);
	if (rc == 0)
		rc = journal_parse(buf_bytes(&text), name, j, e);
	if (rc == 0)
		rc = is_of_here(j) ? 1 : 0;
	if (rc == 0)
		journal_release(j);
	buf_release(&text);
	close(fd);
	return rc;
}

static int write_all(int fd, struct bytes text)
{
	while (text.len > 0) {
		ssize_t n = write(fd, text.data, text.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		text = bytes_of(text.data + n, text.len - (size_t)n);
	}
	return fsync(fd);
}

int journal_write(int folder, const char *name, const struct journal *j, struct err *e)
{
	char *temporary;
	struct buf text = { 0 };
	int fd;
	int rc = -1;

	if (j->route_count > JOURNAL_ROUTES_MAX)
		return err_set(e, ERR_LIMIT, "more than %d policy routes", JOURNAL_ROUTES_MAX);
	temporary = mem_format("%s%s", name, TEMPORARY);
	journal_format(j, &text);
	(void)unlinkat(folder, temporary, 0); /* of a process that died in between */
	fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		err_errno(e, ERR_SYSTEM, "open %s", temporary);
		goto out;
	}
	if (write_all(fd, buf_bytes(&text)) != 0 || renameat(folder, temporary, folder, name) != 0 ||
	    fsync(folder) != 0)
		err_errno(e, ERR_SYSTEM, "write %s", name);
	else
		rc = 0;
	close(fd);
	if (rc != 0)
		(void)unlinkat(folder, temporary, 0);
out:
	buf_release(&text);
	free(temporary);
	return rc;
}

int journal_remove(int folder, const char *name, struct err *e)
{
	if (unlinkat(folder, name, 0) != 0 && errno != ENOENT)
		return err_errno(e, ERR_SYSTEM, "remove %s", name);
	return 0;
}

/* ---- who ---- */

/* Field 22 of /proc/PID/stat, counted behind the name, which may hold blanks and parentheses. */
static bool start_of(const char *stat, uint64_t *start)
{
	const char *at = strrchr(stat, ')');

	if (at == NULL || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X') /* ended, and only waits to be reaped */
		return false;
	for (unsigned field = 2; field < 22 && at != NULL; field++) {
		at = strchr(at, ' ');
		if (at != NULL)
			at++;
	}
	return at != NULL && sscanf(at, "%" SCNu64, start) == 1;
}

bool journal_owner_of(pid_t pid, struct journal_owner *owner)
{
	char path[64];
	char text[1024] = "";
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	owner->pid = pid;
	return start_of(text, &owner->start);
}

bool journal_owner_lives(const struct journal_owner *owner)
{
	struct journal_owner now;

	return journal_owner_of(owner->pid, &now) && now.start == owner->start;
}

static uint64_t netns_cookie(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) != 0)
		cookie = 0;
	close(fd);
	return cookie;
}

/* The inode is given to another namespace when this one has gone; the cookie (Linux 5.14) is not. */
uint64_t journal_netns(void)
{
	uint64_t cookie = netns_cookie();
	struct stat st;

	if (cookie != 0)
		return cookie;
	return stat("/proc/self/ns/net", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

char *journal_boot(void)
{
	char text[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		ssize_t n = read(fd, text, sizeof(text) - 1);

		text[n > 0 ? n : 0] = '\0';
		text[strcspn(text, "\n")] = '\0';
		close(fd);
	}
	return mem_strdup(text);
}
