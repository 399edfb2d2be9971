/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token - is this a token that we believe, and what does it say?
 *
 * The payload is not even parsed before its signer is known to be endorsed: until then a stranger speaks,
 * and only the header, which is small, has been read. docs/protocol/token.md lists the steps, and where
 * we are stricter than upstream.
 */
#include "attest/token.h"

#include <stdio.h>
#include <stdlib.h>

#include "attest/evidence.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "codec/jwt.h"
#include "crypto/key.h"

#define MAX_CHAIN 10	/* entries of x5c */
#define MAX_REPORTS 256 /* evaluation-reports */
#define LEEWAY_S 60
#define MAX_SECONDS 9007199254740992.0 /* 2^53: beyond it a double is no exact number of seconds */

#define EAR_PROFILE "tag:github.com,2024:confidential-containers/Trustee"
#define EAR_CPU "cpu0"
#define EAR_STATUS "ear.status"
#define EAR_AFFIRMING "affirming"
#define EAR_VECTOR "ear.trustworthiness-vector"
#define EAR_POLICY_ID "ear.appraisal-policy-id"
#define EAR_EVIDENCE "ear.veraison.annotated-evidence"

/* Symmetric algorithms are absent: whoever can check such a token can make one. */
static const char *const algorithms[] = {
	"ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA",
};

/* What stands beside the claims of the TEE in the evidence of an EAR submodule. */
static const char *const not_a_tee[] = { "init_data", "init_data_claims", "report_data", "runtime_data_claims" };

struct judgement {
	const struct token_rules *rules;
	struct token_claims *claims;
	enum reason reason;
	struct err *e;
};

/* The policy ids that the token names; the strings are borrowed from it. */
struct policies {
	const char **ids;
	size_t count;
};

static int refuse(struct judgement *j, enum reason reason, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int refuse(struct judgement *j, enum reason reason, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	j->reason = reason;
	return err_set(j->e, reason == REASON_TOKEN_INVALID ? ERR_PEER : ERR_TRUST, "%s", text);
}

/* The same where e says why already. */
static int refused(struct judgement *j, enum reason reason)
{
	j->reason = reason;
	return -1;
}

static bool is_one_of(const char *const *words, size_t count, const char *word)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(words[i], word) == 0)
			return true;
	}
	return false;
}

static struct json *parse_part(struct judgement *j, const struct buf *text, const char *name)
{
	struct json *parsed = json_parse(buf_bytes(text), JSON_STRICT, j->e);

	if (parsed == NULL) {
		err_wrap(j->e, "the token's %s", name);
		refused(j, REASON_TOKEN_INVALID);
		return NULL;
	}
	if (parsed->type != JSON_OBJECT) {
		json_free(parsed);
		refuse(j, REASON_TOKEN_INVALID, "the token's %s is no JSON object", name);
		return NULL;
	}
	return parsed;
}

/* A member of the JWK that holds bytes in base64url. */
static int read_number(struct judgement *j, const struct json *jwk, const char *name, struct buf *out)
{
	const char *text = json_string(json_member(jwk, name));

	if (text == NULL)
		return refuse(j, REASON_TOKEN_INVALID, "the token's jwk has no string %s", name);
	if (base64url_decode(bytes_str(text), out, j->e) != 0) {
		err_wrap(j->e, "the token's jwk: %s", name);
		return refused(j, REASON_TOKEN_INVALID);
	}
	return 0;
}

static struct key *read_ec_key(struct judgement *j, const struct json *jwk)
{
	const char *crv = json_string(json_member(jwk, "crv"));
	struct buf x = { 0 };
	struct buf y = { 0 };
	struct key *k = NULL;

	if (crv == NULL)
		refuse(j, REASON_TOKEN_INVALID, "the token's jwk has no string crv");
	else if (read_number(j, jwk, "x", &x) == 0 && read_number(j, jwk, "y", &y) == 0)
		k = key_from_ec_point(crv, buf_bytes(&x), buf_bytes(&y), j->e);
	buf_release(&x);
	buf_release(&y);
	return k;
}

static struct key *read_rsa_key(struct judgement *j, const struct json *jwk)
{
	struct buf n = { 0 };
	struct buf exponent = { 0 };
	struct key *k = NULL;

	if (read_number(j, jwk, "n", &n) == 0 && read_number(j, jwk, "e", &exponent) == 0)
		k = key_from_rsa(buf_bytes(&n), buf_bytes(&exponent), j->e);
	buf_release(&n);
	buf_release(&exponent);
	return k;
}

