/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_launch - tng launch: run the gateway until a signal. */
#include "base/log.h"
#include "cmd.h"
#include "crypto/aead.h"
#include "crypto/tls.h"
#include "gateway/gateway.h"

static int init_libraries(const struct config *c, struct err *e)
{
	if (!tls_init_budget(c->limits.handshake_memory))
		log_warn("limits.handshake_memory counts certificates only: libcrypto was in use before tng");
	return aead_select(c->aead, e);
}

int cmd_launch(struct config *c)
{
	struct gateway *g;
	struct err e;
	int rc;

	if (init_libraries(c, &e) < 0) {
		log_error("%s", e.text);
		return 1;
	}
	g = gateway_new(c, &e);
	if (g == NULL) {
		log_error("%s", e.text);
		return 1;
	}
	rc = gateway_run(g);
	gateway_free(g);
	return rc;
}
