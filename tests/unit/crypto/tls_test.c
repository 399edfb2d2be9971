/* SPDX-License-Identifier: Apache-2.0 */
/* Two handshakes of ours against each other, and ours against plain libssl peers with other ideas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "attest/identity.h"
#include "base/clock.h"
#include "crypto/cert.h"
#include "crypto/tls.h"

#define MAX_CERT (1u << 20)

struct side {
	struct tls_config *config;
	struct tls_handshake *tls;
	struct buf in; /* from the other side, not yet used */
	struct buf out;
	enum tls_step step;
	enum reason reason;
	struct err why;
};

static struct tls_config *config(enum tls_role role, unsigned alpn, bool want_peer_cert, size_t max_cert)
{
	struct err e;
	struct tls_config *c = tls_config_new(
		&(struct tls_options){
			.role = role, .alpn = alpn, .want_peer_cert = want_peer_cert, .max_cert_size = max_cert },
		&e);

	assert_non_null(c);
	return c;
}

static void present_dummy(struct tls_config *c)
{
	struct err e;
	struct identity *id = identity_new_dummy(&e);

	assert_int_equal(tls_config_set_identity(c, buf_bytes(&id->cert_der), buf_bytes(&id->key_der), &e), 0);
	identity_unref(id);
}

/* A certificate with this many bytes of evidence. */
static void present_evidence(struct tls_config *c, size_t size)
{
	struct err e;
	struct key *key = key_new_p256(&e);
	struct buf evidence = { 0 };
	struct buf cert = { 0 };
	struct buf pkcs8 = { 0 };

	memset(buf_reserve(&evidence, size), 'x', size);
	evidence.len = size;
	assert_int_equal(cert_make_rats_tls(&(struct rats_cert_options){ .key = key,
									 .evidence = buf_bytes(&evidence),
									 .not_before = clock_unix(),
									 .not_after = clock_unix() + 3600 },
					    &cert, &e),
			 0);
	assert_int_equal(key_pkcs8(key, &pkcs8, &e), 0);
	assert_int_equal(tls_config_set_identity(c, buf_bytes(&cert), buf_bytes(&pkcs8), &e), 0);
	buf_release(&evidence);
	buf_release(&cert);
	buf_release_secret(&pkcs8);
	key_free(key);
}

static void side_init(struct side *s, struct tls_config *c, const char *name)
{
	struct err e;

	*s = (struct side){ .config = c, .step = TLS_MORE };
	s->tls = tls_handshake_new(c, name, &e);
	assert_non_null(s->tls);
}

static void side_release(struct side *s)
{
	tls_handshake_free(s->tls);
	tls_config_free(s->config);
	buf_release(&s->in);
	buf_release(&s->out);
}

/* One step with at most piece bytes of what has come. */
static void side_step(struct side *s, size_t piece)
{
	size_t used = 0;
	struct bytes in = bytes_of(s->in.data, MIN(piece, s->in.len));

	if (s->step != TLS_MORE)
		return;
	s->step = tls_handshake_step(s->tls, in, &used, &s->out, &s->reason, &s->why);
	if (used > 0)
		memmove(s->in.data, s->in.data + used, s->in.len - used);
	s->in.len -= used;
}

static void carry(struct side *from, struct side *to)
{
	buf_append_bytes(&to->in, buf_bytes(&from->out));
	buf_clear(&from->out);
}

static void shake(struct side *client, struct side *server, size_t piece)
{
	side_step(client, 0);
	for (int i = 0; i < 200000; i++) {
		carry(client, server);
		if (server->in.len > 0)
			side_step(server, piece);
		carry(server, client);
		if (client->in.len > 0)
			side_step(client, piece);
		if (client->step != TLS_MORE && server->step != TLS_MORE)
			return;
		if (client->in.len == 0 && server->in.len == 0 && client->out.len == 0)
			return;
		if (client->step == TLS_FAILED || server->step == TLS_FAILED)
			return;
	}
}

static void both_sides_get_the_same_keys(struct side *client, struct side *server)
{
	struct record_side crx;
	struct record_side ctx;
	struct record_side srx;
	struct record_side stx;
	struct err e;

	assert_int_equal(tls_handshake_sides(client->tls, &crx, &ctx, &e), 0);
	assert_int_equal(tls_handshake_sides(server->tls, &srx, &stx, &e), 0);
	assert_int_equal(crx.suite, stx.suite);
	assert_memory_equal(crx.iv, stx.iv, sizeof(crx.iv));
	assert_memory_equal(ctx.iv, srx.iv, sizeof(crx.iv));
	assert_memory_equal(crx.secret, stx.secret, 32);
	assert_memory_equal(ctx.secret, srx.secret, 32);
	assert_memory_not_equal(ctx.secret, stx.secret, 32);
}

