/* SPDX-License-Identifier: Apache-2.0 */
/* ttrpc_frame - ttrpc to bytes and back. */
#include "attest/coco/ttrpc_frame.h"

#include "attest/coco/protobuf.h"
#include "ttrpc.pb-c.h"

#include <stdlib.h>

struct ttrpc_header ttrpc_header_parse(const uint8_t in[TTRPC_HEADER_LEN])
{
	struct reader r = reader_of(bytes_of(in, TTRPC_HEADER_LEN));
	struct ttrpc_header h;

	h.length = reader_u32(&r);
	h.stream = reader_u32(&r);
	h.type = reader_u8(&r);
	h.flags = reader_u8(&r);
	return h;
}

void ttrpc_header_format(const struct ttrpc_header *h, uint8_t out[TTRPC_HEADER_LEN])
{
	struct writer w = writer_of(out, TTRPC_HEADER_LEN);

	writer_u32(&w, h->length);
	writer_u32(&w, h->stream);
	writer_u8(&w, h->type);
	writer_u8(&w, h->flags);
}

enum ttrpc_found ttrpc_find_frame(struct bytes in, size_t max, struct ttrpc_header *h, struct bytes *payload)
{
	if (in.len < TTRPC_HEADER_LEN)
		return TTRPC_MORE;
	*h = ttrpc_header_parse(in.data);
	if (h->length > MIN(max, (size_t)TTRPC_PAYLOAD_MAX))
		return TTRPC_TOO_LARGE;
	if (in.len - TTRPC_HEADER_LEN < h->length)
		return TTRPC_MORE;
	*payload = bytes_of(in.data + TTRPC_HEADER_LEN, h->length);
	return TTRPC_FRAME;
}

static int append_frame(uint32_t stream, enum ttrpc_type type, const ProtobufCMessage *message, struct buf *out,
			struct err *e)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	struct ttrpc_header h = { .stream = stream, .type = (uint8_t)type };

	if (len > TTRPC_PAYLOAD_MAX)
		return err_set(e, ERR_LIMIT, "a ttrpc message of %zu bytes exceeds %u", len, TTRPC_PAYLOAD_MAX);
	h.length = (uint32_t)len;
	ttrpc_header_format(&h, buf_reserve(out, TTRPC_HEADER_LEN + len));
	out->len += TTRPC_HEADER_LEN;
	out->len += protobuf_c_message_pack(message, out->data + out->len);
	return 0;
}

/* libprotobuf-c wants pointers that are not const, and only reads them. */
static ProtobufCBinaryData binary(struct bytes b)
{
	return (ProtobufCBinaryData){ .len = b.len, .data = (uint8_t *)b.data };
}

int ttrpc_request_format(uint32_t stream, const struct ttrpc_request *req, struct buf *out, struct err *e)
{
	Ttrpc__Request message = TTRPC__REQUEST__INIT;

	message.service = (char *)req->service;
	message.method = (char *)req->method;
	message.payload = binary(req->payload);
	message.timeout_nano = (int64_t)req->timeout_ms * 1000000;
	return append_frame(stream, TTRPC_REQUEST, &message.base, out, e);
}

int ttrpc_request_parse(struct bytes payload, struct ttrpc_request_in *out, struct err *e)
{
	struct protobuf_budget budget;
	Ttrpc__Request *message;

	protobuf_budget_init(&budget, payload.len);
	message = ttrpc__request__unpack(&budget.allocator, payload.len, payload.data);
	if (message == NULL)
		return err_set(e, ERR_PEER, "a ttrpc request of %zu bytes cannot be decoded", payload.len);
	*out = (struct ttrpc_request_in){
		.service = mem_strdup(message->service),
		.method = mem_strdup(message->method),
		.timeout_nano = message->timeout_nano,
	};
	buf_append(&out->payload, message->payload.data, message->payload.len);
	ttrpc__request__free_unpacked(message, &budget.allocator);
	return 0;
}

void ttrpc_request_in_release(struct ttrpc_request_in *in)
{
	free(in->service);
	free(in->method);
	buf_release(&in->payload);
	*in = (struct ttrpc_request_in){ 0 };
}

/* A status that is absent and one that is empty both mean success. */
int ttrpc_response_parse(struct bytes payload, struct ttrpc_response *out, struct err *e)
{
	struct protobuf_budget budget;
	Ttrpc__Response *message;

	protobuf_budget_init(&budget, payload.len);
	message = ttrpc__response__unpack(&budget.allocator, payload.len, payload.data);
	if (message == NULL)
		return err_set(e, ERR_PEER, "a ttrpc response of %zu bytes cannot be decoded", payload.len);
	*out = (struct ttrpc_response){
		.code = message->status == NULL ? TTRPC_OK : message->status->code,
		.message = mem_strdup(message->status == NULL ? "" : message->status->message),
	};
	buf_append(&out->payload, message->payload.data, message->payload.len);
	ttrpc__response__free_unpacked(message, &budget.allocator);
	return 0;
}

void ttrpc_response_release(struct ttrpc_response *r)
{
	free(r->message);
	buf_release(&r->payload);
	*r = (struct ttrpc_response){ 0 };
}

int ttrpc_response_format(uint32_t stream, int code, const char *text, struct bytes payload, struct buf *out,
			  struct err *e)
{
	Ttrpc__Status status = TTRPC__STATUS__INIT;
	Ttrpc__Response message = TTRPC__RESPONSE__INIT;

	status.code = code;
	if (code != TTRPC_OK)
		status.message = (char *)text;
	message.status = &status;
	message.payload = binary(payload);
	return append_frame(stream, TTRPC_RESPONSE, &message.base, out, e);
}
