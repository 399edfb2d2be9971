/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttrpc_frame - the frames of ttrpc and the messages in them. spec: attestation.md 1.2 and 1.3.
 *
 * A frame is a header of ten bytes and a protobuf message. Both directions are here, since the lab and
 * the tests play the agent.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

#define TTRPC_HEADER_LEN 10
#define TTRPC_PAYLOAD_MAX 4194304u

enum ttrpc_type { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2, TTRPC_DATA = 3 };

/* As in gRPC; those that we tell apart. */
enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_INVALID_ARGUMENT = 3,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_INTERNAL = 13,
};

struct ttrpc_header {
	uint32_t length; /* of the payload */
	uint32_t stream;
	uint8_t type;
	uint8_t flags;
};

struct ttrpc_header ttrpc_header_parse(const uint8_t in[TTRPC_HEADER_LEN]);
void ttrpc_header_format(const struct ttrpc_header *h, uint8_t out[TTRPC_HEADER_LEN]);

/* What stands at the beginning of the bytes that came so far. */
enum ttrpc_found {
	TTRPC_FRAME,	 /* a whole frame: header and payload are set */
	TTRPC_MORE,	 /* the beginning of one */
	TTRPC_TOO_LARGE, /* a header that announces more than max: header is set */
};

/* payload is borrowed from in. max: of a payload; never more than TTRPC_PAYLOAD_MAX. */
enum ttrpc_found ttrpc_find_frame(struct bytes in, size_t max, struct ttrpc_header *h, struct bytes *payload);

/* Strings and bytes are borrowed when formatted and owned by what was parsed. */
struct ttrpc_request {
	const char *service;
	const char *method;
	struct bytes payload;
	unsigned timeout_ms; /* 0: none */
};

/* Appends a whole frame. Fails with ERR_LIMIT above TTRPC_PAYLOAD_MAX, out unchanged. */
int ttrpc_request_format(uint32_t stream, const struct ttrpc_request *req, struct buf *out, struct err *e) MUST_CHECK;

/* Of a frame's payload. */
struct ttrpc_request_in {
	char *service;
	char *method;
	struct buf payload;
	int64_t timeout_nano;
};
int ttrpc_request_parse(struct bytes payload, struct ttrpc_request_in *out, struct err *e) MUST_CHECK;
void ttrpc_request_in_release(struct ttrpc_request_in *in);

struct ttrpc_response {
	int code;      /* 0: the call succeeded */
	char *message; /* "" or what the agent says; owned */
	struct buf payload;
};
int ttrpc_response_parse(struct bytes payload, struct ttrpc_response *out, struct err *e) MUST_CHECK;
void ttrpc_response_release(struct ttrpc_response *r);

/* Appends a whole frame; message is used when code is not 0. The same limit as for requests. */
int ttrpc_response_format(uint32_t stream, int code, const char *message, struct bytes payload, struct buf *out,
			  struct err *e) MUST_CHECK;
