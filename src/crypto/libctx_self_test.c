/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libctx_self_test - handshakes of a context with itself, over memory.
 *
 * Once for each cipher suite and each group that we offer, with certificates on both sides, as our
 * tunnels make them. A handshake has passed when both sides know the other's certificate, bytes
 * travel, and the secrets that were caught are those of the key log.
 */
#include "crypto/libctx_internal.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "crypto/cert.h"
#include "crypto/key.h"
#include "crypto/ossl.h"

#define ROUNDS 8 /* a handshake takes three flights */
#define TEST_CERT_S 3600

static const struct {
	const char *suite;
	const char *group;
} runs[] = {
	{ "TLS_AES_128_GCM_SHA256", "X25519" },
	{ "TLS_AES_256_GCM_SHA384", "P-256" },
	{ "TLS_CHACHA20_POLY1305_SHA256", "X25519" },
};

struct side {
	SSL_CTX *ctx; /* of all runs: making one takes longer than a handshake */
	SSL *ssl;     /* of one run, as the secrets are */
	struct libctx_secrets caught;
	struct libctx_secrets logged;
};

struct self_test {
	OSSL_LIB_CTX *lib;
	struct buf cert;
	struct buf key;
	struct side client;
	struct side server;
};

static size_t parse_hex(const char *hex, uint8_t out[LIBCTX_MAX_SECRET])
{
	size_t len = 0;
	unsigned byte;

	while (len < LIBCTX_MAX_SECRET && sscanf(hex + 2 * len, "%2x", &byte) == 1)
		out[len++] = (uint8_t)byte;
	return len;
}

static void on_key_log(const SSL *ssl, const char *line)
{
	static const char client[] = "CLIENT_TRAFFIC_SECRET_0 ";
	static const char server[] = "SERVER_TRAFFIC_SECRET_0 ";
	struct side *s = SSL_get_app_data(ssl);
	const char *hex = strrchr(line, ' ');

	if (strncmp(line, client, strlen(client)) == 0)
		s->logged.client_len = parse_hex(hex + 1, s->logged.client);
	else if (strncmp(line, server, strlen(server)) == 0)
		s->logged.server_len = parse_hex(hex + 1, s->logged.server);
}

static int accept_any(X509_STORE_CTX *store, void *arg)
{
	(void)store;
	(void)arg;
	return 1;
}

static bool use_identity(struct self_test *t, SSL_CTX *ctx)
{
	const unsigned char *cert_at = t->cert.data, *key_at = t->key.data;
	X509 *x509 = X509_new_ex(t->lib, NULL);
	EVP_PKEY *key = d2i_AutoPrivateKey_ex(NULL, &key_at, (long)t->key.len, t->lib, NULL);
	bool ok = x509 != NULL && key != NULL && d2i_X509(&x509, &cert_at, (long)t->cert.len) != NULL &&
		  SSL_CTX_use_certificate(ctx, x509) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
		  SSL_CTX_check_private_key(ctx) == 1;

	EVP_PKEY_free(key);
	X509_free(x509);
	return ok;
}