static struct key *read_okp_key(struct judgement *j, const struct json *jwk)
{
	const char *crv = json_string(json_member(jwk, "crv"));
	struct buf x = { 0 };
	struct key *k = NULL;

	if (crv == NULL || strcmp(crv, "Ed25519") != 0)
		refuse(j, REASON_TOKEN_INVALID, "the token's jwk is of no curve that we know");
	else if (read_number(j, jwk, "x", &x) == 0)
		k = key_from_ed25519(buf_bytes(&x), j->e);
	buf_release(&x);
	return k;
}

static struct key *read_key(struct judgement *j, const struct json *jwk)
{
	const char *kty = json_string(json_member(jwk, "kty"));
	struct key *k = NULL;

	j->reason = REASON_TOKEN_INVALID;
	if (kty != NULL && strcmp(kty, "EC") == 0)
		k = read_ec_key(j, jwk);
	else if (kty != NULL && strcmp(kty, "RSA") == 0)
		k = read_rsa_key(j, jwk);
	else if (kty != NULL && strcmp(kty, "OKP") == 0)
		k = read_okp_key(j, jwk);
	else
		refuse(j, REASON_TOKEN_INVALID, "the token's jwk is no EC, RSA or OKP key");
	return k;
}

/* gives the key that the header offers. */
static struct key *read_signer(struct judgement *j, const struct json *header, const char **alg)
{
	const struct json *jwk = json_member(header, "jwk");
	const char *jwk_alg = json_string(json_member(jwk, "alg"));

	*alg = json_string(json_member(header, "alg"));
	if (*alg == NULL) {
		refuse(j, REASON_TOKEN_INVALID, "the token's header has no string alg");
		return NULL;
	}
	if (!is_one_of(algorithms, ARRAY_SIZE(algorithms), *alg)) {
		refuse(j, REASON_TOKEN_INVALID, "the token's alg '%.20s' is none that we take", *alg);
		return NULL;
	}
	/* RFC 7515, 4.1.11: we understand no extension. */
	if (json_member(header, "crit") != NULL) {
		refuse(j, REASON_TOKEN_INVALID, "the token's header has critical extensions");
		return NULL;
	}
	if (jwk == NULL || jwk->type != JSON_OBJECT) {
		refuse(j, REASON_TOKEN_INVALID, "the token's header has no jwk");
		return NULL;
	}
	if (json_member(jwk, "d") != NULL) {
		refuse(j, REASON_TOKEN_INVALID, "the token's jwk gives its private key away");
		return NULL;
	}
	if (jwk_alg == NULL || strcmp(jwk_alg, *alg) != 0) {
		refuse(j, REASON_TOKEN_INVALID, "the alg of the token's jwk is missing or not that of its header");
		return NULL;
	}
	return read_key(j, jwk);
}

static int check_signature(struct judgement *j, const struct jwt *jwt, const struct key *signer, const char *alg)
{
	if (key_jws_verify(signer, alg, jwt->signed_text, buf_bytes(&jwt->signature), j->e) == 0)
		return 0;
	return refused(j, j->e->kind == ERR_TRUST ? REASON_TOKEN_SIGNATURE : REASON_TOKEN_INVALID);
}

static struct cert *read_x5c_entry(struct judgement *j, const struct json *entry)
{
	const char *text = json_string(entry);
	struct buf der = { 0 };
	struct cert *c = NULL;

	if (text == NULL)
		refuse(j, REASON_TOKEN_INVALID, "the token's x5c holds something else than text");
	else if (base64_decode_any(bytes_str(text), &der, j->e) == 0)
		c = cert_from_der(buf_bytes(&der), j->e);
	buf_release(&der);
	return c;
}

/* Leaf first. */
static int read_chain(struct judgement *j, const struct json *x5c, struct cert_list *chain)
{
	if (x5c == NULL || x5c->type != JSON_ARRAY || x5c->count == 0)
		return refuse(j, REASON_TOKEN_UNTRUSTED, "the token's key has no certificate (x5c)");
	if (x5c->count > MAX_CHAIN)
		return refuse(j, REASON_TOKEN_INVALID, "the token's x5c has %zu certificates: at most %d", x5c->count,
			      MAX_CHAIN);
	for (size_t i = 0; i < x5c->count; i++) {
		struct cert *c = read_x5c_entry(j, x5c->items[i]);

		if (c == NULL) {
			err_wrap(j->e, "x5c[%zu]", i);
			return refused(j, REASON_TOKEN_INVALID);
		}
		cert_list_add(chain, c);
	}
	return 0;
}

