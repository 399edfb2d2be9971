/* SPDX-License-Identifier: Apache-2.0 */
/* A peer's certificate, and what else comes as DER or PEM. */
#include <stdlib.h>

#include "attest/evidence.h"
#include "crypto/cert.h"

#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_extension(const struct cert *c)
{
	struct evidence_blob blob;
	struct bytes value;
	struct err e;

	if (!cert_extension(c, EVIDENCE_OID, &value))
		return;
	if (evidence_blob_parse(value, &blob, &e) == 0)
		evidence_blob_release(&blob);
}

/* The certificate as leaf, intermediate and anchor at once. */
static void use_cert(struct cert *c)
{
	struct cert_list list = { &c, 1 };
	struct buf spki = { 0 };
	uint8_t digest[32];
	struct err e;

	use_extension(c);
	cert_sha256(c, digest);
	if (cert_spki(c, &spki, &e) == 0)
		key_free(key_from_spki(buf_bytes(&spki), &e));
	key_free(cert_key(c, &e));
	if (cert_check_self_signed(c, &e) != 0 && e.kind == ERR_NONE)
		abort();
	if (cert_check_chain(c, &list, &list, NOW, &e) != 0 && e.kind == ERR_NONE)
		abort();
	buf_release(&spki);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = bytes_of(data, size);
	struct cert_list list = { 0 };
	struct err e = { 0 };
	struct cert *c = cert_from_der(input, &e);

	if (c != NULL)
		use_cert(c);
	cert_free(c);
	if (cert_list_add_pem(&list, input, &e) == 0)
		use_cert(list.items[0]);
	cert_list_release(&list);
	key_free(key_from_spki(input, &e));
	key_free(key_from_pkcs8(input, &e));
	return 0;
}
