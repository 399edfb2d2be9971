/* SPDX-License-Identifier: Apache-2.0 */
/* peer_verdict - of sessions that outlive their verdicts. */
#include "tunnel/rats_tls/peer_verdict.h"

#include <string.h>

#include "base/clock.h"
#include "tunnel/rats_tls/secure.h"

static void keep(struct peer_verdict *p, const struct verdict *v)
{
	p->attested = true;
	p->expires_ms = v->expires_ms;
	memcpy(p->tee, v->tee, sizeof(p->tee));
}

void peer_verdict_init(struct peer_verdict *p, struct verifier *verifier, const struct secured *result)
{
	*p = (struct peer_verdict){ .verifier = verifier };
	if (!result->attested)
		return;
	keep(p, &result->verdict);
	buf_append_bytes(&p->cert, result->cert);
	memcpy(p->cert_sha256, result->cert_sha256, sizeof(p->cert_sha256));
}

void peer_verdict_cancel(struct peer_verdict *p)
{
	if (p->renewal != NULL)
		verify_call_cancel(p->renewal);
	p->renewal = NULL;
}

void peer_verdict_release(struct peer_verdict *p)
{
	peer_verdict_cancel(p);
	buf_release(&p->cert);
}

bool peer_verdict_holds(struct peer_verdict *p)
{
	struct verdict v;

	if (p->verifier == NULL)
		return true;
	if (p->renewal != NULL)
		return false;
	if (clock_ms() < p->expires_ms)
		return true;
	if (!verifier_cached(p->verifier, p->cert_sha256, &v))
		return false;
	keep(p, &v);
	return true;
}

void peer_verdict_renew(struct peer_verdict *p, struct loop *loop, struct verify_events *events)
{
	p->renewal = verifier_check(p->verifier, loop, buf_bytes(&p->cert), p->cert_sha256, events);
}

bool peer_verdict_is_renewing(const struct peer_verdict *p)
{
	return p->renewal != NULL;
}

bool peer_verdict_decided(struct peer_verdict *p, const struct verdict *v)
{
	p->renewal = NULL;
	if (v->accepted)
		keep(p, v);
	return v->accepted;
}
