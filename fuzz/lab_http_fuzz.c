/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in one piece and byte by byte must come out alike, and within their limits. */
#include <stdlib.h>

#include "lab/http_server.h"

#define BODY_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How it ended, and how much was eaten; at most step bytes at a time. */
static enum http_progress feed(struct http_parser *p, const uint8_t *data, size_t size, size_t step, size_t *eaten)
{
	enum http_progress progress = HTTP_MORE;
	size_t at = 0;

	while (at < size && (progress == HTTP_MORE || progress == HTTP_CONTINUE)) {
		struct bytes in = bytes_of(data + at, MIN(step, size - at));

		progress = http_parser_feed(p, &in);
		at = (size_t)(in.data - data);
	}
	*eaten = at;
	return progress == HTTP_CONTINUE ? HTTP_MORE : progress;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_parser whole;
	struct http_parser pieces;
	size_t whole_eaten;
	size_t pieces_eaten;
	enum http_progress progress;

	http_parser_init(&whole, BODY_MAX);
	http_parser_init(&pieces, BODY_MAX);
	progress = feed(&whole, data, size, size, &whole_eaten);
	if (feed(&pieces, data, size, 1, &pieces_eaten) != progress)
		abort();
	if (whole.request.body.len > BODY_MAX)
		abort();
	if (progress == HTTP_COMPLETE &&
	    (whole_eaten != pieces_eaten || whole.request.method == NULL || whole.request.path == NULL ||
	     !bytes_equal(buf_bytes(&whole.request.body), buf_bytes(&pieces.request.body))))
		abort();
	http_parser_release(&whole);
	http_parser_release(&pieces);
	return 0;
}