static int check_chain(struct judgement *j, const struct cert_list *chain, const struct key *signer)
{
	const struct cert *leaf = chain->items[0];
	const struct cert_list rest = { chain->items + 1, chain->count - 1 };
	struct key *certified = cert_key(leaf, j->e);
	int rc = -1;

	if (certified == NULL) {
		refused(j, REASON_TOKEN_UNTRUSTED);
		goto out;
	}
	if (!key_equal_public(certified, signer)) {
		refuse(j, REASON_TOKEN_UNTRUSTED, "the token's certificate is for another key than its jwk");
		goto out;
	}
	if (cert_check_chain(leaf, &rest, j->rules->anchors, j->rules->now_unix, j->e) != 0) {
		err_wrap(j->e, "the token's signer is not endorsed");
		refused(j, REASON_TOKEN_UNTRUSTED);
		goto out;
	}
	rc = 0;
out:
	key_free(certified);
	return rc;
}

static int check_endorsement(struct judgement *j, const struct json *header, const struct key *signer)
{
	struct cert_list chain = { 0 };
	int rc;

	if (j->rules->trust == TOKEN_TRUST_EMBEDDED)
		return 0;
	if (j->rules->anchors == NULL || j->rules->anchors->count == 0)
		return refuse(j, REASON_TOKEN_UNTRUSTED, "there is no trust anchor to check the token with");
	rc = read_chain(j, json_at(header, "jwk/x5c"), &chain);
	if (rc == 0)
		rc = check_chain(j, &chain, signer);
	cert_list_release(&chain);
	return rc;
}

/* Fractions are rounded. */
static bool read_seconds(const struct json *value, int64_t *seconds)
{
	double number;

	/* The comparison is false for what is not a number, too. */
	if (value == NULL || !json_number(value, &number) || !(number >= 0 && number <= MAX_SECONDS))
		return false;
	*seconds = (int64_t)(number + 0.5);
	return true;
}

static int check_times(struct judgement *j, const struct json *payload)
{
	const struct json *nbf = json_member(payload, "nbf");
	int64_t now = j->rules->now_unix;
	int64_t from;

	if (!read_seconds(json_member(payload, "exp"), &j->claims->expires_unix))
		return refuse(j, REASON_TOKEN_INVALID, "the token's exp is missing or no time");
	if (j->claims->expires_unix < now - LEEWAY_S)
		return refuse(j, REASON_TOKEN_EXPIRED, "the token expired %lld s ago",
			      (long long)(now - j->claims->expires_unix));
	if (nbf == NULL)
		return 0;
	if (!read_seconds(nbf, &from))
		return refuse(j, REASON_TOKEN_INVALID, "the token's nbf is no time");
	if (from > now + LEEWAY_S)
		return refuse(j, REASON_TOKEN_EARLY, "the token is not valid for another %lld s",
			      (long long)(from - now));
	return 0;
}

/* A token that names its audience is meant for somebody who knows that name; we have none. */
static int check_audience(struct judgement *j, const struct json *payload)
{
	if (json_member(payload, "aud") != NULL)
		return refuse(j, REASON_TOKEN_INVALID, "the token has an audience, and we are not it");
	return 0;
}

static int read_form(struct judgement *j, const struct json *payload, bool *is_ear)
{
	const struct json *profile = json_member(payload, "eat_profile");
	const char *name = json_string(profile);

	*is_ear = profile != NULL;
	if (*is_ear && (name == NULL || strcmp(name, EAR_PROFILE) != 0))
		return refuse(j, REASON_TOKEN_INVALID, "the token's eat_profile is not ours: '%.80s'",
			      name == NULL ? "" : name);
	return 0;
}

static void add_policy(struct policies *p, const char *id)
{
	for (size_t i = 0; i < p->count; i++) {
		if (strcmp(p->ids[i], id) == 0)
			return;
	}
	p->ids = mem_resize(p->ids, (p->count + 1) * sizeof(*p->ids));
	p->ids[p->count++] = id;
}

