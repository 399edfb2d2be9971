/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls - libssl between two byte buffers.
 *
 * libssl reads from the caller's bytes through a BIO of ours and asks for exactly one record at a time, so
 * what lies behind the last record of the handshake is never touched and goes to the record layer. The two
 * secrets are caught as libcrypto derives them, or come through the key-log callback where the worker's
 * libcrypto is an ordinary one.
 *
 * Everything about re-use of sessions is off on purpose (upstream-2.12.md section 6): a resumed session would
 * carry no certificate and so no verdict.
 */
#include "crypto/tls.h"

#include <malloc.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/libctx_internal.h"
#include "crypto/ossl.h"
#include "crypto/tls_internal.h"

#define SKIPPED_EARLY_DATA (16u << 20) /* refused, but it must not break the handshake */
#define BUDGET_GRAIN 4096	       /* smaller allocations are not worth counting */

static const char suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";
static const unsigned char alpn_raw[] = "\x08rats-tls";
static const unsigned char alpn_h2[] = "\x02h2";

struct tls_config {
	SSL_CTX *ctx;
	OSSL_LIB_CTX *lib;
	bool catches; /* secrets come by libctx_catch_secrets() */
	enum tls_role role;
	unsigned alpn;
};

/* ---- the budget ---- */

static atomic_size_t budget_used;
static size_t budget_limit = SIZE_MAX;
static _Thread_local bool charging;
static _Thread_local bool refused;

static bool charge(size_t size)
{
	size_t used = atomic_fetch_add_explicit(&budget_used, size, memory_order_relaxed) + size;

	if (used <= budget_limit || !charging)
		return true;
	atomic_fetch_sub_explicit(&budget_used, size, memory_order_relaxed);
	refused = true;
	return false;
}

static void discharge(size_t size)
{
	atomic_fetch_sub_explicit(&budget_used, size, memory_order_relaxed);
}

/* The same measure for taking and giving, so that the sum stays true. */
static size_t counted_size(void *p)
{
	size_t size = malloc_usable_size(p);

	return size < BUDGET_GRAIN ? 0 : size;
}

/* malloc() gives a little more than was asked for; what is this small stays below the grain. */
static bool is_uncounted(size_t size)
{
	return size < BUDGET_GRAIN / 2;
}

static void *hook_malloc(size_t size, const char *file, int line)
{
	void *p = malloc(size);

	(void)file;
	(void)line;
	if (p == NULL || is_uncounted(size) || charge(counted_size(p)))
		return p;
	free(p);
	return NULL;
}

static void hook_free(void *p, const char *file, int line)
{
	size_t counted = p == NULL ? 0 : counted_size(p);

	(void)file;
	(void)line;
	if (counted > 0) /* most are not, and the counter is shared by all workers */
		discharge(counted);
	free(p);
}

static void *hook_realloc(void *p, size_t size, const char *file, int line)
{
	void *to;

	if (p == NULL)
		return hook_malloc(size, file, line);
	if (size == 0) {
		hook_free(p, file, line);
		return NULL;
	}
	to = hook_malloc(size, file, line);
	if (to == NULL)
		return NULL;
	memcpy(to, p, MIN(size, malloc_usable_size(p)));
	hook_free(p, file, line);
	return to;
}

bool tls_count_memory(void)
{
	static bool counts;

	if (!counts)
		counts = CRYPTO_set_mem_functions(hook_malloc, hook_realloc, hook_free) == 1;
	return counts;
}

bool tls_init_budget(size_t limit)
{
	budget_limit = limit;
	return tls_count_memory();
}

bool tls_budget_take(size_t size)
{
	bool taken;

	charging = true;
	taken = charge(size);
	charging = false;
	return taken;
}

void tls_budget_give(size_t size)
{
	discharge(size);
}

static void begin_charging(void)
{
	charging = true;
	refused = false;
}

/* true: an allocation was refused in between. */
static bool end_charging(void)
{
	charging = false;
	return refused;
}

/* ---- the BIO: reads the caller's bytes, writes into the caller's buffer ---- */

