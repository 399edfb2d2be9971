/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nft - nftables through its library.
 *
 * The library is loaded with the first rules: it brings others along, and gateways that capture nothing would start
 * later and take more memory for them.
 */
#include "capture/nft.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/dynlib.h"

#define REASON_MAX 120

#define OUTPUT NFT_CTX_OUTPUT_NUMERIC_ALL
#define LIBRARY "libnftables.so.1"

struct nft_session {
	struct nft_ctx *ctx;
};

/* ---- the library ---- */

static struct {
	__typeof__(nft_ctx_new) *ctx_new;
	__typeof__(nft_ctx_free) *ctx_free;
	__typeof__(nft_ctx_buffer_output) *buffer_output;
	__typeof__(nft_ctx_buffer_error) *buffer_error;
	__typeof__(nft_ctx_get_output_buffer) *get_output_buffer;
	__typeof__(nft_ctx_get_error_buffer) *get_error_buffer;
	__typeof__(nft_ctx_output_set_flags) *set_flags;
	__typeof__(nft_run_cmd_from_buffer) *run;
} library;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct err load_error;

static void load_library(void)
{
	const struct dynlib_function functions[] = {
		{ "nft_ctx_new", &library.ctx_new },
		{ "nft_ctx_free", &library.ctx_free },
		{ "nft_ctx_buffer_output", &library.buffer_output },
		{ "nft_ctx_buffer_error", &library.buffer_error },
		{ "nft_ctx_get_output_buffer", &library.get_output_buffer },
		{ "nft_ctx_get_error_buffer", &library.get_error_buffer },
		{ "nft_ctx_output_set_flags", &library.set_flags },
		{ "nft_run_cmd_from_buffer", &library.run },
	};

	if (dynlib_load(LIBRARY, functions, ARRAY_SIZE(functions), &load_error) < 0)
		err_wrap(&load_error, "nftables cannot be used; install it (Debian: libnftables1), or write "
				      "\"interception\": {\"backend\": \"iptables\"}");
}

/* ---- sessions ---- */

struct nft_session *nft_open(struct err *e)
{
	struct nft_session *s;

	pthread_once(&once, load_library);
	if (load_error.kind != ERR_NONE) {
		*e = load_error;
		return NULL;
	}
	s = mem_new_of(struct nft_session);
	s->ctx = library.ctx_new(NFT_CTX_DEFAULT);
	if (s->ctx == NULL) {
		err_set(e, ERR_SYSTEM, "libnftables gives no context");
		free(s);
		return NULL;
	}
	library.buffer_output(s->ctx);
	library.buffer_error(s->ctx);
	library.set_flags(s->ctx, OUTPUT);
	return s;
}

void nft_close(struct nft_session *s)
{
	if (s == NULL)
		return;
	library.ctx_free(s->ctx);
	free(s);
}

/*
 * The library's text is "/dev/stdin:3:1-9: Error: Could not process rule: reason", the line below it, and a mark below
 * that.
 */
static int say_failed(struct nft_session *s, const char *what, struct err *e)
{
	const char *text = library.get_error_buffer(s->ctx);
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
	if (library.run(s->ctx, text) != 0)
		return say_failed(s, what, e);
	return 0;
}

int nft_ask(struct nft_session *s, const char *text, struct buf *out, struct err *e)
{
	if (nft_load(s, text, text, e) != 0)
		return -1;
	buf_append_str(out, library.get_output_buffer(s->ctx));
	return 0;
}

int nft_list(struct nft_session *s, const char *text, struct buf *out, struct err *e)
{
	int rc;

	library.set_flags(s->ctx, OUTPUT | NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_TERSE);
	rc = nft_ask(s, text, out, e);
	library.set_flags(s->ctx, OUTPUT);
	return rc;
}