/* Every submodule counts: one that a device refuses is not made good by the CPU. */
static int check_submodule(struct judgement *j, const char *name, const struct json *submodule, struct policies *p)
{
	const char *id = json_string(json_member(submodule, EAR_POLICY_ID));
	const char *status = json_string(json_member(submodule, EAR_STATUS));
	const struct json *vector = json_member(submodule, EAR_VECTOR);

	if (status == NULL)
		return refuse(j, REASON_TOKEN_INVALID, "the token's submodule %.40s has no " EAR_STATUS, name);
	if (strcmp(status, EAR_AFFIRMING) != 0)
		return refuse(j, REASON_TOKEN_STATUS, "the token's submodule %.40s is %.40s, not " EAR_AFFIRMING, name,
			      status);
	if (vector == NULL || vector->type != JSON_OBJECT)
		return refuse(j, REASON_TOKEN_INVALID, "the token's submodule %.40s has no " EAR_VECTOR, name);
	if (id == NULL || *id == '\0')
		return refuse(j, REASON_TOKEN_INVALID, "the token's submodule %.40s has no " EAR_POLICY_ID, name);
	add_policy(p, id);
	if (p->count > 1)
		return refuse(j, REASON_TOKEN_POLICY, "the token's submodules name different policies: %.60s, %.60s",
			      p->ids[0], id);
	return 0;
}

static int check_submodules(struct judgement *j, const struct json *payload, struct policies *p)
{
	const struct json *submodules = json_member(payload, "submods");

	if (submodules == NULL || submodules->type != JSON_OBJECT || submodules->count == 0)
		return refuse(j, REASON_TOKEN_INVALID, "the token has no submods");
	for (size_t i = 0; i < submodules->count; i++) {
		if (check_submodule(j, submodules->keys[i].name, submodules->items[i], p) != 0)
			return -1;
	}
	return 0;
}

static int check_reports(struct judgement *j, const struct json *payload, struct policies *p)
{
	const struct json *reports = json_member(payload, "evaluation-reports");

	if (reports == NULL || reports->type != JSON_ARRAY || reports->count == 0)
		return refuse(j, REASON_TOKEN_INVALID, "the token has no evaluation-reports");
	if (reports->count > MAX_REPORTS)
		return refuse(j, REASON_TOKEN_INVALID, "the token has %zu evaluation-reports: at most %d",
			      reports->count, MAX_REPORTS);
	for (size_t i = 0; i < reports->count; i++) {
		const char *id = json_string(json_member(reports->items[i], "policy-id"));

		if (id == NULL || *id == '\0')
			return refuse(j, REASON_TOKEN_INVALID, "the token's evaluation-reports[%zu] has no policy-id",
				      i);
		add_policy(p, id);
	}
	return 0;
}

/* "a,b,c", or "a,b,..." when the rest has no room: never a part of an id. At least "..." always fits. */
static void join_policies(const struct policies *p, char *to, size_t size)
{
	static const char more[] = "...";

	for (size_t i = 0; i < p->count; i++) {
		bool is_last = i + 1 == p->count;
		size_t len = strlen(p->ids[i]);

		if (len + (is_last ? 1 : 1 + sizeof(more)) > size) {
			memcpy(to, more, sizeof(more));
			return;
		}
		memcpy(to, p->ids[i], len);
		to[len] = is_last ? '\0' : ',';
		to += len + 1;
		size -= len + 1;
	}
}

static int check_configured(struct judgement *j, const struct policies *p)
{
	const struct string_list *configured = j->rules->policy_ids;

	for (size_t i = 0; i < configured->count; i++) {
		if (!is_one_of(p->ids, p->count, configured->items[i]))
			return refuse(j, REASON_TOKEN_POLICY, "the token does not name policy %.60s, only %s",
				      configured->items[i], j->claims->policies);
	}
	return 0;
}

static int check_policies(struct judgement *j, const struct json *payload, bool is_ear)
{
	struct policies p = { 0 };
	int rc;

	rc = is_ear ? check_submodules(j, payload, &p) : check_reports(j, payload, &p);
	if (rc == 0) {
		join_policies(&p, j->claims->policies, sizeof(j->claims->policies));
		rc = check_configured(j, &p);
	}
	free(p.ids);
	return rc;
}

/* Only for the log, so a name that is none is left out. */
static void set_tee(struct judgement *j, const char *name)
{
	if (name != NULL && strlen(name) < sizeof(j->claims->tee) &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(name))
		memcpy(j->claims->tee, name, strlen(name) + 1);
}

/* The claims of the TEE are the one object in the evidence that is called after it. */
static void find_ear_tee(struct judgement *j, const struct json *evidence)
{
	for (size_t i = 0; i < evidence->count; i++) {
		if (evidence->items[i]->type != JSON_OBJECT ||
		    is_one_of(not_a_tee, ARRAY_SIZE(not_a_tee), evidence->keys[i].name))
			continue;
		set_tee(j, evidence->keys[i].name);
		return;
	}
}