static int bio_read(BIO *bio, char *to, int len)
{
	struct tls_handshake *h = BIO_get_data(bio);
	size_t n = MIN((size_t)len, h->in.len);

	BIO_clear_retry_flags(bio);
	if (n == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(to, h->in.data, n);
	h->in = bytes_of(h->in.data + n, h->in.len - n);
	return (int)n;
}

static int bio_write(BIO *bio, const char *from, int len)
{
	struct tls_handshake *h = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (h->records != NULL) {
		writer_bytes(&h->sealed, bytes_of(from, (size_t)len));
		return h->sealed.failed ? -1 : len;
	}
	buf_append(h->out, from, (size_t)len);
	return len;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)bio;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method;

__attribute__((destructor)) static void free_bio_method(void)
{
	BIO_meth_free(bio_method);
}

static BIO_METHOD *make_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tng");

	if (m == NULL)
		return NULL;
	BIO_meth_set_read(m, bio_read);
	BIO_meth_set_write(m, bio_write);
	BIO_meth_set_ctrl(m, bio_ctrl);
	return m;
}

static CRYPTO_ONCE bio_once = CRYPTO_ONCE_STATIC_INIT;

static void init_bio_method(void)
{
	bio_method = make_bio_method();
}

/* ---- secrets ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static size_t secret_parse(uint8_t secret[LIBCTX_MAX_SECRET], const char *hex)
{
	size_t len = 0;

	while (len < LIBCTX_MAX_SECRET && hex_digit(hex[0]) >= 0 && hex_digit(hex[1]) >= 0) {
		secret[len++] = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
		hex += 2;
	}
	return len;
}

/* "LABEL <client random> <secret>", the format of NSS key logs. */
static void on_key_log(const SSL *ssl, const char *line)
{
	static const char client[] = "CLIENT_TRAFFIC_SECRET_0 ";
	static const char server[] = "SERVER_TRAFFIC_SECRET_0 ";
	struct tls_handshake *h = SSL_get_app_data(ssl);
	const char *hex = strrchr(line, ' ');

	if (h == NULL || hex == NULL)
		return;
	if (strncmp(line, client, sizeof(client) - 1) == 0)
		h->secrets.client_len = secret_parse(h->secrets.client, hex + 1);
	else if (strncmp(line, server, sizeof(server) - 1) == 0)
		h->secrets.server_len = secret_parse(h->secrets.server, hex + 1);
}

/* ---- configuration ---- */

