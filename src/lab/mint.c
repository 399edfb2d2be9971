/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mint - keys and certificates, tokens in the two forms of Trustee.
 *
 * Two leaf keys: P-256 for EAR (ES256), RSA for simple (RS384). The RSA key signs challenges as well, which
 * only this service reads. Each leaf key has a certificate of either authority.
 */
#include "lab/mint.h"

#include <stdlib.h>

#include "codec/base64.h"
#include "codec/jwt.h"
#include "crypto/cert.h"
#include "crypto/digest.h"
#include "crypto/jws.h"
#include "crypto/key.h"

#define RSA_BITS 2048
#define CERT_DAYS 365
#define CHALLENGE_LIFETIME_S 300
#define DAY_S (24 * 60 * 60)

/* How far in the past the fault "expired" lies: beyond every leeway. */
#define EXPIRED_SINCE_S 3600

#define EAT_PROFILE "tag:github.com,2024:confidential-containers/Trustee"

struct authority {
	struct key *key;
	struct buf der;
	struct buf leaf_der[2]; /* by enum token_form */
};

struct mint {
	struct key *leaf_key[2]; /* by enum token_form */
	struct authority ours;
	struct authority foreign;
	int64_t made_unix;
};

static int issue_leaf(struct mint *m, struct authority *a, enum token_form form, struct err *e)
{
	struct cert *issuer = cert_from_der(buf_bytes(&a->der), e);
	struct issue_options leaf = {
		.common_name = "TNG lab AS",
		.organization = "TNG lab",
		.subject_key = m->leaf_key[form],
		.issuer_key = a->key,
		.issuer = issuer,
		.bare = true, /* like the signer of a Trustee demonstration */
		.not_before = m->made_unix - DAY_S,
		.not_after = m->made_unix + CERT_DAYS * (int64_t)DAY_S,
	};
	int rc = -1;

	if (issuer != NULL)
		rc = cert_issue(&leaf, &a->leaf_der[form], e);
	cert_free(issuer);
	return rc;
}

int mint_prepare(struct mint *m, enum token_form form, struct err *e)
{
	if (m->leaf_key[form] != NULL)
		return 0;
	m->leaf_key[form] = form == TOKEN_EAR ? key_new_p256(e) : key_new_rsa(RSA_BITS, e);
	if (m->leaf_key[form] != NULL && issue_leaf(m, &m->ours, form, e) == 0 &&
	    issue_leaf(m, &m->foreign, form, e) == 0)
		return 0;
	key_free(m->leaf_key[form]);
	m->leaf_key[form] = NULL;
	buf_clear(&m->ours.leaf_der[form]);
	buf_clear(&m->foreign.leaf_der[form]);
	return -1;
}

static int authority_init(struct authority *a, const char *name, int64_t now, struct err *e)
{
	struct issue_options ca = {
		.common_name = name,
		.organization = "TNG lab",
		.is_ca = true,
		.not_before = now - DAY_S,
		.not_after = now + CERT_DAYS * (int64_t)DAY_S,
	};

	a->key = key_new_p256(e);
	if (a->key == NULL)
		return -1;
	ca.subject_key = a->key;
	return cert_issue(&ca, &a->der, e);
}

static void authority_release(struct authority *a)
{
	key_free(a->key);
	buf_release(&a->der);
	buf_release(&a->leaf_der[TOKEN_EAR]);
	buf_release(&a->leaf_der[TOKEN_SIMPLE]);
}

struct mint *mint_new_for(enum token_form form, int64_t now_unix, struct err *e)
{
	struct mint *m = mem_new_of(struct mint);

	m->made_unix = now_unix;
	/* The same name: what tells them apart is the key. */
	if (authority_init(&m->ours, "TNG lab CA", now_unix, e) < 0 ||
	    authority_init(&m->foreign, "TNG lab CA", now_unix, e) < 0)
		goto fail;
	if (mint_prepare(m, form, e) < 0)
		goto fail;
	return m;
fail:
	mint_free(m);
	return NULL;
}

struct mint *mint_new(int64_t now_unix, struct err *e)
{
	struct mint *m = mint_new_for(TOKEN_EAR, now_unix, e);

	if (m != NULL && mint_prepare(m, TOKEN_SIMPLE, e) < 0) {
		mint_free(m);
		m = NULL;
	}
	return m;
}

void mint_free(struct mint *m)
{
	if (m == NULL)
		return;
	key_free(m->leaf_key[TOKEN_EAR]);
	key_free(m->leaf_key[TOKEN_SIMPLE]);
	authority_release(&m->ours);
	authority_release(&m->foreign);
	free(m);
}

