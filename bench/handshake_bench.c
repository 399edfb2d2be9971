/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake_bench - what a full TLS 1.3 handshake costs, both ends in one thread, over memory.
 *
 * "default" is libcrypto's own context, "plain" one of our own with everything in it, "filtered"
 * what workers use. The traffic secrets come from the key log where it says so, else they are
 * caught. Rounds of the ways are interleaved, and the best of each is told, since the machine may
 * be shared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/clock.h"
#include "crypto/cert.h"
#include "crypto/key.h"
#include "crypto/libctx_internal.h"

#define ROUNDS 8
#define HANDSHAKES 100

enum secrets { SECRETS_LOGGED, SECRETS_CAUGHT };

struct way {
	const char *name;
	struct libctx *lib;
	enum secrets secrets;
	bool mutual;
	SSL_CTX *ctx[2]; /* client, server */
	double best_us;
};

static struct buf cert;
static struct buf key;

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "handshake_bench: %s\n", what);
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long all, resident = 0;

	if (f != NULL && fscanf(f, "%ld %ld", &all, &resident) == 2)
		resident *= 4;
	if (f != NULL)
		fclose(f);
	return resident;
}

static void on_key_log(const SSL *ssl, const char *line)
{
	(void)ssl;
	(void)line;
}

static int accept_any(X509_STORE_CTX *store, void *arg)
{
	(void)store;
	(void)arg;
	return 1;
}

static void use_identity(SSL_CTX *ctx, OSSL_LIB_CTX *lib)
{
	const unsigned char *cert_at = cert.data, *key_at = key.data;
	X509 *x509 = X509_new_ex(lib, NULL);
	EVP_PKEY *pkey = d2i_AutoPrivateKey_ex(NULL, &key_at, (long)key.len, lib, NULL);

	must(x509 != NULL && d2i_X509(&x509, &cert_at, (long)cert.len) != NULL, "certificate");
	must(pkey != NULL && SSL_CTX_use_certificate(ctx, x509) == 1 && SSL_CTX_use_PrivateKey(ctx, pkey) == 1, "key");
	EVP_PKEY_free(pkey);
	X509_free(x509);
}

static void way_open(struct way *w, const char *suite)
{
	for (int i = 0; i < 2; i++) {
		SSL_CTX *ctx =
			SSL_CTX_new_ex(libctx_ossl(w->lib), NULL, i == 0 ? TLS_client_method() : TLS_server_method());

		must(ctx != NULL && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) &&
			     SSL_CTX_set_ciphersuites(ctx, suite) &&
			     SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384"),
		     "context");
		SSL_CTX_set_num_tickets(ctx, 0);
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
		if (w->secrets == SECRETS_LOGGED)
			SSL_CTX_set_keylog_callback(ctx, on_key_log);
		if (i == 0 || w->mutual)
			SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
		if (i == 1 || w->mutual)
			use_identity(ctx, libctx_ossl(w->lib));
		w->ctx[i] = ctx;
	}
	w->best_us = 1e9;
}

static int step(struct way *w, SSL *ssl, struct libctx_secrets *into)
{
	int rc;

	if (w->secrets == SECRETS_CAUGHT)
		libctx_catch_secrets(into);
	rc = SSL_do_handshake(ssl);
	libctx_catch_secrets(NULL);
	return rc;
}

static void handshake(struct way *w)
{
	SSL *client = SSL_new(w->ctx[0]), *server = SSL_new(w->ctx[1]);
	BIO *to_client = BIO_new(BIO_s_mem()), *to_server = BIO_new(BIO_s_mem());
	struct libctx_secrets secrets[2] = { 0 };

	BIO_set_mem_eof_return(to_client, -1);
	BIO_set_mem_eof_return(to_server, -1);
	BIO_up_ref(to_client);
	BIO_up_ref(to_server);
	SSL_set_bio(client, to_client, to_server);
	SSL_set_bio(server, to_server, to_client);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	step(w, client, &secrets[0]);
	step(w, server, &secrets[1]);
	must(step(w, client, &secrets[0]) == 1 && step(w, server, &secrets[1]) == 1, "handshake");
	must(w->secrets == SECRETS_LOGGED ||
		     (secrets[0].server_len > 0 && memcmp(&secrets[0], &secrets[1], sizeof(secrets[0])) == 0),
	     "secrets");
	SSL_free(client);
	SSL_free(server);
}

static void measure(struct way *w)
{
	double start = now_us();

	for (int i = 0; i < HANDSHAKES; i++)
		handshake(w);
	if ((now_us() - start) / HANDSHAKES < w->best_us)
		w->best_us = (now_us() - start) / HANDSHAKES;
}

static void compare(struct libctx *plain, struct libctx *filtered, const char *suite, bool mutual)
{
	struct way ways[] = {
		{ .name = "default, key log", .lib = NULL, .secrets = SECRETS_LOGGED },
		{ .name = "plain, key log", .lib = plain, .secrets = SECRETS_LOGGED },
		{ .name = "filtered, key log", .lib = filtered, .secrets = SECRETS_LOGGED },
		{ .name = "filtered, caught", .lib = filtered, .secrets = SECRETS_CAUGHT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		ways[i].mutual = mutual;
		way_open(&ways[i], suite);
		handshake(&ways[i]);
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
			measure(&ways[i]);
	}
	printf("%s, %s\n", suite, mutual ? "both sides with a certificate" : "server with a certificate");
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		printf("  %-18s %6.1f us  %.2f\n", ways[i].name, ways[i].best_us, ways[i].best_us / ways[0].best_us);
		SSL_CTX_free(ways[i].ctx[0]);
		SSL_CTX_free(ways[i].ctx[1]);
	}
}

static struct libctx *new_context(struct libctx *(*make)(struct err *), const char *name)
{
	struct err e;
	double start = now_us();
	long before = resident_kib();
	struct libctx *l = make(&e);

	must(l != NULL, "new context");
	printf("%s context: %.0f us, %ld KiB more\n", name, now_us() - start, resident_kib() - before);
	return l;
}

int main(void)
{
	struct err e;
	struct libctx *first, *plain, *filtered;
	struct key *k = key_new_p256(&e);

	must(k != NULL && key_pkcs8(k, &key, &e) == 0, "key");
	must(cert_make_rats_tls(&(struct rats_cert_options){ .key = k,
							     .not_before = clock_unix(),
							     .not_after = clock_unix() + 3600 },
				&cert, &e) == 0,
	     "certificate");
	printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
	first = new_context(libctx_new, "first (with self-test)");
	filtered = new_context(libctx_new, libctx_is_filtered(first) ? "filtered" : "fallen back to plain");
	plain = new_context(libctx_new_plain, "plain");
	if (libctx_is_filtered(filtered)) {
		compare(plain, filtered, "TLS_AES_128_GCM_SHA256", false);
		compare(plain, filtered, "TLS_AES_128_GCM_SHA256", true);
		compare(plain, filtered, "TLS_AES_256_GCM_SHA384", true);
	}
	libctx_free(first);
	libctx_free(filtered);
	libctx_free(plain);
	buf_release(&cert);
	buf_release_secret(&key);
	key_free(k);
	return 0;
}
