/* SPDX-License-Identifier: Apache-2.0 */
/* nft - nftables through its library. */
#include "capture/nft.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>

#define REASON_MAX 120

struct nft_session {
	struct nft_ctx *ctx;
};

struct nft_session *nft_open(struct err *e)
{
	struct nft_session *s = mem_new_of(struct nft_session);

	s->ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	if (s->ctx == NULL) {
		err_set(e, ERR_SYSTEM, "libnftables gives no context");
		free(s);
		return NULL;
	}
	nft_ctx_buffer_output(s->ctx);
	nft_ctx_buffer_error(s->ctx);
	nft_ctx_output_set_flags(s->ctx, NFT_CTX_OUTPUT_NUMERIC_ALL);
	return s;
}

void nft_close(struct nft_session *s)
{
	if (s == NULL)
		return;
	nft_ctx_free(s->ctx);
	free(s);
}

/*
 * The library's text is "/dev/stdin:3:1-9: Error: Could not process rule: reason", the line below it, and a mark below
 * that.
 */
static int say_failed(struct nft_session *s, const char *what, struct err *e)
{
	const char *text = nft_ctx_get_error_buffer(s->ctx);
	const char *reason = text != NULL ? strstr(text, "Error: ") : NULL;
	const char *line;
	int reason_len, line_len;

	if (text == NULL || *text == '\0')
		return err_set(e, ERR_SYSTEM, "nft: %s: %s", what, strerror(errno));
	if (reason == NULL)
		reason = text;
	reason_len = (int)strcspn(reason, "\n");
	line = reason[reason_len] == '\n' ? reason + reason_len + 1 : "";
	line_len = (int)strcspn(line, "\n");
	return err_set(e, ERR_SYSTEM, "nft: %s: %.*s%s%.*s", what, MIN(reason_len, REASON_MAX), reason,
		       line_len > 0 ? ": " : "", MIN(line_len, REASON_MAX), line);
}

int nft_load(struct nft_session *s, const char *text, const char *what, struct err *e)
{
	errno = 0;
	if (nft_run_cmd_from_buffer(s->ctx, text) != 0)
		return say_failed(s, what, e);
	return 0;
}

int nft_ask(struct nft_session *s, const char *text, struct buf *out, struct err *e)
{
	if (nft_load(s, text, text, e) != 0)
		return -1;
	buf_append_str(out, nft_ctx_get_output_buffer(s->ctx));
	return 0;
}
