/* SPDX-License-Identifier: Apache-2.0 */
/* digest - SHA-2 in one call, and random bytes. */
#include "crypto/digest.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

/* Fetched once and kept: looking an algorithm up costs more than hashing a certificate. */
static EVP_MD *sha256;
static EVP_MD *sha384;
static EVP_MD *sha512;
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;

/* Without hashes or random numbers nothing that we do next could be trusted. */
static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "tng: OpenSSL offers no %s\n", what);
	abort();
}

static void fetch_all(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
	sha384 = EVP_MD_fetch(NULL, "SHA2-384", NULL);
	sha512 = EVP_MD_fetch(NULL, "SHA2-512", NULL);
	if (sha256 == NULL || sha384 == NULL || sha512 == NULL)
		give_up("SHA-2");
}

static const EVP_MD *md_of(enum digest_algorithm alg)
{
	pthread_once(&fetch_once, fetch_all);
	switch (alg) {
	case DIGEST_SHA256:
		return sha256;
	case DIGEST_SHA384:
		return sha384;
	case DIGEST_SHA512:
		return sha512;
	}
	return NULL;
}

size_t digest_len(enum digest_algorithm alg)
{
	switch (alg) {
	case DIGEST_SHA256:
		return 32;
	case DIGEST_SHA384:
		return 48;
	case DIGEST_SHA512:
		return 64;
	}
	return 0;
}

const char *digest_name(enum digest_algorithm alg)
{
	switch (alg) {
	case DIGEST_SHA256:
		return "sha256";
	case DIGEST_SHA384:
		return "sha384";
	case DIGEST_SHA512:
		return "sha512";
	}
	return "unknown";
}

void digest_compute(enum digest_algorithm alg, struct bytes data, uint8_t *out)
{
	if (EVP_Digest(data.data, data.len, out, NULL, md_of(alg), NULL) != 1)
		give_up(digest_name(alg));
}

void random_bytes(uint8_t *out, size_t len)
{
	while (len > 0) {
		size_t part = MIN(len, (size_t)1 << 20);

		if (RAND_bytes(out, (int)part) != 1)
			give_up("random numbers");
		out += part;
		len -= part;
	}
}
