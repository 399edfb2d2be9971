/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY protocol headers: more bytes never change a verdict, and what was read can be written and read again. */
#include <stdlib.h>

#include "capture/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void write_again(const struct proxy_header *h, enum proxy_protocol_version version)
{
	uint8_t out[PROXY_WRITTEN_MAX];
	struct proxy_header again;
	struct err e;
	size_t len = proxy_protocol_format(version, &h->client, &h->server, out);

	must(proxy_protocol_parse(bytes_of(out, len), &again, &e) == PROXY_HEADER && again.len == len);
	must(again.has_addrs && sock_addr_equal(&again.client, &h->client) &&
	     sock_addr_equal(&again.server, &h->server));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum proxy_parse last = PROXY_MORE;
	struct proxy_header h;
	struct err e;

	size = MIN(size, (size_t)PROXY_HEADER_MAX + 64);
	for (size_t len = 0; len <= size; len++) {
		enum proxy_parse now;

		e = (struct err){ 0 };
		now = proxy_protocol_parse(bytes_of(data, len), &h, &e);
		must(last == PROXY_MORE || now == last);
		must((now == PROXY_BROKEN) == (e.kind != ERR_NONE));
		must(now != PROXY_HEADER || (h.len > 0 && h.len <= len));
		must(now != PROXY_MORE || len < PROXY_HEADER_MAX);
		last = now;
	}
	if (last == PROXY_HEADER && h.has_addrs) {
		write_again(&h, PROXY_PROTOCOL_V1);
		write_again(&h, PROXY_PROTOCOL_V2);
	}
	return 0;
}
