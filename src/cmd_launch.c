/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_launch - tng launch: run the gateway until a signal. */
#include "base/log.h"
#include "cmd.h"
#include "crypto/aead.h"
#include "gateway/gateway.h"

int cmd_launch(struct config *c)
{
	struct gateway *g;
	struct err e;
	int rc;

	if (aead_select(c->aead, &e) < 0) {
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
