/* SPDX-License-Identifier: Apache-2.0 */
/* body - sends the pattern, receives it. */
#include "body.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/mem.h"

#define PATTERN_PERIOD 251 /* a prime: no record or buffer size is a multiple */
#define PATTERN_LEN (PATTERN_PERIOD * 1044)
#define STEP_MAX (PATTERN_LEN - PATTERN_PERIOD) /* bytes of one call */
#define TURN_STEPS 16
#define COMPARE_FLAG (1ull << 63)

static uint8_t pattern[PATTERN_LEN];

__attribute__((constructor)) static void fill_pattern(void)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i % PATTERN_PERIOD);
}

static const uint8_t *pattern_at(uint64_t place)
{
	return pattern + place % PATTERN_PERIOD;
}

static void put_u64(uint8_t *to, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_u64(const uint8_t *from)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | from[i];
	return value;
}

void head_format(uint8_t to[HEAD_LEN], const struct exchange *x)
{
	put_u64(to, x->up | (x->compare ? COMPARE_FLAG : 0));
	put_u64(to + 8, x->down);
}

void head_parse(const uint8_t from[HEAD_LEN], struct exchange *x)
{
	uint64_t up = get_u64(from);

	x->compare = (up & COMPARE_FLAG) != 0;
	x->up = up & ~COMPARE_FLAG;
	x->down = get_u64(from + 8);
}

void body_init(struct body *b, uint64_t len, bool compare)
{
	*b = (struct body){ .len = len, .compare = compare };
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK;
}

/* The head is so small that a socket which takes anything takes all of it. */
static enum body_step send_with_head(int fd, struct body *b, const uint8_t *head)
{
	size_t len = MIN(b->len, (uint64_t)16384);
	struct iovec parts[] = { { (void *)head, HEAD_LEN }, { (void *)pattern_at(0), len } };
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);

	if (n < HEAD_LEN)
		return BODY_FAILED;
	b->at = (uint64_t)n - HEAD_LEN;
	return BODY_LATER;
}

enum body_step body_send(int fd, struct body *b, const uint8_t *head)
{
	if (head != NULL && send_with_head(fd, b, head) == BODY_FAILED)
		return BODY_FAILED;
	for (int step = 0; step < TURN_STEPS && b->at < b->len; step++) {
		ssize_t n = send(fd, pattern_at(b->at), MIN(b->len - b->at, (uint64_t)STEP_MAX), MSG_NOSIGNAL);

		if (n < 0)
			return would_block() ? BODY_AGAIN : BODY_FAILED;
		b->at += (uint64_t)n;
	}
	return b->at < b->len ? BODY_LATER : BODY_DONE;
}

bool body_take(struct body *b, const uint8_t *data, size_t len)
{
	if (len > b->len - b->at)
		return false;
	if (b->compare && memcmp(data, pattern_at(b->at), len) != 0)
		return false;
	b->at += len;
	return true;
}

/* Bytes that nobody looks at are dropped in the kernel: the cores belong to those that we measure.
 */
enum body_step body_receive(int fd, struct body *b)
{
	static uint8_t scratch[STEP_MAX];

	for (int step = 0; step < TURN_STEPS && b->at < b->len; step++) {
		ssize_t n = recv(fd, scratch, MIN(b->len - b->at, (uint64_t)STEP_MAX), b->compare ? 0 : MSG_TRUNC);

		if (n < 0)
			return would_block() ? BODY_AGAIN : BODY_FAILED;
		errno = 0;
		if (n == 0)
			return BODY_FAILED;
		if (!b->compare)
			b->at += (uint64_t)n;
		else if (!body_take(b, scratch, (size_t)n))
			return BODY_FAILED;
	}
	return b->at < b->len ? BODY_LATER : BODY_DONE;
}
