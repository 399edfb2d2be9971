/* SPDX-License-Identifier: Apache-2.0 */
/* jwt - takes a signed token apart. */
#include "codec/jwt.h"

#include "codec/base64.h"

/* Up to the next dot, or to the end when there is none. */
static struct bytes next_part(struct bytes *rest)
{
	const uint8_t *dot = rest->len == 0 ? NULL : memchr(rest->data, '.', rest->len);
	struct bytes part = *rest;

	if (dot == NULL) {
		*rest = bytes_of(NULL, 0);
		return part;
	}
	part.len = (size_t)(dot - part.data);
	*rest = bytes_of(dot + 1, rest->len - part.len - 1);
	return part;
}

static int decode_part(struct bytes part, const char *name, struct buf *out, struct err *e)
{
	if (base64url_decode(part, out, e) != 0)
		return err_wrap(e, "the token's %s", name);
	return 0;
}

int jwt_split(struct bytes text, struct jwt *out, struct err *e)
{
	struct bytes rest = text;
	struct bytes header = next_part(&rest);
	struct bytes payload = next_part(&rest);
	size_t dots = 0;

	*out = (struct jwt){ 0 };
	if (text.len > JWT_MAX_SIZE)
		return err_set(e, ERR_LIMIT, "a token of %zu bytes: at most %u", text.len, JWT_MAX_SIZE);
	for (size_t i = 0; i < text.len; i++)
		dots += text.data[i] == '.';
	if (dots != 2)
		return err_set(e, ERR_PEER, "a token has three parts: found %zu", dots + 1);
	if (header.len / 4 * 3 > JWT_MAX_HEADER)
		return err_set(e, ERR_LIMIT, "a token's header of %zu bytes: at most %u", header.len / 4 * 3,
			       JWT_MAX_HEADER);

	out->signed_text = bytes_of(text.data, header.len + 1 + payload.len);
	if (decode_part(header, "header", &out->header, e) != 0 ||
	    decode_part(payload, "payload", &out->payload, e) != 0 ||
	    decode_part(rest, "signature", &out->signature, e) != 0) {
		jwt_release(out);
		return -1;
	}
	return 0;
}

void jwt_release(struct jwt *j)
{
	buf_release(&j->header);
	buf_release(&j->payload);
	buf_release(&j->signature);
	*j = (struct jwt){ 0 };
}
