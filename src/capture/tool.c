/* SPDX-License-Identifier: Apache-2.0 */
/* tool - programs of the system. */
#include "capture/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define PIECE 65536
#define ERROR_TEXT_MAX 180

static const char *const folders[] = { "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin" };

char *tool_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		char *path = mem_format("%s/%s", folders[i], name);

		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

/* The three pipes, seen from us; -1 once closed. */
struct pipes {
	int input;
	int output;
	int errors;
};

struct ends {
	int ours;
	int theirs;
};

static int make_pipe(struct ends *p, bool we_write, struct err *e)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_errno(e, ERR_SYSTEM, "pipe");
	p->ours = fds[we_write ? 1 : 0];
	p->theirs = fds[we_write ? 0 : 1];
	fcntl(p->ours, F_SETFL, O_NONBLOCK);
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The tool's lock can be elsewhere: in a user namespace /run/xtables.lock cannot be opened. */
static void make_environment(char **env, char **lock)
{
	const char *file = getenv("XTABLES_LOCKFILE");
	size_t n = 0;

	env[n++] = (char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	env[n++] = (char *)"LC_ALL=C";
	*lock = file != NULL ? mem_format("XTABLES_LOCKFILE=%s", file) : NULL;
	if (*lock != NULL)
		env[n++] = *lock;
	env[n] = NULL;
}

static int spawn(const char *const *argv, const int theirs[3], pid_t *pid, struct err *e)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t all, none;
	char *env[4];
	char *lock;
	int rc;

	make_environment(env, &lock);
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&actions);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&actions, theirs[i], i);
	rc = posix_spawn(pid, argv[0], &actions, &attr, (char *const *)argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	free(lock);
	errno = rc;
	return rc == 0 ? 0 : err_errno(e, ERR_SYSTEM, "run %s", argv[0]);
}

static void feed(int *fd, struct bytes *input)
{
	ssize_t n = input->len > 0 ? write(*fd, input->data, input->len) : 0;

	if (n > 0) {
		input->data += n;
		input->len -= (size_t)n;
	}
	if (input->len == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) /* it may end without reading all */
		close_fd(fd);
}

static int drain(int *fd, struct buf *to, struct err *e)
{
	uint8_t piece[PIECE];
	ssize_t n = read(*fd, piece, sizeof(piece));

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		close_fd(fd);
		return 0;
	}
	if (n < 0 || to == NULL)
		return 0;
	if (to->len + (size_t)n > TOOL_OUTPUT_MAX)
		return err_set(e, ERR_LIMIT, "wrote more than %u MiB", TOOL_OUTPUT_MAX >> 20);
	buf_append(to, piece, (size_t)n);
	return 0;
}

/* Until both of its outputs are closed. */
static int talk(struct pipes *p, const struct tool_run *run, struct err *e)
{
	uint64_t deadline = clock_ms() + TOOL_TIMEOUT_MS;
	struct bytes input = run->input;

	while (p->output >= 0 || p->errors >= 0) {
		struct pollfd fds[] = { { .fd = p->input, .events = POLLOUT },
					{ .fd = p->output, .events = POLLIN },
					{ .fd = p->errors, .events = POLLIN } };
		uint64_t now = clock_ms();

		if (now >= deadline)
			return err_set(e, ERR_TIMEOUT, "did not end within %d s", TOOL_TIMEOUT_MS / 1000);
		if (poll(fds, 3, (int)(deadline - now)) < 0 && errno != EINTR)
			return err_errno(e, ERR_SYSTEM, "poll");
		if (fds[0].revents != 0)
			feed(&p->input, &input);
		if (fds[1].revents != 0 && drain(&p->output, run->output, e) != 0)
			return -1;
		if (fds[2].revents != 0 && drain(&p->errors, run->errors, e) != 0)
			return -1;
	}
	return 0;
}

static int reap(pid_t pid)
{
	int status;
	pid_t rc;

	do {
		rc = waitpid(pid, &status, 0);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int tool_run(const struct tool_run *run, struct err *e)
{
	struct ends in = { -1, -1 };
	struct ends out = { -1, -1 };
	struct ends err = { -1, -1 };
	struct pipes p;
	pid_t pid = 0;
	int rc = -1;

	if (make_pipe(&in, true, e) == 0 && make_pipe(&out, false, e) == 0 && make_pipe(&err, false, e) == 0)
		rc = spawn(run->argv, (const int[]){ in.theirs, out.theirs, err.theirs }, &pid, e);
	close_fd(&in.theirs);
	close_fd(&out.theirs);
	close_fd(&err.theirs);
	p = (struct pipes){ in.ours, out.ours, err.ours };
	if (rc == 0 && talk(&p, run, e) != 0) {
		err_wrap(e, "%s", run->argv[0]);
		kill(pid, SIGKILL);
		reap(pid);
		rc = -1;
	} else if (rc == 0) {
		rc = reap(pid);
		if (rc < 0)
			err_errno(e, ERR_SYSTEM, "wait for %s", run->argv[0]);
	}
	close_fd(&p.input);
	close_fd(&p.output);
	close_fd(&p.errors);
	return rc;
}

/* What it wrote, on one line: some tools begin with a line that holds only their name. */
static int say_failed(const struct tool_run *run, int status, struct buf *errors, struct err *e)
{
	char text[ERROR_TEXT_MAX];
	size_t len = MIN(errors->len, sizeof(text) - 1);

	memcpy(text, buf_str(errors), len);
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	text[len] = '\0';
	for (char *at = strchr(text, '\n'); at != NULL; at = strchr(at, '\n'))
		*at = ' ';
	if (len == 0)
		return err_set(e, ERR_SYSTEM, "%s ended with status %d", run->argv[0], status);
	return err_set(e, ERR_SYSTEM, "%s: status %d: %s", run->argv[0], status, text);
}

int tool_run_ok(const struct tool_run *run, struct err *e)
{
	struct buf errors = { 0 };
	struct tool_run kept = *run;
	int rc;

	if (kept.errors == NULL)
		kept.errors = &errors;
	rc = tool_run(&kept, e);
	if (rc > 0)
		rc = say_failed(run, rc, kept.errors, e);
	buf_release(&errors);
	return rc;
}