static void a_handshake_gives_both_sides_the_same_keys(void **state)
{
	struct side client;
	struct side server;

	(void)state;
	side_init(&client, config(TLS_CLIENT, TLS_ALPN_RAW, false, MAX_CERT), "service.example");
	server.config = config(TLS_SERVER, TLS_ALPN_RAW | TLS_ALPN_H2, false, MAX_CERT);
	present_dummy(server.config);
	side_init(&server, server.config, NULL);
	shake(&client, &server, SIZE_MAX);
	assert_int_equal(client.step, TLS_DONE);
	assert_int_equal(server.step, TLS_DONE);
	assert_int_equal(tls_handshake_alpn(client.tls), TLS_ALPN_RAW);
	assert_int_equal(tls_handshake_alpn(server.tls), TLS_ALPN_RAW);
	both_sides_get_the_same_keys(&client, &server);
	/* The server sent no ticket behind its Finished. */
	assert_int_equal(client.in.len + server.out.len, 0);
	side_release(&client);
	side_release(&server);
}

static void a_handshake_works_in_pieces_of_one_byte(void **state)
{
	struct side client;
	struct side server;

	(void)state;
	side_init(&client, config(TLS_CLIENT, TLS_ALPN_H2, false, MAX_CERT), NULL);
	server.config = config(TLS_SERVER, TLS_ALPN_RAW | TLS_ALPN_H2, false, MAX_CERT);
	present_dummy(server.config);
	side_init(&server, server.config, NULL);
	shake(&client, &server, 1);
	assert_int_equal(client.step, TLS_DONE);
	assert_int_equal(server.step, TLS_DONE);
	assert_int_equal(tls_handshake_alpn(server.tls), TLS_ALPN_H2);
	both_sides_get_the_same_keys(&client, &server);
	side_release(&client);
	side_release(&server);
}

static void the_peer_certificate_is_the_one_that_was_presented(void **state)
{
	struct side client;
	struct side server;
	struct buf seen_by_client = { 0 };
	struct buf seen_by_server = { 0 };

	(void)state;
	client.config = config(TLS_CLIENT, TLS_ALPN_RAW, false, MAX_CERT);
	present_evidence(client.config, 200000);
	side_init(&client, client.config, NULL);
	server.config = config(TLS_SERVER, TLS_ALPN_RAW, true, MAX_CERT);
	present_dummy(server.config);
	side_init(&server, server.config, NULL);
	shake(&client, &server, SIZE_MAX);
	assert_int_equal(server.step, TLS_DONE);
	assert_true(tls_handshake_peer_cert(server.tls, &seen_by_server));
	assert_true(tls_handshake_peer_cert(client.tls, &seen_by_client));
	assert_true(seen_by_server.len > 200000);
	assert_true(seen_by_client.len < 1000);
	buf_release(&seen_by_client);
	buf_release(&seen_by_server);
	side_release(&client);
	side_release(&server);
}

static void bytes_behind_the_handshake_are_left_alone(void **state)
{
	struct side client;
	struct side server;

	(void)state;
	side_init(&client, config(TLS_CLIENT, TLS_ALPN_RAW, false, MAX_CERT), NULL);
	server.config = config(TLS_SERVER, TLS_ALPN_RAW, false, MAX_CERT);
	present_dummy(server.config);
	side_init(&server, server.config, NULL);
	side_step(&client, 0);
	carry(&client, &server);
	side_step(&server, SIZE_MAX);
	carry(&server, &client);
	side_step(&client, SIZE_MAX);
	assert_int_equal(client.step, TLS_DONE);
	carry(&client, &server);
	buf_append_str(&server.in, "\x17\x03\x03\x40\x00 the first record of data");
	side_step(&server, SIZE_MAX);
	assert_int_equal(server.step, TLS_DONE);
	assert_memory_equal(server.in.data, "\x17\x03\x03\x40", 4);
	side_release(&client);
	side_release(&server);
}