static void append_pem(struct bytes der, struct buf *out)
{
	struct buf text = { 0 };

	base64_encode(der, &text);
	buf_append_str(out, "-----BEGIN CERTIFICATE-----\n");
	for (size_t at = 0; at < text.len; at += 64) {
		buf_append(out, text.data + at, MIN((size_t)64, text.len - at));
		buf_append_str(out, "\n");
	}
	buf_append_str(out, "-----END CERTIFICATE-----\n");
	buf_release(&text);
}

void mint_ca_pem(const struct mint *m, struct buf *out)
{
	append_pem(buf_bytes(&m->ours.der), out);
}

void mint_chain_pem(const struct mint *m, enum token_form form, struct buf *out)
{
	append_pem(buf_bytes(&m->ours.leaf_der[form]), out);
	mint_ca_pem(m, out);
}

/* --- header --- */

static void append_x5c(const struct authority *a, const struct mint_options *o, struct buf *out)
{
	const struct buf *chain[2] = { &a->leaf_der[o->form], &a->der };

	if (o->no_x5c)
		return;
	buf_append_str(out, "\"x5c\":[");
	for (int i = 0; i < 2; i++) {
		buf_append_str(out, i == 0 ? "\"" : ",\"");
		if (o->padded_x5c)
			base64_encode(buf_bytes(chain[i]), out);
		else
			base64url_encode(buf_bytes(chain[i]), out);
		buf_append_str(out, "\"");
	}
	buf_append_str(out, "],");
}

static void append_number_member(const char *name, const struct buf *number, struct buf *out)
{
	buf_format(out, ",\"%s\":\"", name);
	base64url_encode(buf_bytes(number), out);
	buf_append_str(out, "\"");
}

static int format_header(const struct mint *m, const struct mint_options *o, struct buf *out, struct err *e)
{
	const struct authority *a = o->untrusted ? &m->foreign : &m->ours;
	bool ear = o->form == TOKEN_EAR;
	struct buf first = { 0 };
	struct buf second = { 0 };
	int rc = key_jwk_members(m->leaf_key[o->form], &first, &second, e);

	if (rc == 0) {
		const char *alg = ear ? "ES256" : "RS384";

		buf_format(out, "{\"typ\":\"JWT\",\"alg\":\"%s\",\"jwk\":{\"alg\":\"%s\",", alg, alg);
		append_x5c(a, o, out);
		buf_append_str(out, ear ? "\"kty\":\"EC\",\"crv\":\"P-256\"" : "\"kty\":\"RSA\"");
		append_number_member(ear ? "x" : "n", &first, out);
		append_number_member(ear ? "y" : "e", &second, out);
		buf_append_str(out, "}}");
	}
	buf_release(&first);
	buf_release(&second);
	return rc;
}

/* --- claims --- */

static void append_json_or_null(const struct json *j, struct buf *out)
{
	if (j == NULL)
		buf_append_str(out, "null");
	else
		json_format(j, out);
}

/* Runtime data of the same shape that belongs to nobody's key. */
static void append_other_runtime_data(const struct json *runtime, struct buf *out)
{
	static const uint8_t prefix[] = { 0x82, 0x01, 0x58, 0x20 }; /* CBOR [1, h'...'] */
	uint8_t hash[sizeof(prefix) + 32];

	memcpy(hash, prefix, sizeof(prefix));
	random_bytes(hash + sizeof(prefix), 32);
	if (json_member(runtime, "rats-rs.raw_runtime_data") != NULL) {
		buf_append_str(out, "{\"rats-rs.raw_runtime_data\":\"");
		base64url_encode(bytes_of(hash + sizeof(prefix), 32), out);
	} else {
		buf_append_str(out, "{\"pubkey-hash\":\"");
		base64_encode(bytes_of(hash, sizeof(hash)), out);
	}
	buf_append_str(out, "\"}");
}

static void append_runtime_data(const struct mint_options *o, const struct json *runtime, struct buf *out)
{
	if (o->wrong_key)
		append_other_runtime_data(runtime, out);
	else
		append_json_or_null(runtime, out);
}

static bool is_device(const struct mint_entry *en)
{
	return strcmp(en->tee, "sampledevice") == 0;
}

/* What the appraisal saw in sample evidence. */
static const char *const evidence_claims[] = { "measure_register", "svn" };

