/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel - surroundings of sessions. */
#include "tunnel.h"

#include "attest/identity.h"
#include "attest/verdict_cache.h"
#include "crypto/aead.h"
#include "crypto/libctx.h"
#include "run.h"

#define BUDGET (64 << 20)
#define LONG_MS 10000

int tunnel_init(void)
{
	struct err e;

	return aead_select("auto", &e);
}

static void worker_begin(struct tunnel *x)
{
	struct err e;

	x->budget.limit = BUDGET;
	x->worker.loop = x->trial->loop;
	x->worker.pool = pool_new(&x->budget);
	x->worker.aead = aead_cache_new();
	x->worker.libctx = libctx_new(&e);
	x->worker.counters = &x->counters;
	assert_non_null(x->worker.libctx);
}

void tunnel_begin(struct tunnel *x, struct trial *trial)
{
	*x = (struct tunnel){ .trial = trial };
	trial->conf.skip_as_token_cert_verify = true;
	worker_begin(x);
	x->cache = verdict_cache_new(100);
	x->identity = peer_identity(&trial->peer);
	far_end_init(&x->far, &x->worker, x->identity);
	x->side = (struct secure_side){
		.worker = &x->worker,
		.role = TLS_CLIENT,
		.name = "add_ingress[0]",
		.alpn = TLS_ALPN_H2,
		.handshake_ms = LONG_MS,
		.verify_ms = LONG_MS,
		.certificate_size = 1 << 20,
	};
	x->options = (struct session_options){
		.side = &x->side,
		.sock = &x->sock,
		.connect_ms = LONG_MS,
		.resolve_ms = LONG_MS,
		.idle_ms = LONG_MS,
		.descriptors = &x->descriptors,
	};
}

void tunnel_end(struct tunnel *x)
{
	far_end_stop(&x->far);
	secure_side_release(&x->side);
	verifier_free(x->verifier);
	verifier_free(x->far_verifier);
	run_for(x->trial->loop, 0); /* what was to be freed after a round */
	verdict_cache_free(x->cache);
	identity_unref(x->identity);
	assert_int_equal(x->descriptors, 0);
	assert_int_equal(x->budget.used, 0);
	pool_free(x->worker.pool);
	aead_cache_free(x->worker.aead);
	libctx_free(x->worker.libctx);
}

void tunnel_open(struct tunnel *x)
{
	struct err e;

	far_end_start(&x->far);
	x->options.to = x->far.endpoint;
	assert_int_equal(secure_side_init(&x->side, &e), 0);
}

static struct verifier *verifier_for(struct tunnel *x, const struct verify_conf *conf, const char *name)
{
	struct err e;
	struct verifier *v = verifier_new(x->trial->loop, conf, BINDING_CURRENT, x->cache, name, &e);

	assert_non_null(v);
	verifier_start(v);
	return v;
}

void tunnel_open_verified(struct tunnel *x)
{
	x->verifier = verifier_for(x, &x->trial->conf, x->side.name);
	x->side.verifier = x->verifier;
	tunnel_open(x);
}

void tunnel_want_certificate(struct tunnel *x)
{
	x->far_conf = (struct verify_conf){ .as.type = AS_BUILTIN, .builtin_policy = POLICY_TRUST_ALL };
	x->far_verifier = verifier_for(x, &x->far_conf, x->far.side.name);
	x->far.side.verifier = x->far_verifier;
}
