/* SPDX-License-Identifier: Apache-2.0 */
/* First packets: what is good is whole, and stays good whatever follows it. */
#include <stdlib.h>
#include <string.h>

#include "capture/syn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Headers of this very size are enough, one byte less is not. */
static void must_be_whole(struct bytes packet)
{
	struct syn syn;
	size_t len = packet.len;

	while (len > 0 && syn_parse(bytes_of(packet.data, len - 1), &syn) == SYN_GOOD)
		len--;
	must(len >= 40);
	while (len > 0) {
		len--;
		must(syn_parse(bytes_of(packet.data, len), &syn) == SYN_CUT);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct syn before;
	struct syn syn;
	enum syn_parse result;

	size = MIN(size, (size_t)512);
	memset(&before, 0xa5, sizeof(before));
	syn = before;
	result = syn_parse(bytes_of(data, size), &syn);
	must(syn_parse_text(result) != NULL);
	if (result != SYN_GOOD) {
		must(memcmp(&syn, &before, sizeof(syn)) == 0);
		return 0;
	}
	must(syn.client.any.sa_family == syn.server.any.sa_family);
	must(sock_addr_port(&syn.client) != 0 && sock_addr_port(&syn.server) != 0);
	must_be_whole(bytes_of(data, size));
	return 0;
}
