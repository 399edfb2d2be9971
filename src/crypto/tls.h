/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls - TLS 1.3 handshakes by libssl, bytes in and bytes out. spec: rats-tls.md 6.
 *
 * No socket, no resumption, no tickets, no early data: each handshake stands on its own. The peer's certificate is
 * not judged here: the caller gets it when its holder has proved the key, and asks a verifier. When the
 * handshake is over the two application traffic secrets are taken out and the object can go, or it stays and does
 * the rest as well (tls_records.h).
 *
 * The memory of all handshakes together has a budget: libcrypto's large allocations made on behalf of a
 * peer fail when it is used up. See tls_count_memory().
 *
 * Threads: a tls_config belongs to one thread at a time, and so do the handshakes made from it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/record.h"
#include "metrics/reason.h"

struct libctx;
struct tls_config;
struct tls_handshake;

enum tls_role { TLS_CLIENT, TLS_SERVER };

/*
 * libcrypto's memory is counted from here on. It must come before libcrypto's first allocation, which may be that of
 * another library's constructor. false: too late.
 */
bool tls_count_memory(void);

/* The limit, in bytes. false: libcrypto's memory is not counted, only what tls_budget_take() takes. */
bool tls_init_budget(size_t limit);

/* For what is kept of a peer's certificate after its handshake object is gone; false: no room. */
bool tls_budget_take(size_t size);
void tls_budget_give(size_t size);

/* The tunnel protocols, as a set. */
enum tls_alpn { TLS_ALPN_NONE = 0, TLS_ALPN_RAW = 1, TLS_ALPN_H2 = 2 };

struct tls_options {
	enum tls_role role;
	unsigned alpn;	       /* client: the one it offers; server: all that it takes */
	bool want_peer_cert;   /* server: ask for a certificate, and refuse a peer without */
	size_t max_cert_size;  /* bytes of the peer's Certificate message */
	struct libctx *libctx; /* NULL: the default one */
	bool libssl_records;   /* its secrets stay in libssl: crypto/tls_records.h instead of tls_handshake_sides() */
};

struct tls_config *tls_config_new(const struct tls_options *options, struct err *e);
void tls_config_free(struct tls_config *c);

/* What later handshakes present; key is PKCS#8 DER. */
int tls_config_set_identity(struct tls_config *c, struct bytes cert_der, struct bytes key_der,
			    struct err *e) MUST_CHECK;

/* keeps c. server_name: SNI, or NULL. */
struct tls_handshake *tls_handshake_new(struct tls_config *c, const char *server_name, struct err *e);
void tls_handshake_free(struct tls_handshake *h);

enum tls_step { TLS_MORE, TLS_DONE, TLS_FAILED };

/*
 * Feeds in; appends what is to be sent to out, also when it failed (an alert). *used says how many bytes of in
 * were taken: after TLS_DONE the rest belongs to the record layer, after TLS_MORE nothing is left.
 * TLS_FAILED: reason and e say why.
 */
enum tls_step tls_handshake_step(struct tls_handshake *h, struct bytes in, size_t *used, struct buf *out,
				 enum reason *reason, struct err *e);

/* After TLS_DONE. */
int tls_handshake_sides(struct tls_handshake *h, struct record_side *rx, struct record_side *tx,
			struct err *e) MUST_CHECK;
enum tls_alpn tls_handshake_alpn(const struct tls_handshake *h);

/* The peer's certificate in DER, appended to der; false: it sent none. */
bool tls_handshake_peer_cert(const struct tls_handshake *h, struct buf *der);