static void append_submod(const struct mint_options *o, const struct mint_entry *en, struct buf *out)
{
	const char *sep = "";

	buf_format(out, "{\"ear.status\":\"%s\",\"ear.trustworthiness-vector\":%s,\"ear.appraisal-policy-id\":",
		   en->affirming ? "affirming" : "contraindicated",
		   en->affirming ? "{\"configuration\":2,\"executables\":2,\"file-system\":2,\"hardware\":2}"
				 : "{\"configuration\":36,\"executables\":33,\"file-system\":35,\"hardware\":97}");
	json_append_string(out, bytes_str(o->wrong_policy ? "another-policy" : o->policy_ids[0]));
	buf_append_str(out, ",\"ear.veraison.annotated-evidence\":{");
	if (!is_device(en)) {
		buf_append_str(out, "\"report_data\":");
		append_json_or_null(json_member(en->evidence, "report_data"), out);
		buf_append_str(out, ",\"runtime_data_claims\":");
		append_runtime_data(o, en->runtime_data, out);
		buf_append_str(out, ",");
	}
	json_append_string(out, bytes_str(en->tee));
	buf_append_str(out, ":{");
	for (size_t i = 0; i < ARRAY_SIZE(evidence_claims); i++) {
		const struct json *claim = json_member(en->evidence, evidence_claims[i]);

		if (claim == NULL)
			continue;
		buf_format(out, "%s\"%s\":", sep, evidence_claims[i]);
		json_format(claim, out);
		sep = ",";
	}
	buf_append_str(out, "}}}");
}

static void format_ear(const struct mint_options *o, int64_t issued, struct buf *out)
{
	unsigned index[2] = { 0, 0 };

	buf_format(out,
		   "{\"eat_profile\":\"" EAT_PROFILE "\",\"iat\":%lld,\"ear.verifier-id\":{\"developer\":"
		   "\"https://confidentialcontainers.org\",\"build\":\"attestation-service 0.1.0\"},"
		   "\"submods\":{",
		   (long long)issued);
	for (size_t i = 0; i < o->entry_count; i++) {
		bool device = is_device(&o->entries[i]);

		buf_format(out, "%s\"%s%u\":", i == 0 ? "" : ",", device ? "gpu" : "cpu", index[device]++);
		append_submod(o, &o->entries[i], out);
	}
	buf_format(out, "},\"exp\":%lld}", (long long)(issued + o->lifetime_s));
}

/* The text of a policy that nobody reads; tokens show its hash. */
static void append_policy_report(const char *id, struct buf *out)
{
	uint8_t hash[DIGEST_MAX_LEN];
	char *policy = mem_format("package policy\n# %s of the lab\ndefault allow = true\n", id);
	char *hex;

	digest_compute(DIGEST_SHA384, bytes_str(policy), hash);
	hex = bytes_to_hex(bytes_of(hash, digest_len(DIGEST_SHA384)));
	buf_format(out, "{\"policy-hash\":\"%s\",\"policy-id\":", hex);
	json_append_string(out, bytes_str(id));
	buf_append_str(out, "}");
	free(hex);
	free(policy);
}

/* A JSON object of flattened keys, which the claim holds as a string. */
static void append_tcb_status(const struct mint_options *o, struct buf *out)
{
	struct buf status = { 0 };

	buf_append_str(&status, "{\"init_data\":\"\",\"report_data\":");
	append_json_or_null(json_member(o->entries[0].evidence, "report_data"), &status);
	for (size_t i = 0; i < o->entry_count; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(evidence_claims); k++) {
			const struct mint_entry *en = &o->entries[i];
			const struct json *claim = json_member(en->evidence, evidence_claims[k]);

			if (claim == NULL)
				continue;
			buf_format(&status, ",\"%s.%s\":", en->tee, evidence_claims[k]);
			json_format(claim, &status);
		}
	}
	buf_append_str(&status, "}");
	json_append_string(out, buf_bytes(&status));
	buf_release(&status);
}

static void append_jti(struct buf *out)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	uint8_t random[10];

	random_bytes(random, sizeof(random));
	buf_append_str(out, "\"");
	for (size_t i = 0; i < sizeof(random); i++)
		buf_append(out, &letters[random[i] % (sizeof(letters) - 1)], 1);
	buf_append_str(out, "\"");
}

static void format_simple(const struct mint_options *o, int64_t issued, struct buf *out)
{
	buf_append_str(out, "{\"customized_claims\":{\"init_data\":null,\"runtime_data\":");
	append_runtime_data(o, o->entries[0].runtime_data, out);
	buf_append_str(out, "},\"evaluation-reports\":[");
	for (size_t i = 0; i < (o->wrong_policy ? 1 : o->policy_count); i++) {
		buf_append_str(out, i == 0 ? "" : ",");
		append_policy_report(o->wrong_policy ? "another-policy" : o->policy_ids[i], out);
	}
	buf_format(out, "],\"exp\":%lld,\"iat\":%lld,\"iss\":\"CoCo-Attestation-Service\",\"jti\":",
		   (long long)(issued + o->lifetime_s), (long long)issued);
	append_jti(out);
	buf_format(out, ",\"nbf\":%lld,\"tcb-status\":", (long long)issued);
	append_tcb_status(o, out);
	buf_append_str(out, ",\"tee\":");
	json_append_string(out, bytes_str(o->entries[0].tee));
	buf_append_str(out, "}");
}

