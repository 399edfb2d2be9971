/* SPDX-License-Identifier: Apache-2.0 */
/* peer_verdict_test - when a session's verdict holds and when its peer is judged again. The verifier is played here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "tunnel/rats_tls/peer_verdict.h"
#include "tunnel/rats_tls/secure.h"

#define LATER (clock_ms() + 1000000)

static struct {
	bool has_cached;
	struct verdict cached;
	unsigned looked_up;
	unsigned asked;
	unsigned cancelled;
	struct buf about;
} played;

static struct verify_call *const call = (struct verify_call *)&played;
static struct verifier *const verifier = (struct verifier *)&played;

bool verifier_cached(struct verifier *v, const uint8_t cert_sha256[32], struct verdict *out)
{
	assert_ptr_equal(v, verifier);
	assert_int_equal(cert_sha256[31], 0x31);
	played.looked_up++;
	*out = played.cached;
	return played.has_cached;
}

struct verify_call *verifier_check(struct verifier *v, struct loop *reply_to, struct bytes cert_der,
				   const uint8_t cert_sha256[32], struct verify_events *events)
{
	assert_ptr_equal(v, verifier);
	assert_null(reply_to);
	assert_non_null(events);
	assert_int_equal(cert_sha256[31], 0x31);
	buf_append_bytes(&played.about, cert_der);
	played.asked++;
	return call;
}

void verify_call_cancel(struct verify_call *c)
{
	assert_ptr_equal(c, call);
	played.cancelled++;
}

static int reset(void **state)
{
	(void)state;
	buf_release(&played.about);
	memset(&played, 0, sizeof(played));
	return 0;
}

static struct peer_verdict believed_until(uint64_t expires_ms)
{
	struct secured result = { .attested = true, .cert = bytes_str("certificate"), .cert_sha256 = { [31] = 0x31 } };
	struct peer_verdict p;

	result.verdict = (struct verdict){ .accepted = true, .expires_ms = expires_ms, .tee = "tdx" };
	peer_verdict_init(&p, verifier, &result);
	return p;
}

static void who_judges_nobody_believes_everybody(void **state)
{
	struct secured result = { .attested = false };
	struct peer_verdict p;

	(void)state;
	peer_verdict_init(&p, NULL, &result);
	assert_false(p.attested);
	assert_true(peer_verdict_holds(&p));
	assert_int_equal(played.looked_up, 0);
	peer_verdict_release(&p);
}

static void a_verdict_holds_until_it_runs_out(void **state)
{
	struct peer_verdict p = believed_until(LATER);

	(void)state;
	assert_true(p.attested);
	assert_string_equal(p.tee, "tdx");
	assert_true(peer_verdict_holds(&p));
	assert_int_equal(played.looked_up, 0);
	p.expires_ms = clock_ms();
	assert_false(peer_verdict_holds(&p));
	assert_int_equal(played.looked_up, 1);
	assert_int_equal(played.asked, 0);
	peer_verdict_release(&p);
}

static void what_another_session_has_found_out_is_taken(void **state)
{
	struct peer_verdict p = believed_until(0);

	(void)state;
	played.has_cached = true;
	played.cached = (struct verdict){ .accepted = true, .expires_ms = LATER, .tee = "snp" };
	assert_true(peer_verdict_holds(&p));
	assert_string_equal(p.tee, "snp");
	played.has_cached = false;
	assert_true(peer_verdict_holds(&p));
	assert_int_equal(played.looked_up, 1);
	peer_verdict_release(&p);
}

static void while_it_is_judged_again_nothing_holds(void **state)
{
	struct peer_verdict p = believed_until(0);
	struct verify_events events;

	(void)state;
	peer_verdict_renew(&p, NULL, &events);
	assert_int_equal(played.asked, 1);
	assert_true(bytes_equal(buf_bytes(&played.about), bytes_str("certificate")));
	assert_true(peer_verdict_is_renewing(&p));
	p.expires_ms = LATER;
	played.has_cached = true;
	assert_false(peer_verdict_holds(&p));
	peer_verdict_release(&p);
	assert_int_equal(played.cancelled, 1);
}

static void a_new_verdict_is_kept_when_it_accepts(void **state)
{
	struct peer_verdict p = believed_until(0);
	struct verdict yes = { .accepted = true, .expires_ms = LATER, .tee = "csv" };
	struct verify_events events;

	(void)state;
	peer_verdict_renew(&p, NULL, &events);
	assert_true(peer_verdict_decided(&p, &yes));
	assert_false(peer_verdict_is_renewing(&p));
	assert_true(peer_verdict_holds(&p));
	assert_string_equal(p.tee, "csv");
	peer_verdict_release(&p);
	assert_int_equal(played.cancelled, 0);
}

static void a_refusal_leaves_nothing_that_holds(void **state)
{
	struct peer_verdict p = believed_until(0);
	struct verdict no = { .accepted = false, .expires_ms = LATER };
	struct verify_events events;

	(void)state;
	peer_verdict_renew(&p, NULL, &events);
	assert_false(peer_verdict_decided(&p, &no));
	assert_false(peer_verdict_holds(&p));
	peer_verdict_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(who_judges_nobody_believes_everybody, reset),
		cmocka_unit_test_teardown(a_verdict_holds_until_it_runs_out, reset),
		cmocka_unit_test_teardown(what_another_session_has_found_out_is_taken, reset),
		cmocka_unit_test_teardown(while_it_is_judged_again_nothing_holds, reset),
		cmocka_unit_test_teardown(a_new_verdict_is_kept_when_it_accepts, reset),
		cmocka_unit_test_teardown(a_refusal_leaves_nothing_that_holds, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