static bool side_open(struct self_test *t, struct side *s, const SSL_METHOD *method)
{
	s->ctx = SSL_CTX_new_ex(t->lib, NULL, method);
	if (s->ctx == NULL)
		return false;
	SSL_CTX_set_keylog_callback(s->ctx, on_key_log);
	SSL_CTX_set_cert_verify_callback(s->ctx, accept_any, NULL);
	SSL_CTX_set_verify(s->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_num_tickets(s->ctx, 0);
	return SSL_CTX_set_min_proto_version(s->ctx, TLS1_3_VERSION) && use_identity(t, s->ctx);
}

static bool side_begin(struct side *s, size_t run)
{
	s->ssl = SSL_new(s->ctx);
	return s->ssl != NULL && SSL_set_app_data(s->ssl, s) && SSL_set_ciphersuites(s->ssl, runs[run].suite) &&
	       SSL_set1_groups_list(s->ssl, runs[run].group);
}

static void side_end(struct side *s)
{
	SSL_free(s->ssl);
	s->ssl = NULL;
	mem_wipe(&s->caught, sizeof(s->caught));
	mem_wipe(&s->logged, sizeof(s->logged));
}

/* What one writes the other reads. */
static bool join(SSL *a, SSL *b)
{
	BIO *to_a = BIO_new(BIO_s_mem()), *to_b = BIO_new(BIO_s_mem());

	if (to_a == NULL || to_b == NULL || !BIO_up_ref(to_a) || !BIO_up_ref(to_b)) {
		BIO_free(to_a);
		BIO_free(to_b);
		return false;
	}
	BIO_set_mem_eof_return(to_a, -1);
	BIO_set_mem_eof_return(to_b, -1);
	SSL_set_bio(a, to_a, to_b);
	SSL_set_bio(b, to_b, to_a);
	return true;
}

static bool step(struct side *s)
{
	int rc;

	libctx_catch_secrets(&s->caught);
	rc = SSL_do_handshake(s->ssl);
	libctx_catch_secrets(NULL);
	return rc == 1;
}

static bool shake_hands(struct side *client, struct side *server)
{
	SSL_set_connect_state(client->ssl);
	SSL_set_accept_state(server->ssl);
	for (int i = 0; i < ROUNDS; i++) {
		bool client_done = step(client);

		if (step(server) && client_done)
			return true;
	}
	return false;
}

static bool caught_what_was_logged(const struct side *s)
{
	return s->caught.client_len > 0 && s->caught.server_len > 0 &&
	       memcmp(&s->caught, &s->logged, sizeof(s->caught)) == 0;
}

static bool byte_travels(SSL *from, SSL *to)
{
	char c = 'x', got = 0;

	return SSL_write(from, &c, 1) == 1 && SSL_read(to, &got, 1) == 1 && got == c;
}

static bool peers_are_known(const SSL *a, const SSL *b)
{
	return SSL_get0_peer_certificate(a) != NULL && SSL_get0_peer_certificate(b) != NULL;
}

static int test_run(struct self_test *t, size_t run, struct err *e)
{
	struct side *c = &t->client, *s = &t->server;
	int rc = -1;

	if (!side_begin(c, run) || !side_begin(s, run) || !join(c->ssl, s->ssl))
		err_openssl(e, ERR_SYSTEM, "set up");
	else if (!shake_hands(c, s))
		err_openssl(e, ERR_SYSTEM, "handshake");
	else if (!peers_are_known(c->ssl, s->ssl) || !byte_travels(c->ssl, s->ssl) || !byte_travels(s->ssl, c->ssl))
		err_openssl(e, ERR_SYSTEM, "use");
	else if (!caught_what_was_logged(c) || !caught_what_was_logged(s))
		err_set(e, ERR_SYSTEM, "other secrets than in the key log");
	else
		rc = 0;
	side_end(c);
	side_end(s);
	return rc == 0 ? 0 : err_wrap(e, "libcrypto: self-test with %s and %s", runs[run].suite, runs[run].group);
}

int libctx_self_test(struct libctx *l, struct err *e)
{
	struct self_test t = { .lib = libctx_ossl(l) };
	struct key *key = key_new_p256(e);
	int rc = -1;

	if (key == NULL || key_pkcs8(key, &t.key, e) < 0 ||
	    cert_make_rats_tls(&(struct rats_cert_options){ .key = key,
							    .not_before = clock_unix(),
							    .not_after = clock_unix() + TEST_CERT_S },
			       &t.cert, e) < 0)
		goto out;
	ERR_clear_error();
	if (!side_open(&t, &t.client, TLS_client_method()) || !side_open(&t, &t.server, TLS_server_method())) {
		err_openssl(e, ERR_SYSTEM, "libcrypto: self-test");
		goto out;
	}
	for (size_t run = 0; run < ARRAY_SIZE(runs); run++) {
		if (test_run(&t, run, e) < 0)
			goto out;
	}
	rc = 0;
out:
	buf_release(&t.cert);
	buf_release_secret(&t.key);
	key_free(key);
	SSL_CTX_free(t.client.ctx);
	SSL_CTX_free(t.server.ctx);
	return rc;
}