/* The verdict is made elsewhere, on a certificate whose key has been proved. */
static int accept_for_now(X509_STORE_CTX *store, void *arg)
{
	(void)store;
	(void)arg;
	return 1;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
		       unsigned in_len, void *arg)
{
	const struct tls_config *c = arg;
	unsigned char *selected;
	const unsigned char *ours[] = { alpn_raw, alpn_h2 };
	const unsigned bits[] = { TLS_ALPN_RAW, TLS_ALPN_H2 };

	(void)ssl;
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		if (!(c->alpn & bits[i]))
			continue;
		if (SSL_select_next_proto(&selected, out_len, ours[i], ours[i][0] + 1u, in, in_len) ==
		    OPENSSL_NPN_NEGOTIATED) {
			*out = selected;
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int set_common(SSL_CTX *ctx, const struct tls_options *o)
{
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_max_early_data(ctx, 0);
	SSL_CTX_set_recv_max_early_data(ctx, SKIPPED_EARLY_DATA);
	SSL_CTX_set_max_cert_list(ctx, (long)o->max_cert_size);
	SSL_CTX_set_cert_verify_callback(ctx, accept_for_now, NULL);
	SSL_CTX_set_read_ahead(ctx, 0);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 && SSL_CTX_set_ciphersuites(ctx, suites) == 1 &&
	       SSL_CTX_set1_groups_list(ctx, groups) == 1;
}

static int set_role(SSL_CTX *ctx, struct tls_config *c, const struct tls_options *o)
{
	const unsigned char *alpn = o->alpn == TLS_ALPN_H2 ? alpn_h2 : alpn_raw;

	if (o->role == TLS_SERVER) {
		SSL_CTX_set_alpn_select_cb(ctx, select_alpn, c);
		SSL_CTX_set_verify(
			ctx, o->want_peer_cert ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE,
			NULL);
		return 1;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return SSL_CTX_set_alpn_protos(ctx, alpn, alpn[0] + 1u) == 0;
}

struct tls_config *tls_config_new(const struct tls_options *o, struct err *e)
{
	struct tls_config *c = mem_new_of(struct tls_config);

	c->role = o->role;
	c->alpn = o->alpn;
	c->lib = libctx_ossl(o->libctx);
	c->catches = !o->libssl_records && o->libctx != NULL && libctx_is_filtered(o->libctx);
	if (!CRYPTO_THREAD_run_once(&bio_once, init_bio_method) || bio_method == NULL) {
		err_openssl(e, ERR_SYSTEM, "TLS: BIO");
		goto fail;
	}
	c->ctx = SSL_CTX_new_ex(c->lib, NULL, o->role == TLS_CLIENT ? TLS_client_method() : TLS_server_method());
	if (c->ctx == NULL || !set_common(c->ctx, o) || !set_role(c->ctx, c, o)) {
		err_openssl(e, ERR_SYSTEM, "TLS: set up");
		goto fail;
	}
	if (!c->catches && !o->libssl_records)
		SSL_CTX_set_keylog_callback(c->ctx, on_key_log);
	return c;
fail:
	tls_config_free(c);
	return NULL;
}

void tls_config_free(struct tls_config *c)
{
	if (c == NULL)
		return;
	SSL_CTX_free(c->ctx);
	free(c);
}

int tls_config_set_identity(struct tls_config *c, struct bytes cert_der, struct bytes key_der, struct err *e)
{
	const unsigned char *at = key_der.data;
	const unsigned char *cert_at = cert_der.data;
	X509 *x509 = X509_new_ex(c->lib, NULL);
	EVP_PKEY *key = NULL;
	int rc = -1;

	if (x509 == NULL || d2i_X509(&x509, &cert_at, (long)cert_der.len) == NULL) {
		err_openssl(e, ERR_SYSTEM, "TLS: own certificate");
		goto out;
	}
	key = d2i_AutoPrivateKey_ex(NULL, &at, (long)key_der.len, c->lib, NULL);
	if (key == NULL || SSL_CTX_use_certificate(c->ctx, x509) != 1 || SSL_CTX_use_PrivateKey(c->ctx, key) != 1 ||
	    SSL_CTX_check_private_key(c->ctx) != 1) {
		err_openssl(e, ERR_SYSTEM, "TLS: own key");
		goto out;
	}
	rc = 0;
out:
	EVP_PKEY_free(key);
	X509_free(x509);
	return rc;
}

/* ---- handshakes ---- */

static int set_up(struct tls_handshake *h, const char *server_name)
{
	BIO *bio = BIO_new(bio_method);

	if (bio == NULL)
		return 0;
	BIO_set_data(bio, h);
	BIO_set_init(bio, 1);
	SSL_set_bio(h->ssl, bio, bio);
	SSL_set_app_data(h->ssl, h);
	if (h->role == TLS_SERVER) {
		SSL_set_accept_state(h->ssl);
		return 1;
	}
	SSL_set_connect_state(h->ssl);
	return server_name == NULL || SSL_set_tlsext_host_name(h->ssl, server_name) == 1;
}

struct tls_handshake *tls_handshake_new(struct tls_config *c, const char *server_name, struct err *e)
{
	struct tls_handshake *h = mem_new_of(struct tls_handshake);
	bool ok;

	h->role = c->role;
	h->catches = c->catches;
	begin_charging();
	h->ssl = SSL_new(c->ctx);
	ok = h->ssl != NULL && set_up(h, server_name);
	if (end_charging())
		err_set(e, ERR_LIMIT, "handshakes in flight use all of limits.handshake_memory");
	else if (!ok)
		err_openssl(e, ERR_SYSTEM, "TLS: new handshake");
	if (ok)
		return h;
	ERR_clear_error();
	tls_handshake_free(h);
	return NULL;
}

void tls_handshake_free(struct tls_handshake *h)
{
	if (h == NULL)
		return;
	SSL_free(h->ssl);
	tls_records_free(h->records);
	mem_wipe(h, sizeof(*h));
	free(h);
}

static enum reason reason_of(const struct tls_handshake *h, unsigned long code)
{
	int why = ERR_GET_REASON(code);

	if (h->over_budget)
		return REASON_HANDSHAKE_MEMORY;
	if (ERR_GET_LIB(code) != ERR_LIB_SSL)
		return REASON_TLS_FAILED;
	switch (why) {
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
	case SSL_R_WRONG_VERSION_NUMBER:
		return REASON_TLS_PLAINTEXT;
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_UNKNOWN_PROTOCOL:
	case SSL_R_WRONG_SSL_VERSION:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		return REASON_TLS_VERSION;
	case SSL_R_NO_APPLICATION_PROTOCOL:
	case SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL: /* has no name of its own before 3.0.14 */
		return REASON_TLS_ALPN;
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return REASON_TLS_NO_CERTIFICATE;
	case SSL_R_EXCESSIVE_MESSAGE_SIZE:
		return REASON_CERTIFICATE_TOO_LARGE;
	}
	return why >= SSL_AD_REASON_OFFSET ? REASON_TLS_ALERT : REASON_TLS_FAILED;
}

/* For what two operators' configurations can cause: what to change. */
static void explain(enum reason reason, struct err *e)
{
	struct err why = *e;

	if (reason == REASON_TLS_NO_CERTIFICATE)
		err_set(e, ERR_PEER,
			"the peer presents nothing to verify: its entry needs \"attest\", or remove \"verify\" "
			"from this one (%s)",
			why.text);
	else if (reason == REASON_TLS_ALPN)
		err_set(e, ERR_PEER, "no common tunnel protocol: set rats_tls.multiplex alike on both sides (%s)",
			why.text);
	else if (reason == REASON_TLS_VERSION)
		err_set(e, ERR_PEER, "the peer does not speak TLS 1.3 (%s)", why.text);
}

enum tls_step tls_handshake_step(struct tls_handshake *h, struct bytes in, size_t *used, struct buf *out,
				 enum reason *reason, struct err *e)
{
	int rc;

	h->in = in;
	h->out = out;
	ERR_clear_error();
	begin_charging();
	if (h->catches)
		libctx_catch_secrets(&h->secrets);
	rc = SSL_do_handshake(h->ssl);
	if (h->catches)
		libctx_catch_secrets(NULL);
	h->over_budget = end_charging();
	*used = in.len - h->in.len;
	h->in = (struct bytes){ NULL, 0 };
	h->out = NULL;
	if (rc == 1)
		return TLS_DONE;
	if (SSL_get_error(h->ssl, rc) == SSL_ERROR_WANT_READ && !h->over_budget)
		return TLS_MORE;
	*reason = reason_of(h, ERR_peek_error());
	if (h->over_budget) {
		ERR_clear_error();
		err_set(e, ERR_LIMIT, "handshakes in flight use all of limits.handshake_memory");
	} else {
		err_openssl(e, ERR_PEER, "TLS handshake");
		explain(*reason, e);
	}
	return TLS_FAILED;
}

int tls_handshake_sides(struct tls_handshake *h, struct record_side *rx, struct record_side *tx, struct err *e)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(h->ssl);
	uint16_t suite = cipher == NULL ? 0 : SSL_CIPHER_get_protocol_id(cipher);
	struct bytes client = bytes_of(h->secrets.client, h->secrets.client_len);
	struct bytes server = bytes_of(h->secrets.server, h->secrets.server_len);
	bool is_client = h->role == TLS_CLIENT;

	if (client.len == 0 || server.len == 0)
		return err_set(e, ERR_SYSTEM, "TLS: libssl did not give the traffic secrets");
	if (record_side_init(rx, suite, is_client ? server : client, e) < 0)
		return -1;
	return record_side_init(tx, suite, is_client ? client : server, e);
}

enum tls_alpn tls_handshake_alpn(const struct tls_handshake *h)
{
	const unsigned char *name;
	unsigned len;

	SSL_get0_alpn_selected(h->ssl, &name, &len);
	if (len == alpn_raw[0] && memcmp(name, alpn_raw + 1, len) == 0)
		return TLS_ALPN_RAW;
	if (len == alpn_h2[0] && memcmp(name, alpn_h2 + 1, len) == 0)
		return TLS_ALPN_H2;
	return TLS_ALPN_NONE;
}

bool tls_handshake_peer_cert(const struct tls_handshake *h, struct buf *der)
{
	X509 *x509 = SSL_get0_peer_certificate(h->ssl);
	int len = x509 == NULL ? -1 : i2d_X509(x509, NULL);
	unsigned char *to;

	if (len <= 0)
		return false;
	to = buf_reserve(der, (size_t)len);
	der->len += (size_t)i2d_X509(x509, &to);
	return true;
}
