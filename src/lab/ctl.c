/* SPDX-License-Identifier: Apache-2.0 */
/* ctl - sends one line, prints one line. Blocks, with a deadline. */
#include "lab/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "codec/json.h"

#define DEADLINE_S 30
#define ANSWER_MAX_LEN (8u << 20)

static int dial(const char *dir, struct err *e)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct timeval deadline = { .tv_sec = DEADLINE_S };
	int len = snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control.sock", dir);
	int fd;

	if (len < 0 || (size_t)len >= sizeof(sun.sun_path))
		return err_set(e, ERR_CONFIG, "%s: the path is too long for a socket", dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, ERR_SYSTEM, "socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		err_errno(e, ERR_CONFIG, "no lab answers on %s", sun.sun_path);
		close(fd);
		return -1;
	}
	return fd;
}

static int send_all(int fd, struct bytes text, struct err *e)
{
	while (text.len > 0) {
		ssize_t sent = send(fd, text.data, text.len, MSG_NOSIGNAL);

		if (sent < 0)
			return err_errno(e, ERR_SYSTEM, "send to the lab");
		text.data += sent;
		text.len -= (size_t)sent;
	}
	return 0;
}

static int receive_line(int fd, struct buf *out, struct err *e)
{
	while (out->len == 0 || bytes_find(buf_bytes(out), bytes_str("\n")) < 0) {
		ssize_t got;

		if (out->len > ANSWER_MAX_LEN)
			return err_set(e, ERR_LIMIT, "the lab's answer is too long");
		got = recv(fd, buf_reserve(out, 65536), 65536, 0);
		if (got < 0)
			return err_errno(e, ERR_SYSTEM, "receive from the lab");
		if (got == 0)
			return err_set(e, ERR_PEER, "the lab ended before it answered");
		out->len += (size_t)got;
	}
	return 0;
}

static int ask(const char *dir, const char *command, struct buf *answer, struct err *e)
{
	int fd = dial(dir, e);
	int rc = -1;

	if (fd < 0)
		return -1;
	if (send_all(fd, bytes_str(command), e) == 0 && send_all(fd, bytes_str("\n"), e) == 0)
		rc = receive_line(fd, answer, e);
	close(fd);
	return rc;
}

static bool is_ok(const struct buf *answer)
{
	struct err e;
	struct json *j = json_parse(buf_bytes(answer), JSON_STRICT, &e);
	const struct json *ok = json_member(j, "ok");
	bool good = ok != NULL && ok->type == JSON_BOOL && ok->boolean;

	json_free(j);
	return good;
}

int cmd_lab_ctl(int argc, char **argv)
{
	struct buf answer = { 0 };
	struct err e;
	int rc = 1;

	if (argc != 4 || strcmp(argv[1], "--dir") != 0 || strchr(argv[3], '\n') != NULL) {
		fputs("usage: tng lab ctl --dir DIR JSON\n", stderr);
		return 2;
	}
	if (ask(argv[2], argv[3], &answer, &e) < 0) {
		fprintf(stderr, "tng lab ctl: %s\n", e.text);
	} else {
		fwrite(answer.data, 1, answer.len, stdout);
		rc = is_ok(&answer) ? 0 : 1;
	}
	buf_release(&answer);
	return rc;
}
