/* SPDX-License-Identifier: Apache-2.0 */
/* secure_side - a TLS configuration, and the identity in it. */
#include "tunnel/rats_tls/secure_side.h"

#include "attest/identity.h"
#include "io/worker.h"

int secure_side_show(struct secure_side *s, struct identity *id, struct err *e)
{
	if (s->shown == id)
		return 0;
	identity_unref(s->shown);
	s->shown = NULL;
	if (tls_config_set_identity(s->config, buf_bytes(&id->cert_der), buf_bytes(&id->key_der), e) < 0)
		return -1;
	s->shown = identity_ref(id);
	return 0;
}

int secure_side_init(struct secure_side *s, struct err *e)
{
	struct tls_options options = {
		.role = s->role,
		.alpn = s->alpn,
		.want_peer_cert = s->role == TLS_SERVER && s->verifier != NULL,
		.max_cert_size = s->certificate_size,
		.libctx = s->worker->libctx,
		.libssl_records = s->libssl_records,
	};

	s->config = tls_config_new(&options, e);
	if (s->config == NULL)
		return -1;
	if (s->attester == NULL && s->dummy != NULL)
		return secure_side_show(s, s->dummy, e);
	return 0;
}

void secure_side_release(struct secure_side *s)
{
	tls_config_free(s->config);
	s->config = NULL;
	identity_unref(s->shown);
	s->shown = NULL;
}