static const struct json *ear_runtime_data(struct judgement *j, const struct json *payload)
{
	const struct json *evidence = json_at(payload, "submods/" EAR_CPU "/" EAR_EVIDENCE);

	if (evidence == NULL || evidence->type != JSON_OBJECT)
		return NULL;
	find_ear_tee(j, evidence);
	return json_member(evidence, "runtime_data_claims");
}

static const struct json *simple_runtime_data(struct judgement *j, const struct json *payload)
{
	set_tee(j, json_string(json_member(payload, "tee")));
	return json_at(payload, "customized_claims/runtime_data");
}

static int check_binding(struct judgement *j, const struct json *payload, bool is_ear)
{
	const struct json *runtime_data = is_ear ? ear_runtime_data(j, payload) : simple_runtime_data(j, payload);
	const struct token_rules *rules = j->rules;

	if (runtime_data == NULL || runtime_data->type != JSON_OBJECT)
		return refuse(j, REASON_TOKEN_INVALID, "the token has no runtime data");
	if (key_binding_check(runtime_data, rules->claims_buffer, rules->spki, rules->binding, j->e) != 0)
		return refused(j, REASON_BINDING_MISMATCH);
	return 0;
}

static int check_payload(struct judgement *j, const struct json *payload)
{
	bool is_ear;

	if (check_times(j, payload) != 0)
		return -1;
	if (check_audience(j, payload) != 0)
		return -1;
	if (read_form(j, payload, &is_ear) != 0)
		return -1;
	if (check_policies(j, payload, is_ear) != 0)
		return -1;
	return check_binding(j, payload, is_ear);
}

/* The stranger's part: nothing of the payload is looked at. */
static int check_signer(struct judgement *j, const struct jwt *jwt)
{
	struct json *header = parse_part(j, &jwt->header, "header");
	struct key *signer = NULL;
	const char *alg = NULL;
	int rc = -1;

	if (header == NULL)
		goto out;
	signer = read_signer(j, header, &alg);
	if (signer == NULL)
		goto out;
	if (check_signature(j, jwt, signer, alg) != 0)
		goto out;
	rc = check_endorsement(j, header, signer);
out:
	key_free(signer);
	json_free(header);
	return rc;
}

static int judge(struct judgement *j, struct bytes text)
{
	struct jwt jwt = { 0 };
	struct json *payload = NULL;
	int rc = -1;

	if (jwt_split(text, &jwt, j->e) != 0) {
		refused(j, REASON_TOKEN_INVALID);
		goto out;
	}
	if (check_signer(j, &jwt) != 0)
		goto out;
	payload = parse_part(j, &jwt.payload, "payload");
	if (payload == NULL)
		goto out;
	rc = check_payload(j, payload);
out:
	json_free(payload);
	jwt_release(&jwt);
	return rc;
}

int token_verify(struct bytes jwt, const struct token_rules *rules, struct token_claims *out, enum reason *reason,
		 struct err *e)
{
	struct judgement j = { .rules = rules, .claims = out, .reason = REASON_TOKEN_INVALID, .e = e };

	*out = (struct token_claims){ 0 };
	if (rules->policy_ids == NULL || rules->policy_ids->count == 0) {
		*reason = REASON_TOKEN_POLICY;
		return err_set(e, ERR_CONFIG, "no policy_ids are configured: any token would do");
	}
	if (judge(&j, jwt) != 0) {
		*reason = j.reason;
		*out = (struct token_claims){ 0 };
		return -1;
	}
	return 0;
}

int token_peek_expiry(struct bytes text, int64_t *expires_unix, struct err *e)
{
	struct jwt jwt = { 0 };
	struct json *payload = NULL;
	int rc = -1;

	if (jwt_split(text, &jwt, e) != 0)
		goto out;
	payload = json_parse(buf_bytes(&jwt.payload), JSON_STRICT, e);
	if (payload == NULL) {
		err_wrap(e, "the token's payload");
		goto out;
	}
	if (!read_seconds(json_member(payload, "exp"), expires_unix)) {
		err_set(e, ERR_PEER, "the token's exp is missing or no time");
		goto out;
	}
	rc = 0;
out:
	json_free(payload);
	jwt_release(&jwt);
	return rc;
}
