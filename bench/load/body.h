/* SPDX-License-Identifier: Apache-2.0 */
/*
 * body - what client and service of a measurement say to each other.
 *
 * An exchange is a head of 16 bytes (how much goes up, how much shall come down, both little
 * endian), then the bytes up, then the bytes down. A connection carries any number of them, one
 * after the other. Every byte is a function of its place in the body, so both ends can compare it
 * when asked to.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_LEN 16

struct exchange {
	uint64_t up;
	uint64_t down;
	bool compare; /* both ends compare what comes; the measurement is then not one of speed */
};

void head_format(uint8_t to[HEAD_LEN], const struct exchange *x);
void head_parse(const uint8_t from[HEAD_LEN], struct exchange *x);

/* One direction of an exchange, on its way. */
struct body {
	uint64_t at;
	uint64_t len;
	bool compare;
};

enum body_step {
	BODY_DONE,
	BODY_AGAIN,  /* the socket has no more room, or nothing more to read */
	BODY_LATER,  /* there is more to do, but it is another connection's turn */
	BODY_FAILED, /* errno; 0: the other side closed, or sent other bytes */
};

void body_init(struct body *b, uint64_t len, bool compare);

/* head: sent in front of the first bytes, together with them; NULL when it has gone or there is
 * none. */
enum body_step body_send(int fd, struct body *b, const uint8_t *head);
enum body_step body_receive(int fd, struct body *b);

/* Takes what was read together with the head. False: other bytes than there should be, or too many.
 */
bool body_take(struct body *b, const uint8_t *data, size_t len);