static void disjoint_tunnel_protocols_are_refused_with_alert_120(void **state)
{
	struct side client;
	struct side server;

	(void)state;
	side_init(&client, config(TLS_CLIENT, TLS_ALPN_H2, false, MAX_CERT), NULL);
	server.config = config(TLS_SERVER, TLS_ALPN_RAW, false, MAX_CERT);
	present_dummy(server.config);
	side_init(&server, server.config, NULL);
	side_step(&client, 0);
	carry(&client, &server);
	side_step(&server, SIZE_MAX);
	assert_int_equal(server.step, TLS_FAILED);
	assert_int_equal(server.reason, REASON_TLS_ALPN);
	assert_memory_equal(server.out.data, "\x15\x03\x03\x00\x02\x02\x78", 7);
	carry(&server, &client);
	side_step(&client, SIZE_MAX);
	assert_int_equal(client.step, TLS_FAILED);
	assert_int_equal(client.reason, REASON_TLS_ALPN);
	side_release(&client);
	side_release(&server);
}

static void a_client_without_certificate_is_refused_where_one_is_wanted(void **state)
{
	struct side client;
	struct side server;

	(void)state;
	side_init(&client, config(TLS_CLIENT, TLS_ALPN_RAW, false, MAX_CERT), NULL);
	server.config = config(TLS_SERVER, TLS_ALPN_RAW, true, MAX_CERT);
	present_dummy(server.config);
	side_init(&server, server.config, NULL);
	shake(&client, &server, SIZE_MAX);
	carry(&client, &server);
	side_step(&server, SIZE_MAX);
	assert_int_equal(server.step, TLS_FAILED);
	assert_int_equal(server.reason, REASON_TLS_NO_CERTIFICATE);
	side_release(&client);
	side_release(&server);
}

static void a_certificate_over_the_limit_is_refused_from_its_length(void **state)
{
	struct side client;
	struct side server;

	(void)state;
	side_init(&client, config(TLS_CLIENT, TLS_ALPN_RAW, false, 50000), NULL);
	server.config = config(TLS_SERVER, TLS_ALPN_RAW, false, MAX_CERT);
	present_evidence(server.config, 100000);
	side_init(&server, server.config, NULL);
	side_step(&client, 0);
	carry(&client, &server);
	side_step(&server, SIZE_MAX);
	assert_true(server.out.len > 100000);
	/* ServerHello, ChangeCipherSpec, EncryptedExtensions and the beginning of Certificate are enough. */
	buf_append(&client.in, server.out.data, 20000);
	side_step(&client, SIZE_MAX);
	assert_int_equal(client.step, TLS_FAILED);
	assert_int_equal(client.reason, REASON_CERTIFICATE_TOO_LARGE);
	side_release(&client);
	side_release(&server);
}

/* ---- peers made with plain libssl ---- */

struct foreign {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in;
	BIO *out;
};

static void foreign_client(struct foreign *f, int max_version)
{
	f->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(f->ctx, max_version);
	f->ssl = SSL_new(f->ctx);
	f->in = BIO_new(BIO_s_mem());
	f->out = BIO_new(BIO_s_mem());
	SSL_set_bio(f->ssl, f->in, f->out);
	SSL_set_connect_state(f->ssl);
}

static void foreign_release(struct foreign *f)
{
	SSL_free(f->ssl);
	SSL_CTX_free(f->ctx);
}

static void foreign_step(struct foreign *f, struct side *peer)
{
	uint8_t buf[70000];
	int n;

	if (peer->out.len > 0)
		BIO_write(f->in, peer->out.data, (int)peer->out.len);
	buf_clear(&peer->out);
	SSL_do_handshake(f->ssl);
	n = BIO_read(f->out, buf, sizeof(buf));
	if (n > 0)
		buf_append(&peer->in, buf, (size_t)n);
}

static void tls_1_2_is_refused_with_alert_70(void **state)
{
	struct foreign client;
	struct side server;

	(void)state;
	foreign_client(&client, TLS1_2_VERSION);
	server.config = config(TLS_SERVER, TLS_ALPN_RAW, false, MAX_CERT);
	present_dummy(server.config);
	side_init(&server, server.config, NULL);
	foreign_step(&client, &server);
	side_step(&server, SIZE_MAX);
	assert_int_equal(server.step, TLS_FAILED);
	assert_int_equal(server.reason, REASON_TLS_VERSION);
	assert_memory_equal(server.out.data, "\x15\x03\x03\x00\x02\x02\x46", 7);
	foreign_release(&client);
	side_release(&server);
}