/* Another signature of the right length: its first byte is changed. */
static void spoil_signature(struct buf *jwt)
{
	size_t at = jwt->len;

	while (at > 0 && jwt->data[at - 1] != '.')
		at--;
	jwt->data[at] = jwt->data[at] == 'A' ? 'B' : 'A';
}

int mint_token(const struct mint *m, const struct mint_options *o, struct buf *jwt, struct err *e)
{
	int64_t issued = o->now_unix - (o->expired ? o->lifetime_s + EXPIRED_SINCE_S : 0);
	struct buf header = { 0 };
	struct buf claims = { 0 };
	int rc = -1;

	if (m->leaf_key[o->form] == NULL)
		return err_set(e, ERR_CONFIG, "no signer for this form of token");
	if (format_header(m, o, &header, e) < 0)
		goto out;
	if (o->form == TOKEN_EAR)
		format_ear(o, issued, &claims);
	else
		format_simple(o, issued, &claims);
	if (jwt_sign(buf_bytes(&header), buf_bytes(&claims), m->leaf_key[o->form],
		     o->form == TOKEN_EAR ? "ES256" : "RS384", jwt, e) < 0)
		goto out;
	if (o->wrong_signature)
		spoil_signature(jwt);
	rc = 0;
out:
	buf_release(&header);
	buf_release(&claims);
	return rc;
}

/* --- challenges --- */

#define CHALLENGE_HEADER "{\"alg\":\"RS384\",\"typ\":\"JWT\"}"

int mint_challenge(const struct mint *m, int64_t now_unix, struct buf *out, struct err *e)
{
	uint8_t random[32];
	struct buf nonce = { 0 };
	struct buf claims = { 0 };
	int rc;

	if (m->leaf_key[TOKEN_SIMPLE] == NULL)
		return err_set(e, ERR_CONFIG, "no signer for challenges");
	random_bytes(random, sizeof(random));
	base64_encode(bytes_of(random, sizeof(random)), &nonce);
	buf_format(&claims, "{\"nonce\":\"%s\",\"iat\":%lld,\"exp\":%lld}", buf_str(&nonce), (long long)now_unix,
		   (long long)now_unix + CHALLENGE_LIFETIME_S);
	buf_append_str(out, "{\"extra-params\":{\"jwt\":\"");
	rc = jwt_sign(bytes_str(CHALLENGE_HEADER), buf_bytes(&claims), m->leaf_key[TOKEN_SIMPLE], "RS384", out, e);
	buf_format(out, "\"},\"nonce\":\"%s\"}", buf_str(&nonce));
	buf_release(&nonce);
	buf_release(&claims);
	return rc;
}

static int check_challenge_claims(struct bytes claims, int64_t now_unix, struct err *e)
{
	struct json *j = json_parse(claims, JSON_STRICT, e);
	int64_t expires;
	bool good;

	if (j == NULL)
		return -1;
	/* A token of ours is signed with the same key, but has no nonce. */
	good = json_string(json_member(j, "nonce")) != NULL &&
	       json_integer(json_member(j, "exp"), 0, INT64_MAX, &expires) && expires >= now_unix;
	json_free(j);
	return good ? 0 : err_set(e, ERR_TRUST, "challenge expired, or no challenge");
}

int mint_check_challenge(const struct mint *m, struct bytes jwt, int64_t now_unix, struct err *e)
{
	struct jwt parts;
	int rc = -1;

	/* Like the real one: who never issued a challenge has no key for them. */
	if (m->leaf_key[TOKEN_SIMPLE] == NULL)
		return err_set(e, ERR_TRUST, "no challenge was issued here");
	if (jwt_split(jwt, &parts, e) < 0)
		return -1;
	/* The algorithm is ours whatever the header says: only one key signs these. */
	if (key_jws_verify(m->leaf_key[TOKEN_SIMPLE], "RS384", parts.signed_text, buf_bytes(&parts.signature), e) == 0)
		rc = check_challenge_claims(buf_bytes(&parts.payload), now_unix, e);
	jwt_release(&parts);
	return rc;
}
