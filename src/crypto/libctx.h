/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libctx - a worker's own libcrypto, with only the algorithms of our handshakes in it.
 *
 * A context of its own spares the workers each other's locks. Leaving algorithms out makes handshakes
 * cheaper: libcrypto 3.0 walks every key type and decoder that it knows for each certificate it receives.
 * And since the key derivation of TLS 1.3 passes through here, the two traffic secrets of a handshake can be
 * had without the key log, which prints them as text.
 *
 * What is left out rests on how libcrypto is built inside. So the first context of the process makes
 * handshakes with itself; where one fails, every context is an ordinary one and a warning is logged.
 *
 * Threads: a context is used by one thread, and freed by it or after its end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct libctx;

struct libctx *libctx_new(struct err *e);

/* With all algorithms of libcrypto's default provider. */
struct libctx *libctx_new_plain(struct err *e);

/* After everything that was made with it. */
void libctx_free(struct libctx *l);

/* Whether libctx_new() left out what is not needed, and libctx_catch_secrets() works. */
bool libctx_is_filtered(const struct libctx *l);

#define LIBCTX_MAX_SECRET 48

/* {client,server}_application_traffic_secret_0; a length of 0: not derived yet. */
struct libctx_secrets {
	uint8_t client[LIBCTX_MAX_SECRET];
	uint8_t server[LIBCTX_MAX_SECRET];
	size_t client_len;
	size_t server_len;
};

/*
 * Around each SSL_do_handshake(): the secrets that this thread derives in between, in any filtered context,
 * go to into; NULL ends it. With a plain context nothing comes: use the key log.
 */
void libctx_catch_secrets(struct libctx_secrets *into);