static void a_client_without_alpn_is_known_as_such(void **state)
{
	struct foreign client;
	struct side server;

	(void)state;
	foreign_client(&client, TLS1_3_VERSION);
	server.config = config(TLS_SERVER, TLS_ALPN_RAW, false, MAX_CERT);
	present_dummy(server.config);
	side_init(&server, server.config, NULL);
	for (int i = 0; i < 3 && server.step == TLS_MORE; i++) {
		foreign_step(&client, &server);
		side_step(&server, SIZE_MAX);
	}
	assert_int_equal(server.step, TLS_DONE);
	assert_int_equal(tls_handshake_alpn(server.tls), TLS_ALPN_NONE);
	foreign_release(&client);
	side_release(&server);
}

static bool has_extension(const struct buf *hello, uint16_t type)
{
	struct reader r = reader_of(buf_bytes(hello));

	reader_bytes(&r, 5 + 4 + 2 + 32);
	reader_bytes(&r, reader_u8(&r));
	reader_bytes(&r, reader_u16(&r));
	reader_bytes(&r, reader_u8(&r));
	reader_u16(&r);
	while (reader_left(&r) > 0) {
		uint16_t found = reader_u16(&r);

		reader_bytes(&r, reader_u16(&r));
		if (found == type)
			return true;
	}
	assert_false(r.failed);
	return false;
}

static void our_hello_offers_neither_psk_nor_early_data_nor_tickets(void **state)
{
	struct side client;

	(void)state;
	side_init(&client, config(TLS_CLIENT, TLS_ALPN_RAW, false, MAX_CERT), NULL);
	side_step(&client, 0);
	assert_true(has_extension(&client.out, 43));  /* supported_versions: the reader works */
	assert_true(has_extension(&client.out, 16));  /* ALPN */
	assert_false(has_extension(&client.out, 41)); /* pre_shared_key */
	assert_false(has_extension(&client.out, 42)); /* early_data */
	assert_false(has_extension(&client.out, 35)); /* session_ticket */
	assert_false(has_extension(&client.out, 0));  /* server_name: none was given */
	side_release(&client);
}

static void the_budget_refuses_handshakes_and_recovers(void **state)
{
	size_t most = 0;
	struct tls_handshake *all[4096];
	struct tls_config *c = config(TLS_SERVER, TLS_ALPN_RAW, false, MAX_CERT);
	struct err e;

	(void)state;
	while (most < ARRAY_SIZE(all) && (all[most] = tls_handshake_new(c, NULL, &e)) != NULL)
		most++;
	assert_true(most > 10 && most < ARRAY_SIZE(all));
	assert_int_equal(e.kind, ERR_LIMIT);
	for (size_t i = 0; i < most; i++)
		tls_handshake_free(all[i]);
	all[0] = tls_handshake_new(c, NULL, &e);
	assert_non_null(all[0]);
	tls_handshake_free(all[0]);
	assert_false(tls_budget_take(1u << 30));
	assert_true(tls_budget_take(1000));
	tls_budget_give(1000);
	tls_config_free(c);
}

/* As in the program: a constructor of a shared library may use libcrypto before main. */
static void before_all(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	(void)envp;
	tls_count_memory();
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(int, char **, char **) = before_all;

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_handshake_gives_both_sides_the_same_keys),
		cmocka_unit_test(a_handshake_works_in_pieces_of_one_byte),
		cmocka_unit_test(the_peer_certificate_is_the_one_that_was_presented),
		cmocka_unit_test(bytes_behind_the_handshake_are_left_alone),
		cmocka_unit_test(disjoint_tunnel_protocols_are_refused_with_alert_120),
		cmocka_unit_test(a_client_without_certificate_is_refused_where_one_is_wanted),
		cmocka_unit_test(a_certificate_over_the_limit_is_refused_from_its_length),
		cmocka_unit_test(tls_1_2_is_refused_with_alert_70),
		cmocka_unit_test(a_client_without_alpn_is_known_as_such),
		cmocka_unit_test(our_hello_offers_neither_psk_nor_early_data_nor_tickets),
		cmocka_unit_test(the_budget_refuses_handshakes_and_recovers),
	};

	if (!tls_init_budget(16u << 20))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
